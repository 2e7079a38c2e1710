"""IP addresses as texts: one spelling for each, and which of them are proxies that may say who is behind them.

Nothing in this file does I/O or knows where an address came from.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TypeAlias

import attrs

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Stands for the address of a peer that has none: behind a unix socket, or in memory.
LOCAL = "local"
#: Stands for the address of a peer that was gone before it was asked for.
UNKNOWN = "unknown"


@lru_cache(maxsize=10_000)
def normal_address(text: str) -> str:
    """One spelling for each IP address, an IPv4-mapped IPv6 address being its IPv4 address (RFC 4291 section 2.5.5.2).

    Raises:
        ValueError: it is none.
    """
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def same_address(one: str, other: str) -> bool:
    """Whether two texts name the same IP address, an IPv4-mapped IPv6 address being its IPv4 address."""
    try:
        return normal_address(one) == normal_address(other)
    except ValueError:
        return False


@attrs.frozen
class TrustedProxy:
    """Reverse proxies that are believed: those of a network, or those that connect to a unix socket.

    Attributes:
        network: IPv4 networks are written as such, not as IPv4-mapped ones; ``None``: the unix sockets' peers.
    """

    network: Network | None

    def __str__(self) -> str:
        return "unix" if self.network is None else str(self.network)

    def is_at(self, address: str) -> bool:
        """Whether a peer with that address, as ``normal_address`` writes it or ``LOCAL``, is one of them."""
        if self.network is None or address == LOCAL:
            return self.network is None and address == LOCAL
        try:
            return ipaddress.ip_address(address) in self.network
        except ValueError:
            return False


def parse_trusted_proxy(text: str) -> TrustedProxy:
    """Read a network, an address, or the word ``unix``.

    Raises:
        ValueError: it is none of these.
    """
    if text == "unix":
        return TrustedProxy(None)
    try:
        network = ipaddress.ip_network(text)
    except ValueError as exc:
        raise ValueError(f"{exc}; expected a network, an address or unix") from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return TrustedProxy(ipaddress.ip_network((mapped, network.prefixlen - 96)))
    return TrustedProxy(network)
