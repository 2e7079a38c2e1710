"""A small bitmap font for the doubles' screens: printable ASCII and the accented letters of Latin-1.

Drawn for this file: five columns and nine rows a glyph (seven above the base line, two below). ``cell`` gives a
glyph in its character cell at a scale of 1 or 2; at 2 the diagonals are rounded, as teletext decoders did, so that
large text does not look like a staircase.

This file must not know about framebuffers or colours: a pixel is ink (1) or not (0).
"""

from __future__ import annotations

import functools
import itertools
import unicodedata

#: The size of a character cell at scale 1, in pixels: the glyph, one empty column right of it, one empty row above.
CELL_WIDTH = 6
CELL_HEIGHT = 10

_GLYPH_WIDTH = 5
_GLYPH_HEIGHT = 9
_CACHED_CELLS = 1024

# Sixteen glyphs side by side, in the order of their code points; the last one stands for all that is not drawn here.
_BANDS = (
    #       !     "     #     $     %     &     '     (     )     *     +     ,     -     .     /
    """
    ..... ..#.. .#.#. .#.#. ..#.. ##..# .##.. ..#.. ...#. .#... ..... ..... ..... ..... ..... ....#
    ..... ..#.. .#.#. .#.#. .#### ##..# #..#. ..#.. ..#.. ..#.. ..#.. ..#.. ..... ..... ..... ....#
    ..... ..#.. .#.#. ##### #.#.. ...#. #.#.. ..#.. .#... ...#. #.#.# ..#.. ..... ..... ..... ...#.
    ..... ..#.. ..... .#.#. .###. ..#.. .#... ..... .#... ...#. .###. ##### ..... ##### ..... ..#..
    ..... ..#.. ..... ##### ..#.# .#... #.#.# ..... .#... ...#. #.#.# ..#.. ..... ..... ..... .#...
    ..... ..... ..... .#.#. ####. #..## #..#. ..... ..#.. ..#.. ..#.. ..#.. ..##. ..... ..##. #....
    ..... ..#.. ..... .#.#. ..#.. #..## .##.# ..... ...#. .#... ..... ..... ..##. ..... ..##. #....
    ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ...#. ..... ..... .....
    ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..#.. ..... ..... .....
    """,
    # 0     1     2     3     4     5     6     7     8     9     :     ;     <     =     >     ?
    """
    .###. ..#.. .###. .###. ...#. ##### ..##. ##### .###. .###. ..... ..... ....# ..... #.... .###.
    #...# .##.. #...# #...# ..##. #.... .#... ....# #...# #...# ..... ..... ...#. ..... .#... #...#
    #..## ..#.. ....# ....# .#.#. ####. #.... ...#. #...# #...# ..##. ..##. ..#.. ##### ..#.. ....#
    #.#.# ..#.. ...#. ..##. #..#. ....# ####. ...#. .###. .#### ..##. ..##. .#... ..... ...#. ...#.
    ##..# ..#.. ..#.. ....# ##### ....# #...# ..#.. #...# ....# ..... ..... ..#.. ##### ..#.. ..#..
    #...# ..#.. .#... #...# ...#. #...# #...# ..#.. #...# ...#. ..##. ..##. ...#. ..... .#... .....
    .###. .###. ##### .###. ...#. .###. .###. ..#.. .###. .##.. ..##. ..##. ....# ..... #.... ..#..
    ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ...#. ..... ..... ..... .....
    ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..#.. ..... ..... ..... .....
    """,
    # @     A     B     C     D     E     F     G     H     I     J     K     L     M     N     O
    """
    .###. .###. ####. .###. ####. ##### ##### .###. #...# .###. ..### #...# #.... #...# #...# .###.
    #...# #...# #...# #...# #...# #.... #.... #...# #...# ..#.. ...#. #..#. #.... ##.## #...# #...#
    #.### #...# #...# #.... #...# #.... #.... #.... #...# ..#.. ...#. #.#.. #.... #.#.# ##..# #...#
    #.#.# ##### ####. #.... #...# ####. ####. #.### ##### ..#.. ...#. ##... #.... #.#.# #.#.# #...#
    #.### #...# #...# #.... #...# #.... #.... #...# #...# ..#.. ...#. #.#.. #.... #...# #..## #...#
    #.... #...# #...# #...# #...# #.... #.... #...# #...# ..#.. #..#. #..#. #.... #...# #...# #...#
    .###. #...# ####. .###. ####. ##### #.... .#### #...# .###. .##.. #...# ##### #...# #...# .###.
    ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
    ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
    """,
    # P     Q     R     S     T     U     V     W     X     Y     Z     [     \     ]     ^     _
    """
    ####. .###. ####. .#### ##### #...# #...# #...# #...# #...# ##### .###. #.... .###. ..#.. .....
    #...# #...# #...# #.... ..#.. #...# #...# #...# #...# #...# ....# .#... #.... ...#. .#.#. .....
    #...# #...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#. .#... .#... ...#. #...# .....
    ####. #...# ####. .###. ..#.. #...# #...# #.#.# ..#.. ..#.. ..#.. .#... ..#.. ...#. ..... .....
    #.... #.#.# #.#.. ....# ..#.. #...# .#.#. #.#.# .#.#. ..#.. .#... .#... ...#. ...#. ..... .....
    #.... #..#. #..#. ....# ..#.. #...# .#.#. ##.## #...# ..#.. #.... .#... ....# ...#. ..... .....
    #.... .##.# #...# ####. ..#.. .###. ..#.. #...# #...# ..#.. ##### .###. ....# .###. ..... .....
    ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... #####
    ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
    """,
    # `     a     b     c     d     e     f     g     h     i     j     k     l     m     n     o
    """
    .#... ..... #.... ..... ....# ..... ..##. ..... #.... ..#.. ...#. #.... .##.. ..... ..... .....
    ..#.. ..... #.... ..... ....# ..... .#..# ..... #.... ..... ..... #.... ..#.. ..... ..... .....
    ...#. .###. ####. .###. .#### .###. .#... .#### ####. .##.. ..##. #..#. ..#.. ##.#. ####. .###.
    ..... ....# #...# #...# #...# #...# ###.. #...# #...# ..#.. ...#. #.#.. ..#.. #.#.# #...# #...#
    ..... .#### #...# #.... #...# ##### .#... #...# #...# ..#.. ...#. ##... ..#.. #.#.# #...# #...#
    ..... #...# #...# #...# #...# #.... .#... #...# #...# ..#.. ...#. #.#.. ..#.. #.#.# #...# #...#
    ..... .#### ####. .###. .#### .###. .#... .#### #...# .###. ...#. #..#. .###. #.#.# #...# .###.
    ..... ..... ..... ..... ..... ..... ..... ....# ..... ..... #..#. ..... ..... ..... ..... .....
    ..... ..... ..... ..... ..... ..... ..... .###. ..... ..... .##.. ..... ..... ..... ..... .....
    """,
    # p     q     r     s     t     u     v     w     x     y     z     {     |     }     ~     box
    """
    ..... ..... ..... ..... .#... ..... ..... ..... ..... ..... ..... ...#. ..#.. .#... ..... #####
    ..... ..... ..... ..... .#... ..... ..... ..... ..... ..... ..... ..#.. ..#.. ..#.. ..... #...#
    ####. .#### #.##. .#### ###.. #...# #...# #...# #...# #...# ##### ..#.. ..#.. ..#.. ..... #...#
    #...# #...# ##..# #.... .#... #...# #...# #...# .#.#. #...# ...#. .#... ..#.. ...#. .#..# #...#
    #...# #...# #.... .###. .#... #...# #...# #.#.# ..#.. #...# ..#.. ..#.. ..#.. ..#.. #.##. #...#
    #...# #...# #.... ....# .#..# #...# .#.#. #.#.# .#.#. #...# .#... ..#.. ..#.. ..#.. ..... #...#
    ####. .#### #.... ####. ..##. .#### ..#.. .#.#. #...# .#### ##### ...#. ..#.. .#... ..... #####
    #.... ....# ..... ..... ..... ..... ..... ..... ..... ....# ..... ..... ..... ..... ..... .....
    #.... ....# ..... ..... ..... ..... ..... ..... ..... .###. ..... ..... ..... ..... ..... .....
    """,
)

