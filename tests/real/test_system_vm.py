"""The system VM that `make systemvm` builds, booted once: what is in it, a console through it, and newer versions."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import pytest

from trio_cpvm import __version__

from .browser import ConsolePage
from .conftest import StartQemu
from .daemon import as_toml
from .processes import PATIENCE_S, wait_for
from .rfb_client import RfbClient, rfb_client
from .system_vm import (
    BUILT,
    CLOSED_S,
    ISO,
    ISO_TREE,
    NAME,
    PORTS,
    SLOW_S,
    VM_PASSWORD,
    SystemVm,
    Watcher,
    authorized_key,
    build_of,
    other_iso,
    parameters,
)

pytestmark = [pytest.mark.systemvm]

#: How long consoles may go on after a newer version has taken over, in seconds.
DRAIN_S = 15.0
#: Which ports are open, on which interface.
OPEN = {("eth0", 3922), ("eth0", 8001), ("eth1", 3922), ("eth1", 8001), ("eth2", 80), ("eth2", 443), ("eth2", 8080)}
#: What ``systemd-analyze security`` may say at most, in tenths.
EXPOSURE = 14
#: Memory that has to be left of 1 GiB, in MiB.
LEFT_MIB = 600

NEWER = {"trio_cpvm/__init__.py": (__version__.encode(), b"9.9.9")}
DEAD_AT_START = {
    "trio_cpvm/daemon.py": (b"    _raise_file_limit()\n    manager", b"    raise SystemExit(3)\n    manager")
}


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory, key: Path) -> Iterator[SystemVm]:
    """One boot for all tests of this file, which go on with what the ones before have left."""
    folder = tmp_path_factory.mktemp("system-vm")
    settings = as_toml({"server": {"drain_timeout_s": DRAIN_S}, "session": {"second_viewer": "share"}})
    line = parameters(authorized_key=authorized_key(folder / "ssh-key"))
    with SystemVm(folder / "vm", seed={"cmdline": line, "token-key.json": key, "settings.toml": settings}) as running:
        seconds = running.wait_until_ready()
        note(f"boot, until the page answers: {seconds:.0f} s")
        yield running
        (folder / "journal.log").write_text(running.ssh("journalctl --no-pager"), "utf-8")
        said = running.console() + running.ssh("journalctl --boot --no-pager --output=cat")
        assert VM_PASSWORD not in said
        assert "Traceback" not in said


def note(figure: str) -> None:
    """A figure for `make systemvm-test` to show."""
    with (BUILT / "figures.txt").open("a") as file:
        file.write(figure + "\n")


def main_pid(vm: SystemVm) -> int:
    return int(vm.ssh(f"systemctl show --property=MainPID --value trio-cpvm@{in_use(vm)}.service"))


def in_use(vm: SystemVm) -> str:
    """The version that the VM would boot into."""
    return vm.ssh("readlink /opt/trio-cpvm/current").strip().removeprefix("versions/")


def running_version(vm: SystemVm) -> str:
    """What the daemon says it is."""
    with urlopen(f"http://127.0.0.1:{vm.forwarded('eth1', 8001)}/sessions", timeout=PATIENCE_S) as answer:
        found = json.load(answer)
    return str(found["version"])


def assert_alive(*clients: RfbClient) -> None:
    for client in clients:
        client.ask_for_corner()
    for client in clients:
        client.read_corner()


# -- as it has booted --------------------------------------------------------------------------------------------------


def test_the_boot_is_clean(vm: SystemVm) -> None:
    assert vm.ssh("systemctl is-system-running --wait").strip() == "running"
    assert vm.ssh("systemctl --failed --no-legend") == ""
    faults = vm.ssh("journalctl --boot --quiet --no-pager --output=short --priority=err").splitlines()
    if any("kernel: rcu: " in line for line in faults):  # this machine was too busy to let it run for seconds
        faults = [line for line in faults if " kernel: " not in line]
    assert faults == []
    assert in_use(vm) == build_of(ISO_TREE)
    times = vm.ssh("systemd-analyze")
    note(times.splitlines()[0])


def test_it_fits_into_1_gib(vm: SystemVm) -> None:
    found = {name: int(value) for name, value in re.findall(r"(\w+): +(\d+) kB", vm.ssh("cat /proc/meminfo"))}
    note(f"memory: {found['MemTotal'] // 1024} MiB, {found['MemAvailable'] // 1024} MiB of them available")
    assert found["MemAvailable"] // 1024 >= LEFT_MIB
    *_, used, available = vm.ssh("df --output=used,avail --block-size=1M / | tail -n 1").split()
    note(f"disk: {used} MiB used, {available} MiB available")


def test_the_daemon_may_do_nothing_special(vm: SystemVm) -> None:
    status = vm.ssh(f"cat /proc/{main_pid(vm)}/status")
    users = re.search(r"^Uid:\t(\d+)\t(\d+)\t(\d+)\t(\d+)$", status, re.MULTILINE)
    assert users is not None
    assert set(users.groups()) == {vm.ssh("id --user trio-cpvm").strip()}
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert f"{kind}:\t0000000000000000\n" in status
    assert "NoNewPrivs:\t1\n" in status
    unit = f"trio-cpvm@{in_use(vm)}.service"
    said = vm.ssh(f"systemd-analyze security --no-pager --threshold={EXPOSURE} {unit}").splitlines()[-1]
    note(f"systemd-analyze security: {said.partition(': ')[2]}")


def test_only_the_console_ports_are_public(vm: SystemVm) -> None:
    """Tried from outside, and by what is listened on inside."""

    def is_open(where: tuple[str, int]) -> bool:
        interface, port = where
        patience_s = SLOW_S if where in OPEN else CLOSED_S
        if port not in (22, 3922):
            path = "/healthz" if port == 8001 else "/novnc/status"
            return vm.status(interface, port, path, patience_s=patience_s) == 200
        probe = [
            "ssh-keyscan",
            "-T",
            str(int(patience_s)),
            "-t",
            "ed25519",
            "-p",
            str(vm.forwarded(*where)),
            "127.0.0.1",
        ]
        return "ssh-ed25519" in subprocess.run(probe, capture_output=True, text=True, check=False).stdout

    tried = [(interface, port) for interface, ports in PORTS.items() for port in ports]
    with ThreadPoolExecutor(len(tried)) as pool:
        answers = dict(zip(tried, pool.map(is_open, tried), strict=True))
    assert {where for where, answered in answers.items() if answered} == OPEN
    listening = vm.ssh("ss --no-header --listening --tcp --udp --numeric")
    ports = {int(line.split()[4].rpartition(":")[2]) for line in listening.splitlines()}
    assert ports == {80, 443, 8080, 8001, 3922}
    rules = vm.ssh("nft list ruleset")
    assert rules.count("policy drop") == 2
    assert 'iifname "eth2" tcp dport { 80, 443, 8080 } accept' in rules


def test_the_network_is_as_the_platform_says(vm: SystemVm) -> None:
    assert "via 10.0.3.2 dev eth1 " in vm.ssh("ip route get 172.16.9.9")
    assert "via 10.0.3.2 dev eth1 " in vm.ssh("ip route get 192.168.77.1")
    assert "via 10.0.2.2 dev eth2 " in vm.ssh("ip route get 198.51.100.1")
    assert vm.ssh("cat /etc/resolv.conf") == "nameserver 10.0.2.3\n"
    assert vm.ssh("hostname").strip() == NAME
    assert vm.ssh("sysctl --values net.ipv4.conf.eth2.rp_filter net.ipv4.ip_forward").split() == ["1", "0"]
    assert vm.ssh("timedatectl show --property=NTP --value").strip() == "yes"


def test_the_vm_password_is_nowhere(vm: SystemVm) -> None:
    """Neither in a log nor in a file, but for what the platform itself has put there."""
    assert vm.ssh(f"grep --recursive --files-with-matches {VM_PASSWORD} /etc /run /var /root /tmp || true") == ""


@pytest.mark.browser
def test_a_console_in_a_browser(
    vm: SystemVm, start_qemu: StartQemu, tab: ConsolePage, key: Path, password: str
) -> None:
    qemu = start_qemu(password=password)
    tab.open(vm.mint(key, qemu.port, password).url)
    tab.wait_for_state("connected", within_s=SLOW_S)
    tab.wait_for_picture(qemu.screendump, within_s=SLOW_S)
    tab.click()
    tab.type_line("Hello, system VM!")
    qemu.wait_for_line("Hello, system VM!", within_s=SLOW_S)
    tab.wait_for_picture(qemu.screendump, within_s=SLOW_S)


# -- versions that cannot be used --------------------------------------------------------------------------------------


def damaged(folder: Path) -> tuple[Path, str]:
    """A byte of the package is another one."""
    content = bytearray(ISO.read_bytes())
    (wheel,) = (ISO_TREE / "wheels").glob("trio_cpvm-*.whl")
    content[content.index(wheel.read_bytes()[:4096]) + 2000] ^= 1
    iso = folder / "damaged.iso"
    iso.write_bytes(content)
    return iso, "the ISO is damaged"


def dead_at_start(folder: Path) -> tuple[Path, str]:
    """Sealed well, but its daemon ends before it is ready."""
    iso, build = other_iso(folder, "dead", DEAD_AT_START)
    return iso, f"{build} does not become ready; {build_of(ISO_TREE)} is still in use"


@pytest.mark.parametrize("broken", [damaged, dead_at_start])
def test_a_broken_version_changes_nothing(
    vm: SystemVm, broken: object, tmp_path: Path, key: Path, start_qemu: StartQemu
) -> None:
    assert callable(broken)
    iso, why = broken(tmp_path)
    qemu = start_qemu(password=None)
    console = vm.mint(key, qemu.port, None)
    before = [in_use(vm), main_pid(vm), vm.ssh("ls /opt/trio-cpvm/versions"), vm.ssh("md5sum /etc/trio-cpvm/*")]
    with Watcher(vm) as watcher, rfb_client(console.websocket_url, patience_s=SLOW_S) as client:
        client.handshake()
        vm.insert(iso)
        vm.wait_for_line(f"not patched: {re.escape(why)}")
        assert_alive(client)
    assert watcher.statuses.keys() == {200}
    with rfb_client(vm.mint(key, qemu.port, None).websocket_url, patience_s=SLOW_S) as client:
        client.handshake()
        assert_alive(client)
    after = [in_use(vm), main_pid(vm), vm.ssh("ls /opt/trio-cpvm/versions"), vm.ssh("md5sum /etc/trio-cpvm/*")]
    assert after == before
    patched = vm.ssh("systemctl --failed --no-legend --plain | cut -d' ' -f1").split()
    assert patched == ["trio-cpvm-patch@sr0.service"]
    vm.ssh("systemctl reset-failed")


# -- a version that can ------------------------------------------------------------------------------------------------


def test_a_newer_version_takes_over_under_running_consoles(
    vm: SystemVm, tmp_path: Path, key: Path, start_qemu: StartQemu
) -> None:
    old = in_use(vm)
    iso, build = other_iso(tmp_path, "newer", NEWER)
    qemu = start_qemu(password=None)
    short, long, later = (vm.mint(key, qemu.port, None) for _ in range(3))
    with Watcher(vm) as watcher, contextlib.ExitStack() as stack:
        stays = stack.enter_context(rfb_client(long.websocket_url, patience_s=SLOW_S))
        with rfb_client(short.websocket_url, patience_s=SLOW_S) as ends:
            for client in (stays, ends):
                client.handshake()
            vm.insert(iso)
            vm.wait_for_line(f"patched: {re.escape(build)} is in use; before it, {re.escape(old)}")
            assert_alive(stays, ends)
        with rfb_client(later.websocket_url, patience_s=SLOW_S) as new:
            new.handshake()
            assert_alive(new)
            code, reason = stays.closed()
            assert (code, reason.partition(":")[0]) == (4412, "draining")
            assert_alive(new)
    note(
        f"page asked for {sum(watcher.statuses.values())} times while patched, slowest answer {watcher.slowest_s:.1f} s"
    )
    assert watcher.statuses.keys() == {200}
    assert running_version(vm) == "9.9.9"
    assert in_use(vm) == build
    wait_for(lambda: "inactive" in vm.ssh(f"systemctl is-active trio-cpvm@{old} || true"), "it ends", within_s=SLOW_S)
    ended = vm.ssh(f"journalctl --boot --no-pager --output=cat --unit=trio-cpvm@{old} | grep 'session ended'")
    assert sorted(re.findall(r"reason=(\S+)", ended))[-2:] == ["closed-by-user", "draining"]
    assert vm.ssh("systemctl --failed --no-legend") == ""


def test_the_same_version_again_changes_nothing(vm: SystemVm) -> None:
    before = main_pid(vm)
    said = vm.ssh("mount -o ro /dev/sr0 /mnt && /mnt/install 2>&1; umount /mnt")
    assert said.strip() == f"trio-cpvm: {in_use(vm)} is in use already"
    assert main_pid(vm) == before
