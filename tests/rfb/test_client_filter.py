"""What of a browser's messages reaches the host, under each policy and however the bytes are cut."""

from __future__ import annotations

import contextlib
import random
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rfb import messages as rfb
from trio_cpvm import errors
from trio_cpvm.errors import ConsoleError
from trio_cpvm.rfb.client_filter import ClientFilter
from trio_cpvm.rfb.cut_text import ClipboardRule
from trio_cpvm.rfb.encodings import FilterPolicy
from trio_cpvm.rfb.pixelformat import USUAL_PIXEL_FORMAT
from trio_cpvm.rfb.server_filter import ServerFilter

VIEW_ONLY = FilterPolicy(view_only=True)
NO_CLIPBOARD = FilterPolicy(to_guest=False, from_guest=False)
ONLY_TO_GUEST = FilterPolicy(from_guest=False)
ONLY_FROM_GUEST = FilterPolicy(to_guest=False)
SHORT = FilterPolicy(max_bytes=8)
POLICIES = {
    "view-only": VIEW_ONLY,
    "view-only, no clipboard": FilterPolicy(view_only=True, to_guest=False, from_guest=False),
    "no clipboard": NO_CLIPBOARD,
    "only to the guest": ONLY_TO_GUEST,
    "only from the guest": ONLY_FROM_GUEST,
    "short": SHORT,
}

CHATTER = {
    "SetPixelFormat": rfb.set_pixel_format(),
    "SetEncodings": rfb.set_encodings(7, 0),
    "FramebufferUpdateRequest": rfb.update_request(),
    "EnableContinuousUpdates": rfb.CONTINUOUS_UPDATES,
    "ClientFence": rfb.fence(),
}
HANDS = {
    "KeyEvent": rfb.key(),
    "PointerEvent": rfb.pointer(),
    "PointerEvent, highest button": rfb.pointer(0x80),
    "xvp": rfb.XVP,
    "SetDesktopSize": rfb.SET_DESKTOP_SIZE,
    "QEMU key": rfb.QEMU_KEY,
}
NEVER = {"gii": rfb.GII, "QEMU audio on": rfb.QEMU_AUDIO_ON, "QEMU audio format": rfb.QEMU_AUDIO_FORMAT}
TEXTS = {"ClientCutText": rfb.cut_text(b"a text"), "an empty ClientCutText": rfb.cut_text(b"")}
ALL = {**CHATTER, **HANDS, **NEVER, **TEXTS}


def make(policy: FilterPolicy) -> ClientFilter:
    rule = ClipboardRule(policy.from_guest, policy.max_bytes)
    return ClientFilter(policy, ServerFilter(rule, USUAL_PIXEL_FORMAT) if policy.watches_host else None)


def asked(policy: FilterPolicy, *encodings: int) -> tuple[int, ...]:
    """What becomes of a SetEncodings."""
    out = make(policy).feed(rfb.set_encodings(*encodings))
    kind, count = struct.unpack_from(">BxH", out)
    assert (kind, len(out)) == (2, 4 + 4 * count)
    return struct.unpack_from(f">{count}i", out, 4)


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_view_only(name: str, bytewise: bool) -> None:
    one = make(VIEW_ONLY)
    message = ALL[name]
    out = b"".join(one.feed(bytes([b])) for b in message) if bytewise else one.feed(message)
    assert out == (message if name in CHATTER else b"")
    assert one.feed(rfb.update_request()) == rfb.update_request(), "the message's end was missed"


@pytest.mark.parametrize("policy", list(POLICIES.values())[2:], ids=list(POLICIES)[2:])
@pytest.mark.parametrize("name", ALL)
def test_clipboard_rules_let_the_hands_through(name: str, policy: FilterPolicy) -> None:
    out = make(policy).feed(ALL[name])
    dropped = name in NEVER or (name in TEXTS and not policy.to_guest)
    assert out == (b"" if dropped else ALL[name])


def test_hands_off_is_for_as_long_as_it_is_set() -> None:
    one = make(FilterPolicy(from_guest=False))
    one.hands_off = True
    assert one.feed(rfb.key() + rfb.cut_text(b"x") + rfb.fence()) == rfb.fence()
    one.feed(rfb.key()[:3])
    one.hands_off = False
    assert one.feed(rfb.key()[3:] + rfb.pointer()) == rfb.key() + rfb.pointer()


# -- SetEncodings

_PICTURES = (1, 7, -260, 16, 21, 5, 2, 6, 0)
_PSEUDO = (-26, -254, -223, -224, -258, -261, -308, -309, -312, -313, -307, -316, 0x574D5664, -239)
NOVNC = (*_PICTURES, *_PSEUDO, rfb.EXTENDED_CLIPBOARD)


def test_encodings_under_view_only() -> None:
    gone = {-258, -309, rfb.EXTENDED_CLIPBOARD, -316}
    assert asked(VIEW_ONLY, *NOVNC, -305, -259) == tuple(e for e in NOVNC if e not in gone)


