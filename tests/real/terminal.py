"""A program on a terminal of its own, whose screen and scrolled lines a test can read (pyte is the terminal)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator

import pyte

from .daemon import program_environment
from .processes import PATIENCE_S, wait_for


class Terminal:
    """A running program on a terminal."""

    def __init__(self, arguments: tuple[str, ...], columns: int, lines: int) -> None:
        self._screen = pyte.HistoryScreen(columns, lines, history=1000, ratio=0.001)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self._ours, theirs = pty.openpty()
        self._resize(columns, lines)
        self._program = subprocess.Popen(
            [sys.executable, "-m", "trio_cpvm", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=_environment(),
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            start_new_session=True,
        )
        os.close(theirs)

    def _resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """As if its user had drawn the window to another size."""
        self._read()
        self._screen.resize(lines, columns)
        self._resize(columns, lines)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def _read(self) -> None:
        while select.select([self._ours], [], [], 0)[0]:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # the program has ended
                return
            self.raw += data
            self._stream.feed(data)

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without spaces at the ends."""
        self._read()
        return [line.rstrip() for line in self._screen.display]

    @property
    def said(self) -> str:
        """What is on the screen, as one text."""
        return "\n".join(self.lines)

    def wait_for(self, text: str) -> str:
        """Wait until the screen shows ``text``; the screen then."""

        def shown() -> str:
            said = self.said
            return said if text in said else ""

        try:
            return wait_for(shown, f"the terminal shows {text!r}")
        except AssertionError as late:
            late.add_note(self.said)
            raise

    def wait_until_gone(self, text: str) -> None:
        """Wait until the screen no longer shows ``text``."""
        wait_for(lambda: text not in self.said, f"the terminal no longer shows {text!r}")

    def wait_until_ended(self) -> int:
        """Its exit code."""

        def ended() -> bool:
            self._read()
            return self._program.poll() is not None

        wait_for(ended, "the program on the terminal has ended")
        return self._program.wait(PATIENCE_S)

    def end(self) -> None:
        if self._program.poll() is None:
            self._program.kill()
            self._program.wait(PATIENCE_S)
        os.close(self._ours)


def _environment() -> dict[str, str]:
    """Without what pytest's workers say of a terminal's size, which programs would believe."""
    sizes = ("COLUMNS", "LINES")
    inherited = {name: value for name, value in program_environment().items() if name not in sizes}
    return {**inherited, "TERM": "xterm-256color"}


@contextlib.contextmanager
def terminal(*arguments: str, columns: int = 200, lines: int = 50) -> Iterator[Terminal]:
    """``trio-cpvm`` with these arguments on a terminal, ended with the block."""
    running = Terminal(arguments, columns, lines)
    try:
        yield running
    finally:
        running.end()
