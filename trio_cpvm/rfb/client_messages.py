"""Where each of a browser's messages begins and ends, however the bytes are cut.

The framing of the client-to-server messages: RFC 6143 section 7.5, rfbproto "Client to Server Messages". Short messages
come out whole; of the long ones the beginning does, and the rest as it arrives, so that nothing large is kept. What a
message means for anybody is not known here.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterator
from typing import ClassVar, TypeAlias

import attrs

from .encodings import EXTENDED_CLIPBOARD, EXTENDED_MOUSE

#: The most encodings that a browser may name; noVNC names about 30.
MAX_ENCODINGS = 1024
#: rfbproto "ClientFence".
_MAX_FENCE_BYTES = 64
_POINTER_HAS_MORE_BUTTONS = 0x80

#: How many bytes of a message have to be there together, and how many it has in all; ``None``: more are needed to know.
_Sizes: TypeAlias = tuple[int, int] | None


class Kind(enum.Enum):
    """The messages that are known; QEMU's have a second byte."""

    SET_PIXEL_FORMAT = 0
    SET_ENCODINGS = 2
    UPDATE_REQUEST = 3
    KEY = 4
    POINTER = 5
    CUT_TEXT = 6
    CONTINUOUS_UPDATES = 150
    FENCE = 248
    XVP = 250
    SET_DESKTOP_SIZE = 251
    GII = 253
    QEMU_KEY = 255 << 8
    QEMU_AUDIO = 255 << 8 | 1


class UnknownMessage(Exception):
    """The place is lost: nobody has described this message. The text says which."""


@attrs.frozen
class Part:
    """A piece of a message.

    Attributes:
        kind: of the message.
        data: the piece. The first one of a clipboard text has its head: 8 bytes, or 12 with the flags of an extended
            one. Every other message but SetDesktopSize and gii comes in one piece.
        first: the message begins with it.
        left: bytes of the message that are still to come.
    """

    kind: Kind
    data: bytes
    first: bool
    left: int


