"""One client of the interactive VNC server: its messages in, updates, bells and clipboards out.

Two tasks: one reads and never writes, the other writes and never reads. What is to be sent is state (a requested area,
what has changed there, how often to ring, the last clipboard), not a queue: a client that does not read costs nothing.

This file must not know what is on the screen, nor what its keys do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs
import trio

from ..rfb.pixelformat import PIXEL_FORMAT_BYTES, USUAL_PIXEL_FORMAT, PixelFormat
from .cursor import CURSOR, arrow_rect
from .framebuffer import Damage, Framebuffer, PixelEncoder
from .image import Rect
from .steps import Conversation
from .streams import StreamEnded

#: The longest clipboard text accepted from a client, in bytes.
MAX_CUT_TEXT_BYTES = 1024 * 1024

#: Rings that a client has not heard yet; more are not kept.
MAX_PENDING_BELLS = 16

_RAW = (0).to_bytes(4, "big")
_SET_PIXEL_FORMAT, _SET_ENCODINGS, _UPDATE_REQUEST, _KEY, _POINTER, _CUT_TEXT = 0, 2, 3, 4, 5, 6


@attrs.frozen
class Pointer:
    """Where a pointer is, and which buttons are down: bit 0 the left one, bit 1 the middle one, bit 2 the right one."""

    x: int = 0
    y: int = 0
    buttons: int = 0


class Machine(Protocol):
    """What a viewer tells; all of it at once, nothing is waited for.

    Attributes:
        cursor_colours: the palette indices of a pointer's outline and inside.
    """

    @property
    def cursor_colours(self) -> tuple[int, int]: ...

    def key(self, viewer: Viewer, keysym: int, *, down: bool) -> None:
        """A key was pressed or released."""

    def point(self, viewer: Viewer, before: Pointer, now: Pointer) -> None:
        """The pointer moved, or a button changed."""

    def paste(self, viewer: Viewer, text: str) -> None:
        """The client's clipboard was sent."""


class ClientFault(Exception):
    """The client sent what this server does not accept; the text says what."""


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


