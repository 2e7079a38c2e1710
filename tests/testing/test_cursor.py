"""The pointer's shape on the wire."""

from __future__ import annotations

from trio_cpvm.rfb.pixelformat import PixelFormat
from trio_cpvm.testing import PixelEncoder
from trio_cpvm.testing.cursor import arrow_rect

GREY = PixelFormat(8, 8, False, True, 255, 0, 0, 0, 0, 0)


def test_an_arrow() -> None:
    raw = arrow_rect(PixelEncoder(((9, 0, 0), (7, 0, 0)), GREY), outline=0, inside=1)
    width, height = int.from_bytes(raw[4:6], "big"), int.from_bytes(raw[6:8], "big")
    assert raw[:4] == bytes(4)
    assert raw[8:12] == b"\xff\xff\xff\x11"
    pixels, mask = raw[12 : 12 + width * height], raw[12 + width * height :]
    assert len(mask) == 2 * height
    assert set(pixels) == {9, 7}
    rows = [f"{int.from_bytes(mask[at : at + 2], 'big'):016b}" for at in range(0, len(mask), 2)]
    assert rows[:3] == ["1000000000000000", "1100000000000000", "1110000000000000"]
    # What is inside can be seen.
    assert all(rows[at // width][at % width] == "1" for at, level in enumerate(pixels) if level == 7)
