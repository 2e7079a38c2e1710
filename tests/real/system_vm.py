"""The system VM as a platform runs it: the image that was built, three networks, boot parameters, a CD drive.

Software emulation only, one core, 1 GiB. Ports of each interface are reached through QEMU's user networks, and what is
inside over ssh. Everything in it is slow, on a busy machine several times more: deadlines are minutes.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
import shutil
import ssl
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import pytest

from .daemon import Console, as_toml, command
from .processes import Process, free_port, program, wait_for
from .qemu import PACKAGE, Qmp

BUILT = Path(__file__).parents[2] / "build" / "systemvm"
IMAGE = BUILT / "trio-cpvm-systemvm.qcow2"
ISO = BUILT / "systemvm.iso"
ISO_TREE = BUILT / "iso"

#: How long a boot or a patch may take, in seconds; about 30 on an idle machine.
SLOW_S = 420.0
#: How long one command inside may take, in seconds.
COMMAND_S = 120.0
#: A port that answers nothing for so long, in seconds, is closed.
CLOSED_S = 8.0

NAME = "v-3-VM"
#: What must be nowhere but in the boot parameters themselves.
VM_PASSWORD = "hush-4711-hush"
PARAMETERS: Mapping[str, str] = {
    "template": "domP",
    "type": "consoleproxy",
    "host": "172.16.9.9@static",
    "port": "8250",
    "name": NAME,
    "zone": "1",
    "guid": "Proxy.3",
    "proxy_vm": "3",
    "premium": "true",
    "vmpassword": VM_PASSWORD,
    "eth0ip": "169.254.3.4",
    "eth0mask": "255.255.0.0",
    "eth1ip": "10.0.3.15",
    "eth1mask": "255.255.255.0",
    "localgw": "10.0.3.2",
    "eth2ip": "10.0.2.15",
    "eth2mask": "255.255.255.0",
    "gateway": "10.0.2.2",
    "dns1": "10.0.2.3",
    "vncport": "8080",
}
#: This machine's own 127.0.0.1, as the VM sees it on its management network.
HOST_ADDRESS = "10.0.3.2"
#: Which port of which interface can be tried from outside.
PORTS = {"eth0": (22, 80, 3922, 8001), "eth1": (22, 80, 443, 3922, 8001), "eth2": (22, 80, 443, 3922, 8001, 8080)}
_NETWORKS = {
    "eth0": ("net=169.254.0.0/16,host=169.254.0.1", "169.254.3.4"),
    "eth1": ("net=10.0.3.0/24", "10.0.3.15"),
    "eth2": ("net=10.0.2.0/24", "10.0.2.15"),
}
#: What GRUB says to the kernel.
_KERNEL_LINE = "root=LABEL=cpvm-root ro net.ifnames=0 console=tty0 console=ttyS0,115200 quiet"


def parameters(**changes: str | None) -> str:
    """A line of boot parameters; ``None`` leaves one out."""
    words = {**PARAMETERS, **changes}
    return " ".join(f"{name}={value}" for name, value in words.items() if value is not None)


def make_iso(folder: Path, label: str, target: Path) -> Path:
    """An ISO of a folder."""
    run(program("xorriso", "xorriso"), "-as", "mkisofs", "-quiet", "-V", label, "-r", "-J", "-o", target, folder)
    return target


def run(*argv: str | Path) -> str:
    """A program's output; the test fails with what it says if it does."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def build_of(tree: Path) -> str:
    """What a version is called."""
    return (tree / "build").read_text("ascii").strip()


