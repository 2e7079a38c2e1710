"""What of a host's messages reaches the browser: everything but clipboard texts that may not.

Sans-I/O: bytes in, the bytes that pass out. Every message is followed to its end without being decoded; that works as
long as the browser asked for encodings of ``encodings.FRAMED`` only, which ``client_filter`` sees to. Of a screen's
pixels nothing is kept.

Source: RFC 6143 sections 7.6 and 7.7, rfbproto "Server to Client Messages", "Encodings" and "Pseudo-encodings".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from typing import ClassVar, TypeAlias

from .. import errors
from ..errors import ConsoleError
from . import encodings
from .cut_text import ClipboardRule, Fate
from .pixelformat import PixelFormat

#: So many bytes are wanted; whether they are to be looked at, or only let through or dropped.
_Want: TypeAlias = tuple[int, bool]
_Steps: TypeAlias = Generator[_Want, bytes, None]
_Read: TypeAlias = Generator[_Want, bytes, bytes]

_UPDATE, _COLOUR_MAP, _BELL, _CUT_TEXT = 0, 1, 2, 3
_END_OF_CONTINUOUS_UPDATES, _FENCE, _XVP = 150, 248, 250

#: Tight: the upper half of the control byte, and the filters of basic compression.
_FILL, _JPEG, _PNG, _EXPLICIT_FILTER, _FIRST_NOT_BASIC = 8, 9, 10, 4, 8
_COPY, _PALETTE, _GRADIENT = 0, 1, 2
#: Tight: shorter data is not compressed and has no length.
_MIN_COMPRESSED = 12


class ServerFilter:
    """Filters one host's messages from behind its ServerInit on.

    Args:
        rule: what of the host's clipboard may pass.
        pixel_format: the host's own, of ServerInit.
    """

    def __init__(self, rule: ClipboardRule, pixel_format: PixelFormat) -> None:
        self._rule = rule
        self._sizes = _pixel_sizes(pixel_format)
        self._asked = False
        self._passed: list[bytes] = []
        self._passing = True
        self._looked_at = bytearray()
        self._steps = self._messages()
        self._want, self._look = next(self._steps)

    @property
    def kept_bytes(self) -> int:
        """How much of a message is kept until it can be looked at."""
        return len(self._looked_at)

    # -- what the browser says that matters here

    def set_pixel_format(self, raw: bytes) -> None:
        """The browser sets its pixel format.

        Raises:
            ConsoleError: ``client-protocol``: updates that are under way may have pixels of either size.
        """
        sizes = _pixel_sizes(PixelFormat.parse(raw))
        if self._asked and sizes != self._sizes:
            raise ConsoleError(errors.CLIENT_PROTOCOL, "other pixels than at first: the host's updates have no size")
        self._sizes = sizes

    def updates_asked(self) -> None:
        """The browser asks for updates; before that a host sends none (RFC 6143 section 7.5.3).

        Raises:
            ConsoleError: ``client-protocol``: hosts differ on how long a pixel of its format is.
        """
        if self._sizes is None:
            raise ConsoleError(errors.CLIENT_PROTOCOL, "a pixel format in which updates have no certain size")
        self._asked = True

    # -- what the host says

    def feed(self, data: bytes | bytearray) -> bytes:
        """Filter a chunk, however it was cut.

        Raises:
            ConsoleError: ``upstream-protocol``.
        """
        data, position = bytes(data), 0
        while position < len(data):
            chunk = data[position : position + self._want]
            position += len(chunk)
            self._want -= len(chunk)
            if self._look:
                self._looked_at += chunk
            elif self._passing:
                self._passed.append(chunk)
            if not self._want:
                looked_at = bytes(self._looked_at)
                self._looked_at.clear()
                self._want, self._look = self._steps.send(looked_at)
        passed = b"".join(self._passed)
        self._passed.clear()
        return passed

    # -- the messages, straight down the page; every step wants at least one byte

    def _messages(self) -> _Steps:
        while True:
            kind = (yield 1, True)[0]
            if kind == _CUT_TEXT:
                yield from self._cut_text()
                continue
            self._passed.append(bytes([kind]))
            if kind == _UPDATE:
                yield from self._update()
            elif kind == _COLOUR_MAP:
                (colours,) = struct.unpack(">3xH", (yield from self._read(5)))
                yield from self._skip(6 * colours)
            elif kind == _FENCE:
                yield from self._skip((yield from self._read(8))[7])
            elif kind == _XVP:
                yield from self._skip(3)
            elif kind not in (_BELL, _END_OF_CONTINUOUS_UPDATES):
                raise ConsoleError(errors.UPSTREAM_PROTOCOL, f"message type {kind}, which cannot be filtered")

    def _cut_text(self) -> _Steps:
        head = bytes([_CUT_TEXT]) + (yield 7, True)
        (length,) = struct.unpack(">4xi", head)
        left = length
        if length < 0:
            if length > -4:
                raise ConsoleError(errors.UPSTREAM_PROTOCOL, f"clipboard text of {length} bytes")
            head += yield 4, True
            left = -length - 4
        fate = self._rule.judge(head)
        if fate is Fate.WEIGH:
            message = head + ((yield left, True) if left else b"")
            self._passed += [message] if self._rule.fits(message) else []
            return
        self._passing = fate is Fate.PASS
        if self._passing:
            self._passed.append(head)
        yield from self._skip(left)
        self._passing = True

    def _update(self) -> _Steps:
        (rectangles,) = struct.unpack(">xH", (yield from self._read(3)))
        for _ in range(rectangles):
            width, height, encoding = struct.unpack(">4xHHi", (yield from self._read(12)))
            if encoding == encodings.LAST_RECT:
                return
            follow = self._RECTANGLES.get(encoding)
            if follow is None:
                raise ConsoleError(errors.UPSTREAM_PROTOCOL, f"encoding {encoding}, which cannot be filtered")
            yield from follow(self, width, height)

    def _nothing(self, width: int, height: int) -> _Steps:
        yield from ()

    def _raw(self, width: int, height: int) -> _Steps:
        yield from self._skip(width * height * self._pixel[0])

    def _copy_rect(self, width: int, height: int) -> _Steps:
        yield from self._skip(4)

    def _with_length(self, width: int, height: int) -> _Steps:
        """Zlib and ZRLE, and the desktop's name."""
        (length,) = struct.unpack(">I", (yield from self._read(4)))
        yield from self._skip(length)

    def _tight(self, width: int, height: int) -> _Steps:
        control = (yield from self._read(1))[0] >> 4
        if control >= _FIRST_NOT_BASIC:
            yield from self._tight_special(control, _JPEG)
            return
        _, pixel = self._pixel
        size, name = width * height * pixel, _COPY
        if control & _EXPLICIT_FILTER:
            name = (yield from self._read(1))[0]
        if name == _PALETTE:
            colours = (yield from self._read(1))[0] + 1
            yield from self._skip(colours * pixel)
            size = (width + 7) // 8 * height if colours <= 2 else width * height
        elif name not in (_COPY, _GRADIENT):
            raise ConsoleError(errors.UPSTREAM_PROTOCOL, f"Tight filter {name}")
        if size < _MIN_COMPRESSED:
            yield from self._skip(size)
        else:
            yield from self._compact()

    def _tight_png(self, width: int, height: int) -> _Steps:
        yield from self._tight_special((yield from self._read(1))[0] >> 4, _PNG)

    def _tight_special(self, control: int, highest: int) -> _Steps:
        """One colour, or a picture with its own head."""
        if not _FILL <= control <= highest:
            raise ConsoleError(errors.UPSTREAM_PROTOCOL, f"Tight compression {control}")
        if control == _FILL:
            yield from self._skip(self._pixel[1])
        else:
            yield from self._compact()

    def _compact(self) -> _Steps:
        """Tight's length in one to three bytes, and so many bytes."""
        length = 0
        for shift in (0, 7, 14):
            byte = (yield from self._read(1))[0]
            length |= (byte if shift == 14 else byte & 0x7F) << shift
            if not byte & 0x80:
                break
        yield from self._skip(length)

    def _cursor(self, width: int, height: int) -> _Steps:
        yield from self._skip(width * height * self._pixel[0] + (width + 7) // 8 * height)

    def _x_cursor(self, width: int, height: int) -> _Steps:
        if width * height:
            yield from self._skip(6 + 2 * ((width + 7) // 8) * height)

    def _vmware_cursor(self, width: int, height: int) -> _Steps:
        kind = (yield from self._read(2))[0]
        if kind > 1:
            raise ConsoleError(errors.UPSTREAM_PROTOCOL, f"VMware cursor of type {kind}")
        yield from self._skip(width * height * (4 if kind else 2 * self._pixel[0]))

    def _led_state(self, width: int, height: int) -> _Steps:
        yield from self._skip(1)

    def _extended_desktop_size(self, width: int, height: int) -> _Steps:
        yield from self._skip(16 * (yield from self._read(4))[0])

    #: Who follows what stands behind a rectangle's head: all of ``encodings.FRAMED`` but LastRect.
    _RECTANGLES: ClassVar[dict[int, Callable[[ServerFilter, int, int], _Steps]]] = {
        encodings.RAW: _raw,
        encodings.COPY_RECT: _copy_rect,
        encodings.ZLIB: _with_length,
        encodings.ZRLE: _with_length,
        encodings.TIGHT: _tight,
        encodings.TIGHT_PNG: _tight_png,
        encodings.DESKTOP_SIZE: _nothing,
        encodings.POINTER_CHANGE: _nothing,
        encodings.EXTENDED_KEY: _nothing,
        encodings.CURSOR: _cursor,
        encodings.X_CURSOR: _x_cursor,
        encodings.VMWARE_CURSOR: _vmware_cursor,
        encodings.LED_STATE: _led_state,
        encodings.DESKTOP_NAME: _with_length,
        encodings.EXTENDED_DESKTOP_SIZE: _extended_desktop_size,
    }

    @property
    def _pixel(self) -> tuple[int, int]:
        if self._sizes is None or not self._asked:
            raise ConsoleError(errors.UPSTREAM_PROTOCOL, "an update that nobody asked for")
        return self._sizes

    def _read(self, size: int) -> _Read:
        """Look at bytes that pass."""
        data = yield size, True
        self._passed.append(data)
        return data

    def _skip(self, size: int) -> _Steps:
        """Bytes that nobody looks at."""
        if size:
            yield size, False


def _pixel_sizes(pixel: PixelFormat) -> tuple[int, int] | None:
    """Bytes of a pixel, and of one in Tight's short form (rfbproto "Tight Encoding": TPIXEL).

    ``None`` for formats of which hosts make different things: QEMU's short form asks for the three maxima only,
    TigerVNC's for the depth and the shifts as well; QEMU takes a colour map for 8 bits, and a maximum of 0 for 255.
    """
    if pixel.bits_per_pixel not in (8, 16, 32):
        return None
    size = pixel.bytes_per_pixel
    if not pixel.true_colour:
        return (size, size) if size == 1 else None
    maxima = (pixel.red_max, pixel.green_max, pixel.blue_max)
    if 0 in maxima:
        return None
    if size != 4 or maxima != (255, 255, 255):
        return size, size
    whole = all(shift % 8 == 0 for shift in (pixel.red_shift, pixel.green_shift, pixel.blue_shift))
    return (4, 3) if whole and pixel.depth == 24 else None
