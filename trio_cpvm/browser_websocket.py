"""A browser's WebSocket as a byte stream: each binary message in is bytes, each ``send_all`` is one message out.

Text messages are no part of the stream: they are given to whoever asked for them, and answered in between. What a frame
is, ``frames`` knows; how a WebSocket comes about, ``websocket``. Nothing is read but by who receives: a browser whose
console takes nothing is stopped by its own network.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import deque
from collections.abc import Callable
from typing import final

import attrs
import trio

from .control import MAX_TEXT_CHARS
from .errors import close_reason
from .frames import (
    TOO_LARGE,
    Close,
    Event,
    FrameReader,
    Ping,
    Pong,
    Text,
    Violation,
    binary_head,
    close_frame,
    ping_frame,
    pong_frame,
    text_frame,
)
from .limits import Limit
from .ready_stream import AnyReadyStream, ready
from .streams import Delivery, close_at_once, delivery

#: A message of a browser; noVNC sends at most 10 KiB at a time, a paste in one message is still no megabyte.
MAX_MESSAGE_BYTES = 1 << 20
#: How long the answer to a text or a ping may still take to leave once nobody waits for it any more, in seconds.
ANSWER_GRACE_S = 1.0
#: How often within an interval other signs of life are looked for, once a ping was not answered within one.
LOOKS = 8
#: Which part of their interval pings wait for each other: those of many browsers together take a fraction of the time.
COMPANY = 1 / 64
#: What a close frame without a code counts as (RFC 6455 section 7.1.5).
_NO_CODE = 1005


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
class BrowserSocket(trio.abc.Stream):
    """One browser's open WebSocket as a stream of bytes.

    Attributes:
        transport: the stream under it.
        on_text: gets each text message of at most ``control.MAX_TEXT_CHARS`` characters while somebody receives, and
            gives the text to answer with; ``None`` for one that it does not understand. That, a longer text, and any
            text where nobody asked for them, break the protocol.
        ended_by: how the browser's side ended, in words, once ``receive_some`` has returned ``b""``.
        violation: whether that was by breaking the protocol.
        limit: the limit that the browser's side ended by, where it was one.
        lost: whether the connection broke off, without a close frame, or the browser answers no pings.
    """

    def __init__(self, transport: trio.abc.Stream) -> None:
        self.transport = ready(transport)
        self.on_text: Callable[[str], str | None] | None = None
        self.ended_by = ""
        self.violation = False
        self.limit: Limit | None = None
        self.lost = False
        self._frames = FrameReader(max_message_bytes=MAX_MESSAGE_BYTES, max_text_bytes=4 * (MAX_TEXT_CHARS + 1))
        self._events: deque[Event] = deque()
        self._rest = b""
        self._at_end = False
        self._receiving = False
        self._unsent: deque[bytes | memoryview] = deque()
        self._flushing = False
        self._flushed = trio.lowlevel.ParkingLot()
        self._torn = False
        self._at_end_of_sending = False
        self._closing = False
        self._reads = 0
        self._writes = 0
        self._numbers = itertools.count()
        self._pinged = b""
        self._idle_ping = b""  # a ping that nothing was in front of: that it goes out is no sign of life
        self._answered = False

    @property
    def state(self) -> dict[str, object]:
        """How it stands, for operators."""
        return {
            "unread bytes": len(self._rest) + sum(len(event) for event in self._events if isinstance(event, bytes)),
            "reading": self._receiving,
            "unsent bytes": sum(map(len, self._unsent)),
            "sending": self._flushing,
            "ended by": self.ended_by or "nobody",
        }

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Bytes of binary messages as they come, at most as many as asked for; ``b""`` once the browser has closed.

        Cancelling it loses nothing.
        """
        self._receiving = True
        try:
            if self._rest or self._events or self._at_end:
                await trio.lowlevel.checkpoint()
            if self._unsent and not self._flushing:  # what was given up half-way
                await self._flush_quietly()
            while not self._rest:
                if self._at_end:  # not ``ended_by``: sending may notice the end while messages still wait to be read
                    return b""
                if self._events:
                    await self._obey(self._events.popleft())
                elif self._frames.has_more:
                    await trio.lowlevel.checkpoint()
                    self._events.extend(self._frames.receive(b""))
                else:
                    self._take(await self._borrow())
        finally:
            self._receiving = False
        data = self._rest
        if max_bytes is None or len(data) <= max_bytes:
            self._rest = b""
            return data
        self._rest = data[max_bytes:]
        return data[:max_bytes]

    async def hand_on(self, take: Callable[[bytes], bool]) -> None:
        """Give ``take`` what ``receive_some`` would, as it comes, until that gives ``False``; ``b""`` at the end.

        What comes meanwhile wakes no task, as long as it is nothing but bytes. It may come back earlier, to be called
        again. Cancelling it loses nothing.
        """
        if self._rest or self._events or self._at_end or self._unsent or self._frames.has_more:
            take(await self.receive_some())
            return

        def take_simple(data: bytes | memoryview) -> bool:
            self._take(data)
            if not self._rest or self._frames.has_more:
                return False
            rest, self._rest = self._rest, b""
            return take(rest)

        self._receiving = True
        try:
            await self.transport.hand_on(take_simple)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._take(b"")
        finally:
            self._receiving = False

    async def _borrow(self) -> bytes | memoryview:
        try:
            return await self.transport.borrow_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    def _take(self, data: bytes | memoryview) -> None:
        self._reads += 1
        if not data:
            self._note_lost()
            self._at_end = True
            return
        events = self._frames.receive(data)
        if len(events) == 1 and isinstance(events[0], bytes):
            self._rest = events[0]
        else:
            self._events.extend(events)

    async def _obey(self, event: Event) -> None:
        match event:
            case bytes():
                self._rest = event
            case Text(text):
                answer = self.on_text(text) if self.on_text is not None and len(text) <= MAX_TEXT_CHARS else None
                if answer is None:
                    self._end("sent a text message", violation=True)
                else:
                    await self._answer(text_frame(answer))
            case Ping(payload):
                await self._answer(pong_frame(payload))
            case Pong(payload):
                self._answered = self._answered or payload == self._pinged
            case Close(code):
                self._end(f"closed with {_NO_CODE if code is None else code}")
                await self._answer(close_frame(code), last=True)
            case Violation(code, words):
                self.limit = Limit.MESSAGE_SIZE if code == TOO_LARGE else None
                self._end(words, violation=True)
                await self._answer(close_frame(code), last=True)

    def _end(self, words: str, *, violation: bool = False) -> None:
        self.ended_by, self.violation = words, violation
        self.lost = False  # also where sending has found it gone before this was read
        self._at_end = True

    def _note_lost(self) -> None:
        self.lost = self.lost or not self.ended_by
        self.ended_by = self.ended_by or "connection lost"

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send one binary message. When cancelled, its rest goes out before whatever is sent next, if it still can.

        Raises:
            trio.BrokenResourceError: the browser is gone.
        """
        if not self.send_now(bytes(data)):
            await self.flush()

    def send_now(self, data: bytes | memoryview) -> bool:
        """Send one binary message without waiting, or begin to: whether all of it has gone.

        Where it has not, the caller has to wait for ``flush`` before it sends anything else. ``data`` is not kept.

        Raises:
            trio.BrokenResourceError: the browser is gone.
        """
        return self._send_now(binary_head(len(data)), data)

    def _send_now(self, head: bytes, body: bytes | memoryview = b"") -> bool:
        if self._torn and not self._flushing:
            raise trio.BrokenResourceError("a message was torn")
        if self._closing or self._at_end_of_sending:
            raise trio.BrokenResourceError(self.ended_by or "closed")
        if self._unsent:
            self._unsent.append(b"".join((head, body)) if body else head)
            return False
        try:
            sent = self.transport.send_parts_now(head, body)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._gone() from None
        begun = sent - len(head)
        if begun == len(body):
            self._writes += 1
            return True
        if sent == 0 and not body:
            self._unsent.append(head)
        elif begun >= 0:
            self._unsent.append(memoryview(bytes(body[begun:])))
        else:
            self._unsent.append(b"".join((head, body))[sent:])
        return False

    async def flush(self) -> None:
        """Wait until all that was sent is on its way. Cancelled, what is left goes before whatever is sent next.

        Raises:
            trio.BrokenResourceError: the browser is gone.
        """
        while self._unsent:
            if self._flushing:
                await self._flushed.park()
                continue
            if self._torn:
                raise trio.BrokenResourceError("a message was torn")
            self._flushing = True
            try:
                await self._flush_first()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise self._gone() from None
            finally:
                self._flushing = False
                self._flushed.unpark_all()
        if self._at_end_of_sending:
            raise trio.BrokenResourceError(self.ended_by)

    async def _flush_first(self) -> None:
        first = self._unsent[0]
        sent = self.transport.send_now(first)
        if sent == 0 and isinstance(self.transport, AnyReadyStream):
            self._torn = True
            await self.transport.send_all(first)
            self._torn, sent = False, len(first)
        if sent == len(first):
            self._unsent.popleft()
            self._writes += first is not self._idle_ping
        else:
            self._unsent[0] = memoryview(first)[sent:]
            await self.transport.wait_send_all_might_not_block()

    def _gone(self) -> trio.BrokenResourceError:
        self._at_end_of_sending = True
        self._unsent.clear()
        self._note_lost()
        return trio.BrokenResourceError(self.ended_by)

    async def _answer(self, frame: bytes, *, last: bool = False) -> None:
        """Send a frame whole: who stops receiving meanwhile is kept for up to ``ANSWER_GRACE_S`` seconds.

        Otherwise a read that is given up, as at the end of the handshake, would tear the frame and end the WebSocket.
        """
        with contextlib.suppress(trio.BrokenResourceError):  # reading on tells how it ended
            whole = self._send_now(frame)
            self._closing = self._closing or last
            if not whole:
                await self._flush_with_grace()

    async def _flush_with_grace(self) -> None:
        grace = trio.CancelScope(shield=True)

        async def limit_when_cancelled() -> None:
            try:
                await trio.Event().wait()
            finally:
                grace.deadline = trio.current_time() + ANSWER_GRACE_S

        async with trio.open_nursery() as nursery:
            nursery.start_soon(limit_when_cancelled)
            with grace:
                await self._flush_quietly()
            nursery.cancel_scope.cancel()

    async def _flush_quietly(self) -> None:
        with contextlib.suppress(trio.BrokenResourceError):  # which is noted
            await self.flush()

    async def wait_until_lost(self, interval_s: float) -> bool:
        """Ping the browser every so many seconds, until it has given no sign of life for as long after a ping.

        A pong may have to wait behind other data, so any bytes from the browser count as well, and so does progress of
        what is on its way to it. While nobody receives (because the other side of the console takes nothing, say) a
        pong cannot be seen, so that is not held against it. At most one ping is under way.

        Returns:
            Whether it was lost; ``lost`` is set then. Otherwise it was closed.
        """
        await _sleep_in_company(interval_s)
        while not self._closed:
            if not await self._ping(interval_s):
                self.ended_by, self.lost = "gave no answer to a ping", True
                return True
        return False

    @property
    def _closed(self) -> bool:
        return self._at_end or bool(self.ended_by)

    async def _ping(self, interval_s: float) -> bool:
        """Ping, and wait for as long as the next ping has time; whether the browser lives."""
        self._pinged, self._answered = next(self._numbers).to_bytes(4, "big"), False
        frame = ping_frame(self._pinged)
        self._idle_ping = b"" if self._unsent else frame
        with contextlib.suppress(trio.BrokenResourceError):  # which is noted
            if self._send_now(frame):
                return await self._lives(interval_s)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._flush_quietly)
            lives = await self._lives(interval_s)
            nursery.cancel_scope.cancel()
        return lives

    async def _lives(self, interval_s: float) -> bool:
        """Whether there is an answer to a ping when the next one is due; or later, while there are signs of life."""
        last_sign, before = trio.current_time(), self._signs()
        await _sleep_in_company(interval_s)
        while not self._answered and not self._closed:
            now = self._signs()
            if not self._receiving or now.shows_life_since(before):
                last_sign = trio.current_time()
            elif trio.current_time() >= last_sign + interval_s:
                return False
            before = now
            await trio.sleep(interval_s / LOOKS)
        return True

    def _signs(self) -> _Signs:
        return _Signs(self._reads, self._writes, delivery(self.transport))

    async def wait_send_all_might_not_block(self) -> None:
        """As trio's ``SendStream.wait_send_all_might_not_block``."""
        await self.transport.wait_send_all_might_not_block()

    async def close(self, code: int, reason: str, *, within_s: float, farewell: bytes = b"") -> None:
        """Close with a code and a reason, wait at most ``within_s`` seconds for the browser's answer, then let go.

        The reason is cut to what a close frame holds. ``farewell`` is a last message, sent in one write with the close
        frame. The transport is closed in any case, also when cancelled.
        """
        try:
            with trio.move_on_after(within_s), contextlib.suppress(trio.BrokenResourceError):
                if not self._closing:
                    last = b"".join((binary_head(len(farewell)), farewell)) if farewell else b""
                    self._send_now(last + close_frame(code, close_reason(reason)))
                    self._closing = True
                    await self.flush()
                    await self._wait_for_end()
        finally:
            await close_at_once(self.transport)

    async def _wait_for_end(self) -> None:
        """Read on to the browser's own close frame; closing with unread bytes would reset the connection."""
        while not self._frames.over:
            data = await self.transport.borrow_some()
            if not data:
                return
            self._frames.receive(data)
            while self._frames.has_more:
                self._frames.receive(b"")

    async def aclose(self) -> None:
        """Close the transport at once, without a word to the browser."""
        await trio.aclose_forcefully(self.transport)


async def _sleep_in_company(interval_s: float) -> None:
    """Sleep at least so many seconds, and up to ``COMPANY`` of them more, until the moment that others sleep until."""
    step_s = interval_s * COMPANY
    await trio.sleep_until(math.ceil((trio.current_time() + interval_s) / step_s) * step_s)
