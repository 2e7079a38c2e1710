"""RFB messages as bytes, written down from RFC 6143 and rfbproto for the tests of the framers and filters."""

from __future__ import annotations

import struct
import zlib

EXTENDED_CLIPBOARD = 0xC0A1E5CE - (1 << 32)
CAPS, REQUEST, PEEK, NOTIFY, PROVIDE = (1 << bit for bit in range(24, 29))
TEXT = 1


def set_encodings(*encodings: int) -> bytes:
    return struct.pack(f">BxH{len(encodings)}i", 2, len(encodings), *encodings)


def pixel_format(
    bits: int = 32, depth: int = 24, colour: int = 1, top: int = 255, shifts: bytes = b"\x10\x08\0"
) -> bytes:
    return struct.pack(">BBBBHHH3s3x", bits, depth, 0, colour, top, top, top, shifts)


def set_pixel_format(raw: bytes = pixel_format()) -> bytes:
    return b"\0\0\0\0" + raw


def update_request(width: int = 640, height: int = 480) -> bytes:
    return struct.pack(">BBHHHH", 3, 0, 0, 0, width, height)


def cut_text(text: bytes, kind: int = 6) -> bytes:
    """ClientCutText; with ``kind`` 3, ServerCutText."""
    return struct.pack(">B3xi", kind, len(text)) + text


def extended(flags: int, body: bytes = b"", kind: int = 6) -> bytes:
    return struct.pack(">B3xiI", kind, -4 - len(body), flags) + body


def caps(kind: int = 6) -> bytes:
    return extended(CAPS | REQUEST | PEEK | NOTIFY | PROVIDE | TEXT, bytes(4), kind)


def provide(text: bytes, kind: int = 6) -> bytes:
    return extended(PROVIDE | TEXT, zlib.compress(struct.pack(">I", len(text)) + text), kind)


#: What a host gets in place of a text that is too long.
EMPTY = provide(b"\0")


def key(keysym: int = 0x61) -> bytes:
    return struct.pack(">BBxxI", 4, 1, keysym)


def pointer(buttons: int = 1) -> bytes:
    return struct.pack(">BBHH", 5, buttons, 3, 4)


def fence(payload: bytes = b"12345", kind: int = 248) -> bytes:
    return struct.pack(">B3xIB", kind, 1 << 31, len(payload)) + payload


CONTINUOUS_UPDATES = struct.pack(">BBHHHH", 150, 1, 0, 0, 640, 480)
XVP = b"\xfa\0\1\2"
SET_DESKTOP_SIZE = b"\xfb" + bytes(5) + b"\2\0" + bytes(32)
GII = b"\xfd\x80\0\2ab"
QEMU_KEY = b"\xff\0\0\1" + struct.pack(">II", 0x61, 30)
QEMU_AUDIO_ON = b"\xff\1\0\0"
QEMU_AUDIO_FORMAT = b"\xff\1\0\2" + bytes(6)


def update(*rectangles: bytes, count: int | None = None) -> bytes:
    return struct.pack(">BxH", 0, len(rectangles) if count is None else count) + b"".join(rectangles)


def rectangle(encoding: int, width: int, height: int, body: bytes = b"") -> bytes:
    return struct.pack(">HHHHi", 1, 2, width, height, encoding) + body


def sized(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def compact(body: bytes) -> bytes:
    """Tight's length in front of its data."""
    size = len(body)
    if size < 1 << 7:
        head = bytes([size])
    elif size < 1 << 14:
        head = bytes([size & 0x7F | 0x80, size >> 7])
    else:
        head = bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14])
    return head + body


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """``data`` in pieces of these sizes, and the rest."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]
