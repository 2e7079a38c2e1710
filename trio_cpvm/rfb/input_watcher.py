"""Tells the user's hands from the browser's own chatter: does this chunk hold a key, a pointer move, a paste?

A passive framer of the client-to-server messages (RFC 6143 section 7.5, rfbproto "Client to Server Messages"). It
changes nothing and stores no payload. Where it meets a message nobody has described, it loses its place for good, and
from then on takes every byte for input: a console is then kept open rather than cut off by mistake.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import ClassVar, TypeAlias

_EXTENDED_CLIPBOARD = 0xC0A1E5CE
_EXTENDED_MOUSE_BUTTONS = -316 & 0xFFFFFFFF
_MAX_ENCODINGS = 1024
_POINTER_HAS_MORE_BUTTONS = 0x80
#: Extended clipboard actions that clients take by themselves: caps, request, peek (rfbproto, bits 24 to 26).
_CLIPBOARD_CHATTER = 0x07000000

#: Bytes that the whole message takes and whether it is input; ``None`` while the head is not complete.
_Sized: TypeAlias = tuple[int, bool] | None


class _Unknown(Exception):
    pass


class InputWatcher:
    """Follows one browser's messages from behind its ClientInit on."""

    def __init__(self) -> None:
        self._head = b""  # the beginning of a message whose size is not known yet
        self._skip = 0  # bytes of the current message still to come
        self._encodings: frozenset[int] = frozenset()
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether an unknown message was met."""
        return self._lost

    def feed(self, data: bytes | bytearray) -> bool:
        """Follow a chunk, however it was cut; true if a message of the user's hands begins in it."""
        if self._lost:
            return bool(data)
        buffer = self._head + bytes(data)
        self._head = b""
        seen, position = False, 0
        while position < len(buffer):
            if self._skip:
                step = min(self._skip, len(buffer) - position)
                self._skip -= step
                position += step
                continue
            try:
                sized = self._size(buffer, position)
            except _Unknown:
                self._lost = True
                return True
            if sized is None:
                self._head = buffer[position:]
                break
            self._skip, is_input = sized
            seen = seen or is_input
        return seen

    def _size(self, buffer: bytes, at: int) -> _Sized:
        message = buffer[at]
        fixed = self._FIXED.get(message)
        if fixed is not None:
            return fixed
        measure = self._MEASURED.get(message)
        if measure is None:
            raise _Unknown
        need, read = measure
        return read(self, buffer, at) if len(buffer) - at >= need else None

    def _set_encodings(self, buffer: bytes, at: int) -> _Sized:
        (count,) = struct.unpack_from(">H", buffer, at + 2)
        if count > _MAX_ENCODINGS:
            raise _Unknown
        size = 4 + 4 * count
        if len(buffer) - at < size:
            return None
        self._encodings = frozenset(struct.unpack_from(f">{count}I", buffer, at + 4))
        return size, False

    def _pointer(self, buffer: bytes, at: int) -> _Sized:
        more = _EXTENDED_MOUSE_BUTTONS in self._encodings and buffer[at + 1] & _POINTER_HAS_MORE_BUTTONS
        return (7 if more else 6), True

    def _cut_text(self, buffer: bytes, at: int) -> _Sized:
        (length,) = struct.unpack_from(">i", buffer, at + 4)
        if length >= 0:
            return 8 + length, True
        if _EXTENDED_CLIPBOARD not in self._encodings or length > -4:
            raise _Unknown
        if len(buffer) - at < 12:
            return None
        (flags,) = struct.unpack_from(">I", buffer, at + 8)
        return 8 - length, not flags & _CLIPBOARD_CHATTER

    def _fence(self, buffer: bytes, at: int) -> _Sized:
        return 9 + buffer[at + 8], False

    def _set_desktop_size(self, buffer: bytes, at: int) -> _Sized:
        return 8 + 16 * buffer[at + 6], False

    def _gii(self, buffer: bytes, at: int) -> _Sized:
        order = ">" if buffer[at + 1] & 0x80 else "<"
        (length,) = struct.unpack_from(order + "H", buffer, at + 2)
        return 4 + length, True

    def _qemu(self, buffer: bytes, at: int) -> _Sized:
        kind = buffer[at + 1]
        if kind == 0:
            return 12, True
        if kind != 1:
            raise _Unknown
        (operation,) = struct.unpack_from(">H", buffer, at + 2)
        if operation > 2:
            raise _Unknown
        return (10 if operation == 2 else 4), False

    #: Messages of one size.
    _FIXED: ClassVar[dict[int, tuple[int, bool]]] = {
        0: (20, False),  # SetPixelFormat
        3: (10, False),  # FramebufferUpdateRequest
        4: (8, True),  # KeyEvent
        150: (10, False),  # EnableContinuousUpdates
        250: (4, True),  # xvp: shut down, reboot
    }
    #: Messages that say their size: how many bytes of them it takes to know, and who reads it.
    _MEASURED: ClassVar[dict[int, tuple[int, Callable[[InputWatcher, bytes, int], _Sized]]]] = {
        2: (4, _set_encodings),
        5: (2, _pointer),
        6: (8, _cut_text),
        248: (9, _fence),
        251: (8, _set_desktop_size),
        253: (4, _gii),
        255: (4, _qemu),
    }
