"""The user's hands and nothing else count, however the bytes are cut."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm.rfb.input_watcher import InputWatcher

EXTENDED_CLIPBOARD = b"\x02\0\0\1" + struct.pack(">I", 0xC0A1E5CE)
EXTENDED_MOUSE = b"\x02\0\0\2" + struct.pack(">ii", 7, -316)

CHATTER = {
    "SetPixelFormat": bytes(20),
    "SetEncodings": b"\x02\0\0\3" + bytes(12),
    "FramebufferUpdateRequest": b"\x03" + bytes(9),
    "EnableContinuousUpdates": b"\x96" + bytes(9),
    "fence": b"\xf8" + bytes(7) + b"\5" + b"12345",
    "SetDesktopSize": b"\xfb" + bytes(5) + b"\2\0" + bytes(32),
    "QEMU audio off": b"\xff\1\0\1",
    "QEMU audio format": b"\xff\1\0\2" + bytes(6),
    "clipboard caps": EXTENDED_CLIPBOARD + b"\6\0\0\0" + struct.pack(">iI", -8, 1 << 24 | 1) + bytes(4),
}
INPUT = {
    "key": b"\4\1\0\0\0\0\0a",
    "pointer": b"\5\1\0\1\0\1",
    "pointer with many buttons, 6 bytes": b"\5\x80\0\1\0\1",
    "pointer, 7 bytes": EXTENDED_MOUSE + b"\5\x80\0\1\0\1\2",
    "cut text": b"\6\0\0\0\0\0\0\3abc",
    "clipboard provide": EXTENDED_CLIPBOARD + b"\6\0\0\0" + struct.pack(">iI", -6, 1 << 28 | 1) + bytes(2),
    "QEMU key": b"\xff\0" + bytes(10),
    "xvp": b"\xfa\0\1\2",
    "gii, big-endian": b"\xfd\x80\0\2ab",
    "gii, little-endian": b"\xfd\x00\2\0ab",
}


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize(
    ("message", "is_input"),
    [(m, False) for m in CHATTER.values()] + [(m, True) for m in INPUT.values()],
    ids=[*CHATTER, *INPUT],
)
def test_each_message(message: bytes, is_input: bool, bytewise: bool) -> None:
    watcher = InputWatcher()
    chunks = [bytes([b]) for b in message] if bytewise else [message]
    seen = [watcher.feed(chunk) for chunk in chunks]
    assert any(seen) is is_input
    assert watcher.feed(CHATTER["FramebufferUpdateRequest"]) is False, "the message's end was missed"
    assert watcher.feed(INPUT["key"]) is True
    assert not watcher.lost


@given(
    st.lists(st.sampled_from([*CHATTER.values(), *list(INPUT.values())[:2]]), max_size=20),
    st.lists(st.integers(1, 40), max_size=60),
)
def test_cuts_do_not_matter(messages: list[bytes], cuts: list[int]) -> None:
    whole, cut = InputWatcher(), InputWatcher()
    stream = b"".join(messages)
    expected = whole.feed(stream)
    seen = False
    for size in cuts:
        seen |= cut.feed(stream[:size])
        stream = stream[size:]
    seen |= cut.feed(stream)
    assert seen is expected
    assert not cut.lost


@pytest.mark.parametrize(
    "message",
    [
        b"\x07",
        b"\xff\2\0\0",
        b"\xff\1\0\7",
        b"\x02\0\xff\xff",
        b"\6\0\0\0\xff\xff\xff\xf8",
        EXTENDED_CLIPBOARD + b"\6\0\0\0\xff\xff\xff\xff",
    ],
)
def test_what_nobody_has_described_counts_as_input_for_good(message: bytes) -> None:
    watcher = InputWatcher()
    assert watcher.feed(message) is True
    assert watcher.lost
    assert watcher.feed(CHATTER["FramebufferUpdateRequest"]) is True
    assert watcher.feed(b"") is False


def test_a_large_paste_is_not_stored() -> None:
    watcher = InputWatcher()
    assert watcher.feed(b"\6\0\0\0" + struct.pack(">i", 2**31 - 1))
    for _ in range(100):
        watcher.feed(bytes(65536))
    assert len(watcher._framer._head) == 0


@given(st.binary(max_size=300))
def test_noise_never_breaks_it(noise: bytes) -> None:
    InputWatcher().feed(noise)