class SystemVm:
    """A running system VM.

    Args:
        folder: where its files go.
        seed: files of the drive with the operator's own; none: there is no such drive.
        cd: what is in the CD drive at boot.
        kernel_line: boot the image's kernel directly, with this behind its command line.

    Attributes:
        ssh_key: the private key that may log in, if ``authorized_key()`` is among the boot parameters.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: Mapping[str, str | Path] | None = None,
        cd: Path | None = None,
        kernel_line: str | None = None,
    ) -> None:
        for needed in (IMAGE, ISO):
            if not needed.exists():
                pytest.fail(f"{needed} is missing: run `make systemvm`", pytrace=False)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.serial = folder / "serial.log"
        self.ssh_key = folder.parent / "ssh-key"
        self._ssh_master: Process | None = None
        overlay = folder / "disk.qcow2"
        run(program("qemu-img", "qemu-utils"), "create", "-q", "-f", "qcow2", "-b", IMAGE, "-F", "qcow2", overlay)
        drives = ["-drive", f"file={overlay},if=virtio,cache=unsafe"]
        if seed is not None:
            drives += ["-drive", f"file={self._seed(seed)},if=virtio,format=raw,readonly=on"]
        medium = f"file={cd},format=raw,readonly=on," if cd is not None else ""
        drives += ["-drive", f"{medium}if=none,id=cd,media=cdrom", "-device", "ide-cd,drive=cd,id=cd0"]
        kernel = self._kernel(kernel_line) if kernel_line is not None else []
        self._forwarded = {(name, port): free_port() for name, ports in PORTS.items() for port in ports}
        self.started_at = time.monotonic()
        self.process = Process(
            "system-vm",
            [
                program("qemu-system-x86_64", PACKAGE),
                *("-machine", "pc,accel=tcg", "-m", "1024", "-smp", "1", "-nodefaults", "-no-user-config"),
                *("-display", "none", "-serial", "file:serial.log", "-qmp", "unix:qmp,server=on,wait=off"),
                *drives,
                *self._networks(),
                *("-device", "virtio-serial", "-chardev", "socket,path=agent,server=on,wait=off,id=agent"),
                *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
                *("-device", "virtio-rng-pci"),
                *kernel,
            ],
            folder,
        )
        try:
            self._qmp = self.process.wait_for(self._connect, "QEMU listens for QMP")
        except BaseException:
            self.process.stop()
            raise

    def _seed(self, files: Mapping[str, str | Path]) -> Path:
        tree = self._folder / "seed"
        tree.mkdir()
        for name, content in files.items():
            (tree / name).write_bytes(content.encode() if isinstance(content, str) else content.read_bytes())
        return make_iso(tree, "CPVM-SEED", self._folder / "seed.iso")

    def _kernel(self, line: str) -> list[str]:
        """Kernel and initial RAM disk, taken out of the image's file system."""
        disk = self._folder / "disk.raw"
        run("qemu-img", "convert", "-O", "raw", IMAGE, disk)
        debugfs = shutil.which("debugfs") or "/sbin/debugfs"
        partition = f"{disk}?offset={1 << 20}"
        found = run(debugfs, "-R", "ls -p /boot", partition)
        for name in ("vmlinuz", "initrd.img"):
            (full,) = re.findall(rf"/({re.escape(name)}-[^/]*)/", found)
            run(debugfs, "-R", f"dump /boot/{full} {self._folder / name}", partition)
        disk.unlink()
        append = f"{_KERNEL_LINE} {line}"
        return ["-kernel", "vmlinuz", "-initrd", "initrd.img", "-append", append]

    def _networks(self) -> Iterator[str]:
        for name, (network, address) in _NETWORKS.items():
            forwards = [f"hostfwd=tcp:127.0.0.1:{self._forwarded[name, port]}-{address}:{port}" for port in PORTS[name]]
            yield from ("-netdev", ",".join([f"user,id={name}", network, *forwards]))
            yield from ("-device", f"virtio-net-pci,netdev={name},romfile=")

    def _connect(self) -> Qmp | None:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            return Qmp(self._folder / "qmp")
        return None

    # -- what it says

    def console(self) -> str:
        """What has been said on the serial console."""
        return self.serial.read_text("utf-8", "replace") if self.serial.exists() else ""

    def wait_for_line(self, pattern: str, number: int = 1) -> str:
        """Wait until the serial console has said something so many times; the last time then."""

        def said() -> str | None:
            console = self.console()
            assert "Kernel panic" not in console
            found = re.findall(pattern, console)
            return found[number - 1] if len(found) >= number else None

        try:
            return self.process.wait_for(said, f"the console says {pattern!r}", within_s=SLOW_S)
        except AssertionError as late:
            late.add_note(f"the serial console said:\n{self.console()[-4000:]}")
            raise

    def wait_until_ready(self, number: int = 1) -> float:
        """Wait for the end of a boot; how many seconds since the start."""
        self.wait_for_line("is a console proxy on .*", number)
        self.wait_for_line("login: ", number)
        wait_for(lambda: self.status("eth2", 80) == 200, "the page answers", within_s=SLOW_S)
        return time.monotonic() - self.started_at

    # -- what it is told

    def insert(self, iso: Path) -> None:
        """Put another medium into the CD drive; the VM looks every two seconds."""
        self._qmp.execute("blockdev-change-medium", id="cd0", filename=str(iso), format="raw", force=True)

    def tell_agent(self, line: str) -> None:
        """Boot parameters by way of the guest agent, once that is there."""
        agent = GuestAgent(self._folder / "agent")
        try:
            agent.write_file("/var/cache/cloud/cmdline", line)
        finally:
            agent.close()

    def ssh(self, line: str) -> str:
        """What a command line inside prints, as root."""
        if self._ssh_master is None:
            self._ssh_master = self._start_ssh()
        done = subprocess.run(
            ["ssh", "-S", "ssh", "vm", line], cwd=self._folder, capture_output=True, timeout=COMMAND_S, check=False
        )
        said = done.stdout.decode(errors="replace")
        assert done.returncode == 0, f"{line}: {done.returncode}\n{said}{done.stderr.decode(errors='replace')}"
        return said

    def _start_ssh(self) -> Process:
        """One connection for all commands: the handshake is the slow part."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=60", "LogLevel=ERROR"]
        master = Process(
            "ssh",
            [
                *(
                    program("ssh", "openssh-client"),
                    "-F",
                    "none",
                    "-M",
                    "-S",
                    "ssh",
                    "-N",
                    "-T",
                    "-i",
                    str(self.ssh_key),
                ),
                *[word for option in options for word in ("-o", option)],
                *("-p", str(self._forwarded["eth0", 3922]), "root@127.0.0.1"),
            ],
            self._folder,
        )
        master.wait_for(lambda: (self._folder / "ssh").exists(), "somebody may log in", within_s=COMMAND_S)
        return master

    def restart(self) -> None:
        """Turn it off and on again, without a warning."""
        self.hang_up()
        self.started_at = time.monotonic()
        self._qmp.execute("system_reset")

    def hang_up(self) -> None:
        if self._ssh_master is not None:
            self._ssh_master.stop()
            self._ssh_master = None

    # -- what it answers

    def forwarded(self, interface: str, port: int) -> int:
        """Where a port of an interface is on 127.0.0.1."""
        return self._forwarded[interface, port]

    def status(self, interface: str, port: int, path: str = "/novnc/status", *, patience_s: float = 60.0) -> int:
        """The status of an HTTP answer; 0: nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.forwarded(interface, port), timeout=patience_s)
        if port == 443:
            trust = ssl.create_default_context()
            trust.check_hostname = False
            trust.verify_mode = ssl.CERT_NONE
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.forwarded(interface, port), timeout=patience_s, context=trust
            )
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def mint(self, key: Path, port: int, password: str | None) -> Console:
        """A console of the VNC server at ``port`` of this machine's 127.0.0.1."""
        config = self._folder / "mint.toml"
        url = f"http://127.0.0.1:{self.forwarded('eth2', 80)}"
        config.write_text(as_toml({"server": {"public_url": url}, "token": {"key_files": [str(key)]}}), "utf-8")
        arguments = ["mint", "--config", str(config), "--host", HOST_ADDRESS, "--port", str(port), "--ttl-s", "900"]
        if password is not None:
            arguments += ["--password-file", "-"]
        return Console(command(*arguments, secret=password or "").strip())

    # -- the end

    def stop(self) -> None:
        self.hang_up()
        self._qmp.close()
        self.process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class GuestAgent(Qmp):
    """qemu-guest-agent inside, as KVM hosts of CloudStack use it (``patchviasocket.py``): QMP without a greeting."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, greeting=False, patience_s=SLOW_S)

    def write_file(self, path: str, text: str) -> None:
        """Write a file inside."""
        handle = self.execute("guest-file-open", path=path, mode="w")
        self.execute("guest-file-write", **{"handle": handle, "buf-b64": base64.b64encode(text.encode()).decode()})
        self.execute("guest-file-close", handle=handle)


def authorized_key(key: Path) -> str:
    """The boot parameter that lets somebody in; the key is made if there is none yet."""
    if not key.exists():
        run(program("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", key)
    return base64.b64encode(key.with_suffix(".pub").read_bytes()).decode()


class Watcher:
    """Asks for the page again and again, and notes each answer; within a ``with`` block, in a thread.

    Attributes:
        statuses: how often each was seen; 0: nobody answered.
        slowest_s: how long the slowest answer took, in seconds.
    """

    def __init__(self, vm: SystemVm, every_s: float = 0.2) -> None:
        self._vm = vm
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher")
        self.statuses: dict[int, int] = {}
        self.slowest_s = 0.0

    def _watch(self) -> None:
        while not self._over.wait(self._every_s):
            began = time.monotonic()
            status = self._vm.status("eth2", 80)
            self.statuses[status] = self.statuses.get(status, 0) + 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


# -- other versions of the ISO


def other_iso(folder: Path, name: str, changes: Mapping[str, tuple[bytes, bytes]]) -> tuple[Path, str]:
    """The ISO with other words in files of our own wheel, sealed anew; where it is, and what the version is called."""
    tree = folder / name
    shutil.copytree(ISO_TREE, tree)
    (wheel,) = (tree / "wheels").glob("trio_cpvm-*.whl")
    change_wheel(wheel, changes)
    iso = folder / f"{name}.iso"
    run(BUILT.parents[1] / "systemvm" / "build", "seal", tree, iso)
    return iso, build_of(tree)


def change_wheel(wheel: Path, changes: Mapping[str, tuple[bytes, bytes]]) -> None:
    """Replace words in files of a wheel; pip does not look at their checksums."""
    with zipfile.ZipFile(wheel) as old:
        entries = [(info, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as new:
        for info, data in entries:
            before, after = changes.get(info.filename, (b"", b""))
            assert before in data, info.filename
            new.writestr(info, data.replace(before, after, 1) if before else data)
