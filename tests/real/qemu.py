"""QEMU as a VNC host: a software-emulated PC that runs the guest of ``guest.py``, steered over QMP."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from .guest import BANNER, TEXT_ADDRESS, TEXT_BYTES, boot_sector, text_lines
from .pictures import Picture, from_ppm
from .processes import PATIENCE_S, NotInTime, Process, program, wait_for

PACKAGE = "qemu-system-x86"

#: Its output tells which keys viewers sent and which ones the guest got, for tests that miss one.
SAYS_KEYS = ("-trace", "vnc_key_event_*", "-trace", "ps2_keyboard_event", "-trace", "ps2_put_keycode")

#: QEMU takes the first free display from the first number on; port = 5900 + display.
_FIRST_DISPLAY, _LAST_DISPLAY = 200, 1199
_DISPLAY_PORT = 5900


class QmpError(Exception):
    """QEMU refused a command."""


class Qmp:
    """The QEMU Machine Protocol: one JSON object a line, over a unix socket.

    Args:
        path: of the socket.
        greeting: QEMU greets and wants to be asked what it can do; its guest agent does not.
        patience_s: how long an answer may take, in seconds.
    """

    def __init__(self, path: Path, *, greeting: bool = True, patience_s: float = PATIENCE_S) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(patience_s)
        folder = os.open(path.parent, os.O_PATH)
        try:
            self._socket.connect(f"/proc/self/fd/{folder}/{path.name}")  # a socket's path may not be long
        except OSError:
            self._socket.close()
            raise
        finally:
            os.close(folder)
        self._lines = self._socket.makefile("rb")
        if greeting:
            self._receive()
            self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: object) -> object:
        """Run one command; what it returns, once it is done."""
        message = {"execute": command, "arguments": arguments}
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        while True:
            answer = self._receive()
            if "error" in answer:
                raise QmpError(f"{command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]
            # anything else is an event: nobody waits for it

    def _receive(self) -> Mapping[str, object]:
        line = self._lines.readline()
        if not line:
            raise QmpError("QEMU hung up")
        answer: dict[str, object] = json.loads(line)
        return answer

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Qemu:
    """A running guest with its screen on VNC.

    Args:
        folder: where its files go.
        password: what a viewer has to know; ``None``: it asks for nothing.
        vnc: more for the value of ``-vnc``.
        options: more for its command line.
        unix: its screen is on the unix socket ``vnc`` in the folder.

    Attributes:
        host: where its screen is.
        port: likewise; 5900 with a unix socket, for those who want a number.
    """

    def __init__(
        self,
        folder: Path,
        *,
        password: str | None,
        vnc: Sequence[str] = (),
        options: Sequence[str] = (),
        unix: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        disk = folder / "disk.img"
        disk.write_bytes(boot_sector())
        control = folder / "qmp"
        where = ["unix:vnc"] if unix else [f"127.0.0.1:{_FIRST_DISPLAY}", f"to={_LAST_DISPLAY}"]
        where += vnc
        if password is not None:
            where.append("password=on")
        self.process = Process(
            "qemu",
            [
                program("qemu-system-x86_64", PACKAGE),
                *("-machine", "pc,accel=tcg", "-m", "16", "-nodefaults", "-no-user-config", "-vga", "std"),
                *("-net", "none", "-display", "none", "-no-reboot", "-boot", "order=c,menu=off"),
                *("-drive", f"file={disk},format=raw,if=ide,snapshot=on"),
                *("-qmp", "unix:qmp,server=on,wait=off"),  # relative, for the same reason
                *SAYS_KEYS,
                *options,
                *("-vnc", ",".join(where)),
            ],
            folder,
        )
        try:
            self._qmp = self.process.wait_for(lambda: self._connect(control), "QEMU listens for QMP")
            self.host = f"unix:{folder / 'vnc'}" if unix else "127.0.0.1"
            self.port = _DISPLAY_PORT if unix else int(str(self._query_vnc()["service"]))
            if password is not None:
                self.set_password(password)
            self.process.wait_for(lambda: BANNER in self.screen_text(), "the guest is ready")
        except BaseException:
            self.process.stop()
            raise

    @staticmethod
    def _connect(path: Path) -> Qmp | None:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            return Qmp(path)
        return None

    def _query_vnc(self) -> Mapping[str, object]:
        info = self._qmp.execute("query-vnc")
        assert isinstance(info, dict)
        return info

    def viewers(self) -> int:
        """How many VNC clients it serves at this moment."""
        clients = self._query_vnc()["clients"]
        assert isinstance(clients, list)
        return len(clients)

    def websocket_port(self) -> int:
        """Where it speaks RFB over WebSocket (``vnc=["websocket=on"]``)."""
        servers = self._qmp.execute("query-vnc-servers")
        assert isinstance(servers, list)
        (port,) = (int(entry["service"]) for server in servers for entry in server["server"] if entry["websocket"])
        return port

    def set_password(self, password: str) -> None:
        self._qmp.execute("set_password", protocol="vnc", password=password)

    def expire_password(self) -> None:
        """From now on the right password is wrong, too."""
        self._qmp.execute("expire_password", protocol="vnc", time="now")

    def screendump(self) -> Picture:
        """What QEMU itself says the screen looks like."""
        path = self._folder / "screen.ppm"
        self._qmp.execute("screendump", filename=str(path))
        return from_ppm(path.read_bytes())

    def screen_text(self) -> list[str]:
        """The lines that stand on the guest's screen, read from its text memory."""
        path = self._folder / "text.bin"
        self._qmp.execute("pmemsave", val=TEXT_ADDRESS, size=TEXT_BYTES, filename=str(path))
        return text_lines(path.read_bytes())

    def send_keys(self, *codes: str) -> None:
        """Press and release keys, one after the other, by QEMU's names for them."""
        for code in codes:
            self._qmp.execute("send-key", keys=[{"type": "qcode", "data": code}])

    def wait_for_line(self, text: str, within_s: float = PATIENCE_S) -> None:
        """Wait until ``text`` is a line on the guest's screen."""
        try:
            wait_for(lambda: text in self.screen_text(), f"the guest shows {text!r}", within_s=within_s)
        except NotInTime as late:
            late.add_note("\n".join(["it shows", *filter(None, self.screen_text())]))
            raise

    def shut_down(self) -> None:
        """End it in peace, as an operator's stop of the machine does."""
        self._qmp.execute("quit")
        self.process.wait_until_ended()

    def stop(self) -> None:
        self._qmp.close()
        self.process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