class ClientFramer:
    """Follows one browser's messages from behind its ClientInit on.

    Args:
        keeps: which encodings the host gets to see of those that the browser names; all, by default.

    Attributes:
        encodings: those that the host was last told, in the browser's order.
    """

    def __init__(self, keeps: Callable[[int], bool] | None = None) -> None:
        self._keeps = keeps
        self._head = b""  # the beginning of a message that is not understood yet
        self._left = 0  # bytes of the current message still to come
        self._kind = Kind.SET_PIXEL_FORMAT
        self.encodings: tuple[int, ...] = ()

    def feed(self, data: bytes | bytearray) -> Iterator[Part]:
        """Follow a chunk; the iterator has to be used up before the next one.

        Raises:
            UnknownMessage: while iterating; whatever is fed afterwards means nothing.
        """
        buffer, position = self._head + data, 0
        self._head = b""
        while position < len(buffer):
            if self._left:
                step = min(self._left, len(buffer) - position)
                self._left -= step
                yield Part(self._kind, buffer[position : position + step], False, self._left)
            else:
                kind = self._read_kind(buffer, position)
                sizes = self._sizes(kind, buffer, position) if kind is not None else None
                if kind is None or sizes is None or len(buffer) - position < sizes[0]:
                    self._head = buffer[position:]
                    return
                together, size = sizes
                step = max(together, min(size, len(buffer) - position))
                self._kind, self._left = kind, size - step
                yield Part(kind, buffer[position : position + step], True, self._left)
            position += step

    def whole(self, data: bytes | bytearray) -> Kind | None:
        """The kind of message that the next chunk is, if it is one of a fixed size and nothing else: it is followed."""
        kind = _WHOLE.get((data[0], len(data))) if data else None
        return None if self._left or self._head else kind

    def _read_kind(self, buffer: bytes, at: int) -> Kind | None:
        number = buffer[at]
        if number == _QEMU:
            if len(buffer) - at < 2:
                return None
            number = _QEMU << 8 | buffer[at + 1]
        kind = _KINDS.get(number)
        if kind is None:
            raise UnknownMessage(f"message type {buffer[at]}" + (f".{buffer[at + 1]}" if buffer[at] == _QEMU else ""))
        return kind

    def _sizes(self, kind: Kind, buffer: bytes, at: int) -> _Sizes:
        fixed = _FIXED.get(kind)
        if fixed is not None:
            return fixed, fixed
        need, measure = self._MEASURED[kind]
        return measure(self, buffer, at) if len(buffer) - at >= need else None

    def _set_encodings(self, buffer: bytes, at: int) -> _Sizes:
        (count,) = struct.unpack_from(">H", buffer, at + 2)
        if count > MAX_ENCODINGS:
            raise UnknownMessage(f"SetEncodings with {count} encodings")
        size = 4 + 4 * count
        if len(buffer) - at >= size:
            named = struct.unpack_from(f">{count}i", buffer, at + 4)
            self.encodings = named if self._keeps is None else tuple(filter(self._keeps, named))
        return size, size

    def _pointer(self, buffer: bytes, at: int) -> _Sizes:
        more = EXTENDED_MOUSE in self.encodings and buffer[at + 1] & _POINTER_HAS_MORE_BUTTONS
        size = 7 if more else 6
        return size, size

    def _cut_text(self, buffer: bytes, at: int) -> _Sizes:
        (length,) = struct.unpack_from(">i", buffer, at + 4)
        if length >= 0:
            return 8, 8 + length
        if EXTENDED_CLIPBOARD not in self.encodings or length > -4:
            raise UnknownMessage(f"clipboard text of {length} bytes")
        return 12, 8 - length

    def _fence(self, buffer: bytes, at: int) -> _Sizes:
        length = buffer[at + 8]
        if length > _MAX_FENCE_BYTES:
            raise UnknownMessage(f"ClientFence of {length} bytes")
        return 9 + length, 9 + length

    def _set_desktop_size(self, buffer: bytes, at: int) -> _Sizes:
        return 8, 8 + 16 * buffer[at + 6]

    def _gii(self, buffer: bytes, at: int) -> _Sizes:
        order = ">" if buffer[at + 1] & 0x80 else "<"
        (length,) = struct.unpack_from(order + "H", buffer, at + 2)
        return 4, 4 + length

    def _qemu_audio(self, buffer: bytes, at: int) -> _Sizes:
        (operation,) = struct.unpack_from(">H", buffer, at + 2)
        if operation > 2:
            raise UnknownMessage(f"QEMU audio operation {operation}")
        size = 10 if operation == 2 else 4
        return size, size

    #: Messages that say their size: how many bytes of them it takes to know, and who reads it.
    _MEASURED: ClassVar[dict[Kind, tuple[int, Callable[[ClientFramer, bytes, int], _Sizes]]]] = {
        Kind.SET_ENCODINGS: (4, _set_encodings),
        Kind.POINTER: (2, _pointer),
        Kind.CUT_TEXT: (8, _cut_text),
        Kind.FENCE: (9, _fence),
        Kind.SET_DESKTOP_SIZE: (8, _set_desktop_size),
        Kind.GII: (4, _gii),
        Kind.QEMU_AUDIO: (4, _qemu_audio),
    }


_QEMU = 255
_KINDS = {kind.value: kind for kind in Kind}
#: Messages of one size.
_FIXED = {
    Kind.SET_PIXEL_FORMAT: 20,
    Kind.UPDATE_REQUEST: 10,
    Kind.KEY: 8,
    Kind.CONTINUOUS_UPDATES: 10,
    Kind.XVP: 4,
    Kind.QEMU_KEY: 12,
}
#: Those of them that one byte tells, by it and their size.
_WHOLE = {(kind.value, size): kind for kind, size in _FIXED.items() if kind.value < _QEMU}
