"""For the tests below the HTTP layer: browser double and accepted WebSocket; likewise with session and host double."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import attrs
import trio
import trio.testing
from trio.testing import memory_stream_pair

from trio_cpvm.browser_websocket import BrowserSocket
from trio_cpvm.config import SessionConfig, UpstreamConfig
from trio_cpvm.http import Request, websocket_upgrade
from trio_cpvm.http_io import TakeOver, serve_http
from trio_cpvm.models import ConsoleTarget, Secret, SessionEnd
from trio_cpvm.rfb_io import Connect, SecureStream
from trio_cpvm.session import Session
from trio_cpvm.testing import MemoryDialer, ScriptedVncServer, WebSocketDouble, open_websocket
from trio_cpvm.testing.streams import Serve
from trio_cpvm.websocket import answer_upgrade

PASSWORD = "pa55word"
TARGET = ConsoleTarget(host="192.0.2.5", port=5900, password=Secret(PASSWORD), vm_id="vm-1", name="Web 1")


async def serve_websocket(stream: trio.abc.Stream, handler: Callable[[BrowserSocket], Awaitable[None]]) -> None:
    """The server's end: answers any upgrade and hands the WebSocket to ``handler``."""

    async def site(request: Request) -> TakeOver:
        upgrade = websocket_upgrade(request)

        async def take(transport: trio.abc.Stream) -> None:
            async with await answer_upgrade(transport, upgrade, timeout_s=5) as websocket:
                await handler(websocket)

        return TakeOver(take)

    await serve_http(stream, site, head_timeout_s=5)


@attrs.define(eq=False)
class Console:
    """One session and the browser double at it.

    Attributes:
        session: the session.
        browser: the browser's WebSocket.
        transport: the browser's end of the connection under it.
        host_streams: the session's ends of its connections to the host.
        ended: set when the session has ended; ``outcome`` then says how.
    """

    session: Session
    browser: WebSocketDouble
    transport: trio.abc.Stream
    host_streams: list[trio.abc.Stream]
    ended: trio.Event
    outcome: SessionEnd | None = None

    async def wait_end(self) -> SessionEnd:
        """How the session ended, once it has."""
        await self.ended.wait()
        assert self.outcome is not None
        return self.outcome

    async def drain(self) -> bytes:
        """Everything the browser is still sent until the WebSocket closes."""
        data = b""
        with contextlib.suppress(trio.BrokenResourceError):
            while chunk := await self.browser.receive_some():
                data += chunk
        return data


@contextlib.asynccontextmanager
async def console(
    host: ScriptedVncServer | Serve | Connect,
    *,
    target: ConsoleTarget = TARGET,
    config: SessionConfig | None = None,
    upstream: UpstreamConfig | None = None,
    dials: bool = False,
    secure: SecureStream | None = None,
    make_pair: Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]] = trio.testing.memory_stream_pair,
) -> AsyncIterator[Console]:
    """A session with a browser at it, the WebSocket open, the handshake not yet begun by the browser.

    Args:
        host: a double, or its ``serve``; with ``dials``, what connects.
    """
    async with trio.open_nursery() as nursery:
        session = Session(
            target=target,
            client="198.51.100.7",
            config=config or SessionConfig(),
            upstream=upstream or UpstreamConfig(),
        )
        streams: list[trio.abc.Stream] = []
        if dials:
            connect: Connect = host  # type: ignore[assignment]  # the flag says which of the three it is
        else:
            serve: Serve = host.serve if isinstance(host, ScriptedVncServer) else host  # type: ignore[assignment]
            dialer = MemoryDialer(serve, nursery, make_pair=make_pair)

            async def connect(_: trio.Nursery) -> trio.abc.Stream:
                stream = await dialer.dial()
                streams.append(stream)
                return stream

        ours, theirs = make_pair()
        ended = trio.Event()
        found: list[Console] = []

        async def handler(websocket: BrowserSocket) -> None:
            try:
                await session.run(websocket, connect, secure)
            finally:
                for one in found:
                    one.outcome = session.outcome
                ended.set()

        nursery.start_soon(serve_websocket, theirs, handler)
        browser = await open_websocket(ours)
        found.append(Console(session, browser, ours, streams, ended))
        yield found[0]
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def websocket_pair(
    make_pair: Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]] = memory_stream_pair,
) -> AsyncIterator[tuple[WebSocketDouble, BrowserSocket]]:
    """Browser double and accepted WebSocket, connected."""
    ours, theirs = make_pair()
    accepted: list[BrowserSocket] = []
    opened, done = trio.Event(), trio.Event()

    async def handler(websocket: BrowserSocket) -> None:
        accepted.append(websocket)
        opened.set()
        await done.wait()

    async with ours, trio.open_nursery() as nursery:
        nursery.start_soon(serve_websocket, theirs, handler)
        browser = await open_websocket(ours)
        await opened.wait()
        yield browser, accepted[0]
        done.set()
        nursery.cancel_scope.cancel()


def small_sockets() -> tuple[trio.SocketStream, trio.SocketStream]:
    """A TCP connection over loopback; the browser's end, which is the first, takes little at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        browser = stack.enter_context(socket.socket())
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        browser.connect(listener.getsockname())
        ours, _ = listener.accept()
        stack.pop_all()
    one, other = (trio.SocketStream(trio.socket.from_stdlib_socket(sock)) for sock in (browser, ours))
    return one, other
