"""Debian's tightvncserver as a VNC host: an X server of 2009 that knows the security type Tight."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .processes import NotInTime, Process, free_port, program
from .x11 import X11Error, XScreen
from .xvnc import HEIGHT, WIDTH, Xvnc

PACKAGE = "tightvncserver xfonts-base"

_FIRST_DISPLAY, _LAST_DISPLAY = 300, 399


class Xtightvnc(Xvnc):
    """As ``Xvnc``, whose terminal and picture it has."""

    def _security(self, secret: Path | None) -> tuple[str, ...]:
        return () if secret is None else ("-rfbauth", str(secret))

    def _start(self, options: Sequence[str]) -> tuple[Process, int]:
        """It takes a number and ends if somebody has that, so try again."""
        said = ""
        for display in range(_FIRST_DISPLAY, _LAST_DISPLAY + 1):
            if Path(f"/tmp/.X{display}-lock").exists():
                continue
            self.port = free_port()
            process = Process(
                f"xtightvnc-{display}",
                [
                    program("Xtightvnc", PACKAGE),
                    f":{display}",
                    *("-nolisten", "tcp", "-ac", "-geometry", f"{WIDTH}x{HEIGHT}", "-depth", "24"),
                    *("-rfbport", str(self.port), "-localhost", "-alwaysshared"),
                    *options,
                ],
                self._folder,
            )
            try:
                process.wait_for(partial(self._answers, display), "it answers")
            except NotInTime:
                process.stop()
                raise
            except AssertionError as ended:
                said = str(ended)
            else:
                return process, display
        raise AssertionError(f"Xtightvnc does not start:\n{said}")

    @staticmethod
    def _answers(display: int) -> bool:
        with contextlib.suppress(X11Error, OSError), XScreen(display):
            return True
        return False
