"""What of a host's messages reaches the browser: everything but clipboard texts, however the bytes are cut."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rfb import messages as rfb
from trio_cpvm import errors
from trio_cpvm.errors import ConsoleError
from trio_cpvm.rfb import encodings
from trio_cpvm.rfb.cut_text import ClipboardRule
from trio_cpvm.rfb.pixelformat import USUAL_PIXEL_FORMAT
from trio_cpvm.rfb.server_filter import ServerFilter

FORBIDDEN, SHORT = ClipboardRule(allowed=False), ClipboardRule(max_bytes=8)
BELL = b"\2"
SECRET = rfb.cut_text(b"the guest's secret", kind=3)


def make(rule: ClipboardRule = FORBIDDEN, raw: bytes | None = None) -> ServerFilter:
    one = ServerFilter(rule, USUAL_PIXEL_FORMAT)
    if raw is not None:
        one.set_pixel_format(raw)
    one.updates_asked()
    return one


#: Rectangles of 32-bit pixels; 8-bit ones have their own table.
RECTANGLES = {
    "Raw": rfb.rectangle(0, 3, 2, bytes(24)),
    "Raw of nothing": rfb.rectangle(0, 0, 2),
    "CopyRect": rfb.rectangle(1, 3, 2, bytes(4)),
    "Zlib": rfb.rectangle(6, 3, 2, rfb.sized(b"zlib")),
    "ZRLE": rfb.rectangle(16, 3, 2, rfb.sized(b"zrle")),
    "ZRLE of nothing": rfb.rectangle(16, 3, 2, rfb.sized(b"")),
    "Tight fill": rfb.rectangle(7, 300, 200, b"\x80rgb"),
    "Tight fill, streams reset": rfb.rectangle(7, 300, 200, b"\x8frgb"),
    "Tight JPEG": rfb.rectangle(7, 300, 200, b"\x90" + rfb.compact(bytes(100))),
    "Tight JPEG of two bytes' length": rfb.rectangle(7, 300, 200, b"\x90" + rfb.compact(bytes(200))),
    "Tight JPEG of three bytes' length": rfb.rectangle(7, 300, 200, b"\x90" + rfb.compact(bytes(1 << 21))),
    "Tight copy, uncompressed": rfb.rectangle(7, 3, 1, b"\x00" + bytes(9)),
    "Tight copy": rfb.rectangle(7, 4, 1, b"\x10" + rfb.compact(b"zlib")),
    "Tight copy by name": rfb.rectangle(7, 4, 1, b"\x40\0" + rfb.compact(b"zlib")),
    "Tight gradient": rfb.rectangle(7, 4, 1, b"\x40\2" + rfb.compact(b"zlib")),
    "Tight palette of 2, uncompressed": rfb.rectangle(7, 9, 5, b"\x50\1\1" + bytes(6) + bytes(10)),
    "Tight palette of 2": rfb.rectangle(7, 9, 6, b"\x50\1\1" + bytes(6) + rfb.compact(b"zlib")),
    "Tight palette of 3, uncompressed": rfb.rectangle(7, 11, 1, b"\x60\1\2" + bytes(9) + bytes(11)),
    "Tight palette of 256": rfb.rectangle(7, 12, 1, b"\x60\1\xff" + bytes(768) + rfb.compact(b"zlib")),
    "TightPNG": rfb.rectangle(-260, 30, 20, b"\xa0" + rfb.compact(b"png")),
    "TightPNG fill": rfb.rectangle(-260, 30, 20, b"\x80rgb"),
    "TightPNG JPEG": rfb.rectangle(-260, 30, 20, b"\x90" + rfb.compact(b"jpeg")),
    "DesktopSize": rfb.rectangle(-223, 800, 600),
    "PointerChange": rfb.rectangle(-257, 800, 600),
    "ExtendedKey": rfb.rectangle(-258, 0, 0),
    "Cursor": rfb.rectangle(-239, 9, 2, bytes(72 + 4)),
    "no Cursor": rfb.rectangle(-239, 0, 0),
    "XCursor": rfb.rectangle(-240, 9, 2, bytes(6 + 8)),
    "no XCursor": rfb.rectangle(-240, 0, 0),
    "VMwareCursor, classic": rfb.rectangle(0x574D5664, 3, 2, b"\0\0" + bytes(48)),
    "VMwareCursor, alpha": rfb.rectangle(0x574D5664, 3, 2, b"\1\0" + bytes(24)),
    "LED state": rfb.rectangle(-261, 0, 0, b"\7"),
    "DesktopName": rfb.rectangle(-307, 0, 0, rfb.sized(b"a name")),
    "ExtendedDesktopSize": rfb.rectangle(-308, 800, 600, b"\2\0\0\0" + bytes(32)),
}
MESSAGES = {
    **{name: rfb.update(r) for name, r in RECTANGLES.items()},
    "no rectangles": rfb.update(),
    "two rectangles": rfb.update(RECTANGLES["Raw"], RECTANGLES["Tight fill"]),
    "rectangles up to the last": rfb.update(RECTANGLES["CopyRect"], rfb.rectangle(-224, 0, 0), count=65535),
    "colour map": struct.pack(">BxHH", 1, 0, 3) + bytes(18),
    "bell": BELL,
    "end of continuous updates": b"\x96",
    "fence": rfb.fence(),
    "empty fence": rfb.fence(b""),
    "xvp": b"\xfa\0\1\1",
}


def test_the_table_is_whole() -> None:
    named = {struct.unpack(">i", r[8:12])[0] for r in RECTANGLES.values()}
    assert named == encodings.FRAMED - {encodings.LAST_RECT}
    assert set(ServerFilter._RECTANGLES) == named


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("name", MESSAGES)
def test_each_message_passes_and_its_end_is_found(name: str, bytewise: bool) -> None:
    message = MESSAGES[name]
    one = make()
    step = 1 if len(message) < 10_000 else 4099
    pieces = [message[at : at + step] for at in range(0, len(message), step)] if bytewise else [message]
    assert b"".join(one.feed(piece) for piece in pieces) == message
    assert one.feed(SECRET + BELL) == BELL


@pytest.mark.parametrize(
    ("raw", "pixel", "short"),
    [
        (rfb.pixel_format(), 4, 3),
        (rfb.pixel_format(depth=18, top=63), 4, 4),
        (rfb.pixel_format(16, 16, top=31), 2, 2),
        (rfb.pixel_format(8, 8, top=7), 1, 1),
        (rfb.pixel_format(8, 8, colour=0, top=0), 1, 1),
    ],
)
def test_pixels_of_each_size(raw: bytes, pixel: int, short: int) -> None:
    one = make(raw=raw)
    message = rfb.update(
        rfb.rectangle(0, 3, 2, bytes(6 * pixel)),
        rfb.rectangle(7, 3, 2, b"\x80" + bytes(short)),
        rfb.rectangle(-239, 3, 2, bytes(6 * pixel + 2)),
    )
    assert one.feed(message + SECRET + BELL) == message + BELL


@pytest.mark.parametrize(
    "message",
    [
        b"\4",
        b"\xff\1\0\0",
        b"\xfd",
        rfb.cut_text(b"", kind=3)[:4] + b"\xff\xff\xff\xfd",
        rfb.update(rfb.rectangle(5, 1, 1)),
        rfb.update(rfb.rectangle(2, 1, 1)),
        rfb.update(rfb.rectangle(21, 1, 1)),
        rfb.update(rfb.rectangle(-314, 1, 1)),
        rfb.update(rfb.rectangle(7, 1, 1, b"\xa0")),
        rfb.update(rfb.rectangle(7, 1, 1, b"\xf0")),
        rfb.update(rfb.rectangle(7, 1, 1, b"\x40\3")),
        rfb.update(rfb.rectangle(-260, 1, 1, b"\0")),
        rfb.update(rfb.rectangle(0x574D5664, 1, 1, b"\2\0")),
    ],
)
def test_what_cannot_be_framed_ends_the_session(message: bytes) -> None:
    with pytest.raises(ConsoleError) as caught:
        make().feed(message)
    assert caught.value.reason is errors.UPSTREAM_PROTOCOL


def test_an_update_before_any_was_asked_for() -> None:
    one = ServerFilter(FORBIDDEN, USUAL_PIXEL_FORMAT)
    with pytest.raises(ConsoleError, match="nobody asked for"):
        one.feed(rfb.update(RECTANGLES["Raw"]))


# -- the clipboard

REQUEST, PEEK, NOTIFY = (rfb.extended(action | rfb.TEXT, kind=3) for action in (rfb.REQUEST, rfb.PEEK, rfb.NOTIFY))
TEXTS = [rfb.cut_text(b"text", 3), rfb.cut_text(b"", 3), rfb.caps(3), REQUEST, PEEK, NOTIFY, rfb.provide(b"text", 3)]


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize(("rule", "passes"), [(FORBIDDEN, [rfb.caps(3), REQUEST, PEEK]), (SHORT, TEXTS)])
def test_clipboard_messages(rule: ClipboardRule, passes: list[bytes], bytewise: bool) -> None:
    one, stream = make(rule), BELL.join(TEXTS)
    pieces = [bytes([b]) for b in stream] if bytewise else [stream]
    assert b"".join(one.feed(piece) for piece in pieces) == BELL.join(m if m in passes else b"" for m in TEXTS)


@pytest.mark.parametrize(
    "message",
    [
        rfb.cut_text(b"x" * 9, 3),
        rfb.provide(b"x" * 9, 3),
        rfb.provide(bytes(1 << 20), 3),
        rfb.extended(rfb.PROVIDE | rfb.TEXT, b"", 3) + b"",
        rfb.extended(rfb.PROVIDE | rfb.TEXT, zlib.compress(bytes(14)), 3),
    ],
)
def test_texts_beyond_the_limit(message: bytes) -> None:
    out = make(SHORT).feed(message + BELL)
    assert out == (message if len(message) == 12 else b"") + BELL


def test_nothing_large_is_kept() -> None:
    one, chunk = make(SHORT), bytes(65536)
    tracemalloc.start()
    try:
        one.feed(rfb.cut_text(b"", 3)[:4] + b"\x7f\xff\xff\xff")
        assert all(one.feed(chunk) == b"" for _ in range(100))
        assert tracemalloc.get_traced_memory()[0] < 200_000
    finally:
        tracemalloc.stop()
    two = make()
    picture = rfb.update(rfb.rectangle(0, 65535, 65535))
    assert two.feed(picture) == picture
    assert two.feed(chunk) == chunk


@given(
    st.lists(st.sampled_from([*(m for m in MESSAGES.values() if len(m) < 1000), *TEXTS, SECRET]), max_size=15),
    st.lists(st.integers(0, 30), max_size=40),
    st.sampled_from([FORBIDDEN, SHORT]),
)
def test_cuts_do_not_matter(sent: list[bytes], sizes: list[int], rule: ClipboardRule) -> None:
    stream = b"".join(sent)
    one = make(rule)
    out = b"".join(one.feed(piece) for piece in rfb.cut(stream, sizes))
    assert out == make(rule).feed(stream)
    assert SECRET not in out
    dropped = {SECRET, *(TEXTS if rule is FORBIDDEN else [])} - {rfb.caps(3), REQUEST, PEEK}
    assert out == b"".join(message for message in sent if message not in dropped)


@given(st.binary(max_size=400), st.sampled_from([FORBIDDEN, SHORT]))
def test_noise_ends_in_an_error_or_passes(noise: bytes, rule: ClipboardRule) -> None:
    with contextlib.suppress(ConsoleError):
        assert len(make(rule).feed(noise)) <= len(noise)
