"""The values that stand in a configuration: addresses to listen on, origins, marked hosts, and the checks of others.

Knows how each is written, nothing of tables and keys.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from typing import NewType, TypeAlias, TypeVar
from urllib.parse import SplitResult, urlsplit

import attrs

from .addresses import normal_address
from .models import format_address


@attrs.frozen
class TcpAddress:
    """Where to listen: ``host:port``; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_address(self.host, self.port)


@attrs.frozen
class UnixAddress:
    """Where to listen: ``unix:/path``."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


ListenAddress: TypeAlias = TcpAddress | UnixAddress

_HOST_PORT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")


def parse_listen_address(text: str) -> ListenAddress:
    """Read ``host:port``, ``[v6]:port`` or ``unix:/path``. An empty host means every address of the machine.

    Raises:
        ValueError: it is none of these.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            raise ValueError("a unix socket needs an absolute path: unix:/path")
        return UnixAddress(path)
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError("expected host:port, [v6]:port or unix:/path")
    return TcpAddress(match["six"] or match["host"] or "", int(match["port"]))


Origin = NewType("Origin", str)
HostPattern = NewType("HostPattern", str)


_PATTERN = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9.-]+))(?::(?P<port>[0-9]{1,5}))?")


def parse_host_pattern(text: str) -> HostPattern:
    """A host that is marked in the configuration: a network, an address or a name, the latter two perhaps with
    ``:port``.

    Raises:
        ValueError: it is none.
    """
    if "/" in text:
        return HostPattern(str(ipaddress.ip_network(text)))
    if text.count(":") > 1 and not text.startswith("["):
        return HostPattern(_one_spelling(str(ipaddress.IPv6Address(text))))
    match = _PATTERN.fullmatch(text)
    if match is None or int(match["port"] or 0) > 65535:
        raise ValueError("expected a network, an address or a name, with or without :port")
    host = _one_spelling(str(ipaddress.IPv6Address(match["six"])) if match["six"] else match["host"])
    return HostPattern(format_address(host, int(match["port"])) if match["port"] else host)


def host_matches(pattern: HostPattern, host: str, port: int) -> bool:
    """Whether a console host is one that a pattern means, however it spells its address."""
    host = _one_spelling(host)
    if "/" in pattern:
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(pattern)
        except ValueError:
            return False
    return pattern in (host, format_address(host, port))


def _one_spelling(host: str) -> str:
    """One for each address, an IPv4-mapped one being its IPv4 address; a name in lower case, without a dot behind."""
    try:
        return normal_address(host)
    except ValueError:
        return host.lower().removesuffix(".")


def normalise_origin(text: str) -> str:
    """``scheme://host[:port]`` in lower case, without a default port.

    Raises:
        ValueError: it is no origin.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError("expected an origin such as https://cloud.example.com")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default_port = 443 if parts.scheme == "https" else 80
    return f"{parts.scheme}://{host}" + ("" if parts.port in (None, default_port) else f":{parts.port}")


_T = TypeVar("_T")
_Number = TypeVar("_Number", int, float)


def at_least(lowest: float) -> Callable[[object, attrs.Attribute[_Number], _Number], None]:
    def check(_: object, attribute: attrs.Attribute[_Number], value: _Number) -> None:
        if not lowest <= value < math.inf:
            raise ValueError(f"must be at least {lowest}")

    return check


def zero_or_at_least(lowest: float) -> Callable[[object, attrs.Attribute[float], float], None]:
    def check(_: object, attribute: attrs.Attribute[float], value: float) -> None:
        if value != 0 and not lowest <= value < math.inf:
            raise ValueError(f"must be 0 or at least {lowest}")

    return check


def between(lowest: int, highest: int) -> Callable[[object, attrs.Attribute[int], int], None]:
    def check(_: object, attribute: attrs.Attribute[int], value: int) -> None:
        if not lowest <= value <= highest:
            raise ValueError(f"must be between {lowest} and {highest}")

    return check


def not_empty(_: object, attribute: attrs.Attribute[tuple[_T, ...]], value: tuple[_T, ...]) -> None:
    if not value:
        raise ValueError("at least one is needed")


def _url_parts(value: str) -> SplitResult:
    """Raises ``ValueError`` for what could not stand in a header either."""
    if not all("!" <= char <= "~" for char in value):
        raise ValueError("a URL has no spaces and only ASCII")
    parts = urlsplit(value)
    _ = parts.port  # raises, too
    return parts


def web_address(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    parts = _url_parts(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
        raise ValueError("expected http(s)://host[:port][/path], or nothing")


def link(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    parts = _url_parts(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment):
        raise ValueError("expected http(s)://host[:port][/path][?query], or nothing")


def inventory(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    kind, _, rest = value.partition(":")
    if kind not in ("file", "libvirt") or not rest:
        raise ValueError("expected file:PATH or libvirt:URI")


def one_of(*words: str) -> Callable[[object, attrs.Attribute[str], str], None]:
    def check(_: object, attribute: attrs.Attribute[str], value: str) -> None:
        if value not in words:
            raise ValueError("expected one of " + ", ".join(words))

    return check
