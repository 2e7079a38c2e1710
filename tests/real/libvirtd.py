"""A libvirt daemon of the test's own, with QEMU domains that run the guest of ``guest.py``.

Run by root it drops to ``nobody``: libvirt then works as a session daemon, which keeps everything in the folders that
it is told, so that it cannot meet a libvirt that serves this machine. No systemd, no KVM, no network.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self
from urllib.parse import quote

from .guest import BANNER, TEXT_ADDRESS, TEXT_BYTES, boot_sector, text_lines
from .pictures import Picture, from_ppm
from .processes import PATIENCE_S, Process, program, wait_for

PACKAGE = "libvirt-daemon-system"

_NOBODY = 65534

#: Ports of its own, away from those of other tests' QEMUs; and no second daemon that writes the logs.
_QEMU_CONF = """
remote_display_port_min = 16900
remote_display_port_max = 17900
stdio_handler = "file"
"""
_LIBVIRTD_CONF = """
auth_unix_rw = "none"
log_outputs = "3:stderr"
"""

_DOMAIN = """
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>16</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='{disk}'/><target dev='hda' bus='ide'/>
    </disk>
    {graphics}
    <video><model type='vga'/></video>
    <memballoon model='none'/>
  </devices>
</domain>
"""


class Libvirtd:
    """A running libvirt daemon.

    Attributes:
        uri: where clients find it.
    """

    def __init__(self) -> None:
        # A socket's path may not be long, and pytest's own folders are closed to others.
        self._folder = Path(tempfile.mkdtemp(prefix="trio-cpvm-libvirt-"))
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            **{f"XDG_{name}": str(self._folder / name.lower()) for name in _FOLDERS},
        }
        for name in _FOLDERS:
            (self._folder / name.lower()).mkdir()
        qemu = self._folder / "config_home" / "libvirt" / "qemu.conf"
        qemu.parent.mkdir()
        qemu.write_text(_QEMU_CONF, "utf-8")
        (self._folder / "libvirtd.conf").write_text(_LIBVIRTD_CONF, "utf-8")
        self._socket = self._folder / "runtime_dir" / "libvirt" / "libvirt-sock"
        self.uri = f"qemu:///session?socket={quote(str(self._socket))}"
        self._virsh = program("virsh", "libvirt-clients")
        self.process = self._start()

    def _start(self) -> Process:
        argv = [program("libvirtd", PACKAGE), "--config", str(self._folder / "libvirtd.conf")]
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{_NOBODY}:{_NOBODY}", str(self._folder)], check=True)
            argv = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", *argv]
        process = Process("libvirtd", argv, self._folder, env=self._environment)
        try:
            process.wait_for(lambda: self._call("list").returncode == 0, "libvirtd answers")
        except BaseException:
            process.stop()
            raise
        return process

    def restart(self) -> None:
        """End the daemon and start it again. Its domains go on meanwhile."""
        self.process.stop()
        self.process = self._start()

    def add_domain(self, name: str, graphics: str, *, running: bool = True) -> str:
        """A domain whose screen is where ``graphics`` says; its UUID."""
        disk = self._folder / f"{name}.img"
        disk.write_bytes(boot_sector())
        disk.chmod(0o666)
        description = self._folder / f"{name}.xml"
        description.write_text(_DOMAIN.format(name=name, disk=disk, graphics=graphics), "utf-8")
        self.virsh("define", str(description))
        if running:
            self.virsh("start", name)
            self.wait_for_line(name, BANNER)
        return self.virsh("domuuid", name).strip()

    def screendump(self, name: str) -> Picture:
        """What QEMU itself says that a domain's screen looks like."""
        path = self._folder / "screen.ppm"
        self._monitor(name, "screendump", filename=str(path))
        return from_ppm(path.read_bytes())

    def wait_for_line(self, name: str, text: str) -> None:
        """Wait until ``text`` is a line on a domain's screen."""
        wait_for(lambda: text in self._screen_text(name), f"{name} shows {text!r}")

    def _screen_text(self, name: str) -> list[str]:
        path = self._folder / "text.bin"
        self._monitor(name, "pmemsave", val=TEXT_ADDRESS, size=TEXT_BYTES, filename=str(path))
        return text_lines(path.read_bytes())

    def _monitor(self, name: str, command: str, **arguments: object) -> None:
        """A command of QEMU's own, which libvirt passes on."""
        self.virsh("qemu-monitor-command", name, json.dumps({"execute": command, "arguments": arguments}))

    def virsh(self, *arguments: str) -> str:
        """Run one command.

        Raises:
            AssertionError: it failed.
        """
        done = self._call(*arguments)
        assert done.returncode == 0, f"virsh {' '.join(arguments)}: {done.stderr}\n{self.process.output()[-2000:]}"
        return done.stdout

    def _call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._virsh, "--connect", self.uri, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env=self._environment,
            check=False,
        )

    def stop(self) -> None:
        """End all domains, then the daemon."""
        try:
            for name in self._call("list", "--name").stdout.split():
                self._call("destroy", name)
        finally:
            self.process.stop()
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


_FOLDERS = ("CONFIG_HOME", "CACHE_HOME", "DATA_HOME", "RUNTIME_DIR")
