"""Streams for tests: exact reads, trickling, aborting, and ways to reach a server that handles one stream at a time.

A *server* here is any ``async def serve(stream) -> None``. ``connected`` gives a client's end of one connection to it,
``MemoryDialer`` any number of them, ``listening`` puts it on a TCP port.

This file must not know about VNC, RFB or WebSockets.
"""

from __future__ import annotations

import contextlib
import operator
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import attrs
import trio
import trio.testing

Serve = Callable[[trio.abc.Stream], Awaitable[None]]
MakePair = Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]]

#: How long a graceful close may take before a double closes forcefully, in seconds.
CLOSE_TIMEOUT_S = 5.0

_LINGER_NOTHING = struct.pack("ii", 1, 0)


class StreamEnded(Exception):
    """The peer closed its side where more was expected.

    Args:
        wanted: how many bytes were being read.
        got: those that had come, fewer than ``wanted``.
    """

    def __init__(self, wanted: int, got: bytes) -> None:
        super().__init__(wanted, got)
        self.wanted = wanted
        self.got = got

    def __str__(self) -> str:
        return f"the stream ended after {len(self.got)} of {self.wanted} bytes"


async def read_exactly(stream: trio.abc.ReceiveStream, count: int) -> bytes:
    """Read ``count`` bytes and not one more, so that the stream can be handed on at any time.

    The caller bounds ``count``. After a cancellation, what had been read is lost.

    Raises:
        StreamEnded: the peer closed its side first.
        trio.BrokenResourceError: the connection broke.
    """
    data = bytearray()
    while len(data) < count:
        chunk = await stream.receive_some(count - len(data))
        if not chunk:
            raise StreamEnded(count, bytes(data))
        data += chunk
    if not count:
        await trio.lowlevel.checkpoint()
    return bytes(data)


async def abort(stream: trio.abc.Stream) -> None:
    """Drop the connection as a crash would: no TLS or WebSocket farewell, and a reset where there is a socket.

    The stream is closed in any case, also when cancelled.
    """
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if isinstance(stream, trio.SocketStream):
        with contextlib.suppress(OSError):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOTHING)
    await trio.aclose_forcefully(stream)


async def close_in_time(stream: trio.abc.AsyncResource, within_s: float = CLOSE_TIMEOUT_S) -> None:
    """Close gracefully for up to ``within_s`` seconds, then forcefully; closed in any case, also when cancelled."""
    try:
        with trio.move_on_after(within_s):
            await stream.aclose()
    except trio.BrokenResourceError:
        pass  # The peer was faster.
    finally:
        await trio.aclose_forcefully(stream)


@attrs.define(eq=False)
class Exclusive:
    """Lets one task in at a time; a second one gets ``BusyResourceError`` at once, as trio's own streams do it.

    Args:
        text: what the error says.
    """

    text: str
    held: bool = attrs.field(default=False, init=False)

    def __enter__(self) -> None:
        if self.held:
            raise trio.BusyResourceError(self.text)
        self.held = True

    def __exit__(self, *exc: object) -> None:
        self.held = False


@attrs.define(eq=False)
class TrickleStream(trio.abc.Stream):
    """Passes on at most ``chunk`` bytes at a time, in both directions: finds code that counts on whole messages.

    Args:
        stream: closed together with this one.
        chunk: bytes, at least 1.
    """

    stream: trio.abc.Stream
    chunk: int = attrs.field(default=1, validator=attrs.validators.ge(1))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send in pieces; after a cancellation some, all or none may have been sent."""
        view = memoryview(data)
        if not len(view):
            await self.stream.send_all(b"")
        for start in range(0, len(view), self.chunk):
            await self.stream.send_all(view[start : start + self.chunk])

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        wanted = self.chunk if max_bytes is None else min(operator.index(max_bytes), self.chunk)
        return await self.stream.receive_some(wanted)

    async def aclose(self) -> None:
        await self.stream.aclose()


@contextlib.asynccontextmanager
async def background() -> AsyncIterator[trio.Nursery]:
    """A nursery for the length of a block: its tasks are cancelled when the block ends.

    An exception of the block comes out as it is, not wrapped into a group, as from a block without a nursery. A crash
    of a background task comes out as the nursery's exception group, caused by the block's own exception if any.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except trio.Cancelled:
                raise
            except BaseException as exc:  # raised again below, outside of the nursery
                failure = exc
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise group from failure
    if failure is not None:
        raise failure


@attrs.define(eq=False)
class MemoryDialer:
    """Connects to a server without a network: every ``dial`` is a new pair of memory streams.

    Args:
        serve: called with the server's end, in a task of ``nursery``; its crash is the nursery's.
        nursery: owns the servers' tasks.
        make_pair: ``trio.testing.lockstep_stream_pair`` for streams without any buffer.
        delay_s: how long ``dial`` takes, in seconds.
        failure: what ``dial`` raises instead of connecting, for example ``OSError("no route")``.

    Attributes:
        dialled: the arguments of every ``dial``, in order.
    """

    serve: Serve
    nursery: trio.Nursery
    make_pair: MakePair = attrs.field(default=trio.testing.memory_stream_pair, kw_only=True)
    delay_s: float = attrs.field(default=0.0, kw_only=True)
    failure: Exception | None = attrs.field(default=None, kw_only=True)
    dialled: list[tuple[object, ...]] = attrs.field(factory=list, init=False)

    async def dial(self, *args: object) -> trio.abc.Stream:
        """Connect, whatever the arguments are, and return the client's end; the caller closes it.

        Raises:
            Exception: ``failure``, if there is one.
        """
        self.dialled.append(args)
        await trio.sleep(self.delay_s)
        if self.failure is not None:
            raise self.failure
        ours, theirs = self.make_pair()
        self.nursery.start_soon(self.serve, theirs)
        return ours


@contextlib.asynccontextmanager
async def connected(
    serve: Serve, *, make_pair: MakePair = trio.testing.memory_stream_pair
) -> AsyncIterator[trio.abc.Stream]:
    """One connection to ``serve``: the block gets the client's end; after it, both ends are closed."""
    async with background() as nursery:
        stream = await MemoryDialer(serve, nursery, make_pair=make_pair).dial()
        try:
            yield stream
        finally:
            await trio.aclose_forcefully(stream)


@contextlib.asynccontextmanager
async def listening(serve: Serve, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[tuple[str, int]]:
    """Put ``serve`` on a TCP port for the length of the block, which gets the address as ``(host, port)``.

    Args:
        serve: called for each connection; its crash ends the block.
        host: an address of this machine.
        port: 0 takes any free one.

    Raises:
        OSError: the address cannot be listened on.
    """
    async with background() as nursery:
        listeners = await trio.open_tcp_listeners(port, host=host)
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        bound_host, bound_port, *_ = listeners[0].socket.getsockname()
        yield bound_host, bound_port
