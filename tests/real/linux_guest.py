"""A Linux machine in QEMU, whose keyboard layout the tests choose, and which tells what was typed on its console.

Debian's kernel starts one shell script. What is typed on the console's first terminal goes to a serial line, line by
line as programs get it; over another one the script is told which keymap to load.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import attrs
import pytest

from .processes import PATIENCE_S, Process, program, wait_for
from .qemu import PACKAGE, SAYS_KEYS, Qmp

#: Where tools/setup.sh puts what it takes out of Debian's packages.
PARTS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trio-cpvm" / "linux-guest"

#: How long the machine may take to start, in seconds; 4 on an idle machine.
BOOT_S = 60.0

_MEMORY_MB = 192

_INIT = b"""\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
stty raw -echo < /dev/ttyS0
stty raw -echo < /dev/ttyS1
setsid sh -c 'stty -echo; echo the console is ready > /dev/tty1; exec cat' < /dev/tty1 > /dev/ttyS1 &
exec < /dev/ttyS0 > /dev/ttyS0 2>&1
echo ready
while read -r line; do
  if [ "$line" = END ]; then
    loadkeys --unicode /map < /dev/tty1 > /dev/null
    echo "loaded: $?"
    : > /map
  else
    echo "$line" >> /map
  fi
done
"""


@attrs.frozen
class Keymap:
    """A keyboard layout as XKB names it."""

    layout: str
    variant: str = ""
    model: str = "pc105"


US = Keymap("us")


def _part(name: str) -> Path:
    path = PARTS / name
    if not path.exists():
        pytest.fail(f"{path} is missing: run `tools/setup.sh peers`", pytrace=False)
    return path


def console_keymap(keymap: Keymap) -> str:
    """The layout for Linux' console, as Debian makes it out of XKB's (console-setup's ckbcomp)."""
    names = [keymap.layout, keymap.variant, keymap.model]
    options = [word for pair in zip(("-layout", "-variant", "-model"), names, strict=True) for word in pair if pair[1]]
    done = subprocess.run(
        ["perl", _part("ckbcomp"), "-compact", "-I/usr/share/X11/xkb", *options],
        capture_output=True,
        check=True,
        timeout=PATIENCE_S,
        encoding="utf-8",
    )
    return done.stdout


def _archive(entries: Iterable[tuple[str, int, bytes]]) -> bytes:
    """An initial file system of names, modes and contents (kernel: Documentation/driver-api/early-userspace)."""
    out = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        label = name.encode() + b"\0"
        device = (5, 1) if name == "dev/console" else (0, 0)
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(label), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + label
        out += bytes(-len(out) % 4) + content
        out += bytes(-len(out) % 4)
    return bytes(out)


def _initial_files() -> bytes:
    """The script, busybox, and loadkeys with the libraries of this machine that it needs."""
    folder, executable, character_device = 0o40755, 0o100755, 0o20600
    loadkeys = _part("loadkeys")
    needed = subprocess.run(["ldd", loadkeys], capture_output=True, check=True, timeout=PATIENCE_S, encoding="utf-8")
    libraries = [Path(found) for found in re.findall(r"(/\S+) \(", needed.stdout)]
    folders = {"bin", "dev"} | {str(parent)[1:] for library in libraries for parent in library.parents[:-1]}
    return _archive(
        [
            *((name, folder, b"") for name in sorted(folders)),
            ("dev/console", character_device, b""),
            ("init", executable, _INIT),
            ("bin/busybox", executable, _part("busybox").read_bytes()),
            ("bin/loadkeys", executable, loadkeys.read_bytes()),
            *((str(library)[1:], executable, library.read_bytes()) for library in libraries),
        ]
    )


class LinuxGuest:
    """A running machine with its screen on VNC.

    Args:
        folder: where its files go.
        keymap: the guest's keyboard layout.
        options: more for QEMU's command line, such as ``-k``.
        vnc: more for the value of ``-vnc``.

    Attributes:
        host: where its screen is.
        port: likewise.
    """

    host = "127.0.0.1"

    def __init__(
        self, folder: Path, *, keymap: Keymap = US, options: Sequence[str] = (), vnc: Sequence[str] = ()
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._typed_file = folder / "typed"
        self._read = 0
        files = folder / "initrd"
        files.write_bytes(_initial_files())
        self.process = Process(
            "linux",
            [
                program("qemu-system-x86_64", PACKAGE),
                *("-machine", "pc,accel=tcg", "-m", str(_MEMORY_MB), "-nodefaults", "-no-user-config", "-vga", "std"),
                *("-net", "none", "-display", "none", "-no-reboot"),
                *("-kernel", str(_part("vmlinuz")), "-initrd", str(files), "-append", "quiet console=tty0"),
                *("-serial", "unix:control,server=on,wait=off", "-serial", f"file:{self._typed_file}"),
                *("-qmp", "unix:qmp,server=on,wait=off"),  # relative: a socket's path may not be long
                *SAYS_KEYS,
                *options,
                *("-vnc", ",".join(["127.0.0.1:200", "to=1199", *vnc])),
            ],
            folder,
        )
        self._control: socket.socket | None = None
        self._qmp: Qmp | None = None
        try:
            self._qmp = self.process.wait_for(self._connect_qmp, "QEMU listens for QMP")
            info = self._qmp.execute("query-vnc")
            assert isinstance(info, dict)
            self.port = int(info["service"])
            self._control = self.process.wait_for(self._connect_control, "the serial line is there")
            self._wait_for_answer("ready", within_s=BOOT_S)
            self.load(keymap)
        except BaseException:
            self.stop()
            raise

    def _connect_qmp(self) -> Qmp | None:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            return Qmp(self._folder / "qmp")
        return None

    def _connect_control(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX)
        folder = os.open(self._folder, os.O_PATH)
        try:
            connection.connect(f"/proc/self/fd/{folder}/control")
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        finally:
            os.close(folder)
        return connection

    def _wait_for_answer(self, answer: str, within_s: float = PATIENCE_S) -> None:
        assert self._control is not None
        self._control.settimeout(within_s)
        received = b""
        while not received.endswith(b"\n") or answer.encode() not in received:
            piece = self._control.recv(4096)
            assert piece, f"the guest is gone before: {answer}\n{received!r}"
            received += piece
            assert b"loaded: 1" not in received, received.decode("utf-8", "replace")

    def load(self, keymap: Keymap) -> None:
        """Set its keyboard layout."""
        assert self._control is not None
        self._control.sendall(console_keymap(keymap).encode() + b"END\n")
        self._wait_for_answer("loaded: 0")

    def typed(self) -> str:
        """What was typed since the last ``wait_for_typed``, as far as it was ended with Enter."""
        return self._typed_file.read_bytes()[self._read :].decode("utf-8", "replace")

    def wait_for_typed(self, lines: int, within_s: float = PATIENCE_S) -> str:
        """Wait for this many further lines; the text of them."""
        wait_for(lambda: self.typed().count("\n") >= lines, f"{lines} lines were typed", within_s=within_s)
        text = self.typed()
        self._read += len(text.encode())
        return text

    def stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._qmp is not None:
            self._qmp.close()
        self.process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
