"""What the system VM has to be like, by its boot parameters: the text of every file, and nothing done yet.

Sources: of CloudStack's system VM ``common.sh`` (routes, name servers) and ``iptables-consoleproxy`` (which ports, on
which interface); systemd.network(5), systemd.socket(5), nft(8). No I/O.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence

from .parameters import TLS_CONSOLE_PORT, BootParameters, Interface

CONTROL, MANAGEMENT, PUBLIC = "eth0", "eth1", "eth2"
#: CloudStack's ports for its agents' questions and for ssh.
ADMIN_PORT, SSH_PORT = 8001, 3922
#: Where VNC hosts and management servers are, besides ``mgmtcidr``: RFC 1918, as CloudStack routes them.
PRIVATE_NETWORKS = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))

CONFIGURATION = "/etc/trio-cpvm/trio-cpvm.toml"
KEY_FILE = "/etc/trio-cpvm/token-key.json"
CERTIFICATE = "/etc/trio-cpvm/certificate.pem"
PRIVATE_KEY = "/etc/trio-cpvm/private-key.pem"

KERNEL_SETTINGS = "/run/sysctl.d/90-trio-cpvm.conf"
RULESET = "/run/trio-cpvm-boot/nftables.conf"


def plain_ports(parameters: BootParameters) -> list[int]:
    """Where browsers come without TLS."""
    return sorted({80, parameters.console_port} - {443, TLS_CONSOLE_PORT})


def tls_ports(parameters: BootParameters) -> list[int]:
    """Where browsers come over TLS; none unless the platform says so."""
    return sorted({443, parameters.console_port} & {443, TLS_CONSOLE_PORT}) if parameters.tls else []


def files(parameters: BootParameters, settings: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """Every file by its path.

    Args:
        parameters: what the platform says.
        settings: the operator's part of the daemon's configuration, tables of keys.
    """
    made = {
        f"/run/systemd/network/10-{interface.name}.network": network_file(interface, parameters)
        for interface in parameters.interfaces
    }
    made["/etc/resolv.conf"] = "".join(f"nameserver {server}\n" for server in parameters.name_servers)
    made["/etc/hosts"] = f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {parameters.name}\n"
    made[RULESET] = firewall(parameters)
    made[KERNEL_SETTINGS] = (
        f"net.ipv4.ip_forward = 0\nnet.ipv4.conf.{PUBLIC}.rp_filter = {0 if parameters.loose_reverse_path else 1}\n"
    )
    made["/run/systemd/system/trio-cpvm.socket"] = socket_unit(parameters)
    made[CONFIGURATION] = configuration(parameters, settings)
    if parameters.authorized_key:
        made["/root/.ssh/authorized_keys"] = parameters.authorized_key + "\n"
    return made


def network_file(interface: Interface, parameters: BootParameters) -> str:
    """One interface for systemd-networkd: its address, and the routes that go through it."""
    lines = ["[Match]", f"Name={interface.name}", "", "[Network]", "LinkLocalAddressing=no", "IPv6AcceptRA=no"]
    if interface.address is None:
        lines += ["DHCP=ipv4", "", "[DHCPv4]", f"UseRoutes={'yes' if interface.name == PUBLIC else 'no'}"]
        lines += [f"UseDNS={'no' if parameters.name_servers else 'yes'}", "UseHostname=no"]
    else:
        lines.append(f"Address={interface.address}")
    if interface.name == PUBLIC and parameters.gateway is not None and interface.address is not None:
        lines += ["", "[Route]", f"Gateway={parameters.gateway}"]
    if interface.name == MANAGEMENT and parameters.local_gateway is not None:
        for network in _through_local_gateway(interface, parameters):
            lines += ["", "[Route]", f"Destination={network}", f"Gateway={parameters.local_gateway}"]
    return "\n".join(lines) + "\n"


def _through_local_gateway(
    management: Interface, parameters: BootParameters
) -> Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Networks and single addresses, as CloudStack's agent does it: not what is on the management network itself."""
    wanted: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = [*PRIVATE_NETWORKS, *parameters.management_networks]
    for server in parameters.management_servers:
        try:
            wanted.append(ipaddress.ip_network(server))
        except ValueError:
            continue  # a name
    internal = management.address.network if management.address is not None else None
    return [network for network in dict.fromkeys(wanted) if network.version == 4 and network != internal]


def firewall(parameters: BootParameters) -> str:
    """The whole ruleset for ``nft -f``: what is not named is dropped."""
    dynamic = [interface.name for interface in parameters.interfaces if interface.address is None]
    dhcp = "".join(f'        iifname "{name}" udp sport 67 udp dport 68 accept\n' for name in dynamic)
    consoles = ", ".join(str(port) for port in [*plain_ports(parameters), *tls_ports(parameters)])
    return f"""\
flush ruleset

table inet trio_cpvm {{
    chain input {{
        type filter hook input priority filter; policy drop;
        iifname "lo" accept
        ct state invalid drop
        ct state established,related accept
        icmp type {{ echo-request, destination-unreachable, time-exceeded, parameter-problem }} accept
        icmpv6 type {{ echo-request, destination-unreachable, packet-too-big, time-exceeded, parameter-problem,
            nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert }} accept
{dhcp}        iifname "{PUBLIC}" tcp dport {{ {consoles} }} accept
        iifname {{ "{CONTROL}", "{MANAGEMENT}" }} tcp dport {{ {ADMIN_PORT}, {SSH_PORT} }} accept
    }}

    chain forward {{
        type filter hook forward priority filter; policy drop;
    }}

    chain output {{
        type filter hook output priority filter; policy accept;
    }}
}}
"""


def socket_unit(parameters: BootParameters) -> str:
    """The sockets, held by systemd: both the old and the new daemon have them while one is exchanged for the other."""
    ports = [*plain_ports(parameters), *tls_ports(parameters), ADMIN_PORT]
    streams = "\n".join(f"ListenStream={port}" for port in ports)
    return f"[Unit]\nDescription=Console proxy's sockets\n\n[Socket]\n{streams}\nBacklog=1024\n"


def configuration(parameters: BootParameters, settings: Mapping[str, Mapping[str, object]]) -> str:
    """The daemon's configuration: the operator's settings, and over them what the boot parameters decide.

    CloudStack's own tokens carry no expiry, so none is asked for unless the operator does.
    """
    decided: dict[str, dict[str, object]] = {
        "server": {
            "listen": [f":{port}" for port in plain_ports(parameters)],
            "listen_tls": [f":{port}" for port in tls_ports(parameters)],
        },
        "token": {"key_files": [KEY_FILE]},
        "admin": {"listen": f":{ADMIN_PORT}"},
    }
    if parameters.tls:
        decided["tls"] = {"certificate": CERTIFICATE, "private_key": PRIVATE_KEY}
    if parameters.reconnect_window_s:
        decided["session"] = {"reconnect_window_s": parameters.reconnect_window_s}
    usual: dict[str, dict[str, object]] = {"token": {"require_expiry": False}}
    tables = [*dict.fromkeys([*settings, *decided])]
    merged = {name: {**usual.get(name, {}), **settings.get(name, {}), **decided.get(name, {})} for name in tables}
    return "# Made at each boot of boot parameters and settings.toml; changes here do not last.\n" + toml(merged)


def toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    """Tables of texts, numbers, flags and lists of these."""
    lines: list[str] = []
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_toml_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value)  # JSON's escapes are TOML's, too
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    raise ValueError(f"no value of a configuration: {type(value).__name__}")
