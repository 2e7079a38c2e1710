"""A WebSocket as a byte stream: each binary message in is bytes, each ``send_all`` is one message out.

Text messages are no part of the stream: they are given to whoever asked for them, and answered in between.

Both kinds are here: the browser's, which is accepted, and the one to a host that speaks RFB over WebSocket. This is
the only file that knows trio-websocket. Towards browsers the library does the opening handshake on a canonical head
(``http`` has checked the real one) and everything after it; no extension is ever negotiated. To exchange the library,
exchange this file.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast, final

import attrs
import h11
import trio
import trio_websocket
import wsproto.utilities

from . import errors
from .control import MAX_TEXT_CHARS
from .errors import ConsoleError, close_reason
from .fragments import PieceCounter
from .http import Upgrade
from .limits import Limit
from .streams import Delivery, PrefixedStream, delivery

#: A message of a browser; noVNC sends at most 10 KiB at a time, a paste in one message is still no megabyte.
MAX_MESSAGE_BYTES = 1 << 20
RECEIVE_BUFFER_BYTES = 16384
#: The pieces a message may come in; each costs some fifty bytes. The largest one in the smallest TCP segments that are
#: usual (536 bytes, RFC 9293 section 3.7.1), each read by itself, is in half as many.
MAX_PIECES = 4096
#: A message of a host: a whole framebuffer update, with some.
MAX_HOST_MESSAGE_BYTES = 16 << 20
HOST_RECEIVE_BUFFER_BYTES = 65536
MAX_HOST_PIECES = 32768
#: What a host may say until its WebSocket is open; the library would keep all of a refusal's body.
MAX_HOST_HANDSHAKE_BYTES = 1 << 20
#: How long the answer to a text may still take to leave once nobody waits for it any more, in seconds.
ANSWER_GRACE_S = 1.0
#: A pong with the library's payload, as a browser sends it: head, mask and four bytes (RFC 6455 section 5.2).
PONG_BYTES = 10
#: How often within a ping's interval other signs of life are looked for.
LOOKS = 8

#: Close codes that the library gives when the peer broke the protocol (RFC 6455 section 7.4.1).
_TOO_LARGE = 1009
_VIOLATIONS = {
    1002: "broke the WebSocket protocol",
    1007: "sent malformed text",
    _TOO_LARGE: "sent too large a message",
}


class _BoundedStream(PrefixedStream):
    """Bounds what the library may have taken in without a message coming out of it.

    The library bounds a message by its bytes: of fragments without any, or pings, it would take and keep ever more, and
    it keeps each piece of a message by itself.

    Attributes:
        limit: bytes without a message.
        max_pieces: what a message may come in.
        unclaimed: how many have come since the last one.
        overrun: whether that was too many.
        reads: how often something has come.
        writes: how often something was taken.
        torn: whether a write was given up, perhaps within a frame.
    """

    def __init__(self, prefix: bytes, stream: trio.abc.Stream, limit: int, max_pieces: int) -> None:
        super().__init__(prefix, stream)
        self.limit = limit
        self.max_pieces = max_pieces
        self._counter = PieceCounter()
        self.unclaimed = 0
        self.overrun = False
        self.reads = 0
        self.writes = 0
        self.torn = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await super().send_all(data)
        except BaseException:
            self.torn = True
            raise
        self.writes += 1

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await super().receive_some(max_bytes)
        self.reads += 1
        self.unclaimed += len(data)
        if self._counter.feed(data) > self.max_pieces or self.unclaimed > self.limit:
            self.overrun = True
            raise trio.BrokenResourceError("too much without a message")
        return data


@attrs.frozen
class _Signs:
    """What a peer's life is told from."""

    reads: int
    writes: int
    delivery: Delivery | None

    def shows_life_since(self, before: _Signs) -> bool:
        """Whether the peer has sent something, or taken something of what is on its way to it.

        Over TCP only what has arrived counts, as the kernel takes a lot for a peer that is gone; and only while more is
        under way: that a peer's kernel has taken the last of it, the ping, tells nothing of the browser.
        """
        if self.reads > before.reads:
            return True
        if self.delivery is None or before.delivery is None:
            return self.writes > before.writes
        return self.delivery.under_way and self.delivery.acknowledged > before.delivery.acknowledged