@pytest.mark.parametrize(
    ("policy", "gone"),
    [
        (ONLY_FROM_GUEST, {-316}),
        (ONLY_TO_GUEST, {-316, 21, 5, 2}),
        (SHORT, {-316, 21, 5, 2}),
        (NO_CLIPBOARD, {-316, 21, 5, 2, rfb.EXTENDED_CLIPBOARD}),
    ],
)
def test_encodings_under_clipboard_rules(policy: FilterPolicy, gone: set[int]) -> None:
    assert asked(policy, *NOVNC, -305, -259) == tuple(e for e in NOVNC if e not in gone)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_what_is_not_known_is_not_asked_for(policy: FilterPolicy) -> None:
    for encoding in (-305, -259, -316, -999, 1000, -(1 << 31), 0x574D5669, -33, -22, -767 - 2):
        assert asked(policy, encoding) == ()
    assert asked(policy) == ()
    assert asked(policy, -32, -23, -256, -247, -512, -412, -768, -763, 0) != ()


def test_what_was_not_passed_on_changes_no_size() -> None:
    """The host takes 6 bytes for a pointer event, so nothing hides behind a seventh."""
    one = make(NO_CLIPBOARD)
    one.feed(rfb.set_encodings(-316))
    smuggled = rfb.pointer(0x80) + rfb.cut_text(b"secret")
    assert one.feed(smuggled) == rfb.pointer(0x80)


# -- the end of a session

