"""Fingers on a touch screen, through Chromium's DevTools Protocol (Input.dispatchTouchEvent)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from playwright.sync_api import Page

#: CSS pixels from the upper left of the window.
Point: TypeAlias = tuple[float, float]

#: How far apart two fingers are that tap together, in CSS pixels.
_APART = 60

_STEPS = 10


class Touch:
    """The fingers of one user on a page of a context with ``has_touch``."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)

    def _send(self, kind: str, *points: Point) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    @contextmanager
    def held(self, *points: Point) -> Iterator[None]:
        """One finger or more on the screen for the length of a ``with`` block: a long press, if the block waits."""
        self._send("touchStart", *points)
        try:
            yield
        finally:
            self._send("touchEnd")

    def tap(self, point: Point) -> None:
        with self.held(point):
            pass

    def two_finger_tap(self, point: Point) -> None:
        """Two fingers at once, with ``point`` between them."""
        x, y = point
        with self.held((x - _APART / 2, y), (x + _APART / 2, y)):
            pass

    def drag(self, *ways: tuple[Point, Point]) -> None:
        """Put a finger down at each start, move all of them to their ends, and lift them.

        One way is a drag, two that are parallel are a scroll, two that lead apart or together are a pinch.
        """
        with self.held(*(start for start, _ in ways)):
            for step in range(1, _STEPS + 1):
                self._send("touchMove", *(_between(start, end, step / _STEPS) for start, end in ways))


def _between(start: Point, end: Point, share: float) -> Point:
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share
