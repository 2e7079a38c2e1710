"""A network in memory: what listens at which address, in place of trio's TCP streams."""

from __future__ import annotations

import errno
import os
import ssl

import trio
import trustme
from trio.testing import memory_stream_pair

from trio_cpvm.testing.streams import MakePair, Serve

AUTHORITY = trustme.CA()


def server_context(*names: str, authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    """A server with a certificate for these names and addresses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def inside_tls(serve: Serve, context: ssl.SSLContext) -> Serve:
    """The same server, reached through TLS from the first byte on."""

    async def serve_tls(stream: trio.abc.Stream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True)
        try:
            await secure.do_handshake()
            await serve(secure)
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(secure)

    return serve_tls


async def is_closed(stream: trio.abc.Stream) -> bool:
    """Whether our own end has been closed."""
    try:
        await stream.send_all(b"x")
    except (trio.ClosedResourceError, trio.BrokenResourceError):
        return True
    return False


class Network:
    """Servers at addresses; anything else refuses.

    Attributes:
        asked: every address that was connected to, in order.
        opened: our ends of the connections, in order.
        make_pair: what connections are made of.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._servers: dict[tuple[str, int], Serve] = {}
        self.asked: list[tuple[str, int]] = []
        self.opened: list[trio.abc.Stream] = []
        self.make_pair: MakePair = memory_stream_pair

    def listen(self, host: str, port: int, serve: Serve) -> None:
        self._servers[host, port] = serve

    async def open(self, host: str, port: int) -> trio.abc.Stream:
        """Stands in for ``tcp.connect_to``."""
        await trio.lowlevel.checkpoint()
        self.asked.append((host, port))
        serve = self._servers.get((host, port))
        if serve is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        ours, theirs = self.make_pair()
        self._nursery.start_soon(serve, theirs)
        self.opened.append(ours)
        return ours

    async def nothing_is_open(self) -> bool:
        """Whether every connection has been closed at our end."""
        return all([await is_closed(stream) for stream in self.opened])
