"""Boot parameters in CloudStack's form: ``name=value`` words on one line, read into a frozen class.

Sources: CloudStack ``ConsoleProxyManagerImpl.java`` (``finalizeVirtualMachineProfile``), and of its system VM's scripts
``bootstrap.sh`` (a ``%`` stands for a space), ``common.sh`` and ``consoleproxy.sh`` (what each one means). What this
file does not know is left to others: CloudStack passes far more. No I/O.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

import attrs

#: Longer than any platform's, shorter than what a kernel takes.
MAX_LINE_CHARS = 16384
#: CloudStack's, where it says nothing else (``ConsoleProxyNoVNCServer.java``).
DEFAULT_CONSOLE_PORT = 8080
#: The console port that CloudStack gives where browsers are to come over TLS.
TLS_CONSOLE_PORT = 8443

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
#: What may stand in ``authorized_keys``: a kind, base64, a comment.
_SSH_KEY = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [\x20-\x7e]*)?")

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
T = TypeVar("T")


class ParametersInvalid(Exception):
    """The boot parameters cannot be used. The text has one line per fault, each naming the parameter."""


@attrs.frozen(kw_only=True)
class Interface:
    """One network interface.

    Attributes:
        name: ``eth0`` (the hypervisor's control network), ``eth1`` (management) or ``eth2`` (public).
        address: its address and network; ``None``: DHCP tells.
    """

    name: str
    address: ipaddress.IPv4Interface | None


@attrs.frozen(kw_only=True)
class BootParameters:
    """What the platform says.

    Attributes:
        name: the VM's, and its host name.
        interfaces: those that are to be used; ``eth1`` and ``eth2`` are always there.
        gateway: the default route, through the public interface; ``None``: DHCP tells.
        local_gateway: the way to management servers and VNC hosts; ``None``: they are on the management network.
        management_networks: reached through ``local_gateway``, besides the private networks of RFC 1918.
        name_servers: internal ones first.
        management_servers: addresses or names of the platform's own servers.
        tls: browsers come over TLS (``premium``).
        console_port: where browsers come besides 80 and 443 (``vncport``).
        reconnect_window_s: seconds in which a broken console may be opened again (``session_reconnection_window``).
        loose_reverse_path: answers may leave by another interface than the one their requests came by.
        authorized_key: who may log in over ssh; empty: as the image says.
    """

    name: str
    interfaces: tuple[Interface, ...]
    gateway: ipaddress.IPv4Address | None
    local_gateway: ipaddress.IPv4Address | None = None
    management_networks: tuple[ipaddress.IPv4Network, ...] = ()
    name_servers: tuple[Address, ...] = ()
    management_servers: tuple[str, ...] = ()
    tls: bool = False
    console_port: int = DEFAULT_CONSOLE_PORT
    reconnect_window_s: float = 0.0
    loose_reverse_path: bool = False
    authorized_key: str = ""


def split_parameters(line: str) -> dict[str, str]:
    """The words of a line that are ``name=value``; of a name that is there twice the last one counts.

    A ``%`` is a space, as in CloudStack's ``bootstrap.sh``: its KVM hosts send the whole line like that.

    Raises:
        ParametersInvalid: the line is too long to be one.
    """
    if len(line) > MAX_LINE_CHARS:
        raise ParametersInvalid(f"boot parameters: longer than {MAX_LINE_CHARS} characters")
    words = (word.partition("=") for word in line.replace("%", " ").split())
    return {name: value for name, equals, value in words if equals and name}


def read_parameters(line: str) -> BootParameters:
    """Read a line of boot parameters.

    Raises:
        ParametersInvalid: naming every parameter that is missing or wrong.
    """
    reader = _Reader(split_parameters(line))
    kind = reader.text("type", required=True)
    if kind not in ("", "consoleproxy"):
        reader.fault("type", kind, "this is a console proxy: expected consoleproxy")
    name = reader.text("name", required=True)
    if name and not _HOST_NAME.fullmatch(name):
        reader.fault("name", name, "expected a host name: letters, digits and hyphens")
    dynamic = reader.one_of("bootproto", ("static", "dhcp"), "static") == "dhcp"
    interfaces = [
        *reader.interface("eth0", dynamic=False, required=False),
        *reader.interface("eth1", dynamic=dynamic, required=True),
        *reader.interface("eth2", dynamic=dynamic, required=True),
    ]
    found = BootParameters(
        name=name,
        interfaces=tuple(interfaces),
        gateway=reader.value("gateway", ipaddress.IPv4Address, "an IPv4 address", required=not dynamic),
        local_gateway=reader.value("localgw", ipaddress.IPv4Address, "an IPv4 address"),
        management_networks=reader.values("mgmtcidr", ipaddress.IPv4Network, "a network such as 192.0.2.0/24"),
        name_servers=tuple(
            server
            for key in ("internaldns1", "internaldns2", "dns1", "dns2", "ip6dns1", "ip6dns2")
            if (server := reader.value(key, ipaddress.ip_address, "an IP address")) is not None
        ),
        management_servers=reader.values("host", _server, "addresses or names with commas between them"),
        tls=reader.one_of("premium", ("true", "false", "premium"), "false") != "false",
        console_port=reader.value("vncport", _port, "a port, 1 to 65535") or DEFAULT_CONSOLE_PORT,
        reconnect_window_s=(reader.value("session_reconnection_window", _milliseconds, "milliseconds") or 0) / 1000,
        loose_reverse_path=reader.one_of("disable_rp_filter", ("true", "false"), "false") == "true",
        authorized_key=reader.value("authorized_key", _ssh_key, "a public key in base64") or "",
    )
    reader.finish()
    return found


class _Reader:
    """Reads parameters one by one and collects the faults, so that an operator sees all of them at once."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words = words
        self._faults: list[str] = []

    def fault(self, name: str, value: str, words: str) -> None:
        shown = value if len(value) <= 80 else value[:77] + "..."
        self._faults.append(f"boot parameter {name}={shown}: {words}")

    def text(self, name: str, *, required: bool = False) -> str:
        value = self._words.get(name, "")
        if required and not value:
            self._faults.append(f"boot parameter {name} is missing")
        return value

    def one_of(self, name: str, words: tuple[str, ...], otherwise: str) -> str:
        value = self.text(name)
        if value and value not in words:
            self.fault(name, value, "expected one of " + ", ".join(words))
        return value if value in words else otherwise

    def value(self, name: str, read: Callable[[str], T], what: str, *, required: bool = False) -> T | None:
        text = self.text(name, required=required)
        if not text:
            return None
        try:
            return read(text)
        except ValueError:
            self.fault(name, text, f"expected {what}")
            return None

    def values(self, name: str, read: Callable[[str], T], what: str) -> tuple[T, ...]:
        """A list with commas; CloudStack puts an algorithm behind the servers, after an ``@``."""
        text = self.text(name).partition("@")[0]
        try:
            return tuple(read(item.strip()) for item in text.split(",") if item.strip())
        except ValueError:
            self.fault(name, text, f"expected {what}")
            return ()

    def interface(self, name: str, *, dynamic: bool, required: bool) -> list[Interface]:
        """``ethNip`` and ``ethNmask``; 0.0.0.0 is CloudStack's word for an interface that is not used."""
        address = self.text(f"{name}ip")
        if dynamic:
            return [Interface(name=name, address=None)]
        if address in ("", "0.0.0.0"):  # noqa: S104 -- not listened on
            if required:
                self._faults.append(f"boot parameter {name}ip is missing")
            return []
        if self.value(f"{name}ip", ipaddress.IPv4Address, "an IPv4 address") is None:
            return []
        mask = self.text(f"{name}mask", required=True)
        if not mask:
            return []
        try:
            return [Interface(name=name, address=ipaddress.IPv4Interface(f"{address}/{mask}"))]
        except ValueError:
            self.fault(f"{name}mask", mask, "expected a netmask such as 255.255.255.0")
            return []

    def finish(self) -> None:
        if self._faults:
            raise ParametersInvalid("\n".join(self._faults))


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 65535:
        raise ValueError
    return int(text)


def _milliseconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValueError
    return int(text)


def _server(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:-]{1,255}", text):
        raise ValueError
    return text


def _ssh_key(text: str) -> str:
    """A line of ``authorized_keys`` in base64 once more, as CloudStack hands it out."""
    text = base64.b64decode(text, validate=True).decode("ascii").strip()
    if not _SSH_KEY.fullmatch(text):
        raise ValueError
    return text
