"""Xvnc (TigerVNC) as a VNC host: an X server with a terminal in it, whose input the tests can read back."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from Crypto.Cipher import DES

from . import xclip
from .pictures import Picture
from .processes import PATIENCE_S, Process, free_port, program, wait_for
from .x11 import X11Error, XScreen

PACKAGE = "tigervnc-standalone-server"
TERMINAL_PACKAGE = "xterm"
LAYOUT_PACKAGE = "x11-xkb-utils"

#: What the terminal prints when it is ready for keys.
BANNER = "trio-cpvm terminal ready"

WIDTH, HEIGHT = 800, 600

#: The terminal's own colours; the screen around it is black.
_BACKGROUND, _FOREGROUND = "#203060", "#ffe080"
_BACKGROUND_RGB = bytes.fromhex(_BACKGROUND[1:])

_SCRIPT = f"""\
printf '\\033[31mred \\033[32mgreen \\033[34mblue\\033[0m\\n{BANNER}\\n'
exec cat > "$1"
"""

_PORT_ATTEMPTS = 5


def password_file(password: str) -> bytes:
    """What ``vncpasswd`` writes: the password's eight bytes under a DES key that is the same in every VNC server.

    VNC counts the bits of a key byte from the other end (facts: RFB, VNC authentication).
    """
    fixed = bytes((23, 82, 107, 6, 35, 78, 88, 7))
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in fixed)
    return DES.new(key, DES.MODE_ECB).encrypt(password.encode("latin-1")[:8].ljust(8, b"\0"))


class Xvnc:
    """A running X server with its screen on VNC and a terminal in its upper left corner.

    Args:
        folder: where its files go.
        password: what a viewer has to know; ``None``: it asks for nothing.
        options: more for its command line.
    """

    host = "127.0.0.1"

    def __init__(self, folder: Path, *, password: str | None, options: Sequence[str] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        #: What was typed in the terminal, line by line (a line arrives with Enter).
        self.typed_file = folder / "typed"
        self._terminal: Process | None = None
        secret: Path | None = None
        if password is not None:
            secret = folder / "passwd"
            secret.write_bytes(password_file(password))
        self.process, self.display = self._start((*self._security(secret), *options))
        try:
            self._terminal = self._open_terminal()
            self.process.wait_for(lambda: self._terminal_is_shown(), "the terminal is on the screen")
        except BaseException:
            self.stop()
            raise

    def _security(self, secret: Path | None) -> tuple[str, ...]:
        """The options that ask for the password in a file, or for none."""
        if secret is None:
            return ("-SecurityTypes", "None")
        return ("-SecurityTypes", "VncAuth", "-PasswordFile", str(secret))

    def _start(self, options: Sequence[str]) -> tuple[Process, int]:
        """Start the server on a free display and port; another process may snatch the port, so try again."""
        for attempt in range(_PORT_ATTEMPTS):
            self.port = free_port()
            reading, writing = os.pipe()
            with os.fdopen(reading, "rb") as told:
                process = Process(
                    f"xvnc-{attempt}",
                    [
                        program("Xvnc", PACKAGE),
                        *("-displayfd", str(writing), "-nolisten", "tcp", "-ac", "-noreset"),
                        *("-geometry", f"{WIDTH}x{HEIGHT}", "-depth", "24"),
                        *("-rfbport", str(self.port), "-localhost", "-AlwaysShared"),
                        *options,
                    ],
                    self._folder,
                    env={**os.environ, "XDG_CACHE_HOME": str(self._folder)},  # for what Mesa compiles
                    pass_fds=(writing,),
                )
                os.close(writing)
                number = told.readline()  # ends when it is ready, or when it ends
            if number:  # it listens already: a trial connection would count as a viewer who gave no password
                return process, int(number)
            process.stop()
        raise AssertionError(f"Xvnc does not start:\n{process.output()}")

    def _open_terminal(self) -> Process:
        script = self._folder / "terminal.sh"
        script.write_text(_SCRIPT, "utf-8")
        return Process(
            "xterm",
            [
                program("xterm", TERMINAL_PACKAGE),
                *("-fn", "fixed", "-geometry", "80x24+0+0", "-bg", _BACKGROUND, "-fg", _FOREGROUND),
                *("-xrm", "*cursorBlink: false", "-xrm", "*internalBorder: 2"),
                *("-e", "sh", str(script), str(self.typed_file)),
            ],
            self._folder,
            env=self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "DISPLAY": f":{self.display}", "LC_ALL": "C.UTF-8"}

    def set_layout(self, layout: str, variant: str = "", model: str = "pc105") -> None:
        """Set the keyboard layout, by its names in XKB."""
        names = ["-layout", layout, "-variant", variant, "-model", model]
        subprocess.run(
            [program("setxkbmap", LAYOUT_PACKAGE), "-rules", "evdev", *names],
            env=self._environment(),
            check=True,
            timeout=PATIENCE_S,
        )

    def _terminal_is_shown(self) -> bool:
        if self._terminal is None or not self.typed_file.exists():
            return False
        with contextlib.suppress(X11Error, OSError):
            # colours: the root's, the terminal's two, and the three of the script's first line
            return len(self.picture().colours()) >= 6
        return False

    def picture(self) -> Picture:
        """What the X server itself says the screen looks like."""
        with XScreen(self.display) as screen:
            return screen.picture()

    def typed(self) -> str:
        return self.typed_file.read_text("utf-8")

    def wait_for_line(self, text: str) -> None:
        """Wait until the line ``text`` has been typed in the terminal."""
        wait_for(lambda: text in self.typed().splitlines(), f"the terminal was given {text!r}")

    def clipboard(self) -> str:
        """The text in the guest's clipboard. The server looks after it by itself, without ``vncconfig``."""
        return xclip.read(self.display)

    def set_clipboard(self, text: str) -> None:
        """Copy a text in the guest."""
        xclip.write(self.display, text)

    def wait_for_clipboard(self, text: str) -> None:
        """Wait until ``text`` is in the guest's clipboard."""
        wait_for(lambda: self.clipboard() == text, f"the guest's clipboard holds {text!r}")

    def stop(self) -> None:
        if self._terminal is not None:
            self._terminal.stop()
        self.process.stop()
        self._remove_locks()

    def _remove_locks(self) -> None:
        """What a killed X server leaves behind, if it is this one's."""
        lock = Path(f"/tmp/.X{self.display}-lock")
        with contextlib.suppress(OSError, ValueError):
            if int(lock.read_text("ascii")) == self.process.pid:
                Path(f"/tmp/.X11-unix/X{self.display}").unlink(missing_ok=True)
                lock.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
