"""The system VM's other boots: bad parameters, a guest agent's, an ISO in the drive, a power cut."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import StartQemu
from .rfb_client import rfb_client
from .system_vm import CLOSED_S, NAME, SLOW_S, SystemVm, authorized_key, other_iso, parameters
from .test_system_vm import NEWER, assert_alive, in_use, note, running_version

pytestmark = [pytest.mark.systemvm]


def test_what_is_wrong_is_said_on_the_console(tmp_path: Path) -> None:
    """Of the kernel's command line; every fault at once, by the parameter's name."""
    with SystemVm(tmp_path / "vm", kernel_line=parameters(gateway=None, vncport="0", eth1mask="255.0.255.0")) as vm:
        vm.wait_for_line("trio-cpvm: the console proxy is not started")
        said = re.findall(r"^trio-cpvm: (.*?)\r*$", vm.console(), re.MULTILINE)
        assert said == [
            "boot parameter eth1mask=255.0.255.0: expected a netmask such as 255.255.255.0",
            "boot parameter gateway is missing",
            "boot parameter vncport=0: expected a port, 1 to 65535",
            "the console proxy is not started",
        ]
        assert vm.status("eth2", 80, patience_s=CLOSED_S) == 0


def test_an_iso_in_the_drive_a_guest_agent_and_a_power_cut(tmp_path: Path, start_qemu: StartQemu) -> None:
    """Patched while it boots; and what it was patched to is what comes up after the power has gone."""
    iso, build = other_iso(tmp_path, "newer", NEWER)
    line = parameters(authorized_key=authorized_key(tmp_path / "ssh-key"))
    qemu = start_qemu(password=None)
    with SystemVm(tmp_path / "vm", cd=iso) as vm:
        vm.tell_agent(line.replace(" ", "%"))
        vm.wait_until_ready()
        vm.wait_for_line(f"patched: {re.escape(build)} is in use")
        vm.restart()
        vm.tell_agent(line.replace(f"name={NAME}", "name=v-4-VM").replace(" ", "%"))
        seconds = vm.wait_until_ready(2)
        note(f"boot after a power cut, until the page answers: {seconds:.0f} s")
        assert (in_use(vm), running_version(vm)) == (build, "9.9.9")
        assert vm.ssh("hostname") == "v-4-VM\n", "parameters of an earlier boot do not count"
        assert vm.ssh("systemctl --failed --no-legend") == ""
        made = tmp_path / "made-key.json"
        made.write_text(vm.ssh("cat /etc/trio-cpvm/token-key.json"), "ascii")
        with rfb_client(vm.mint(made, qemu.port, None).websocket_url, patience_s=SLOW_S) as client:
            client.handshake()
            assert_alive(client)
