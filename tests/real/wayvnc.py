"""wayvnc as a VNC host: a Wayland screen without hardware, behind VeNCrypt's X509Plain."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Self

from .certificates import Pair
from .pictures import Picture, from_ppm
from .processes import PATIENCE_S, Process, free_port, program, wait_for

PACKAGE = "wayvnc"
COMPOSITOR_PACKAGE = "sway"
TERMINAL_PACKAGE = "foot fonts-dejavu-core"
PICTURE_PACKAGE = "grim"

WIDTH, HEIGHT = 800, 600

_PORT_ATTEMPTS = 5

_COMPOSITOR = """\
xwayland disable
output HEADLESS-1 resolution {width}x{height} position 0 0 bg #203060 solid_color
default_border none
exec {foot} --config=/dev/null --override=cursor.blink=no sh {script} {typed}
"""

_SCRIPT = """\
printf '\\033[31mred \\033[32mgreen \\033[34mblue\\033[0m\\nready\\n'
exec cat > "$1"
"""


class Wayvnc:
    """A running compositor with its screen on VNC and a terminal all over it.

    Args:
        folder: where its files go.
        pair: its certificate.
        username: who may look,
        password: and what a viewer has to know.
    """

    host = "127.0.0.1"

    def __init__(self, folder: Path, pair: Pair, *, username: str, password: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._running: list[Process] = []
        #: What was typed in the terminal, line by line (a line arrives with Enter).
        self.typed_file = folder / "typed"
        self._sockets = Path(tempfile.mkdtemp(prefix="wayvnc-"))  # a socket's path may not be long
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")},
            "LC_ALL": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(self._sockets),
            "XDG_CONFIG_HOME": str(folder),
            "WLR_BACKENDS": "headless",
            "WLR_LIBINPUT_NO_DEVICES": "1",
            "WLR_RENDERER": "pixman",
        }
        try:
            self._start_compositor()
            self.port = self._start_server(pair, username, password)
            wait_for(lambda: len(self.picture().colours()) >= 5, "the terminal is on the screen")
        except BaseException:
            self.stop()
            raise

    def _start_compositor(self) -> None:
        script, config = self._folder / "terminal.sh", self._folder / "sway.conf"
        script.write_text(_SCRIPT, "utf-8")
        foot = program("foot", TERMINAL_PACKAGE)
        text = _COMPOSITOR.format(width=WIDTH, height=HEIGHT, foot=foot, script=script, typed=self.typed_file)
        config.write_text(text, "utf-8")
        # sway does not run as root; in a namespace of its own it is somebody else, who owns the same files
        somebody = ("unshare", "--user", "--map-user=1000", "--map-group=1000") if os.getuid() == 0 else ()
        argv = [*somebody, program("sway", COMPOSITOR_PACKAGE), "--config", str(config)]
        sway = Process("sway", argv, self._folder, env=self._environment)
        self._running.append(sway)

        def display() -> str | None:
            return next((path.name for path in self._sockets.glob("wayland-?")), None)

        self._environment["WAYLAND_DISPLAY"] = sway.wait_for(display, "the compositor listens")
        sway.wait_for(self.typed_file.exists, "the terminal is ready")

    def _start_server(self, pair: Pair, username: str, password: str) -> int:
        """Start wayvnc on a free port; another process may snatch it, so try again."""
        said = ""
        for attempt in range(_PORT_ATTEMPTS):
            port = free_port()
            config = self._folder / "wayvnc.conf"
            config.write_text(
                f"address={self.host}\nport={port}\nenable_auth=true\nusername={username}\npassword={password}\n"
                f"private_key_file={pair.key}\ncertificate_file={pair.certificate}\n",
                "utf-8",
            )
            argv = [program("wayvnc", PACKAGE), "--config", str(config), "--log-level", "debug"]
            process = Process(f"wayvnc-{attempt}", argv, self._folder, env=self._environment)
            self._running.append(process)
            try:
                process.wait_for(partial(_listens, port), "it listens")
            except AssertionError as fault:
                said = str(fault)
            else:
                return port
        raise AssertionError(f"wayvnc does not start:\n{said}")

    def picture(self) -> Picture:
        """What the compositor itself says the screen looks like."""
        argv = [program("grim", PICTURE_PACKAGE), "-t", "ppm", "-"]
        done = subprocess.run(argv, env=self._environment, capture_output=True, timeout=PATIENCE_S, check=True)
        return from_ppm(done.stdout)

    def wait_for_line(self, text: str) -> None:
        """Wait until the line ``text`` has been typed in the terminal."""
        wait_for(lambda: text in self.typed_file.read_text("utf-8").splitlines(), f"the terminal was given {text!r}")

    def stop(self) -> None:
        for process in reversed(self._running):
            process.stop()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