UNKNOWN = {
    "type 1": b"\1",
    "type 7": b"\7",
    "type 252": b"\xfc",
    "QEMU 2": b"\xff\2",
    "QEMU audio operation 3": b"\xff\1\0\3",
    "65,535 encodings": b"\2\0\xff\xff",
    "a fence of 65 bytes": b"\xf8" + bytes(7) + b"\x41",
    "extended clipboard that was not asked for": rfb.extended(rfb.CAPS, bytes(4)),
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("message", UNKNOWN.values(), ids=UNKNOWN)
def test_what_cannot_be_framed_ends_the_session(message: bytes, policy: FilterPolicy) -> None:
    for pieces in ([message], [bytes([b]) for b in message]):
        one = make(policy)
        with pytest.raises(ConsoleError) as caught:
            [one.feed(piece) for piece in pieces]
        assert caught.value.reason is errors.CLIENT_PROTOCOL


def test_pixels_of_another_size_end_a_session_whose_host_is_followed() -> None:
    small = rfb.set_pixel_format(rfb.pixel_format(8, 8, top=7))
    one = make(ONLY_TO_GUEST)
    one.feed(small + rfb.set_pixel_format() + rfb.update_request() + rfb.set_pixel_format())
    with pytest.raises(ConsoleError, match="other pixels than at first"):
        one.feed(small)
    free = make(VIEW_ONLY)
    assert free.feed(rfb.update_request() + small) == rfb.update_request() + small


@pytest.mark.parametrize(
    "odd",
    [
        rfb.pixel_format(depth=32),
        rfb.pixel_format(shifts=b"\x11\x08\0"),
        rfb.pixel_format(bits=24),
        rfb.pixel_format(colour=0),
        rfb.pixel_format(top=0),
    ],
)
def test_pixels_of_no_certain_size_do_too(odd: bytes) -> None:
    one = make(ONLY_TO_GUEST)
    one.feed(rfb.set_pixel_format(odd))
    with pytest.raises(ConsoleError, match="no certain size"):
        one.feed(rfb.CONTINUOUS_UPDATES)


# -- the clipboard

EXTENDED = rfb.set_encodings(rfb.EXTENDED_CLIPBOARD)
REQUEST, PEEK, NOTIFY = (rfb.extended(action | rfb.TEXT) for action in (rfb.REQUEST, rfb.PEEK, rfb.NOTIFY))


@pytest.mark.parametrize(
    ("policy", "passes"),
    [
        (ONLY_TO_GUEST, [rfb.caps(), REQUEST, PEEK, NOTIFY, rfb.provide(b"text")]),
        (ONLY_FROM_GUEST, [rfb.caps(), REQUEST, PEEK]),
        (SHORT, [rfb.caps(), REQUEST, PEEK, NOTIFY, rfb.provide(b"text")]),
    ],
)
def test_the_extended_clipboard(policy: FilterPolicy, passes: list[bytes]) -> None:
    everything = [rfb.caps(), REQUEST, PEEK, NOTIFY, rfb.provide(b"text")]
    one = make(policy)
    one.feed(EXTENDED)
    assert [m for m in everything if one.feed(m)] == passes
    assert b"".join(one.feed(bytes([b])) for m in everything for b in m) == b"".join(passes)


@pytest.mark.parametrize("length", [8, 9])
def test_the_limit_is_for_the_text(length: int) -> None:
    one, text = make(SHORT), b"x" * length
    one.feed(EXTENDED)
    messages = [rfb.cut_text(text), rfb.provide(text)]
    assert [one.feed(message) for message in messages] == (messages if length == 8 else [b"", rfb.EMPTY])


def compressed(data: bytes) -> bytes:
    return rfb.extended(rfb.PROVIDE | rfb.TEXT, zlib.compress(data))


@pytest.mark.parametrize(
    "message",
    [
        rfb.extended(rfb.PROVIDE | rfb.NOTIFY | rfb.TEXT, zlib.compress(b"\0\0\0\1a")),
        rfb.extended(rfb.CAPS | rfb.PROVIDE | rfb.TEXT, zlib.compress(b"\0\0\0\1a")),
        rfb.extended(rfb.REQUEST | rfb.TEXT, b"a text"),
        rfb.extended(rfb.NOTIFY | rfb.TEXT, b"a text"),
        rfb.extended(1 << 29 | rfb.TEXT),
        rfb.extended(rfb.TEXT),
    ],
)
def test_messages_that_say_one_thing_and_hold_another_are_dropped(message: bytes) -> None:
    one = make(SHORT)
    one.feed(EXTENDED)
    assert one.feed(message) == b""
    assert one.feed(rfb.key()) == rfb.key()


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize(
    "message",
    [
        rfb.extended(rfb.PROVIDE | rfb.TEXT, b"no zlib"),
        rfb.extended(rfb.PROVIDE | rfb.TEXT, zlib.compress(b"\0\0\0\1a") + b"more"),
        compressed(b"\0\0\0\1" + bytes(100_000)),  # says that it is short
        compressed(b"\0\0\0\1" + b"abcdefghi"),
        rfb.provide(b"x" * 9),
        rfb.provide(random.Random(1).randbytes(5000)),
    ],
)
def test_the_host_gets_an_empty_text_for_one_that_is_too_long(message: bytes, bytewise: bool) -> None:
    one = make(SHORT)
    one.feed(EXTENDED)
    pieces = [bytes([b]) for b in message] if bytewise else [message]
    assert b"".join(one.feed(piece) for piece in pieces) == rfb.EMPTY
    assert one.feed(rfb.key()) == rfb.key()


def test_a_text_cut_short_by_a_flush_is_one() -> None:
    """As TigerVNC and noVNC write them: the stream is flushed, not finished."""
    deflater = zlib.compressobj()
    body = deflater.compress(b"\0\0\0\4text") + deflater.flush(zlib.Z_SYNC_FLUSH)
    message = rfb.extended(rfb.PROVIDE | rfb.TEXT, body)
    one = make(SHORT)
    one.feed(EXTENDED)
    assert one.feed(message) == message


@pytest.mark.parametrize("policy", [VIEW_ONLY, SHORT, NO_CLIPBOARD], ids=["view-only", "short", "none"])
def test_what_is_dropped_is_not_kept(policy: FilterPolicy) -> None:
    one, chunk = make(policy), bytes(65536)
    one.feed(EXTENDED)
    tracemalloc.start()
    try:
        assert one.feed(b"\6\0\0\0\x7f\xff\xff\xff") == b""
        assert all(one.feed(chunk) == b"" for _ in range(100))
        assert tracemalloc.get_traced_memory()[0] < 200_000
    finally:
        tracemalloc.stop()


# -- any messages, any cuts

sequences = st.lists(
    st.one_of(
        st.sampled_from(list(ALL.values())),
        st.binary(max_size=20).map(rfb.cut_text),
        st.lists(st.integers(-(1 << 31), (1 << 31) - 1), max_size=6).map(lambda e: rfb.set_encodings(*e)),
        st.binary(max_size=64).map(rfb.fence),
        st.integers(0, 255).map(rfb.pointer),
    ),
    max_size=25,
)
policies = st.sampled_from(list(POLICIES.values()))


@given(policies, sequences, st.lists(st.integers(0, 30), max_size=40))
def test_cuts_do_not_matter(policy: FilterPolicy, sent: list[bytes], sizes: list[int]) -> None:
    stream = b"".join([rfb.set_pixel_format(), *sent])
    one = make(policy)
    assert b"".join(one.feed(piece) for piece in rfb.cut(stream, sizes)) == make(policy).feed(stream)


@given(policies, sequences)
def test_each_message_passes_or_not_for_itself(policy: FilterPolicy, sent: list[bytes]) -> None:
    one = make(policy)
    for message in sent:
        out = one.feed(message)
        assert out in (b"", message) or message[0] == 2
    assert ClientFilter(policy).feed(out := b"".join(make(policy).feed(m) for m in sent)) == out, "filtering twice"


@given(st.binary(max_size=400), st.integers(1, 50))
def test_noise_never_becomes_input(noise: bytes, size: int) -> None:
    """What comes out is taken apart by hand: of five kinds, each whole but the last."""
    one, out = make(VIEW_ONLY), b""
    with contextlib.suppress(ConsoleError):
        for start in range(0, len(noise), size):
            out += one.feed(noise[start : start + size])
    while out:
        match out[0]:
            case 0:
                length = 20
            case 2:
                length = 4 + 4 * int.from_bytes(out[2:4], "big")
            case 3 | 150:
                length = 10
            case 248:
                length = 9 + out[8]
            case other:
                raise AssertionError(other)
        out = out[length:]
