"""Rectangles and pictures."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm.testing import Image, Rect

SIDE = st.integers(0, 12)
RECTS = st.builds(Rect, SIDE, SIDE, SIDE, SIDE)


def points(rect: Rect) -> set[tuple[int, int]]:
    return {(x, y) for x in range(rect.x, rect.right) for y in range(rect.y, rect.bottom)}


@given(RECTS, RECTS)
def test_rectangles_are_sets_of_points(one: Rect, other: Rect) -> None:
    assert points(one.within(other)) == points(one) & points(other)
    assert points(one.around(other)) >= points(one) | points(other)
    left = one.without(other)
    assert set().union(*map(points, left)) == points(one) - points(other)
    assert sum(rect.area for rect in left) == len(points(one) - points(other))
    if other.area:
        assert one.contains(other) == (points(other) <= points(one))


IMAGE = Image(2, 2, bytes(range(12)))


def test_pixels() -> None:
    assert IMAGE.pixel(1, 0) == (3, 4, 5)
    assert IMAGE.pixel(0, 1) == (6, 7, 8)
    assert IMAGE.colours() == {(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)}
    with pytest.raises(IndexError):
        IMAGE.pixel(2, 0)
    with pytest.raises(IndexError):
        IMAGE.pixel(0, -1)


def test_crop() -> None:
    assert IMAGE.crop(Rect(1, 0, 9, 9)) == Image(1, 2, bytes((3, 4, 5, 9, 10, 11)))


def test_the_size_must_fit() -> None:
    with pytest.raises(ValueError, match="2 x 2"):
        Image(2, 2, b"")


def test_png() -> None:
    raw = IMAGE.png()
    assert raw.startswith(b"\x89PNG\r\n\x1a\n")
    chunks = {}
    at = 8
    while at < len(raw):
        (length,) = struct.unpack_from(">I", raw, at)
        kind, body = raw[at + 4 : at + 8], raw[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", raw, at + 8 + length) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        at += 12 + length
    assert chunks[b"IHDR"] == struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    assert zlib.decompress(chunks[b"IDAT"]) == b"\0" + IMAGE.rgb[:6] + b"\0" + IMAGE.rgb[6:]
