"""The clipboard of an X display, through Debian's ``xclip``."""

from __future__ import annotations

import os
import subprocess

from .processes import PATIENCE_S, program

PACKAGE = "xclip"


def read(display: int, selection: str = "clipboard") -> str:
    """The text that an X selection holds at this moment; empty if nobody owns it."""
    done = subprocess.run(
        [program("xclip", PACKAGE), "-o", "-selection", selection, "-target", "UTF8_STRING"],
        capture_output=True,
        env=_environment(display),
        timeout=PATIENCE_S,
        check=False,
    )
    return done.stdout.decode("utf-8") if done.returncode == 0 else ""


def write(display: int, text: str, selection: str = "clipboard") -> None:
    """Own an X selection with this text. Who does so is a process that ends with the display or with the next owner."""
    subprocess.run(
        [program("xclip", PACKAGE), "-i", "-selection", selection],
        input=text.encode("utf-8"),
        stdout=subprocess.DEVNULL,  # it leaves a child behind that would hold a pipe open
        stderr=subprocess.DEVNULL,
        env=_environment(display),
        timeout=PATIENCE_S,
        check=True,
    )


def _environment(display: int) -> dict[str, str]:
    return {**os.environ, "DISPLAY": f":{display}"}
