"""The client's copy of a screen: three bytes a pixel, painted from RFB Raw in any true-colour format.

This file must not know about messages or streams.
"""

from __future__ import annotations

import functools

import attrs

from ..rfb.pixelformat import PixelFormat
from .image import Colour, Image, Rect


@attrs.define(eq=False)
class Canvas:
    """A screen of ``width`` times ``height`` pixels, black at first."""

    width: int = attrs.field(default=0, init=False)
    height: int = attrs.field(default=0, init=False)
    _rgb: bytearray = attrs.field(factory=bytearray, init=False, repr=False)

    @property
    def bounds(self) -> Rect:
        """The whole screen."""
        return Rect(0, 0, self.width, self.height)

    def resize(self, width: int, height: int) -> None:
        """Take another size; everything is black again."""
        self.width, self.height = width, height
        self._rgb = bytearray(3 * width * height)

    def draw(self, rect: Rect, raw: bytes, pixel_format: PixelFormat) -> None:
        """Paint ``rect``, which must lie within the screen, with RFB Raw pixels."""
        self._paint(rect, _to_rgb(raw, pixel_format))

    def copy(self, source: Rect, target: Rect) -> None:
        """Paint ``target`` with what ``source`` shows; they may overlap."""
        self._paint(target, self.image().crop(source).rgb)

    def pixel(self, x: int, y: int) -> Colour:
        """The colour at ``x``, ``y``.

        Raises:
            IndexError: outside of the screen.
        """
        if not self.bounds.holds(x, y):
            raise IndexError(f"no pixel at {x}, {y} in {self.width} x {self.height}")
        at = 3 * (y * self.width + x)
        red, green, blue = self._rgb[at : at + 3]
        return red, green, blue

    def image(self) -> Image:
        """What is painted so far, as a picture."""
        return Image(self.width, self.height, bytes(self._rgb))

    def _paint(self, rect: Rect, rgb: bytes) -> None:
        stride = 3 * rect.width
        for row in range(rect.height):
            at = 3 * ((rect.y + row) * self.width + rect.x)
            self._rgb[at : at + stride] = rgb[row * stride : (row + 1) * stride]


def _to_rgb(raw: bytes, pixel_format: PixelFormat) -> bytes:
    size = pixel_format.bytes_per_pixel
    places = _byte_places(pixel_format)
    if places is None:
        # Channels that are no whole bytes: look every pixel up; a screen has few different ones.
        unpack = functools.cache(pixel_format.unpack)
        return b"".join(bytes(unpack(raw[at : at + size])) for at in range(0, len(raw), size))
    rgb = bytearray(3 * (len(raw) // size))
    for channel, place in enumerate(places):
        rgb[channel::3] = raw[place::size]
    return bytes(rgb)


def _byte_places(pixel_format: PixelFormat) -> tuple[int, ...] | None:
    """Where in a pixel each channel's byte stands; ``None`` if a channel is not exactly one byte."""
    tops = (pixel_format.red_max, pixel_format.green_max, pixel_format.blue_max)
    shifts = (pixel_format.red_shift, pixel_format.green_shift, pixel_format.blue_shift)
    if pixel_format.problem() is not None or tops != (255, 255, 255) or any(shift % 8 for shift in shifts):
        return None
    last = pixel_format.bytes_per_pixel - 1
    return tuple(last - shift // 8 if pixel_format.big_endian else shift // 8 for shift in shifts)