@final
class WebSocketStream(trio.abc.Stream):
    """One WebSocket as a stream of bytes.

    Attributes:
        transport: the stream under it.
        on_text: gets each text message of at most ``control.MAX_TEXT_CHARS`` characters while somebody receives, and
            gives the text to answer with; ``None`` for one that it does not understand. That, a longer text, and any
            text where nobody asked for them, break the protocol.
        ended_by: how the peer's side ended, in words, once ``receive_some`` has returned ``b""``.
        violation: whether that was by breaking the protocol.
        limit: the limit that the peer's side ended by, where it was one.
        lost: whether the connection broke off, without a close frame, or the peer answers no pings.
    """

    def __init__(self, connection: trio_websocket.WebSocketConnection, transport: _BoundedStream) -> None:
        self._connection = connection
        self.transport = transport
        self.on_text: Callable[[str], str | None] | None = None
        self._rest = b""
        self._sending = trio.Lock()
        self._torn = False
        self._at_end = False
        self._receiving = False
        self.ended_by = ""
        self.violation = False
        self.limit: Limit | None = None
        self.lost = False

    @property
    def state(self) -> dict[str, object]:
        """How it stands, for operators."""
        return {
            "unread bytes": len(self._rest),
            "reading": self._receiving,
            "sending": self._sending.locked(),
            "ended by": self.ended_by or "nobody",
        }

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The bytes of the next message, or as many of them as asked for; ``b""`` once the browser has closed.

        Cancelling it loses nothing.
        """
        self._receiving = True
        try:
            return await self._receive_some(max_bytes)
        finally:
            self._receiving = False

    async def _receive_some(self, max_bytes: int | None) -> bytes:
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
            if isinstance(message, bytes):
                self._rest = message
                continue
            answer = self.on_text(message) if self.on_text is not None and len(message) <= MAX_TEXT_CHARS else None
            if answer is None:
                self.ended_by, self.violation = "sent a text message", True
                self._at_end = True
                return b""
            await self._answer(answer)
        data, self._rest = self._rest[:max_bytes], b"" if max_bytes is None else self._rest[max_bytes:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send one binary message. When cancelled, it may have gone out in part; the stream is then only good to close.

        Raises:
            trio.BrokenResourceError: the browser is gone.
        """
        await self._send(bytes(data))

    async def _send(self, message: bytes | str) -> None:
        async with self._sending:
            if self._torn:
                raise trio.BrokenResourceError("a message was torn")
            self._torn = True
            try:
                await self._connection.send_message(message)
            except trio_websocket.ConnectionClosed as exc:
                self._note_end(exc.reason)
                raise trio.BrokenResourceError(self.ended_by) from None
            self._torn = False

    async def _answer(self, text: str) -> None:
        """Send a text whole: who stops receiving meanwhile is kept for up to ``ANSWER_GRACE_S`` seconds.

        Otherwise a read that is given up, as at the end of the handshake, would tear the answer and end the WebSocket.
        """
        whole = trio.CancelScope(shield=True)

        async def limit_when_cancelled() -> None:
            try:
                await trio.Event().wait()
            finally:
                whole.deadline = trio.current_time() + ANSWER_GRACE_S

        async with trio.open_nursery() as nursery:
            nursery.start_soon(limit_when_cancelled)
            with whole, contextlib.suppress(trio.BrokenResourceError):  # reading on tells how it ended
                await self._send(text)
            nursery.cancel_scope.cancel()

    async def wait_until_lost(self, interval_s: float) -> bool:
        """Ping the peer every so many seconds, until it has given no sign of life for as long after a ping.

        A pong may have to wait behind other data, so any bytes from the peer count as well, and so does progress of
        what is on its way to it. While nobody receives (because the other side of the console takes nothing, say) a
        pong cannot be seen, so that is not held against the peer. At most one ping is under way.

        Returns:
            Whether it was lost; ``lost`` is set then. Otherwise it was closed.
        """
        async with trio.open_nursery() as nursery:
            lives = True
            while lives and not self._closed:
                await trio.sleep(interval_s)
                over = trio.Event()
                nursery.start_soon(self._ping, over)
                lives = await self._lives(over, interval_s)
            nursery.cancel_scope.cancel()
        if self._closed:
            return False
        self.ended_by, self.lost = "gave no answer to a ping", True
        return True

    @property
    def _closed(self) -> bool:
        return self._at_end or bool(self.ended_by)

    async def _ping(self, over: trio.Event) -> None:
        """Send a ping, wait for its pong, or for the end of the WebSocket where that is noticed here."""
        try:
            await self._connection.ping()
            # No message came of it, but it was asked for.
            self.transport.unclaimed = max(0, self.transport.unclaimed - PONG_BYTES)
        except trio_websocket.ConnectionClosed as exc:
            self._note_end(exc.reason)
        over.set()

    async def _lives(self, over: trio.Event, interval_s: float) -> bool:
        """Wait for the end of a ping, for as long as there are other signs of life."""
        last_sign, before = trio.current_time(), self._signs()
        while trio.current_time() < last_sign + interval_s:
            with trio.move_on_after(interval_s / LOOKS):
                await over.wait()
                return True
            now = self._signs()
            if not self._receiving or now.shows_life_since(before):
                last_sign = trio.current_time()
            before = now
        return False

    def _signs(self) -> _Signs:
        return _Signs(self.transport.reads, self.transport.writes, delivery(self.transport))

    async def wait_send_all_might_not_block(self) -> None:
        """As trio's ``SendStream.wait_send_all_might_not_block``."""
        await self.transport.wait_send_all_might_not_block()

    async def close(self, code: int, reason: str, *, within_s: float, farewell: bytes = b"") -> None:
        """Close with a code and a reason, wait at most ``within_s`` seconds for the browser's answer, then let go.

        The reason is cut to what a close frame holds. ``farewell`` is a last message, sent in one write with the close
        frame. The transport is closed in any case, also when cancelled.
        """
        try:
            if not (self._torn or self.transport.torn):
                with trio.move_on_after(within_s):
                    if farewell:
                        self.transport.hold_next()
                        with contextlib.suppress(trio_websocket.ConnectionClosed):
                            await self._connection.send_message(farewell)
                    await self._connection.aclose(code, close_reason(reason))
        finally:
            await trio.aclose_forcefully(self.transport)

    async def aclose(self) -> None:
        """Close the transport at once, without a word to the browser."""
        await trio.aclose_forcefully(self.transport)

    def _note_end(self, reason: trio_websocket.CloseReason | None) -> None:
        if self.transport.overrun:
            self.ended_by, self.violation = "sent fragments without end", True
            self.limit = Limit.MESSAGE_SIZE
        elif reason is None or reason.code == 1006:
            self.ended_by = self.ended_by or "connection lost"
            self.lost = self.lost or self.ended_by == "connection lost"
        elif reason.code in _VIOLATIONS:
            self.ended_by, self.violation = _VIOLATIONS[reason.code], True
            self.limit = Limit.MESSAGE_SIZE if reason.code == _TOO_LARGE else None
        else:
            self.ended_by = self.ended_by or f"closed with {reason.code}"


@contextlib.asynccontextmanager
async def accept_websocket(
    transport: trio.abc.Stream, upgrade: Upgrade, *, timeout_s: float
) -> AsyncIterator[WebSocketStream]:
    """Answer a checked opening handshake with 101 and own the WebSocket within the block.

    Args:
        transport: the connection, with nothing unread in front of it.
        upgrade: what ``http.websocket_upgrade`` made of the request.
        timeout_s: seconds until the answer must have gone out.

    Raises:
        ExceptionGroup: of ``trio.TooSlowError`` where the answer did not go out in time, of
            ``trio.BrokenResourceError`` where the browser was gone before it, or of what the block raised.
    """
    async with websocket_nursery() as nursery:
        stream = _BoundedStream(upgrade.head, transport, 2 * MAX_MESSAGE_BYTES, MAX_PIECES)
        with trio.fail_after(timeout_s):
            request = await trio_websocket.wrap_server_stream(
                nursery,
                stream,
                max_message_size=MAX_MESSAGE_BYTES,
                receive_buffer_size=RECEIVE_BUFFER_BYTES,
            )
            try:
                connection = await request.accept(subprotocol=upgrade.subprotocol)
            except trio_websocket.ConnectionClosed:
                raise trio.BrokenResourceError("gone before the WebSocket was open") from None
        try:
            yield WebSocketStream(connection, stream)
        finally:
            await trio.aclose_forcefully(transport)


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


async def open_host_websocket(
    nursery: trio.Nursery, transport: trio.abc.Stream, host: str, path: str
) -> WebSocketStream:
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
    opened: list[WebSocketStream] = []
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
            opened.append(WebSocketStream(connection, stream))
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
