"""The pixel format as a value: every sixteen bytes can be carried, and colours survive as far as the bits allow."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm.rfb.pixelformat import USUAL_PIXEL_FORMAT, PixelFormat

BGR_16_BIG = PixelFormat(16, 16, True, True, 31, 63, 31, 0, 5, 11)
BGR_233 = PixelFormat(8, 8, False, True, 7, 7, 3, 0, 3, 6)


def test_the_usual_format_is_what_qemu_sends() -> None:
    raw = bytes.fromhex("20180001 00ff00ff00ff 100800 000000")
    assert PixelFormat.parse(raw) == USUAL_PIXEL_FORMAT
    assert USUAL_PIXEL_FORMAT.encode() == raw


@given(st.binary(min_size=16, max_size=16))
def test_any_sixteen_bytes_are_carried(raw: bytes) -> None:
    parsed = PixelFormat.parse(raw)
    # Only the spelling of a flag and the padding may change.
    assert PixelFormat.parse(parsed.encode()) == parsed
    assert parsed.encode()[4:13] == raw[4:13]
    parsed.problem()


@pytest.mark.parametrize("length", [0, 15, 17])
def test_another_length_is_an_error(length: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        PixelFormat.parse(bytes(length))


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (PixelFormat(bits_per_pixel=24), "24 bits"),
        (PixelFormat(true_colour=False), "colour map"),
        (PixelFormat(red_max=100), "red"),
        (PixelFormat(green_shift=25), "green"),
        (PixelFormat(blue_max=0xFFFF, blue_shift=17), "blue"),
    ],
)
def test_what_cannot_hold_a_pixel_says_why(broken: PixelFormat, problem: str) -> None:
    assert problem in (broken.problem() or "")
    with pytest.raises(ValueError, match=problem):
        broken.pack(0, 0, 0)
    with pytest.raises(ValueError, match=problem):
        broken.unpack(b"")


def test_fields_that_do_not_fit_the_wire_are_refused() -> None:
    with pytest.raises(ValueError, match="red_max"):
        PixelFormat(red_max=0x10000)


@pytest.mark.parametrize(
    ("pixel_format", "colour", "pixel"),
    [
        (USUAL_PIXEL_FORMAT, (1, 2, 3), b"\x03\x02\x01\x00"),
        (attrs.evolve(USUAL_PIXEL_FORMAT, big_endian=True), (1, 2, 3), b"\x00\x01\x02\x03"),
        (BGR_16_BIG, (255, 0, 0), b"\x00\x1f"),
        (BGR_16_BIG, (0, 255, 255), b"\xff\xe0"),
        (BGR_233, (255, 255, 0), b"\x3f"),
    ],
)
def test_pixels(pixel_format: PixelFormat, colour: tuple[int, int, int], pixel: bytes) -> None:
    assert pixel_format.pack(*colour) == pixel
    assert pixel_format.unpack(pixel) == colour


def test_a_channel_without_bits_is_dark() -> None:
    grey = PixelFormat(8, 8, False, True, 255, 0, 0, 0, 0, 0)
    assert grey.unpack(grey.pack(9, 8, 7)) == (9, 0, 0)


def test_a_pixel_of_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        USUAL_PIXEL_FORMAT.unpack(b"123")
