"""Boot parameters as CloudStack passes them, and what is said of those that cannot be used."""

from __future__ import annotations

import base64
import ipaddress

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm.systemvm.parameters import (
    MAX_LINE_CHARS,
    BootParameters,
    ParametersInvalid,
    read_parameters,
    split_parameters,
)

#: As a management server writes it (facts: ConsoleProxyManagerImpl.finalizeVirtualMachineProfile).
LINE = (
    "template=domP type=consoleproxy host=192.0.2.70,192.0.2.71@static port=8250 name=v-3-VM premium=true zone=1 pod=1 "
    "guid=Proxy.3 proxy_vm=3 disable_rp_filter=true vmpassword=hush eth2ip=198.51.100.10 eth2mask=255.255.255.0 "
    "gateway=198.51.100.1 eth0ip=169.254.3.4 eth0mask=255.255.0.0 eth1ip=10.1.2.3 eth1mask=255.255.255.0 "
    "mgmtcidr=192.0.2.64/26 localgw=10.1.2.1 internaldns1=10.1.1.9 dns1=203.0.113.53 dns2=2001:db8::53 vncport=8443"
)
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDummyDummyDummyDummyDummyDummyDummyDummyDum cloud@management"


def test_a_line_of_cloudstack() -> None:
    found = read_parameters(LINE)
    interfaces = {interface.name: str(interface.address) for interface in found.interfaces}
    assert interfaces == {"eth0": "169.254.3.4/16", "eth1": "10.1.2.3/24", "eth2": "198.51.100.10/24"}
    assert attrs.evolve(found, interfaces=()) == BootParameters(
        name="v-3-VM",
        interfaces=(),
        gateway=ipaddress.IPv4Address("198.51.100.1"),
        local_gateway=ipaddress.IPv4Address("10.1.2.1"),
        management_networks=(ipaddress.IPv4Network("192.0.2.64/26"),),
        name_servers=tuple(map(ipaddress.ip_address, ("10.1.1.9", "203.0.113.53", "2001:db8::53"))),
        management_servers=("192.0.2.70", "192.0.2.71"),
        tls=True,
        console_port=8443,
        loose_reverse_path=True,
    )


def changed(**words: str | None) -> str:
    """``LINE`` with other words; ``None`` leaves one out."""
    return " ".join(f"{name}={value}" for name, value in (split_parameters(LINE) | words).items() if value is not None)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ({"type": None}, "boot parameter type is missing"),
        ({"type": "router"}, "boot parameter type=router: this is a console proxy: expected consoleproxy"),
        ({"name": None}, "boot parameter name is missing"),
        ({"name": "v_3"}, "boot parameter name=v_3: expected a host name: letters, digits and hyphens"),
        ({"eth1ip": None}, "boot parameter eth1ip is missing"),
        ({"eth2ip": "0.0.0.0"}, "boot parameter eth2ip is missing"),
        ({"eth2ip": "300.1.1.1"}, "boot parameter eth2ip=300.1.1.1: expected an IPv4 address"),
        ({"eth2mask": None}, "boot parameter eth2mask is missing"),
        ({"eth2mask": "255.0.255.0"}, "boot parameter eth2mask=255.0.255.0: expected a netmask such as 255.255.255.0"),
        ({"eth0ip": "x"}, "boot parameter eth0ip=x: expected an IPv4 address"),
        ({"gateway": None}, "boot parameter gateway is missing"),
        ({"gateway": "10.1"}, "boot parameter gateway=10.1: expected an IPv4 address"),
        ({"localgw": "::1"}, "boot parameter localgw=::1: expected an IPv4 address"),
        ({"mgmtcidr": "10.1.1.1/24"}, "boot parameter mgmtcidr=10.1.1.1/24: expected a network such as 192.0.2.0/24"),
        ({"host": "a b".replace(" ", "/")}, "boot parameter host=a/b: expected addresses or names with commas"),
        ({"dns1": "dns"}, "boot parameter dns1=dns: expected an IP address"),
        ({"premium": "yes"}, "boot parameter premium=yes: expected one of true, false, premium"),
        ({"vncport": "0"}, "boot parameter vncport=0: expected a port, 1 to 65535"),
        ({"vncport": "65536"}, "boot parameter vncport=65536: expected a port, 1 to 65535"),
        ({"bootproto": "bootp"}, "boot parameter bootproto=bootp: expected one of static, dhcp"),
        ({"session_reconnection_window": "1s"}, "boot parameter session_reconnection_window=1s: expected milliseconds"),
        ({"authorized_key": "x"}, "boot parameter authorized_key=x: expected a public key"),
        ({"authorized_key": "eCB5"}, "boot parameter authorized_key=eCB5: expected a public key"),
        ({"name": "x" * 100}, "boot parameter name=" + "x" * 77 + "...: expected a host name"),
    ],
)
def test_faults_name_the_parameter(words: dict[str, str | None], fault: str) -> None:
    with pytest.raises(ParametersInvalid) as caught:
        read_parameters(changed(**words))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(fault)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ParametersInvalid) as caught:
        read_parameters("")
    names = ["type", "name", "eth1ip", "eth2ip", "gateway"]
    assert str(caught.value).splitlines() == [f"boot parameter {name} is missing" for name in names]


def test_addresses_by_dhcp() -> None:
    words = {"eth1ip": None, "eth2ip": None, "gateway": None, "bootproto": "dhcp"}
    found = read_parameters(changed(**words))
    assert [(one.name, one.address is None) for one in found.interfaces] == [
        ("eth0", False),
        ("eth1", True),
        ("eth2", True),
    ]
    assert found.gateway is None


def test_the_key_for_ssh_is_in_base64() -> None:
    spelled = base64.b64encode(f"{SSH_KEY}\n".encode()).decode()
    assert read_parameters(changed(authorized_key=spelled)).authorized_key == SSH_KEY


def test_a_percent_sign_is_a_space() -> None:
    """As the whole line comes from CloudStack's KVM hosts."""
    assert read_parameters(LINE.replace(" ", "%")) == read_parameters(LINE)


def test_the_reconnect_window_is_in_milliseconds() -> None:
    assert read_parameters(changed(session_reconnection_window="1500")).reconnect_window_s == 1.5


def test_the_last_word_counts_and_others_are_left_alone() -> None:
    assert read_parameters(f"BOOT_IMAGE=/vmlinuz quiet root=LABEL=x {LINE} name=other").name == "other"


def test_a_line_without_end() -> None:
    with pytest.raises(ParametersInvalid):
        read_parameters(LINE + " " * MAX_LINE_CHARS)


@given(st.dictionaries(st.sampled_from([*split_parameters(LINE), "authorized_key", "bootproto"]), st.text(max_size=30)))
def test_whatever_is_said_is_read_or_refused(words: dict[str, str]) -> None:
    line = " ".join(f"{name}={value}" for name, value in (split_parameters(LINE) | words).items())
    try:
        found = read_parameters(line)
    except ParametersInvalid:
        return
    assert found.name.isascii()
