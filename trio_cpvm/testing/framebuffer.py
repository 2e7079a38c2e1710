"""A framebuffer of palette indices: drawing, what has changed since, and its pixels in any true-colour format.

One byte a pixel keeps everything fast in plain Python: drawing is slice assignment, and a rectangle becomes RFB Raw
by one ``bytes.translate`` per byte of the client's pixel.

This file must not know about clients, messages or trio; ``Damage`` only calls back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from ..rfb.pixelformat import PixelFormat
from . import font
from .image import Colour, Image, Rect

#: More dirty rectangles than this become one around them all.
MAX_DIRTY_RECTS = 32

_MAX_COLOURS = 256
_NOTHING = Rect(0, 0, 0, 0)


def _colours(palette: Iterable[Colour]) -> tuple[Colour, ...]:
    return tuple(palette)


def _ignore() -> None:
    pass


@attrs.define(eq=False)
class Damage:
    """What has changed on a framebuffer since one watcher looked last.

    Args:
        on_change: called, without arguments, whenever something is added.
    """

    on_change: Callable[[], None] = _ignore
    _rects: list[Rect] = attrs.field(factory=list, init=False)

    def add(self, rect: Rect) -> None:
        """Mark ``rect`` as changed."""
        if not rect.area:
            return
        if not any(known.contains(rect) for known in self._rects):
            self._rects = [known for known in self._rects if not rect.contains(known)]
            self._rects.append(rect)
            if len(self._rects) > MAX_DIRTY_RECTS:
                self._rects = [_around_all(self._rects)]
        self.on_change()

    def touches(self, area: Rect) -> bool:
        """Whether anything within ``area`` has changed."""
        return any(rect.within(area).area for rect in self._rects)

    def take(self, area: Rect) -> list[Rect]:
        """What has changed within ``area``; that is clean from now on, the rest stays marked."""
        taken = [part for rect in self._rects if (part := rect.within(area)).area]
        self._rects = [left for rect in self._rects for left in rect.without(area)]
        return taken


def _around_all(rects: Sequence[Rect]) -> Rect:
    box = rects[0]
    for rect in rects[1:]:
        box = box.around(rect)
    return box


@attrs.define(eq=False)
class Framebuffer:
    """A screen of ``width`` times ``height`` pixels, each an index into ``palette``; index 0 everywhere at first.

    Whatever is drawn outside is cut off. Methods that take a ``clip`` draw within that rectangle only.

    Args:
        width, height: in pixels, 1 to 65535 each.
        palette: at most 256 colours, 0 to 255 per channel.
    """

    width: int = attrs.field(validator=[attrs.validators.ge(1), attrs.validators.le(0xFFFF)])
    height: int = attrs.field(validator=[attrs.validators.ge(1), attrs.validators.le(0xFFFF)])
    palette: tuple[Colour, ...] = attrs.field(converter=_colours, validator=attrs.validators.max_len(_MAX_COLOURS))
    _pixels: bytearray = attrs.field(init=False)
    _watchers: list[Damage] = attrs.field(factory=list, init=False)
    # While drawing counts as one change: the rectangle around it so far.
    _grouped: Rect | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._pixels = bytearray(self.width * self.height)

    @property
    def bounds(self) -> Rect:
        """The whole screen."""
        return Rect(0, 0, self.width, self.height)

    def watch(self, damage: Damage) -> None:
        """Tell ``damage`` of every change from now on, beginning with the whole screen."""
        self._watchers.append(damage)
        damage.add(self.bounds)

    def unwatch(self, damage: Damage) -> None:
        """Tell ``damage`` nothing more."""
        self._watchers.remove(damage)

    @contextlib.contextmanager
    def as_one_change(self) -> Iterator[None]:
        """Let all that is drawn in the block count as one changed rectangle around it; blocks do not nest."""
        self._grouped = _NOTHING
        try:
            yield
        finally:
            changed, self._grouped = self._grouped, None
            self._changed(changed)

    def fill_rect(self, rect: Rect, colour: int, *, clip: Rect | None = None) -> None:
        """Fill ``rect`` with one palette index."""
        part = self._clipped(rect, clip)
        if part.area:
            self._fill(part, colour)
            self._changed(part)

    def draw_frame(self, rect: Rect, colour: int) -> None:
        """Draw the outline of ``rect``, one pixel wide, inside of it."""
        self.fill_rect(Rect(rect.x, rect.y, rect.width, 1), colour)
        self.fill_rect(Rect(rect.x, rect.bottom - 1, rect.width, 1), colour)
        self.fill_rect(Rect(rect.x, rect.y, 1, rect.height), colour)
        self.fill_rect(Rect(rect.right - 1, rect.y, 1, rect.height), colour)

    def draw_text(self, x: int, y: int, text: str, ink: int, paper: int, *, scale: int = 1) -> Rect:
        """Draw one line of text, its first cell's upper left corner at ``x``, ``y``.

        Returns:
            the cells' rectangle, cut to the screen.
        """
        rows = font.line(text, scale)
        for row, inked in enumerate(rows):
            self._ink(x, y + row, inked, ink, paper)
        part = Rect(x, y, len(rows[0]) if rows else 0, len(rows)).within(self.bounds)
        self._changed(part)
        return part

    def draw_row(self, x: int, y: int, inked: bytes, ink: int, paper: int) -> None:
        """Draw one row of pixels from ``x``, ``y`` on, each 1 (``ink``) or 0 (``paper``)."""
        self._ink(x, y, inked, ink, paper)
        self._changed(Rect(x, y, len(inked), 1).within(self.bounds))

    def draw_point(self, x: int, y: int, colour: int, *, size: int = 1, clip: Rect | None = None) -> None:
        """Draw a square of ``size`` pixels with ``x``, ``y`` in its middle."""
        self.fill_rect(_square(x, y, size), colour, clip=clip)

    def draw_line(
        self, start: tuple[int, int], end: tuple[int, int], colour: int, *, size: int = 1, clip: Rect | None = None
    ) -> None:
        """Draw a straight line with a square pen of ``size`` pixels.

        It takes time in proportion to the line's length, also of what is cut off.
        """
        for x, y in _points_between(start, end):
            part = self._clipped(_square(x, y, size), clip)
            if part.area:
                self._fill(part, colour)
        self._changed(self._clipped(_square(*start, size).around(_square(*end, size)), clip))

    def indices(self, rect: Rect) -> bytes:
        """The palette indices within ``rect``, row by row; ``rect`` must lie within the screen."""
        if rect.width == self.width:
            return bytes(self._pixels[rect.y * self.width : rect.bottom * self.width])
        starts = (row * self.width + rect.x for row in range(rect.y, rect.bottom))
        return b"".join(bytes(self._pixels[start : start + rect.width]) for start in starts)

    def image(self) -> Image:
        """What the screen shows, as a picture."""
        return Image(self.width, self.height, _interleave(bytes(self._pixels), _channel_tables(self.palette)))

    def _clipped(self, rect: Rect, clip: Rect | None) -> Rect:
        part = rect.within(self.bounds)
        return part if clip is None else part.within(clip)

    def _fill(self, part: Rect, colour: int) -> None:
        run = bytes((colour,)) * part.width
        for row in range(part.y, part.bottom):
            start = row * self.width + part.x
            self._pixels[start : start + part.width] = run

    def _ink(self, x: int, y: int, inked: bytes, ink: int, paper: int) -> None:
        part = Rect(x, y, len(inked), 1).within(self.bounds)
        if part.area:
            start = part.y * self.width + part.x
            colours = bytes((paper, ink)).ljust(_MAX_COLOURS, b"\0")
            self._pixels[start : start + part.width] = inked[part.x - x : part.right - x].translate(colours)

    def _changed(self, rect: Rect) -> None:
        if not rect.area:
            return
        if self._grouped is not None:
            self._grouped = self._grouped.around(rect) if self._grouped.area else rect
            return
        for damage in self._watchers:
            damage.add(rect)


@attrs.define(eq=False)
class PixelEncoder:
    """Turns palette indices into pixels of one client's format.

    Raises:
        ValueError: no pixel can be written in that format.
    """

    palette: tuple[Colour, ...]
    pixel_format: PixelFormat
    _tables: tuple[bytes, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        pixels = [self.pixel_format.pack(*colour) for colour in self.palette]
        pixels += [bytes(self.pixel_format.bytes_per_pixel)] * (_MAX_COLOURS - len(pixels))
        self._tables = tuple(bytes(plane) for plane in zip(*pixels, strict=True))

    def encode(self, indices: bytes) -> bytes:
        """RFB Raw pixels, as many as there are indices."""
        return _interleave(indices, self._tables)


def _channel_tables(palette: Iterable[Colour]) -> tuple[bytes, ...]:
    return tuple(bytes(channel).ljust(_MAX_COLOURS, b"\0") for channel in zip(*palette, strict=True))


def _interleave(indices: bytes, tables: Sequence[bytes]) -> bytes:
    if len(tables) == 1:
        return indices.translate(tables[0])
    out = bytearray(len(tables) * len(indices))
    for offset, table in enumerate(tables):
        out[offset :: len(tables)] = indices.translate(table)
    return bytes(out)


def _square(x: int, y: int, size: int) -> Rect:
    return Rect(x - size // 2, y - size // 2, size, size)


def _points_between(start: tuple[int, int], end: tuple[int, int]) -> Iterable[tuple[int, int]]:
    """Every point of the line, both ends included (Bresenham)."""
    (x, y), (end_x, end_y) = start, end
    step_x, step_y = (1 if end_x >= x else -1), (1 if end_y >= y else -1)
    width, height = abs(end_x - x), -abs(end_y - y)
    error = width + height
    yield x, y
    while (x, y) != (end_x, end_y):
        doubled = 2 * error
        if doubled >= height:
            error += height
            x += step_x
        if doubled <= width:
            error += width
            y += step_y
        yield x, y
