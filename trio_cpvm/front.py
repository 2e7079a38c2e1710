"""The error boundary: one connection in, and whatever happens, nothing comes out.

A listener's nursery must never see what a peer caused. Peers that vanish are not worth a line; anything else that
arrives here is a bug and is logged as one.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

import attrs
import trio

from .addresses import LOCAL, UNKNOWN, normal_address
from .clients import Clients, Peer, ProxyHeaderMissing
from .errors import ConsoleError, Reason
from .http import Request, Response
from .http_io import Site, TakeOver, until_taken_over
from .limiter import client_key
from .limits import Limit
from .logger import get_logger
from .paced_log import PacedLog
from .ready_tls import ReadyTls
from .streams import close_at_once, keep_alive

log = get_logger("trio_cpvm.front")


class AnswersClients(Protocol):
    """A site: public or admin."""

    async def answer(self, request: Request, client: str) -> Response | TakeOver:
        """Answer one request of the client with that address."""
        ...


class TooManyConnections(Exception):
    """There are as many connections as there may be.

    Args:
        limit: by which limit.
        value: what that is.
    """

    def __init__(self, limit: Limit, value: int) -> None:
        super().__init__(f"{limit} = {value}")
        self.limit = limit


class Room(Protocol):
    """Counts the connections of all processes, where there are several. What was let in has to leave."""

    async def enter(self, most: int) -> None:
        """One more.

        Raises:
            TooManyConnections: there are ``most`` already.
        """
        ...

    def leave(self) -> None:
        """It is over."""
        ...

    async def enter_client(self, client: str, most: int) -> None:
        """Likewise, of one client."""
        ...

    def leave_client(self, client: str) -> None:
        """It is over."""
        ...


@attrs.define(eq=False, kw_only=True)
class Front:
    """Takes the connections of one kind of listener.

    Attributes:
        site: what answers.
        head_timeout_s: seconds for a request head.
        max_connections: open connections; further ones are closed at once.
        max_connections_per_client: likewise, of one address (IPv6: of one /64 network); 0: no such limit. Peers that
            are many people are not counted: those of unix sockets, and trusted proxies that do not say who is behind.
        tls: gives the certificate for connections that begin with TLS.
        clients: finds out who is asking, through reverse proxies.
        room: counts each connection as well, where other processes have some, too.
        on_refused: told about requests that no site has seen.
        on_limit: told about each limit that ended or refused a connection.
        connections: how many are open.
        per_client: how many each counted client has open.
        turned_away: how many were closed at once for want of room.
    """

    site: AnswersClients
    head_timeout_s: float
    max_connections: int
    max_connections_per_client: int = 0
    tls: Callable[[], ssl.SSLContext] | None = None
    clients: Clients = attrs.field(factory=Clients)
    room: Room | None = None
    on_refused: Callable[[Reason], None] | None = None
    on_limit: Callable[[Limit], None] | None = None
    connections: int = 0
    per_client: Counter[str] = attrs.field(factory=Counter)
    turned_away: int = 0
    _requests: PacedLog = attrs.field(factory=PacedLog, init=False)
    _connections: PacedLog = attrs.field(factory=lambda: PacedLog(1), init=False)

    async def handle_tls(self, stream: trio.abc.Stream) -> None:
        """As ``handle``, for a connection that begins with TLS."""
        await self._serve(stream, secure=True)

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Serve one connection to its end and close it. Raises nothing but ``Cancelled``."""
        await self._serve(stream, secure=False)

    async def _serve(self, stream: trio.abc.Stream, *, secure: bool) -> None:
        if self.connections >= self.max_connections:
            self._turn_away(Limit.CONNECTIONS, f"{Limit.CONNECTIONS} = {self.max_connections}")
            await close_at_once(stream)
            return
        self.connections += 1
        entered, key = False, ""
        try:
            if self.room is not None:
                await self.room.enter(self.max_connections)
                entered = True
            keep_alive(stream)
            address = client_address(stream)
            peer = await self.clients.behind(stream, address, timeout_s=self.head_timeout_s)
            with self._counted(peer) as counted_as:
                if self.room is not None and counted_as:
                    await self.room.enter_client(counted_as, self.max_connections_per_client)
                    key = counted_as
                if secure:
                    stream = await self._handshake(stream)
                taken = await until_taken_over(
                    stream,
                    self._site_for(peer, secure=secure),
                    head_timeout_s=self.head_timeout_s,
                    on_refused=self._refused,
                )
                if taken is not None:
                    await taken.handler(stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as gone:
            log.debug("connection lost", detail=str(gone.exceptions[0]))
            if gone.subgroup(trio.TooSlowError) is not None:
                self._reached(Limit.HEAD_TIME)
        except* ProxyHeaderMissing as missing:
            self._connections.write(log.info, "connection refused", client=address, detail=str(missing.exceptions[0]))
        except* TooManyConnections as crowd:
            for full in crowd.exceptions:
                if isinstance(full, TooManyConnections):  # and no group: nobody raises it within a nursery
                    self._turn_away(full.limit, str(full), **({"client": peer.address} if entered else {}))
        except* Exception:
            log.exception("internal error")
        finally:
            self.connections -= 1
            if self.room is not None and key:
                self.room.leave_client(key)
            if self.room is not None and entered:
                self.room.leave()
            await close_at_once(stream)

    @contextlib.contextmanager
    def _counted(self, peer: Peer) -> Iterator[str]:
        """The connection counts as its client's within the block; what stands for that, empty where it is none.

        Raises:
            TooManyConnections: it has no room.
        """
        if peer.address in (LOCAL, UNKNOWN) or self.clients.trusts(peer.address):
            yield ""
            return
        key, limit = client_key(peer.address), self.max_connections_per_client
        if 0 < limit <= self.per_client[key]:
            raise TooManyConnections(Limit.CONNECTIONS_PER_CLIENT, limit)
        self.per_client[key] += 1
        try:
            yield key
        finally:
            self.per_client[key] -= 1
            if not self.per_client[key]:
                del self.per_client[key]

    def _turn_away(self, limit: Limit, detail: str, **who: str) -> None:
        self.turned_away += 1
        self._connections.write(log.warning, "connection refused", detail=detail, **who)
        self._reached(limit)

    def _refused(self, error: ConsoleError) -> None:
        self._requests.write(log.info, "request refused", reason=error.reason.slug, detail=error.detail)
        if self.on_refused is not None:
            self.on_refused(error.reason)
        if error.limit is not None:
            self._reached(error.limit)

    def _reached(self, limit: Limit) -> None:
        if self.on_limit is not None:
            self.on_limit(limit)

    def _site_for(self, peer: Peer, *, secure: bool) -> Site:
        """What answers the requests of one connection, told who is asking each time."""
        scheme = "https" if secure else "http"

        async def site(request: Request) -> Response | TakeOver:
            return await self.site.answer(*self.clients.of(request, peer, scheme))

        return site

    async def _handshake(self, stream: trio.abc.Stream) -> trio.abc.Stream:
        """TLS as server, within the time of a request head.

        Raises:
            trio.TooSlowError: it took longer.
            trio.BrokenResourceError: it failed.
        """
        if self.tls is None:
            raise ValueError("a TLS listener without a certificate")
        secured: ReadyTls | trio.SSLStream[trio.abc.Stream]
        if isinstance(stream, trio.SocketStream):
            secured = ReadyTls(stream, self.tls())
        else:
            secured = trio.SSLStream(stream, self.tls(), server_side=True, https_compatible=True)
        with trio.fail_after(self.head_timeout_s):
            try:
                await secured.do_handshake()
            except BaseException:
                await close_at_once(secured)
                raise
        return secured


def client_address(stream: trio.abc.Stream) -> str:
    """The peer's IP address, an IPv4-mapped one as IPv4; ``local`` for unix sockets and streams in memory."""
    if not isinstance(stream, trio.SocketStream) or stream.socket.family not in (socket.AF_INET, socket.AF_INET6):
        return LOCAL
    try:
        return normal_address(stream.socket.getpeername()[0].partition("%")[0])
    except (OSError, ValueError):  # it went away in the meantime
        return UNKNOWN