# What else a keyboard may have, in the order of _OTHERS.
_OTHERS = "ß°§£€µ¿¡"
_OTHER_BAND = """
    .##.. .##.. .###. ..##. ..##. ..... ..#.. ..#..
    #..#. #..#. #.... .#..# .#..# ..... ..... .....
    #..#. #..#. .###. .#... ####. #...# ..#.. ..#..
    #.#.. .##.. #...# ###.. .#... #...# ..#.. ..#..
    #..#. ..... .###. .#... ####. #...# .#... ..#..
    #...# ..... ....# .#... .#..# #..## #...# ..#..
    #.##. ..... .###. ##### ..##. ###.# .###. ..#..
    ..... ..... ..... ..... ..... #.... ..... .....
    ..... ..... ..... ..... ..... #.... ..... .....
    """

# Accents as two rows; they stand in the two rows above a letter.
_MARKS = {
    "\N{COMBINING GRAVE ACCENT}": (".#...", "..#.."),
    "\N{COMBINING ACUTE ACCENT}": ("...#.", "..#.."),
    "\N{COMBINING CIRCUMFLEX ACCENT}": ("..#..", ".#.#."),
    "\N{COMBINING TILDE}": (".##.#", "#.##."),
    "\N{COMBINING DIAERESIS}": (".#.#.", "....."),
    "\N{COMBINING RING ABOVE}": (".###.", ".###."),
}
_CEDILLA = "\N{COMBINING CEDILLA}"

