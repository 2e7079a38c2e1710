"""What the interactive VNC server shows: a title bar, a place to type, a place to draw, and a status line.

Everything is drawn from here on a ``Framebuffer``; who looks at it, and how keys and seconds arrive, is not known here.
"""

from __future__ import annotations

import itertools
import math
import textwrap

import attrs

from . import font
from .framebuffer import Framebuffer
from .image import Colour, Rect
from .textpad import TextPad

#: Below this the parts would overlap, in pixels.
MIN_WIDTH = 320
MIN_HEIGHT = 200

LEFT_BUTTON = 1
MIDDLE_BUTTON = 2
RIGHT_BUTTON = 4

_BACKGROUND, _PANEL, _EDGE, _TEXT, _DIM, _ACCENT, _AMBER, _LAMP_ON, _LAMP_OFF = range(9)
_PAPER, _GRID, _BLUE_INK, _RED_INK, _SAMPLE = range(9, 14)
_TITLE = 16
_TITLE_SHADES = 16

_COLOURS: dict[int, Colour] = {
    _BACKGROUND: (15, 22, 32),
    _PANEL: (22, 32, 46),
    _EDGE: (48, 66, 88),
    _TEXT: (232, 238, 244),
    _DIM: (128, 146, 166),
    _ACCENT: (64, 205, 188),
    _AMBER: (250, 190, 70),
    _LAMP_ON: (74, 222, 128),
    _LAMP_OFF: (26, 92, 58),
    _PAPER: (247, 243, 232),
    _GRID: (226, 219, 200),
    _BLUE_INK: (30, 96, 200),
    _RED_INK: (206, 54, 70),
    _SAMPLE: (170, 190, 214),
}
_TITLE_TOP, _TITLE_BOTTOM = (38, 72, 110), (20, 40, 66)

_MARGIN = 12
_TITLE_HEIGHT = 36
_STATUS_HEIGHT = 26
_CAPTION_HEIGHT = 20
_PADDING = 8
_GRID_STEP = 16
_HINT = """\
Type something.

This is no real machine but a VNC server for tests. Every viewer sees the same screen."""
_PEN = 3
_ERASER = 17
_SECONDS_SHOWN = 60
_BIG = 2
_CELL = Rect(0, 0, font.CELL_WIDTH * _BIG, font.CELL_HEIGHT * _BIG)


def _palette() -> tuple[Colour, ...]:
    colours = [_COLOURS.get(index, (0, 0, 0)) for index in range(_TITLE)]
    for shade in range(_TITLE_SHADES):
        red, green, blue = (
            top + (bottom - top) * shade // (_TITLE_SHADES - 1)
            for top, bottom in zip(_TITLE_TOP, _TITLE_BOTTOM, strict=True)
        )
        colours.append((red, green, blue))
    return tuple(colours)


