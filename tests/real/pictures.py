"""Pictures of a screen, all in one form: 8-bit red, green and blue, line by line from the top left."""

from __future__ import annotations

import io
import re

import attrs
from PIL import Image


@attrs.frozen(repr=False)
class Picture:
    """What a screen shows.

    Attributes:
        rgb: three bytes a pixel.
    """

    width: int
    height: int
    rgb: bytes

    def __attrs_post_init__(self) -> None:
        if len(self.rgb) != self.width * self.height * 3:
            raise ValueError(f"{len(self.rgb)} bytes are no {self.width} x {self.height} picture")

    def __repr__(self) -> str:
        return f"<{self.width} x {self.height}, {len(self.colours())} colours>"

    def pixel(self, x: int, y: int) -> tuple[int, int, int]:
        at = (y * self.width + x) * 3
        red, green, blue = self.rgb[at : at + 3]
        return red, green, blue

    def colours(self) -> set[bytes]:
        return {self.rgb[at : at + 3] for at in range(0, len(self.rgb), 3)}


def difference(shown: Picture, wanted: Picture) -> str:
    """Where two pictures differ, in words; empty if they do not."""
    if (shown.width, shown.height) != (wanted.width, wanted.height):
        return f"{shown.width} x {shown.height} is shown, {wanted.width} x {wanted.height} is wanted"
    if shown.rgb == wanted.rgb:
        return ""
    wrong = [at // 3 for at in range(0, len(wanted.rgb), 3) if shown.rgb[at : at + 3] != wanted.rgb[at : at + 3]]
    y, x = divmod(wrong[0], wanted.width)
    return (
        f"{len(wrong)} of {wanted.width * wanted.height} pixels differ, first at x={x} y={y}: "
        f"{shown.pixel(x, y)} is shown, {wanted.pixel(x, y)} is wanted"
    )


def from_ppm(raw: bytes) -> Picture:
    """Read a binary portable pixmap (P6, 8 bits a channel, no comments), as QEMU's screendump writes it."""
    header = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", raw)
    if header is None:
        raise ValueError(f"not an 8-bit P6 picture: {raw[:20]!r}")
    return Picture(int(header[1]), int(header[2]), raw[header.end() :])


def from_png(raw: bytes) -> Picture:
    """Read a PNG file; what is transparent has to be nothing."""
    image = Image.open(io.BytesIO(raw))
    if image.convert("RGBA").getchannel("A").tobytes().strip(b"\xff"):
        raise ValueError("a picture with holes")
    return Picture(image.width, image.height, image.convert("RGB").tobytes())


def from_bgrx(width: int, height: int, raw: bytes) -> Picture:
    """From four bytes a pixel: blue, green, red and one that means nothing."""
    return _from_channels(width, height, raw[2::4], raw[1::4], raw[0::4])


def from_rgbx(width: int, height: int, raw: bytes) -> Picture:
    """From four bytes a pixel: red, green, blue and one that means nothing."""
    return _from_channels(width, height, raw[0::4], raw[1::4], raw[2::4])


def _from_channels(width: int, height: int, red: bytes, green: bytes, blue: bytes) -> Picture:
    rgb = bytearray(width * height * 3)
    rgb[0::3], rgb[1::3], rgb[2::3] = red, green, blue
    return Picture(width, height, bytes(rgb))