Rows = tuple[bytes, ...]


def _row(art: str) -> bytes:
    return bytes(pixel == "#" for pixel in art)


def _read_band(band: str) -> list[Rows]:
    columns = zip(*(line.split() for line in band.split("\n") if line.strip()), strict=True)
    return [tuple(_row(art) for art in column) for column in columns]


*_ASCII, _UNKNOWN = itertools.chain.from_iterable(_read_band(band) for band in _BANDS)
_GLYPHS = {chr(0x20 + index): glyph for index, glyph in enumerate(_ASCII)}
_GLYPHS.update(zip(_OTHERS, _read_band(_OTHER_BAND), strict=True))


def _overlay(first: bytes, second: bytes) -> bytes:
    return bytes(a | b for a, b in zip(first, second, strict=True))


def _with_mark(letter: str, mark: str) -> Rows:
    """A cell's rows (one above the glyph's nine) for a letter with an accent."""
    rows = [bytes(_GLYPH_WIDTH), *_GLYPHS[letter]]
    if mark == _CEDILLA:
        rows[-2] = _overlay(rows[-2], _row("..#.."))
        rows[-1] = _overlay(rows[-1], _row(".#..."))
        return tuple(rows)
    upper, lower = map(_row, _MARKS[mark])
    if letter.islower():
        # The dot of the i gives way to the accent; one row between accent and letter stays free.
        rows[0:3] = [upper, lower, bytes(_GLYPH_WIDTH)]
    else:
        # A capital makes room by losing its second row, which in all of them repeats a neighbour.
        rows[0:3] = [upper, lower, rows[1]]
    return tuple(rows)


def _cell_rows(char: str) -> Rows:
    if char in _GLYPHS:
        return (bytes(_GLYPH_WIDTH), *_GLYPHS[char])
    parts = unicodedata.normalize("NFD", char)
    if len(parts) == 2 and parts[0] in _GLYPHS and (parts[1] in _MARKS or parts[1] == _CEDILLA):
        return _with_mark(parts[0], parts[1])
    return (bytes(_GLYPH_WIDTH), *_UNKNOWN)


def _rounded(rows: Rows) -> Rows:
    """Double the size; where two strokes meet corner to corner, fill the quarter pixels beside the joint."""
    height, width = len(rows), len(rows[0])

    def ink(y: int, x: int) -> int:
        return rows[y][x] if 0 <= y < height and 0 <= x < width else 0

    def quarter(y: int, x: int) -> int:
        row, column = y // 2, x // 2
        dy, dx = (1 if y % 2 else -1), (1 if x % 2 else -1)
        if ink(row, column):
            return 1
        return ink(row + dy, column) & ink(row, column + dx) & (1 - ink(row + dy, column + dx))

    return tuple(bytes(quarter(y, x) for x in range(2 * width)) for y in range(2 * height))


@functools.lru_cache(_CACHED_CELLS)
def cell(char: str, scale: int = 1) -> Rows:
    """The character cell of ``char``: ``CELL_HEIGHT * scale`` rows of ``CELL_WIDTH * scale`` bytes, each 0 or 1.

    What this font cannot draw is an empty box.

    Args:
        char: one character.
        scale: 1 or 2.

    Raises:
        ValueError: another scale, or not one character.
    """
    if scale not in (1, 2) or len(char) != 1:
        raise ValueError(f"one character at a scale of 1 or 2, not {char!r} at {scale}")
    spaced = tuple(row + bytes(CELL_WIDTH - _GLYPH_WIDTH) for row in _cell_rows(char))
    return spaced if scale == 1 else _rounded(spaced)


@functools.lru_cache(_CACHED_CELLS)
def line(text: str, scale: int = 1) -> Rows:
    """The cells of ``text`` side by side, as ``cell`` gives them; no rows at all for an empty text."""
    if not text:
        return ()
    return tuple(bytes(itertools.chain(*parts)) for parts in zip(*(cell(char, scale) for char in text), strict=True))
