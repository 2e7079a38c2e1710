"""A small RFB client: the handshake, keys and pointer, and the screen as pixels.

It has no task of its own: nothing is read unless a method reads, so a test decides when a client is slow. Sending and
receiving may go on in two tasks at once.

This file must not know what kind of stream it speaks over, nor about the doubles it is tested against.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs
import trio

from ..rfb.pixelformat import PIXEL_FORMAT_BYTES, USUAL_PIXEL_FORMAT, PixelFormat
from ..rfb.vncauth import CHALLENGE_BYTES, vnc_auth_response
from . import keysyms
from .canvas import Canvas
from .image import Colour, Image, Rect
from .streams import close_in_time, read_exactly

#: Encodings and pseudo-encodings that ``read_update`` understands.
RAW = 0
COPY_RECT = 1
DESKTOP_SIZE = -223
LAST_RECT = -224
CURSOR = -239

#: The longest text accepted from a server: names, reasons, clipboards; in bytes.
MAX_TEXT_BYTES = 1024 * 1024
#: The largest screen accepted, in pixels.
MAX_PIXELS = 64 * 1024 * 1024

_NONE = 1
_VNC_AUTH = 2
_VERSION_BYTES = 12
_VERSION = re.compile(rb"RFB (\d{3})\.(\d{3})\n")
_UPDATE, _COLOUR_MAP, _BELL, _CUT_TEXT = range(4)


class RfbRefused(Exception):
    """The server refused the client.

    Args:
        reason_text: the server's own words; empty where the version has none.
        stage: ``"security"`` (before any authentication) or ``"result"`` (after it).
    """

    def __init__(self, reason_text: str, stage: str) -> None:
        super().__init__(reason_text, stage)
        self.reason_text = reason_text
        self.stage = stage

    def __str__(self) -> str:
        return f"refused ({self.stage}): {self.reason_text}"


class RfbViolation(Exception):
    """The server sent what this client cannot follow: no RFB, too long, or not asked for."""


@attrs.frozen
class ServerInit:
    """What the server says about its screen."""

    name: str
    width: int
    height: int
    pixel_format: PixelFormat


@attrs.define(eq=False)
class RfbClient:
    """An RFB client on any stream.

    Every reading method raises ``StreamEnded`` when the server closes, ``RfbViolation`` when it sends nonsense, and
    ``trio.BrokenResourceError`` when the connection breaks; after a cancellation the client can only be closed.

    Args:
        stream: closed by ``aclose``.

    Attributes:
        server_version: the server's version string.
        offered_security: the security types offered (in RFB 3.3, the one decreed).
        init: what ServerInit said; ``None`` before.
        pixel_format: what updates come in.
        bells: how often the bell rang.
        cut_texts: what the server's clipboard held.
        updates: how many framebuffer updates were read.
        cursor: the pointer's shape that the server sent last, its see-through parts included.
    """

    stream: trio.abc.Stream
    server_version: bytes = attrs.field(default=b"", init=False)
    offered_security: tuple[int, ...] = attrs.field(default=(), init=False)
    init: ServerInit | None = attrs.field(default=None, init=False)
    pixel_format: PixelFormat = attrs.field(default=USUAL_PIXEL_FORMAT, init=False)
    bells: int = attrs.field(default=0, init=False)
    cut_texts: list[str] = attrs.field(factory=list, init=False)
    updates: int = attrs.field(default=0, init=False)
    cursor: Image | None = attrs.field(default=None, init=False)
    _minor: int = attrs.field(default=8, init=False)
    _canvas: Canvas = attrs.field(factory=Canvas, init=False)

    async def __aenter__(self) -> RfbClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the stream, gracefully for a few seconds; it is closed in any case, also when cancelled."""
        await close_in_time(self.stream)

    # -- the handshake ---------------------------------------------------------------------------------------------

    async def handshake(
        self,
        password: str | bytes | None = None,
        version: bytes = b"RFB 003.008\n",
        *,
        shared: bool = True,
        security_type: int | None = None,
    ) -> ServerInit:
        """Go from nothing to ServerInit.

        Args:
            password: what to answer a challenge with.
            version: the highest version to speak; a lower one of the server is met. What is no version is sent as is.
            shared: leave the other clients connected.
            security_type: choose this type, offered or not; by default, VNC authentication with a password and None
                without, whatever of the two is offered.

        Raises:
            RfbRefused: the server said no.
            RfbViolation: nothing in common, or a challenge without a password.
        """
        self.server_version = await self._read(_VERSION_BYTES)
        await self.stream.send_all(self._agree_on_version(version))
        chosen = await self._choose_security(security_type, _VNC_AUTH if password is not None else _NONE)
        if chosen == _VNC_AUTH:
            if password is None:
                raise RfbViolation("the server asks for a password")
            secret = password.encode("utf-8") if isinstance(password, str) else password
            await self.stream.send_all(vnc_auth_response(secret, await self._read(CHALLENGE_BYTES)))
        elif chosen != _NONE:
            raise RfbViolation(f"no authentication for security type {chosen}")
        if chosen == _VNC_AUTH or self._minor == 8:
            await self._read_result()
        await self.stream.send_all(bytes((shared,)))
        return await self._read_server_init()

    def _agree_on_version(self, wanted: bytes) -> bytes:
        theirs, ours = _VERSION.fullmatch(self.server_version), _VERSION.fullmatch(wanted)
        if theirs is None:
            raise RfbViolation(f"no RFB version: {self.server_version!r}")
        if ours is None:
            return wanted
        common = min((int(theirs[1]), int(theirs[2])), (int(ours[1]), int(ours[2])))
        self._minor = 3 if common < (3, 7) else 7 if common < (3, 8) else 8
        return b"RFB 003.00%d\n" % self._minor

    async def _choose_security(self, forced: int | None, preferred: int) -> int:
        if self._minor == 3:
            decreed = await self._read_number(4)
            self.offered_security = (decreed,) if decreed else ()
        else:
            self.offered_security = tuple(await self._read(await self._read_number(1)))
        if not self.offered_security:
            raise RfbRefused(await self._read_text(), "security")
        if self._minor == 3:
            return self.offered_security[0]
        chosen = forced
        if chosen is None:
            known = [kind for kind in (preferred, _NONE, _VNC_AUTH) if kind in self.offered_security]
            if not known:
                raise RfbViolation(f"no common security type in {self.offered_security}")
            chosen = known[0]
        await self.stream.send_all(bytes((chosen,)))
        return chosen

    async def _read_result(self) -> None:
        if await self._read_number(4) == 0:
            return
        raise RfbRefused(await self._read_text() if self._minor == 8 else "", "result")

    async def _read_server_init(self) -> ServerInit:
        width, height = await self._read_number(2), await self._read_number(2)
        self.pixel_format = PixelFormat.parse(await self._read(PIXEL_FORMAT_BYTES))
        self._resize(width, height)
        self.init = ServerInit(await self._read_text(), width, height, self.pixel_format)
        return self.init

    # -- what a user does ------------------------------------------------------------------------------------------

    async def send_key(self, keysym: int, *, down: bool) -> None:
        """Press or release a key, by its X11 keysym."""
        await self.stream.send_all(b"\x04" + bytes((down, 0, 0)) + keysym.to_bytes(4, "big"))

    async def press(self, *keys: int) -> None:
        """Press keys in order and release them in reverse: ``press(keysyms.CONTROL, ord("c"))``."""
        for keysym in keys:
            await self.send_key(keysym, down=True)
        for keysym in reversed(keys):
            await self.send_key(keysym, down=False)

    async def type_text(self, text: str) -> None:
        """Press and release a key for each character; a newline is Return, a tab is Tab."""
        for char in text:
            await self.press(keysyms.of_char(char))

    async def pointer(self, x: int, y: int, buttons: int = 0) -> None:
        """Move the pointer; bit 0 of ``buttons`` is the left button, bit 1 the middle one, bit 2 the right one."""
        await self.stream.send_all(b"\x05" + bytes((buttons,)) + x.to_bytes(2, "big") + y.to_bytes(2, "big"))

    async def send_cut_text(self, text: str) -> None:
        """Put a text on the server's clipboard; Latin-1, what that lacks becomes a question mark."""
        raw = text.encode("latin-1", "replace")
        await self.stream.send_all(b"\x06\0\0\0" + len(raw).to_bytes(4, "big") + raw)

    async def set_encodings(self, encodings: Iterable[int]) -> None:
        """Say which encodings, best first, and pseudo-encodings the server may use."""
        wanted = [number.to_bytes(4, "big", signed=True) for number in encodings]
        await self.stream.send_all(b"\x02\0" + len(wanted).to_bytes(2, "big") + b"".join(wanted))

    async def set_pixel_format(self, pixel_format: PixelFormat) -> None:
        """Ask for another pixel format; only while no update is on its way, as RFB cannot tell which one it is in.

        Raises:
            ValueError: no pixel can be read in that format.
        """
        if (problem := pixel_format.problem()) is not None:
            raise ValueError(f"no pixel can be read: {problem}")
        await self.stream.send_all(b"\0\0\0\0" + pixel_format.encode())
        self.pixel_format = pixel_format

    async def request_update(self, *, incremental: bool = True, area: Rect | None = None) -> None:
        """Ask for what has changed, or for everything; of the whole screen unless told otherwise."""
        part = self._canvas.bounds if area is None else area
        sides = (part.x, part.y, part.width, part.height)
        await self.stream.send_all(b"\x03" + bytes((incremental,)) + b"".join(n.to_bytes(2, "big") for n in sides))

    # -- what the server shows -------------------------------------------------------------------------------------

    async def read_update(self) -> list[Rect]:
        """Read up to and including the next framebuffer update, and draw it; bells and clipboards are noted on the way.

        Returns:
            the rectangles that were drawn.
        """
        while True:
            drawn = await self.read_message()
            if drawn is not None:
                return drawn

    async def read_message(self) -> list[Rect] | None:
        """Read one message of any kind; the rectangles drawn if it was an update, ``None`` otherwise."""
        kind = await self._read_number(1)
        if kind == _UPDATE:
            return await self._read_rects()
        if kind == _BELL:
            self.bells += 1
        elif kind == _CUT_TEXT:
            await self._read(3)
            self.cut_texts.append(await self._read_text("latin-1"))
        elif kind == _COLOUR_MAP:
            await self._read(3)
            await self._read(6 * await self._read_number(2))
        else:
            raise RfbViolation(f"unknown message {kind}")
        return None

    async def refresh(self) -> Image:
        """Ask for the whole screen, read it, and return it as a picture."""
        await self.request_update(incremental=False)
        await self.read_update()
        return self.screenshot()

    def screenshot(self) -> Image:
        """What has been drawn so far."""
        return self._canvas.image()

    def pixel(self, x: int, y: int) -> Colour:
        """The colour at ``x``, ``y`` as far as it has been drawn; black before."""
        return self._canvas.pixel(x, y)

    async def _read_rects(self) -> list[Rect]:
        await self._read(1)
        drawn = []
        for _ in range(await self._read_number(2)):
            x, y, width, height = [await self._read_number(2) for _ in range(4)]
            rect = Rect(x, y, width, height)
            encoding = int.from_bytes(await self._read(4), "big", signed=True)
            if encoding == LAST_RECT:
                break
            if encoding == DESKTOP_SIZE:
                self._resize(width, height)
                continue
            if encoding == CURSOR:
                await self._read_cursor(width, height)
                continue
            if not self._canvas.bounds.contains(rect):
                raise RfbViolation(f"{rect} is outside of the screen")
            if encoding == RAW:
                raw = await self._read(rect.area * self.pixel_format.bytes_per_pixel)
                self._canvas.draw(rect, raw, self.pixel_format)
            elif encoding == COPY_RECT:
                source = Rect(await self._read_number(2), await self._read_number(2), width, height)
                if not self._canvas.bounds.contains(source):
                    raise RfbViolation(f"{source} is outside of the screen")
                self._canvas.copy(source, rect)
            else:
                raise RfbViolation(f"encoding {encoding} was not asked for")
            drawn.append(rect)
        self.updates += 1
        return drawn

    async def _read_cursor(self, width: int, height: int) -> None:
        if width * height > MAX_PIXELS:
            raise RfbViolation(f"a pointer of {width} x {height}")
        shape = Canvas()
        shape.resize(width, height)
        raw = await self._read(width * height * self.pixel_format.bytes_per_pixel)
        shape.draw(shape.bounds, raw, self.pixel_format)
        await self._read((width + 7) // 8 * height)
        self.cursor = shape.image()

    def _resize(self, width: int, height: int) -> None:
        if width * height > MAX_PIXELS:
            raise RfbViolation(f"a screen of {width} x {height}")
        self._canvas.resize(width, height)

    # -- bounded reading -------------------------------------------------------------------------------------------

    async def _read(self, count: int) -> bytes:
        return await read_exactly(self.stream, count)

    async def _read_number(self, size: int) -> int:
        return int.from_bytes(await self._read(size), "big")

    async def _read_text(self, encoding: str = "utf-8") -> str:
        length = await self._read_number(4)
        if length > MAX_TEXT_BYTES:
            raise RfbViolation(f"a text of {length} bytes")
        return (await self._read(length)).decode(encoding, "replace")
