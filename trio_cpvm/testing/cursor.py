"""The pointer's shape, for clients that draw it themselves (the Cursor pseudo-encoding).

A browser's client hides the system's pointer over a console, so without a shape its user would see none at all.

Source: RFC 6143 section 7.8.1. This file must not know which palette index is which colour.
"""

from __future__ import annotations

from .framebuffer import PixelEncoder

#: The pseudo-encoding's number.
CURSOR = -239

# "#" is the outline, "o" the inside, anything else is see-through; the tip is the upper left corner.
_ART = """
#..........
##.........
#o#........
#oo#.......
#ooo#......
#oooo#.....
#ooooo#....
#oooooo#...
#ooooooo#..
#oooooooo#.
#ooooo#####
#oo#oo#....
#o#.#oo#...
##..#oo#...
#....#oo#..
.....####..
"""
_ARROW = tuple(_ART.split())


def arrow_rect(encoder: PixelEncoder, *, outline: int, inside: int) -> bytes:
    """The rectangle of a framebuffer update that gives the client an arrow.

    Args:
        encoder: the client's pixels.
        outline, inside: palette indices.
    """
    width, height = len(_ARROW[0]), len(_ARROW)
    colours = {"#": outline, "o": inside}
    pixels = encoder.encode(bytes(colours.get(dot, outline) for row in _ARROW for dot in row))
    row_bytes = (width + 7) // 8
    # One bit a pixel, the leftmost one highest, each row filled up to whole bytes.
    masks = (sum(1 << (8 * row_bytes - 1 - x) for x, dot in enumerate(row) if dot in colours) for row in _ARROW)
    mask = b"".join(bits.to_bytes(row_bytes, "big") for bits in masks)
    head = b"\0\0\0\0" + width.to_bytes(2, "big") + height.to_bytes(2, "big") + CURSOR.to_bytes(4, "big", signed=True)
    return head + pixels + mask
