"""The files that follow from boot parameters."""

from __future__ import annotations

import re
import tomllib

import pytest

from trio_cpvm.config import parse_config
from trio_cpvm.config_values import TcpAddress
from trio_cpvm.systemvm import plan
from trio_cpvm.systemvm.parameters import read_parameters

from .test_parameters import LINE, changed


def files(line: str = LINE, settings: dict[str, dict[str, object]] | None = None) -> dict[str, str]:
    return plan.files(read_parameters(line), settings or {})


def test_the_interfaces_and_their_routes() -> None:
    made = files()
    public = made["/run/systemd/network/10-eth2.network"]
    assert "Name=eth2\n" in public
    assert "Address=198.51.100.10/24\n" in public
    assert re.findall(r"Gateway=(.*)", public) == ["198.51.100.1"]
    management = made["/run/systemd/network/10-eth1.network"]
    routes = re.findall(r"\[Route\]\nDestination=(.*)\nGateway=10\.1\.2\.1\n", management)
    networks = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "192.0.2.64/26", "192.0.2.70/32", "192.0.2.71/32"]
    assert routes == networks
    assert "[Route]" not in made["/run/systemd/network/10-eth0.network"]
    assert made["/etc/resolv.conf"] == "nameserver 10.1.1.9\nnameserver 203.0.113.53\nnameserver 2001:db8::53\n"


def test_without_a_local_gateway_everything_else_goes_by_the_public_network() -> None:
    assert "[Route]" not in files(changed(localgw=None))["/run/systemd/network/10-eth1.network"]


def test_only_the_public_interface_gets_its_default_route_by_dhcp() -> None:
    made = files(changed(bootproto="dhcp", eth1ip=None, eth2ip=None, gateway=None))
    assert "UseRoutes=no" in made["/run/systemd/network/10-eth1.network"]
    assert "UseRoutes=yes" in made["/run/systemd/network/10-eth2.network"]
    assert re.findall(r'iifname "(eth.)" udp sport 67', made[plan.RULESET]) == ["eth1", "eth2"]


@pytest.mark.parametrize(
    ("words", "plain", "tls"),
    [
        ({"premium": "true", "vncport": "8443"}, [80], [443, 8443]),
        ({"premium": "true", "vncport": "8080"}, [80, 8080], [443]),
        ({"premium": "true", "vncport": None}, [80, 8080], [443]),
        ({"premium": "false", "vncport": "8080"}, [80, 8080], []),
        ({"premium": None, "vncport": "80"}, [80], []),
    ],
)
def test_ports(words: dict[str, str | None], plain: list[int], tls: list[int]) -> None:
    """The same ones in the configuration, the sockets and the firewall."""
    made = files(changed(**words))
    config = parse_config(made[plan.CONFIGURATION], "trio-cpvm.toml")
    assert config.server.listen == tuple(TcpAddress("", port) for port in plain)
    assert config.server.listen_tls == tuple(TcpAddress("", port) for port in tls)
    assert config.admin.listen == TcpAddress("", plan.ADMIN_PORT)
    sockets = re.findall(r"ListenStream=(\d+)", made["/run/systemd/system/trio-cpvm.socket"])
    assert sorted(map(int, sockets)) == sorted([*plain, *tls, plan.ADMIN_PORT])
    rules = made[plan.RULESET]
    assert "udp" not in rules
    public = ", ".join(map(str, [*plain, *tls]))
    assert f'iifname "eth2" tcp dport {{ {public} }} accept' in rules
    assert 'iifname { "eth0", "eth1" } tcp dport { 8001, 3922 } accept' in rules
    assert rules.count("policy drop") == 2


def test_settings_of_the_operator_stay_but_for_what_the_platform_decides() -> None:
    settings: dict[str, dict[str, object]] = {
        "server": {"listen": ["127.0.0.1:1"], "drain_timeout_s": 7.5},
        "session": {"second_viewer": "share", "max_sessions": 20},
        "token": {"require_expiry": True, "key_files": ["other.json"]},
        "upstream": {"allowed_networks": ["10.0.0.0/8", 'no"quotes'], "verify_hostname": False},
    }
    made = tomllib.loads(files(changed(session_reconnection_window="2000"), settings)[plan.CONFIGURATION])
    assert made["server"]["listen"] == [":80"]
    assert made["server"]["drain_timeout_s"] == 7.5
    assert made["session"] == {"second_viewer": "share", "max_sessions": 20, "reconnect_window_s": 2.0}
    assert made["token"] == {"require_expiry": True, "key_files": [plan.KEY_FILE]}
    assert made["upstream"] == settings["upstream"]


def test_tokens_of_cloudstack_have_no_expiry() -> None:
    assert parse_config(files()[plan.CONFIGURATION], "x").token.require_expiry is False


def test_nothing_secret_of_the_parameters_is_written() -> None:
    assert not [path for path, text in files().items() if "hush" in text]


@pytest.mark.parametrize(("words", "strict"), [({}, "0"), ({"disable_rp_filter": None}, "1")])
def test_where_answers_may_leave(words: dict[str, str | None], strict: str) -> None:
    assert f"net.ipv4.conf.eth2.rp_filter = {strict}\n" in files(changed(**words))[plan.KERNEL_SETTINGS]


def test_a_key_for_ssh_is_written_only_if_there_is_one() -> None:
    assert "/root/.ssh/authorized_keys" not in files()


def test_what_is_not_toml() -> None:
    with pytest.raises(ValueError, match="dict"):
        plan.toml({"server": {"x": {}}})