@attrs.define(eq=False)
class Viewer:
    """A client after ServerInit.

    Attributes:
        encodings: what the client asked for; it gets Raw whatever that is, and a pointer's shape if it can take one.
        pixel_format: what its pixels are in.
        pointer: its pointer.
        held: the keys it holds down, as far as the machine keeps them here.
        ending: why it was over; empty before.
    """

    conversation: Conversation
    framebuffer: Framebuffer
    machine: Machine
    encodings: tuple[int, ...] = attrs.field(default=(), init=False)
    pixel_format: PixelFormat = attrs.field(default=USUAL_PIXEL_FORMAT, init=False)
    pointer: Pointer = attrs.field(default=Pointer(), init=False)
    held: set[int] = attrs.field(factory=set, init=False)
    ending: str = attrs.field(default="", init=False)
    _encoder: PixelEncoder = attrs.field(init=False)
    _damage: Damage = attrs.field(init=False)
    _requested: Rect | None = attrs.field(default=None, init=False)
    _cursor_due: bool = attrs.field(default=False, init=False)
    _bells: int = attrs.field(default=0, init=False)
    _cut_text: bytes | None = attrs.field(default=None, init=False)
    _work: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._encoder = PixelEncoder(self.framebuffer.palette, self.pixel_format)
        self._damage = Damage(self._wake)

    def ring(self) -> None:
        """Ring the client's bell, soon."""
        self._bells = min(self._bells + 1, MAX_PENDING_BELLS)
        self._wake()

    def offer_cut_text(self, text: str) -> None:
        """Send a clipboard, soon; one that was not sent yet is forgotten."""
        self._cut_text = text.encode("latin-1", "replace")
        self._wake()

    async def run(self) -> None:
        """Serve the client until it leaves or sends what it should not; the stream stays open."""
        self.framebuffer.watch(self._damage)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._guard, self._send_forever, nursery.cancel_scope)
                nursery.start_soon(self._guard, self._read_forever, nursery.cancel_scope)
        finally:
            self.framebuffer.unwatch(self._damage)

    async def _guard(self, work: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        """Let no outcome of one task reach the nursery: the first one says why it is over."""
        ending = ""
        try:
            await work()
        except ClientFault as fault:
            ending = str(fault)
        except StreamEnded as end:
            ending = "the client closed" if not end.got else "the client closed within a message"
        except trio.BrokenResourceError:
            ending = "the connection broke"
        self.ending = self.ending or ending
        scope.cancel()

    # -- out -------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._work.set()

    async def _send_forever(self) -> None:
        while True:
            self._work = trio.Event()
            message = self._next_message()
            if message is None:
                await self._work.wait()
            else:
                await self.conversation.send(message)

    def _next_message(self) -> bytes | None:
        if self._bells:
            self._bells -= 1
            return b"\x02"
        if self._cut_text is not None:
            text, self._cut_text = self._cut_text, None
            return b"\x03\0\0\0" + len(text).to_bytes(4, "big") + text
        if self._requested is None or not (self._cursor_due or self._damage.touches(self._requested)):
            return None
        areas = self._damage.take(self._requested)
        rects = [self._encode(area) for area in areas]
        if self._cursor_due:
            outline, inside = self.machine.cursor_colours
            rects.append(arrow_rect(self._encoder, outline=outline, inside=inside))
        self._requested, self._cursor_due = None, False
        return b"\0\0" + len(rects).to_bytes(2, "big") + b"".join(rects)

    def _encode(self, area: Rect) -> bytes:
        sides = b"".join(side.to_bytes(2, "big") for side in (area.x, area.y, area.width, area.height))
        return sides + _RAW + self._encoder.encode(self.framebuffer.indices(area))

    # -- in --------------------------------------------------------------------------------------------------------

    async def _read_forever(self) -> None:
        readers = {
            _SET_PIXEL_FORMAT: self._read_pixel_format,
            _SET_ENCODINGS: self._read_encodings,
            _UPDATE_REQUEST: self._read_update_request,
            _KEY: self._read_key,
            _POINTER: self._read_pointer,
            _CUT_TEXT: self._read_cut_text,
        }
        while True:
            (kind,) = await self.conversation.read(1)
            if kind not in readers:
                raise ClientFault(f"unknown message {kind}")
            await readers[kind]()

    async def _read_pixel_format(self) -> None:
        await self.conversation.read(3)
        wanted = PixelFormat.parse(await self.conversation.read(PIXEL_FORMAT_BYTES))
        if (problem := wanted.problem()) is not None:
            raise ClientFault(f"pixel format: {problem}")
        self.pixel_format = wanted
        self._encoder = PixelEncoder(self.framebuffer.palette, wanted)

    async def _read_encodings(self) -> None:
        head = await self.conversation.read(3)
        raw = await self.conversation.read(4 * _number(head[1:]))
        self.encodings = tuple(int.from_bytes(raw[at : at + 4], "big", signed=True) for at in range(0, len(raw), 4))
        self._cursor_due = CURSOR in self.encodings
        self._wake()

    async def _read_update_request(self) -> None:
        body = await self.conversation.read(9)
        x, y, width, height = (_number(body[at : at + 2]) for at in (1, 3, 5, 7))
        area = Rect(x, y, width, height).within(self.framebuffer.bounds)
        if not area.area:
            return
        self._requested = area if self._requested is None else self._requested.around(area)
        if not body[0]:
            self._damage.add(area)
        self._wake()

    async def _read_key(self) -> None:
        body = await self.conversation.read(7)
        self.machine.key(self, _number(body[3:]), down=body[0] != 0)

    async def _read_pointer(self) -> None:
        body = await self.conversation.read(5)
        # Outside of the screen counts as its edge: nothing is drawn there, and a line has an end.
        x = min(_number(body[1:3]), self.framebuffer.width - 1)
        y = min(_number(body[3:5]), self.framebuffer.height - 1)
        before, self.pointer = self.pointer, Pointer(x, y, body[0])
        self.machine.point(self, before, self.pointer)

    async def _read_cut_text(self) -> None:
        head = await self.conversation.read(7)
        length = _number(head[3:])
        if length > MAX_CUT_TEXT_BYTES:
            raise ClientFault(f"a clipboard of {length} bytes")
        text = (await self.conversation.read(length)).decode("latin-1")
        self.machine.paste(self, text)
