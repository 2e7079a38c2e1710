"""The demo's screen: what must be seen on it, at every size it may have."""

from __future__ import annotations

import pytest

from trio_cpvm.testing import Framebuffer, Rect
from trio_cpvm.testing.demo_screen import MIN_HEIGHT, MIN_WIDTH, DemoScreen
from trio_cpvm.testing.font import line
from trio_cpvm.testing.framebuffer import Damage

SIZES = [(MIN_WIDTH, MIN_HEIGHT), (640, 400), (800, 600), (1920, 1080)]


def shows(screen: DemoScreen, text: str, scale: int) -> bool:
    """Whether the text stands somewhere, whatever its colours are."""
    rows = line(text, scale)
    pixels = screen.framebuffer
    for ink in set(pixels.indices(pixels.bounds)):
        # Text has one colour of ink; its paper may be a gradient.
        is_ink = bytes(index == ink for index in range(256))
        strips = [pixels.indices(Rect(0, y, pixels.width, 1)).translate(is_ink) for y in range(pixels.height)]
        for y in range(pixels.height - len(rows) + 1):
            at = strips[y].find(rows[0])
            while at >= 0:
                if all(strips[y + below].startswith(row, at) for below, row in enumerate(rows)):
                    return True
                at = strips[y].find(rows[0], at + 1)
    return False


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_size_is_drawn(width: int, height: int) -> None:
    screen = DemoScreen(width, height, "web-01")
    assert (screen.framebuffer.width, screen.framebuffer.height) == (width, height)
    assert len(screen.framebuffer.image().colours()) > 10
    assert screen.framebuffer.bounds.contains(screen.drawing)


@pytest.mark.parametrize(("width", "height"), [(MIN_WIDTH - 1, MIN_HEIGHT), (MIN_WIDTH, MIN_HEIGHT - 1)])
def test_a_smaller_one_is_refused(width: int, height: int) -> None:
    with pytest.raises(ValueError, match="must be >="):
        DemoScreen(width, height, "web-01")


def test_it_says_what_it_is_and_what_to_do() -> None:
    screen = DemoScreen(MIN_WIDTH, MIN_HEIGHT, "vm1")
    for text, scale in [("vm1", 2), ("up 00:00:00", 2), ("TYPE HERE", 1), ("DRAW HERE", 1), ("0 clients", 1)]:
        assert shows(screen, text, scale), text
    screen.tick(3725)
    assert shows(screen, "up 01:02:05", 2)


def test_typed_text_is_seen_and_only_its_rows_are_drawn() -> None:
    screen = DemoScreen(MIN_WIDTH, MIN_HEIGHT, "vm1")
    screen.pad.insert("first\nsecond")
    screen.show_text()
    assert shows(screen, "first", 2)
    assert shows(screen, "second", 2)
    damage = Damage()
    screen.framebuffer.watch(damage)
    damage.take(screen.framebuffer.bounds)
    screen.show_text()
    assert not damage.touches(screen.framebuffer.bounds)
    screen.pad.insert("!")
    screen.show_text()
    assert all(rect.height == 20 for rect in damage.take(screen.framebuffer.bounds))


def test_clearing_empties_text_and_paper() -> None:
    screen = DemoScreen(MIN_WIDTH, MIN_HEIGHT, "vm1")
    screen.clear()
    empty = screen.framebuffer.image()
    screen.pad.insert("x")
    screen.show_text()
    x, y = screen.drawing.x + 9, screen.drawing.y + 9
    screen.stroke((x, y), (x + 5, y + 5), 1)
    assert screen.framebuffer.image() != empty
    screen.clear()
    assert screen.framebuffer.image() == empty


def test_a_stroke_stays_on_the_paper() -> None:
    screen = DemoScreen(MIN_WIDTH, MIN_HEIGHT, "vm1")
    before = outside(screen.framebuffer, screen.drawing)
    for buttons in (1, 2, 4, 7, 0, 128):
        screen.stroke((0, 0), (MIN_WIDTH - 1, MIN_HEIGHT - 1), buttons)
    assert outside(screen.framebuffer, screen.drawing) == before


def outside(pixels: Framebuffer, area: Rect) -> list[bytes]:
    return [pixels.indices(part) for part in pixels.bounds.without(area)]
