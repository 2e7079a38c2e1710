"""Rectangles and pictures: the values that the screen of a double and what a client sees of it share.

This file must not know about RFB, streams or trio.
"""

from __future__ import annotations

import struct
import zlib

import attrs

Colour = tuple[int, int, int]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_TRUE_COLOUR_8 = (8, 2, 0, 0, 0)


@attrs.frozen
class Rect:
    """A rectangle in pixels; ``right`` and ``bottom`` are one past its last column and row."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    @property
    def area(self) -> int:
        """How many pixels it holds; 0 for an empty one, whichever side is missing."""
        return max(self.width, 0) * max(self.height, 0)

    def contains(self, other: Rect) -> bool:
        """Whether all of ``other`` lies within."""
        return self.x <= other.x and self.y <= other.y and other.right <= self.right and other.bottom <= self.bottom

    def holds(self, x: int, y: int) -> bool:
        """Whether the pixel at ``x``, ``y`` lies within."""
        return self.x <= x < self.right and self.y <= y < self.bottom

    def within(self, other: Rect) -> Rect:
        """What both have in common; empty (``area`` 0) when they do not meet."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        return Rect(x, y, max(min(self.right, other.right) - x, 0), max(min(self.bottom, other.bottom) - y, 0))

    def around(self, other: Rect) -> Rect:
        """The smallest rectangle that holds both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        return Rect(x, y, max(self.right, other.right) - x, max(self.bottom, other.bottom) - y)

    def without(self, other: Rect) -> list[Rect]:
        """What is left of this one when ``other`` is cut out: at most four rectangles that do not overlap."""
        hole = self.within(other)
        if not hole.area:
            return [self]
        pieces = (
            Rect(self.x, self.y, self.width, hole.y - self.y),
            Rect(self.x, hole.bottom, self.width, self.bottom - hole.bottom),
            Rect(self.x, hole.y, hole.x - self.x, hole.height),
            Rect(hole.right, hole.y, self.right - hole.right, hole.height),
        )
        return [piece for piece in pieces if piece.area]


@attrs.frozen
class Image:
    """A picture: rows from the top, three bytes (red, green, blue) a pixel."""

    width: int
    height: int
    rgb: bytes = attrs.field(repr=False)

    def __attrs_post_init__(self) -> None:
        if len(self.rgb) != 3 * self.width * self.height:
            raise ValueError(f"{len(self.rgb)} bytes are not {self.width} x {self.height} pixels")

    def pixel(self, x: int, y: int) -> Colour:
        """The colour at ``x``, ``y``.

        Raises:
            IndexError: outside the picture.
        """
        if not Rect(0, 0, self.width, self.height).holds(x, y):
            raise IndexError(f"no pixel at {x}, {y} in {self.width} x {self.height}")
        at = 3 * (y * self.width + x)
        red, green, blue = self.rgb[at : at + 3]
        return red, green, blue

    def crop(self, rect: Rect) -> Image:
        """The part within ``rect``, as a picture of its own."""
        part = rect.within(Rect(0, 0, self.width, self.height))
        rows = (3 * (y * self.width + part.x) for y in range(part.y, part.bottom))
        return Image(part.width, part.height, b"".join(self.rgb[at : at + 3 * part.width] for at in rows))

    def colours(self) -> set[Colour]:
        """Every colour that occurs."""
        return set(zip(self.rgb[0::3], self.rgb[1::3], self.rgb[2::3], strict=True))

    def png(self) -> bytes:
        """The picture as a PNG file."""
        stride = 3 * self.width
        rows = b"".join(b"\0" + self.rgb[at : at + stride] for at in range(0, len(self.rgb), stride))
        header = struct.pack(">IIBBBBB", self.width, self.height, *_PNG_TRUE_COLOUR_8)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
        return _PNG_SIGNATURE + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )
