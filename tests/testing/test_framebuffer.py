"""The framebuffer: what is drawn, what counts as changed, and pixels in every format against a slow encoder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm.rfb.pixelformat import USUAL_PIXEL_FORMAT, PixelFormat
from trio_cpvm.testing import Damage, Framebuffer, Image, PixelEncoder, Rect
from trio_cpvm.testing.canvas import Canvas
from trio_cpvm.testing.font import cell
from trio_cpvm.testing.framebuffer import MAX_DIRTY_RECTS

PALETTE = ((0, 0, 0), (255, 255, 255), (255, 0, 0), (10, 200, 90))

FORMATS = [
    USUAL_PIXEL_FORMAT,
    PixelFormat(32, 24, True, True, 255, 255, 255, 16, 8, 0),
    PixelFormat(32, 24, False, True, 255, 255, 255, 0, 8, 16),
    PixelFormat(32, 30, False, True, 1023, 1023, 1023, 20, 10, 0),
    PixelFormat(32, 24, True, True, 255, 255, 255, 24, 3, 12),
    PixelFormat(16, 16, False, True, 31, 63, 31, 11, 5, 0),
    PixelFormat(16, 15, True, True, 31, 31, 31, 0, 5, 10),
    PixelFormat(8, 8, False, True, 7, 7, 3, 0, 3, 6),
    PixelFormat(8, 3, True, True, 1, 1, 1, 2, 1, 0),
]


def framebuffer(width: int = 16, height: int = 12) -> Framebuffer:
    return Framebuffer(width, height, PALETTE)


def watched(screen: Framebuffer) -> Damage:
    damage = Damage()
    screen.watch(damage)
    damage.take(screen.bounds)
    return damage


@pytest.mark.parametrize("pixel_format", FORMATS, ids=str)
def test_encoding_is_packing_each_pixel_and_decoding_unpacking_it(pixel_format: PixelFormat) -> None:
    indices = bytes((0, 1, 2, 3, 3, 2))
    raw = PixelEncoder(PALETTE, pixel_format).encode(indices)
    assert raw == b"".join(pixel_format.pack(*PALETTE[index]) for index in indices)
    canvas = Canvas()
    canvas.resize(3, 2)
    canvas.draw(Rect(0, 0, 3, 2), raw, pixel_format)
    shown = [pixel_format.unpack(pixel_format.pack(*PALETTE[index])) for index in indices]
    assert [canvas.pixel(x, y) for y in range(2) for x in range(3)] == shown


def test_a_format_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="colour map"):
        PixelEncoder(PALETTE, PixelFormat(true_colour=False))


def test_more_than_256_colours_do_not_fit_a_byte() -> None:
    with pytest.raises(ValueError, match="palette"):
        Framebuffer(1, 1, ((0, 0, 0),) * 257)


def test_filling_is_cut_to_screen_and_clip() -> None:
    screen = framebuffer(4, 3)
    damage = watched(screen)
    screen.fill_rect(Rect(-1, 1, 3, 9), 2)
    assert screen.indices(screen.bounds) == bytes((0, 0, 0, 0, 2, 2, 0, 0, 2, 2, 0, 0))
    assert damage.take(screen.bounds) == [Rect(0, 1, 2, 2)]
    screen.fill_rect(screen.bounds, 3, clip=Rect(3, 0, 5, 1))
    assert screen.indices(Rect(2, 0, 2, 2)) == bytes((0, 3, 0, 0))
    screen.fill_rect(Rect(9, 9, 4, 4), 1)
    assert damage.take(screen.bounds) == [Rect(3, 0, 1, 1)]


def test_text_is_its_cells_cut_to_the_screen() -> None:
    screen = framebuffer()
    damage = watched(screen)
    assert screen.draw_text(1, 1, "A", 1, 2) == Rect(1, 1, 6, 10)
    assert screen.indices(Rect(1, 1, 6, 10)) == bytes(1 if ink else 2 for row in cell("A") for ink in row)
    assert damage.take(screen.bounds) == [Rect(1, 1, 6, 10)]
    assert screen.draw_text(-3, -4, "A", 1, 2) == Rect(0, 0, 3, 6)
    assert screen.indices(Rect(0, 0, 3, 1)) == bytes(1 if ink else 2 for ink in cell("A")[4][3:])
    assert screen.draw_text(99, 0, "A", 1, 2).area == screen.draw_text(0, 0, "", 1, 2).area == 0


def test_a_frame_is_hollow() -> None:
    screen = framebuffer(5, 4)
    screen.draw_frame(screen.bounds, 1)
    assert screen.indices(Rect(1, 1, 3, 2)) == bytes(6)
    assert sum(screen.indices(screen.bounds)) == 14


@pytest.mark.parametrize("end", [(8, 3), (3, 8), (0, 5), (5, 0), (5, 5), (1, 9), (-6, 20)])
def test_a_line_is_connected_and_has_both_ends(end: tuple[int, int]) -> None:
    screen = framebuffer()
    damage = watched(screen)
    screen.draw_line((5, 5), end, 1)
    inked = {(at % 16, at // 16) for at, colour in enumerate(screen.indices(screen.bounds)) if colour}
    assert (5, 5) in inked
    assert end in inked or not screen.bounds.holds(*end)
    for x, y in inked - {(5, 5)}:
        assert inked & {(x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)} - {(x, y)}
    assert all(any(rect.holds(x, y) for rect in damage.take(screen.bounds)) for x, y in [(5, 5)])


def test_a_thick_point_has_its_place_in_the_middle() -> None:
    screen = framebuffer(5, 5)
    screen.draw_point(2, 2, 1, size=3)
    assert screen.indices(Rect(1, 1, 3, 3)) == b"\x01" * 9
    assert sum(screen.indices(screen.bounds)) == 9


def test_the_picture_has_the_palettes_colours() -> None:
    screen = framebuffer(2, 1)
    screen.draw_point(1, 0, 3)
    assert screen.image() == Image(2, 1, bytes((0, 0, 0, 10, 200, 90)))


def test_drawing_as_one_change() -> None:
    screen = framebuffer()
    damage = watched(screen)
    with screen.as_one_change():
        screen.draw_point(1, 1, 1)
        screen.draw_point(4, 9, 1)
    assert damage.take(screen.bounds) == [Rect(1, 1, 4, 9)]
    with screen.as_one_change():
        pass
    assert not damage.touches(screen.bounds)


def test_a_watcher_starts_with_everything_and_can_leave() -> None:
    screen = framebuffer()
    calls: list[None] = []
    damage = Damage(lambda: calls.append(None))
    screen.watch(damage)
    assert damage.take(screen.bounds) == [screen.bounds]
    screen.draw_point(0, 0, 1)
    screen.unwatch(damage)
    screen.draw_point(1, 1, 1)
    assert damage.take(screen.bounds) == [Rect(0, 0, 1, 1)]
    assert len(calls) == 2


def test_damage_keeps_what_is_not_taken() -> None:
    damage = Damage()
    damage.add(Rect(0, 0, 10, 10))
    damage.add(Rect(2, 2, 3, 3))
    assert damage.take(Rect(0, 0, 10, 4)) == [Rect(0, 0, 10, 4)]
    assert not damage.touches(Rect(0, 0, 10, 4))
    assert damage.take(Rect(0, 0, 99, 99)) == [Rect(0, 4, 10, 6)]


def test_damage_is_bounded() -> None:
    damage = Damage()
    for x in range(MAX_DIRTY_RECTS + 1):
        damage.add(Rect(2 * x, x, 1, 1))
    assert damage.take(Rect(0, 0, 999, 999)) == [Rect(0, 0, 2 * MAX_DIRTY_RECTS + 1, MAX_DIRTY_RECTS + 1)]


@given(st.lists(st.tuples(*[st.integers(-3, 14)] * 4), max_size=60))
def test_everything_drawn_is_damaged(drawn: list[tuple[int, int, int, int]]) -> None:
    screen = framebuffer()
    damage = watched(screen)
    for x, y, width, height in drawn:
        screen.fill_rect(Rect(x, y, width, height), 1)
    dirty = damage.take(screen.bounds)
    for at, colour in enumerate(screen.indices(screen.bounds)):
        if colour:
            assert any(rect.holds(at % 16, at // 16) for rect in dirty)


def test_copying_on_a_canvas_may_overlap() -> None:
    canvas = Canvas()
    canvas.resize(3, 1)
    canvas.draw(
        Rect(0, 0, 3, 1), PixelEncoder(PALETTE, USUAL_PIXEL_FORMAT).encode(bytes((1, 2, 3))), USUAL_PIXEL_FORMAT
    )
    canvas.copy(Rect(0, 0, 2, 1), Rect(1, 0, 2, 1))
    assert [canvas.pixel(x, 0) for x in range(3)] == [PALETTE[1], PALETTE[1], PALETTE[2]]
    with pytest.raises(IndexError):
        canvas.pixel(3, 0)
