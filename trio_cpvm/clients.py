"""Who is asking: the address behind a connection, behind the reverse proxies before it, and behind each request.

Believed is only who comes from ``server.trusted_proxies``.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs
import trio

from .addresses import UNKNOWN, TrustedProxy
from .http import Request
from .http.forwarded import ForwardedInvalid, read_forwarded
from .logger import get_logger
from .proxy_protocol import ProxyHeader, ProxyHeaderInvalid, read_proxy_header

log = get_logger("trio_cpvm.clients")


class ProxyHeaderMissing(Exception):
    """A connection that has to begin with a PROXY header, and did not."""


@attrs.frozen
class Peer:
    """Who is at the other end of a connection.

    Attributes:
        address: its address, as ``normal_address`` writes it, or ``LOCAL`` or ``UNKNOWN``.
        forwards: it is a trusted reverse proxy, and what its requests say about clients is believed.
    """

    address: str
    forwards: bool


@attrs.define(eq=False, kw_only=True)
class Clients:
    """Finds out who is asking.

    Attributes:
        trusted_proxies: who is believed; nobody by default.
        proxy_protocol: every connection begins with a PROXY header, and comes from a trusted proxy.
    """

    trusted_proxies: Collection[TrustedProxy] = ()
    proxy_protocol: bool = False

    def trusts(self, address: str) -> bool:
        """Whether a reverse proxy with that address is believed."""
        return any(proxy.is_at(address) for proxy in self.trusted_proxies)

    async def behind(self, stream: trio.abc.Stream, address: str, *, timeout_s: float) -> Peer:
        """Who is behind a new connection. Where the PROXY protocol is on, its header is read, and not a byte more.

        Args:
            stream: the connection.
            address: the address it comes from.
            timeout_s: seconds for the header.

        Raises:
            ProxyHeaderMissing: the connection has to be closed; the text says why.
            trio.TooSlowError: no whole header in the time.
            trio.BrokenResourceError: the peer is gone.
        """
        if not self.proxy_protocol:
            return Peer(address, forwards=self.trusts(address))
        if address == UNKNOWN:
            raise trio.BrokenResourceError("gone at once")
        if not self.trusts(address):
            raise ProxyHeaderMissing("server.proxy_protocol is on, and this is none of server.trusted_proxies")
        with trio.fail_after(timeout_s):
            try:
                source = (await _receive_header(stream)).source
            except ProxyHeaderInvalid as exc:
                raise ProxyHeaderMissing(f"server.proxy_protocol is on: {exc}") from None
        # Without an address it is the proxy's own connection, or a client's of whom nothing is known: what comes on it
        # may be that client's words.
        return Peer(source or address, forwards=bool(source) and self.trusts(source))

    def of(self, request: Request, peer: Peer, scheme: str) -> tuple[Request, str]:
        """Who is asking with a request: the request, its ``scheme`` filled in, and the client's address.

        Args:
            request: the request.
            peer: who is behind its connection.
            scheme: how the connection came in itself.
        """
        client = peer.address
        if peer.forwards and self.trusts(peer.address):  # it may be trusted no more since it connected
            try:
                forwarded = read_forwarded(request, self.trusts)
                client, scheme = forwarded.client or client, forwarded.scheme or scheme
            except ForwardedInvalid as exc:
                log.debug("forwarded headers ignored", proxy=peer.address, detail=str(exc))
        return (request if request.scheme == scheme else attrs.evolve(request, scheme=scheme)), client


async def _receive_header(stream: trio.abc.Stream) -> ProxyHeader:
    data = bytearray()
    while isinstance(found := read_proxy_header(data), int):
        chunk = await stream.receive_some(found)
        if not chunk:
            raise trio.BrokenResourceError("closed within the PROXY header" if data else "closed at once")
        data += chunk
    return found
