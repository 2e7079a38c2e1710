"""Firefox, driven over WebDriver BiDi by npm's puppeteer-core; ``firefox.mjs`` is the half that runs in Node.js."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest

import hatch_build

from .browsers import VIEWPORT_HEIGHT, VIEWPORT_WIDTH, AnyTab
from .processes import END_S, PATIENCE_S, program

PACKAGE = "firefox-esr"

_SCRIPT = Path(__file__).with_suffix(".mjs")
_PUPPETEER = hatch_build.STATIC / "node_modules" / "puppeteer-core" / "lib" / "esm" / "puppeteer" / "puppeteer-core.js"

#: How long an answer may take on a loaded machine, in seconds: the start of the browser, the load of a page.
_ANSWER_S = 3 * PATIENCE_S


class FirefoxError(Exception):
    """The browser, or who drives it, could not do what was asked."""


class Firefox:
    """A running browser without a window.

    Args:
        folder: where its files go, its profile included.
    """

    def __init__(self, folder: Path) -> None:
        if not _PUPPETEER.is_file():
            pytest.fail("puppeteer-core is missing: python hatch_build.py --for-tests", pytrace=False)
        self._folder = folder
        self._log = folder / "firefox.out"
        self._received = b""
        self._pid = 0
        self._requests = count(1)
        self._tabs = count(1)
        with self._log.open("ab") as log:
            self._driver = subprocess.Popen(
                [hatch_build.find_node(), str(_SCRIPT), str(_PUPPETEER), program("firefox-esr", PACKAGE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(folder),
                    "XDG_CACHE_HOME": str(folder),  # Mesa knows the user's home from elsewhere
                    "TMPDIR": str(folder),
                    "LC_ALL": "C.UTF-8",
                },
            )
        try:
            pid = self._answer(0)
            assert isinstance(pid, int)
            self._pid = pid
        except BaseException:
            self.stop()
            raise

    def ask(self, what: str, **more: object) -> object:
        """Have one thing done; what came of it.

        Raises:
            FirefoxError: it failed, or took too long.
        """
        assert self._driver.stdin is not None
        number = next(self._requests)
        self._driver.stdin.write(json.dumps({"id": number, "ask": what, **more}).encode() + b"\n")
        self._driver.stdin.flush()
        return self._answer(number)

    def _answer(self, number: int) -> object:
        answer = json.loads(self._read_line())
        while answer["id"] != number:  # to something that nobody waited for to the end
            answer = json.loads(self._read_line())
        if "error" in answer:
            raise FirefoxError(answer["error"])
        result: object = answer["result"]
        return result

    def _read_line(self) -> bytes:
        assert self._driver.stdout is not None
        deadline = time.monotonic() + _ANSWER_S
        while b"\n" not in self._received:
            ready, _, _ = select.select([self._driver.stdout], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self._driver.stdout.fileno(), 1 << 20) if ready else b""
            if not piece:
                why = "hung up" if ready else f"said nothing for {_ANSWER_S} s"
                raise FirefoxError(f"Firefox's driver {why}\n{self._log.read_text('utf-8', 'replace')[-4000:]}")
            self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        return line

    def new_tab(self) -> FirefoxTab:
        """A tab with an empty profile."""
        number = next(self._tabs)
        self.ask("start", tab=number, width=VIEWPORT_WIDTH, height=VIEWPORT_HEIGHT)
        return FirefoxTab(self, number)

    def stop(self) -> None:
        """End the browser with its driver, whatever state they are in."""
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._driver.stdin.close()
        try:
            self._driver.wait(END_S)
        except subprocess.TimeoutExpired:
            self._driver.kill()
            self._driver.wait()
        self._driver.stdout.close()
        if self._is_running():
            os.kill(self._pid, signal.SIGKILL)

    def _is_running(self) -> bool:
        """Whether the browser has outlived its driver; by now its id may be another process's."""
        with contextlib.suppress(OSError):
            return str(self._folder) in Path(f"/proc/{self._pid}/cmdline").read_text("utf-8", "replace")
        return False


class FirefoxTab(AnyTab):
    """A tab of Firefox."""

    def __init__(self, firefox: Firefox, number: int) -> None:
        self._firefox = firefox
        self._number = number

    def _ask(self, what: str, **more: object) -> object:
        return self._firefox.ask(what, tab=self._number, **more)

    @property
    def faults(self) -> Sequence[str]:
        found = self._ask("faults")
        assert isinstance(found, list)
        return found

    @property
    def url(self) -> str:
        return str(self._ask("url"))

    def open(self, url: str) -> None:
        self._ask("open", url=url)

    def evaluate(self, expression: str) -> object:
        return self._ask("evaluate", expression=expression)

    def click_at(self, x: float, y: float) -> None:
        self._ask("click", x=x, y=y)

    def press(self, *keys: str) -> None:
        self._ask("press", keys=keys)

    def screenshot(self, path: Path) -> None:
        self._ask("screenshot", path=str(path))

    def clipboard(self) -> str:
        return str(self.evaluate("navigator.clipboard.readText()"))

    def set_clipboard(self, text: str) -> None:
        self.evaluate(f"navigator.clipboard.writeText({json.dumps(text)})")

    def close(self) -> None:
        self._ask("close")
