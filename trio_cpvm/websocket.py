"""How WebSockets come about: a browser's is accepted, one to a host that speaks RFB over WebSocket is opened.

This is the only file that knows trio-websocket. Towards browsers the library does the opening handshake, on a
canonical head (``http`` has checked the real one), and nothing after it: ``browser_websocket`` is a browser's open
WebSocket. That to a host is the library's throughout. No extension is ever negotiated. To exchange the library,
exchange this file.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, cast, final

import h11
import trio

from . import errors
from .browser_websocket import BrowserSocket
from .errors import ConsoleError, close_reason
from .fragments import PieceCounter
from .http.upgrade import SUBPROTOCOL, Upgrade, canonical_upgrade
from .later import Later
from .limits import Limit
from .ready_stream import ready
from .streams import PrefixedStream, close_at_once, take_more

# A tenth of the daemon's start; it has them loaded once it is ready (``learn_answers``).
if TYPE_CHECKING:
    import trio_websocket
    import wsproto.utilities
else:
    trio_websocket, wsproto = Later("trio_websocket"), Later("wsproto")

#: A message of a host: a whole framebuffer update, with some.
MAX_HOST_MESSAGE_BYTES = 16 << 20
HOST_RECEIVE_BUFFER_BYTES = 65536
#: The pieces a message may come in; each costs some fifty bytes. The largest one in the smallest TCP segments that are
#: usual (536 bytes, RFC 9293 section 3.7.1), each read by itself, is in as many.
MAX_HOST_PIECES = 32768
#: What a host may say until its WebSocket is open; the library would keep all of a refusal's body.
MAX_HOST_HANDSHAKE_BYTES = 1 << 20

#: RFC 6455 section 1.3.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: Close codes that the library gives when the peer broke the protocol (RFC 6455 section 7.4.1).
_TOO_LARGE = 1009
_VIOLATIONS = {
    1002: "broke the WebSocket protocol",
    1007: "sent malformed text",
    _TOO_LARGE: "sent too large a message",
}


class _HeadOnly(trio.abc.Stream):
    """What the library sees of a browser's connection: the request head, and nothing that follows it.

    Attributes:
        answer: what it has answered.
    """

    def __init__(self, head: bytes) -> None:
        self._head = head
        self.answer = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._head:
            await trio.Event().wait()
        head, self._head = self._head, b""
        return head

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.answer += data

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def answer_upgrade(transport: trio.abc.Stream, upgrade: Upgrade, *, timeout_s: float) -> BrowserSocket:
    """Answer a checked opening handshake with 101.

    Args:
        transport: the connection, with nothing unread in front of it.
        upgrade: what ``http.websocket_upgrade`` made of the request.
        timeout_s: seconds until the answer must have gone out.

    Raises:
        trio.TooSlowError: the answer did not go out in time.
        trio.BrokenResourceError: the browser was gone before it.

        The transport is closed then, as it is when cancelled.
    """
    transport = ready(transport)
    take_more(transport)
    try:
        with trio.move_on_after(timeout_s) as late:
            answer = await _answer_to(upgrade)
            try:
                await transport.send_all(answer)
            except trio.BrokenResourceError:
                raise trio.BrokenResourceError("gone before the WebSocket was open") from None
        if late.cancelled_caught:
            raise trio.TooSlowError
    except BaseException:
        await close_at_once(transport)
        raise
    return BrowserSocket(transport)


#: What the library answers with, by subprotocol, less the one word that depends on the browser's key.
_answers: dict[str | None, tuple[bytes, bytes]] = {}


async def learn_answers() -> None:
    """Load the library and have it write the first answer of each kind, so that no browser has to wait for that."""
    for subprotocol in (None, SUBPROTOCOL):
        await _answer_to(canonical_upgrade(base64.b64encode(bytes(16)).decode(), subprotocol))


async def _answer_to(upgrade: Upgrade) -> bytes:
    """The 101 for a browser. The library writes the first one of each kind; those that follow differ in one word."""
    word = base64.b64encode(hashlib.sha1(upgrade.key + _GUID, usedforsecurity=False).digest())
    if upgrade.subprotocol not in _answers:
        answer = await _library_answer(upgrade)
        before, _, behind = answer.partition(word)
        if not before or word in behind:
            return answer
        _answers[upgrade.subprotocol] = before, behind
    return word.join(_answers[upgrade.subprotocol])


async def _library_answer(upgrade: Upgrade) -> bytes:
    """What trio-websocket answers to the canonical head."""
    stream = _HeadOnly(upgrade.head)
    async with websocket_nursery() as nursery:
        request = await trio_websocket.wrap_server_stream(nursery, stream)
        await request.accept(subprotocol=upgrade.subprotocol)
    return stream.answer


class _BoundedStream(PrefixedStream):
    """Bounds what the library may have taken in without a message coming out of it.

    The library bounds a message by its bytes: of fragments without any, or pings, it would take and keep ever more, and
    it keeps each piece of a message by itself.

    Attributes:
        limit: bytes without a message.
        max_pieces: what a message may come in.
        unclaimed: how many have come since the last one.
        overrun: whether that was too many.
        torn: whether a write was given up, perhaps within a frame.
    """

    def __init__(self, prefix: bytes, stream: trio.abc.Stream, limit: int, max_pieces: int) -> None:
        super().__init__(prefix, stream)
        self.limit = limit
        self.max_pieces = max_pieces
        self._counter = PieceCounter()
        self.unclaimed = 0
        self.overrun = False
        self.torn = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await super().send_all(data)
        except BaseException:
            self.torn = True
            raise

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await super().receive_some(max_bytes)
        self.unclaimed += len(data)
        if self._counter.feed(data) > self.max_pieces or self.unclaimed > self.limit:
            self.overrun = True
            raise trio.BrokenResourceError("too much without a message")
        return data


@final
class HostSocket(trio.abc.Stream):
    """A WebSocket to a host, as a stream of bytes. A text message breaks the protocol.

    Attributes:
        transport: the stream under it.
        ended_by: how the host's side ended, in words, once ``receive_some`` has returned ``b""``.
        limit: the limit that it ended by, where it was one.
    """

    def __init__(self, connection: trio_websocket.WebSocketConnection, transport: _BoundedStream) -> None:
        self._connection = connection
        self.transport = transport
        self._rest = b""
        self._torn = False
        self._at_end = False
        self.ended_by = ""
        self.limit: Limit | None = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The bytes of the next message, or as many of them as asked for; ``b""`` once the host has closed.

        Cancelling it loses nothing.
        """
        if self._rest:
            await trio.lowlevel.checkpoint()
        while not self._rest:
            if self._at_end:  # not ``ended_by``: sending may notice the end while messages still wait to be read
                return b""
            try:
                message = await self._connection.get_message()
            except trio_websocket.ConnectionClosed as exc:
                self._note_end(exc.reason)
                self._at_end = True
                return b""
            self.transport.unclaimed = 0
            if not isinstance(message, bytes):
                self.ended_by, self._at_end = "sent a text message", True
                return b""
            self._rest = message
        data, self._rest = self._rest[:max_bytes], b"" if max_bytes is None else self._rest[max_bytes:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send one binary message. When cancelled, it may have gone out in part; the stream is then only good to close.

        Raises:
            trio.BrokenResourceError: the host is gone.
        """
        self._torn = True
        try:
            await self._connection.send_message(bytes(data))
        except trio_websocket.ConnectionClosed as exc:
            self._note_end(exc.reason)
            raise trio.BrokenResourceError(self.ended_by) from None
        self._torn = False

    async def wait_send_all_might_not_block(self) -> None:
        """As trio's ``SendStream.wait_send_all_might_not_block``."""
        await self.transport.wait_send_all_might_not_block()

    async def close(self, code: int, reason: str, *, within_s: float) -> None:
        """Close with a code and a reason, wait at most ``within_s`` seconds for the host's answer, then let go.

        The transport is closed in any case, also when cancelled.
        """
        try:
            if not (self._torn or self.transport.torn):
                with trio.move_on_after(within_s):
                    await self._connection.aclose(code, close_reason(reason))
        finally:
            await trio.aclose_forcefully(self.transport)

    async def aclose(self) -> None:
        """Close the transport at once, without a word to the host."""
        await trio.aclose_forcefully(self.transport)

    def _note_end(self, reason: trio_websocket.CloseReason | None) -> None:
        if self.transport.overrun:
            self.ended_by, self.limit = "sent fragments without end", Limit.MESSAGE_SIZE
        elif reason is None or reason.code == 1006:
            self.ended_by = self.ended_by or "connection lost"
        elif reason.code in _VIOLATIONS:
            self.ended_by = _VIOLATIONS[reason.code]
            self.limit = Limit.MESSAGE_SIZE if reason.code == _TOO_LARGE else None
        else:
            self.ended_by = self.ended_by or f"closed with {reason.code}"


@contextlib.asynccontextmanager
async def websocket_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery for the library's reader tasks: cancelled at the end of the block, their own faults contained.

    Those faults are a pong behind our close frame, an answer to somebody who has gone: by then the session has ended,
    or the fault has cancelled it, and the fault itself tells nothing more.

    Raises:
        ExceptionGroup: of what the block raised.
    """
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            finally:
                nursery.cancel_scope.cancel()
    except* (trio_websocket.ConnectionClosed, wsproto.utilities.ProtocolError):
        pass


async def open_host_websocket(nursery: trio.Nursery, transport: trio.abc.Stream, host: str, path: str) -> HostSocket:
    """Open a WebSocket to a host that speaks RFB over it (VMware ESXi, QEMU).

    Args:
        nursery: for its reader, from ``websocket_nursery``; must live as long as the stream.
        transport: the connection, TLS and all; closed where this fails.
        host: for the ``Host`` header.
        path: path and query; may be a ticket.

    Raises:
        ConsoleError: ``upstream-protocol``: the host answered, but not with 101.
    """
    stream = _BoundedStream(b"", transport, MAX_HOST_HANDSHAKE_BYTES, MAX_HOST_PIECES)
    reader = _GuardedReader(nursery)
    opened: list[HostSocket] = []
    try:
        async with trio.open_nursery() as waiting:
            waiting.start_soon(reader.cancel_when_over, waiting.cancel_scope)
            connection = await trio_websocket.wrap_client_stream(
                cast("trio.Nursery", reader),
                cast("trio.SocketStream", stream),  # any stream will do
                host,
                path,
                subprotocols=["binary"],
                max_message_size=MAX_HOST_MESSAGE_BYTES,
                receive_buffer_size=HOST_RECEIVE_BUFFER_BYTES,
            )
            stream.limit, stream.unclaimed = 2 * MAX_HOST_MESSAGE_BYTES, 0
            opened.append(HostSocket(connection, stream))
            waiting.cancel_scope.cancel()
    except BaseException:
        await trio.aclose_forcefully(transport)
        raise
    if not opened:
        await trio.aclose_forcefully(transport)
        raise ConsoleError(errors.UPSTREAM_PROTOCOL, reader.words)
    return opened[0]


class _GuardedReader:
    """Stands in for a nursery: starts the library's reader task and keeps its faults.

    The library lets a rejected handshake surface in that task, and a closed one nowhere at all.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._over = trio.Event()
        self.words = "the WebSocket was closed instead of opened"

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        """What the library calls on a nursery."""
        self._nursery.start_soon(self._run, task)

    async def cancel_when_over(self, scope: trio.CancelScope) -> None:
        """Cancel ``scope`` once the reader task has ended."""
        await self._over.wait()
        scope.cancel()

    async def _run(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except trio_websocket.ConnectionRejected as exc:
            self.words = f"the WebSocket was refused: {exc.status_code}"
        except (trio_websocket.HandshakeError, trio_websocket.ConnectionClosed, wsproto.utilities.ProtocolError):
            pass
        except h11.ProtocolError:  # wsproto answers a malformed handshake, although a client cannot
            pass
        finally:
            self._over.set()
