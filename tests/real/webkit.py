"""WebKit: WebKitGTK's MiniBrowser on an X server of its own, driven by Selenium."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from selenium.webdriver import Remote
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.webkitgtk.options import Options

from . import xclip
from .browsers import VIEWPORT_HEIGHT, VIEWPORT_WIDTH, AnyTab
from .processes import PATIENCE_S, Process, children, free_port, listens, program, wait_for

PACKAGE = "webkit2gtk-driver"
DISPLAY_PACKAGE = "xvfb"

#: The browser's own bars, in pixels.
_ROOM_FOR_BARS = 100

_PORT_ATTEMPTS = 5

#: DOM's names of keys where WebDriver has others.
_KEYS = {
    "AltGraph": Keys.RIGHT_ALT,
    "ArrowDown": Keys.ARROW_DOWN,
    "ArrowLeft": Keys.ARROW_LEFT,
    "ArrowRight": Keys.ARROW_RIGHT,
    "ArrowUp": Keys.ARROW_UP,
    "Backspace": Keys.BACKSPACE,
    "Enter": Keys.RETURN,  # WebDriver's "enter" is the number pad's
    "PageDown": Keys.PAGE_DOWN,
    "PageUp": Keys.PAGE_UP,
}

#: Nothing tells the driver what goes wrong in a page, and it can run nothing there before the page's own scripts.
_WATCH_FAULTS = """
globalThis.faults = [];
addEventListener("error", (event) => globalThis.faults.push(event.message));
addEventListener("unhandledrejection", (event) => globalThis.faults.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) =>
  globalThis.faults.push(`Content Security Policy: ${event.violatedDirective} ${event.blockedURI}`));
"""

_EVALUATE = """
const done = arguments[0];
(async () => (%s))().then((result) => done({ result: result ?? null }), (error) => done({ error: String(error) }));
"""


class WebKitError(Exception):
    """An expression failed in the page."""


def _listens_or_ended(process: Process, port: int) -> bool:
    return process.exit_code is not None or listens(port)


class WebKit:
    """A display, and the driver that starts a browser on it for each tab.

    Args:
        folder: where their files go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._display_process, self.display = self._start_display()
        try:
            self._driver, self._address = self._start_driver()
        except BaseException:
            self._display_process.stop()
            raise

    def _start_display(self) -> tuple[Process, int]:
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as told:
            process = Process(
                "xvfb",
                [
                    *(program("Xvfb", DISPLAY_PACKAGE), "-displayfd", str(writing), "-nolisten", "tcp"),
                    *("-screen", "0", f"{VIEWPORT_WIDTH}x{VIEWPORT_HEIGHT + _ROOM_FOR_BARS}x24"),
                ],
                self._folder,
                env={**os.environ, "XDG_CACHE_HOME": str(self._folder)},  # for what Mesa compiles
                pass_fds=(writing,),
            )
            os.close(writing)
            number = told.readline()  # ends when it is ready, or when it ends
        if not number:
            raise AssertionError(f"Xvfb does not start:\n{process.output()}")
        return process, int(number)

    def _start_driver(self) -> tuple[Process, str]:
        """Start the driver on a free port; another process may snatch the port, so try again."""
        for attempt in range(_PORT_ATTEMPTS):
            port = free_port()
            process = Process(
                f"webkit-{attempt}",
                [program("WebKitWebDriver", PACKAGE), f"--port={port}"],
                self._folder,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self._folder),
                    "XDG_CACHE_HOME": str(self._folder),  # Mesa knows the user's home from elsewhere
                    "TMPDIR": str(self._folder),
                    "LC_ALL": "C.UTF-8",
                    "DISPLAY": f":{self.display}",
                    "GSETTINGS_BACKEND": "memory",
                    "NO_AT_BRIDGE": "1",  # there is no bus on which accessibility tools could listen
                },
            )
            wait_for(partial(_listens_or_ended, process, port), "WebKit's driver listens, or ends")
            if process.exit_code is None:
                return process, f"http://127.0.0.1:{port}"
        raise AssertionError(f"WebKitWebDriver does not start:\n{process.output()}")

    def new_tab(self) -> WebKitTab:
        """A browser with an empty profile."""
        options = Options()
        options.accept_insecure_certs = True
        connection = RemoteConnection(client_config=ClientConfig(self._address, timeout=int(PATIENCE_S)))
        return WebKitTab(Remote(connection, options=options), self.display)

    def stop(self) -> None:
        """End all that was started here, in whatever state it is."""
        browsers = children(self._driver.pid)
        self._driver.stop()
        for browser in browsers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(browser, signal.SIGKILL)
        self._display_process.stop()


class WebKitTab(AnyTab):
    """A tab of WebKit. Of the page's faults it sees only those after the page has been loaded."""

    def __init__(self, remote: Remote, display: int) -> None:
        self._remote = remote
        self._display = display
        remote.set_script_timeout(PATIENCE_S)
        remote.set_page_load_timeout(PATIENCE_S)
        remote.set_window_size(VIEWPORT_WIDTH, VIEWPORT_HEIGHT)
        bars = VIEWPORT_HEIGHT - int(str(self.evaluate("innerHeight")))
        remote.set_window_size(VIEWPORT_WIDTH, VIEWPORT_HEIGHT + bars)

    @property
    def faults(self) -> Sequence[str]:
        found = self.evaluate("globalThis.faults ?? []")
        assert isinstance(found, list)
        return found

    @property
    def url(self) -> str:
        return self._remote.current_url

    def open(self, url: str) -> None:
        self._remote.get(url)
        self._remote.execute_script(_WATCH_FAULTS)

    def evaluate(self, expression: str) -> object:
        answer = self._remote.execute_async_script(_EVALUATE % expression)
        if "error" in answer:
            raise WebKitError(answer["error"])
        found: object = answer["result"]
        return found

    def click_at(self, x: float, y: float) -> None:
        actions = ActionBuilder(self._remote)
        move = actions.pointer_action.move_to_location(round(x), round(y))  # type: ignore[no-untyped-call]
        move.click()
        actions.perform()

    def press(self, *keys: str) -> None:
        actions = ActionBuilder(self._remote)
        named = [key if len(key) == 1 else _KEYS.get(key) or getattr(Keys, key.upper()) for key in keys]
        for key in named:
            actions.key_action.key_down(key)
        for key in reversed(named):
            actions.key_action.key_up(key)
        actions.perform()

    def screenshot(self, path: Path) -> None:
        path.write_bytes(self._remote.get_screenshot_as_png())

    def clipboard(self) -> str:
        return xclip.read(self._display)

    def set_clipboard(self, text: str) -> None:
        xclip.write(self._display, text)

    def close(self) -> None:
        self._remote.quit()