@attrs.define(eq=False)
class DemoScreen:
    """The screen and the text on it.

    Args:
        width, height: in pixels; at least ``MIN_WIDTH`` and ``MIN_HEIGHT``.
        name: stands in the title bar.

    Attributes:
        framebuffer: the pixels.
        pad: the text; after a change, call ``show_text``.
        drawing: where the pointer draws.
    """

    width: int = attrs.field(validator=attrs.validators.ge(MIN_WIDTH))
    height: int = attrs.field(validator=attrs.validators.ge(MIN_HEIGHT))
    name: str
    framebuffer: Framebuffer = attrs.field(init=False)
    pad: TextPad = attrs.field(factory=TextPad, init=False)
    drawing: Rect = attrs.field(init=False)
    _typing: Rect = attrs.field(init=False)
    _shown_rows: list[tuple[str, int | None]] = attrs.field(factory=list, init=False)
    _status: dict[str, str] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.framebuffer = Framebuffer(self.width, self.height, _palette())
        top = _TITLE_HEIGHT + _MARGIN + _CAPTION_HEIGHT
        height = self.height - top - _STATUS_HEIGHT - _MARGIN
        split = self.width * 5 // 8
        self._typing = Rect(_MARGIN, top, split - _MARGIN, height)
        self.drawing = Rect(split + _MARGIN, top, self.width - split - 2 * _MARGIN, height)
        self._draw_title()
        self._draw_panel(self._typing, "TYPE HERE", "Ctrl+C copies, Ctrl+G rings, Esc clears", _PANEL)
        self._draw_panel(self.drawing, "DRAW HERE", "right button erases", _PAPER)
        self.clear()
        self._draw_sample()
        for part, text in (("keys", "no key yet"), ("pointer", "no pointer yet"), ("clients", "0 clients")):
            self.show_status(part, text)
        self.tick(0)

    @property
    def cursor_colours(self) -> tuple[int, int]:
        """The palette indices of a pointer's outline and inside: seen on the dark and on the light parts."""
        return _BACKGROUND, _TEXT

    # -- what changes ----------------------------------------------------------------------------------------------

    def tick(self, seconds: int) -> None:
        """Show how long the machine is up: the clock, the lamp and the bar below the title."""
        hours, minutes = divmod(seconds // 60, 60)
        text = f"up {hours:02}:{minutes:02}:{seconds % 60:02}"
        x = self.width - _MARGIN - len(text) * _CELL.width
        self._title_text(x, text, _AMBER)
        self._draw_lamp(_LAMP_OFF if seconds % 2 else _LAMP_ON)
        done = self.width * (seconds % _SECONDS_SHOWN) // (_SECONDS_SHOWN - 1)
        with self.framebuffer.as_one_change():
            self.framebuffer.fill_rect(Rect(0, _TITLE_HEIGHT, done, 2), _ACCENT)
            self.framebuffer.fill_rect(Rect(done, _TITLE_HEIGHT, self.width - done, 2), _EDGE)

    def show_text(self) -> None:
        """Show the pad as it is now; only rows that have changed are drawn."""
        inner = _inside(self._typing)
        columns, rows = inner.width // _CELL.width, inner.height // _CELL.height
        view = self.pad.view(columns, rows)
        hint = not self.pad.text
        lines = _wrapped(_HINT, columns) if hint else view.lines
        for row in range(rows):
            line = lines[row] if row < len(lines) else ""
            wanted = (line, view.cursor_column if row == view.cursor_row else None)
            if row < len(self._shown_rows) and self._shown_rows[row] == wanted:
                continue
            y = inner.y + row * _CELL.height
            padded = line[:columns].ljust(columns)
            self.framebuffer.draw_text(inner.x, y, padded, _DIM if hint else _TEXT, _PANEL, scale=_BIG)
            if wanted[1] is not None:
                x = inner.x + wanted[1] * _CELL.width
                self.framebuffer.draw_text(x, y, padded[wanted[1]], _PANEL, _ACCENT, scale=_BIG)
            self._shown_rows[row : row + 1] = [wanted]

    def stroke(self, start: tuple[int, int], end: tuple[int, int], buttons: int) -> None:
        """Draw what a pointer does that moves with these buttons down; only within the drawing area."""
        paper = _inside(self.drawing, 1)
        if buttons & RIGHT_BUTTON:
            self.framebuffer.draw_line(start, end, _PAPER, size=_ERASER, clip=paper)
        elif buttons & LEFT_BUTTON:
            self.framebuffer.draw_line(start, end, _BLUE_INK, size=_PEN, clip=paper)
        elif buttons & MIDDLE_BUTTON:
            self.framebuffer.draw_line(start, end, _RED_INK, size=_PEN, clip=paper)

    def show_status(self, part: str, text: str) -> None:
        """Show ``text`` in one of the three parts of the status line: keys, pointer or clients."""
        if self._status.get(part) == text:
            return
        self._status[part] = text
        left = {"keys": _MARGIN, "pointer": self.width * 3 // 8, "clients": self.width * 6 // 8}[part]
        right = {"keys": self.width * 3 // 8, "pointer": self.width * 6 // 8, "clients": self.width}[part]
        columns = (right - left) // font.CELL_WIDTH
        y = self.height - _STATUS_HEIGHT + (_STATUS_HEIGHT - font.CELL_HEIGHT) // 2
        self.framebuffer.draw_text(left, y, text[:columns].ljust(columns), _DIM, _BACKGROUND)

    def clear(self) -> None:
        """Empty the text and the drawing."""
        self.pad.clear()
        self.show_text()
        paper = _inside(self.drawing, 1)
        self.framebuffer.fill_rect(paper, _PAPER)
        for y in range(paper.y + _GRID_STEP, paper.bottom, _GRID_STEP):
            for x in range(paper.x + _GRID_STEP, paper.right, _GRID_STEP):
                self.framebuffer.draw_point(x, y, _GRID, size=2)

    # -- what does not ---------------------------------------------------------------------------------------------

    def _draw_title(self) -> None:
        for y in range(_TITLE_HEIGHT):
            self.framebuffer.fill_rect(Rect(0, y, self.width, 1), self._title_shade(y))
        clock = len("up 00:00:00 ") * _CELL.width
        columns = (self.width - clock - 4 * _MARGIN) // _CELL.width
        self._title_text(3 * _MARGIN, self.name[:columns], _TEXT)

    def _title_text(self, x: int, text: str, ink: int) -> None:
        y = (_TITLE_HEIGHT - _CELL.height) // 2
        with self.framebuffer.as_one_change():
            for row, line in enumerate(font.line(text, _BIG)):
                # The paper of the title bar is a gradient, so text goes onto it row by row.
                self.framebuffer.draw_row(x, y + row, line, ink, self._title_shade(y + row))

    def _title_shade(self, y: int) -> int:
        return _TITLE + y * _TITLE_SHADES // _TITLE_HEIGHT

    def _draw_lamp(self, colour: int) -> None:
        middle, radius = _TITLE_HEIGHT // 2, 6
        with self.framebuffer.as_one_change():
            for dy in range(-radius, radius + 1):
                half = round(math.sqrt((radius + 0.4) ** 2 - dy * dy))
                self.framebuffer.fill_rect(Rect(2 * _MARGIN - 5 - half, middle + dy, 2 * half + 1, 1), colour)

    def _draw_panel(self, area: Rect, caption: str, hint: str, colour: int) -> None:
        self.framebuffer.fill_rect(area, colour)
        self.framebuffer.draw_frame(area, _EDGE)
        y = area.y - _CAPTION_HEIGHT + (_CAPTION_HEIGHT - font.CELL_HEIGHT) // 2
        shown = self.framebuffer.draw_text(area.x, y, caption, _ACCENT, _BACKGROUND)
        x = area.right - len(hint) * font.CELL_WIDTH
        if x > shown.right:
            self.framebuffer.draw_text(x, y, hint, _DIM, _BACKGROUND)

    def _draw_sample(self) -> None:
        """A little scribble, so that the paper asks for more."""
        paper = _inside(self.drawing, 1)
        middle = paper.y + paper.height // 2
        points = [
            (paper.x + x, middle - round(math.sin(x / 14) * math.exp(-x / paper.width * 2) * paper.height / 4))
            for x in range(_GRID_STEP, paper.width - _GRID_STEP, 2)
        ]
        for start, end in itertools.pairwise(points):
            self.framebuffer.draw_line(start, end, _SAMPLE, size=_PEN, clip=paper)


def _wrapped(text: str, columns: int) -> tuple[str, ...]:
    lines = (textwrap.wrap(paragraph, columns) or [""] for paragraph in text.split("\n"))
    return tuple(itertools.chain.from_iterable(lines))


def _inside(area: Rect, by: int = _PADDING) -> Rect:
    return Rect(area.x + by, area.y + by, area.width - 2 * by, area.height - 2 * by)
