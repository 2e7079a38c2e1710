"""Frames at a server's end, against two other implementations: wsproto and websockets."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import attrs
import pytest
import wsproto.frame_protocol as oracle
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader
from websockets.uri import parse_uri

from trio_cpvm import frames
from trio_cpvm.frames import MAX_EVENTS, Close, Event, FrameReader, Ping, Pong, Text, Violation

MAX_MESSAGE, MAX_TEXT = 5000, 300
MASK = b"\x0f\xf0\x35\xaa"


def reader() -> FrameReader:
    return FrameReader(max_message_bytes=MAX_MESSAGE, max_text_bytes=MAX_TEXT)


def read(chunks: Iterable[bytes]) -> list[Event]:
    """All events, bytes that follow each other as one."""
    found: list[Event] = []
    ours = reader()
    for chunk in chunks:
        for event in ours.receive(chunk):
            if isinstance(event, bytes) and found and isinstance(found[-1], bytes):
                found[-1] += event
            else:
                found.append(event)
    return found


def raw(first: int, payload: bytes = b"", *, masked: bool = True, mask: bytes = MASK) -> bytes:
    """One frame as it is, whatever it is."""
    size = len(payload)
    if size < 126:
        length = bytes([size | 0x80 * masked])
    elif size < 1 << 16:
        length = bytes([126 | 0x80 * masked]) + size.to_bytes(2, "big")
    else:
        length = bytes([127 | 0x80 * masked]) + size.to_bytes(8, "big")
    if not masked:
        return bytes([first]) + length + payload
    return bytes([first]) + length + mask + bytes(b ^ m for b, m in zip(payload, itertools.cycle(mask), strict=False))


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The data cut at these places."""
    at = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[one:other] for one, other in itertools.pairwise([0, *at, len(data)])]


@attrs.frozen
class Message:
    """A data message, in fragments, with control frames between them."""

    payload: bytes
    cuts: tuple[int, ...]
    pings: tuple[bytes, ...]

    def encoded(self, opcode: int) -> bytes:
        parts = pieces(self.payload, self.cuts)
        out = b""
        for i, part in enumerate(parts):
            fin = 0x80 if i == len(parts) - 1 else 0
            out += raw((opcode if i == 0 else 0) | fin, part)
            if not fin and i < len(self.pings):
                out += raw(0x89, self.pings[i])
        return out

    @property
    def between(self) -> tuple[bytes, ...]:
        return self.pings[: len(pieces(self.payload, self.cuts)) - 1]


small = st.binary(max_size=125)
messages = st.builds(
    Message,
    st.binary(max_size=MAX_MESSAGE),
    st.lists(st.integers(0, MAX_MESSAGE), max_size=3).map(tuple),
    st.lists(small, max_size=2).map(tuple),
)
cuts = st.lists(st.integers(0, 1 << 16), max_size=8)


@given(st.lists(messages, max_size=4), cuts)
def test_binary_messages_are_one_stream_however_they_come(sent: list[Message], where: list[int]) -> None:
    found = read(pieces(b"".join(message.encoded(2) for message in sent), where))
    stream = b"".join(event for event in found if isinstance(event, bytes))
    assert stream == b"".join(message.payload for message in sent)
    pings = [event.payload for event in found if isinstance(event, Ping)]
    assert pings == [ping for message in sent for ping in message.between]


@given(st.text(max_size=MAX_TEXT // 4), st.lists(st.integers(0, MAX_TEXT), max_size=3), cuts)
def test_texts_are_whole(text: str, fragments: list[int], where: list[int]) -> None:
    sent = Message(text.encode(), tuple(fragments), (b"p", b"q"))
    found = read(pieces(sent.encoded(1) + raw(0x82, b"after"), where))
    assert [event for event in found if not isinstance(event, Ping)] == [Text(text), b"after"]


def payload_of(frame: oracle.Frame) -> bytes:
    assert isinstance(frame.payload, (bytes, bytearray))
    return bytes(frame.payload)


def asked_of_wsproto(data: bytes) -> tuple[list[Event], int | None]:
    """What wsproto makes of it, and the close code that it would give."""
    found: list[Event] = []
    protocol = oracle.FrameProtocol(client=False, extensions=[])
    protocol.receive_bytes(data)
    text = ""
    try:
        for frame in protocol.received_frames():
            match frame.opcode:
                case oracle.Opcode.BINARY if frame.payload:
                    if found and isinstance(found[-1], bytes):
                        found[-1] += payload_of(frame)
                    else:
                        found.append(payload_of(frame))
                case oracle.Opcode.TEXT:
                    text += str(frame.payload)
                    if frame.message_finished:
                        found.append(Text(text))
                        text = ""
                case oracle.Opcode.PING:
                    found.append(Ping(payload_of(frame)))
                case oracle.Opcode.PONG:
                    found.append(Pong(payload_of(frame)))
                case oracle.Opcode.CLOSE:
                    assert isinstance(frame.payload, tuple)
                    code, reason = frame.payload
                    found.append(Close(None if code == 1005 else int(code), reason or ""))
                    break
    except oracle.ParseFailed as exc:
        return found, int(exc.code)
    return found, None


any_frame = st.builds(
    raw,
    st.one_of(st.sampled_from([0x82, 0x81, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A]), st.integers(0, 255)),
    st.one_of(st.binary(max_size=140), st.text(max_size=20).map(str.encode), st.just(b"\x03\xe8ok"), st.just(b"")),
    masked=st.sampled_from([True] * 9 + [False]),
    mask=st.binary(min_size=4, max_size=4),
)


@given(st.lists(any_frame, max_size=6), cuts)
@example([raw(0x01, b"\x80")], [])
def test_whatever_comes_is_taken_or_refused_as_wsproto_does(sent: list[bytes], where: list[int]) -> None:
    data = b"".join(sent)
    wanted, code = asked_of_wsproto(data)
    found = read(pieces(data, where))
    refused = found.pop() if found and isinstance(found[-1], Violation) else None
    if code is None:
        # wsproto leaves the order of a message's frames to the layer above it
        if refused is None:
            assert [e for e in found if not isinstance(e, bytes)] == [e for e in wanted if not isinstance(e, bytes)]
    elif refused is None:  # wsproto reads texts before they are whole
        assert code == frames.NOT_TEXT
        assert isinstance(read([data, raw(0x80)])[-1], (Violation, Close))


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (raw(0x82, b"x", masked=False), 1002),
        (raw(0xC2, b"x"), 1002),
        (raw(0x83), 1002),
        (raw(0x8B), 1002),
        (raw(0x80, b"x"), 1002),
        (raw(0x02, b"x") + raw(0x82, b"y"), 1002),
        (raw(0x02, b"x") + raw(0x81, b"y"), 1002),
        (raw(0x09, b"x"), 1002),
        (raw(0x89, bytes(126)), 1002),
        (raw(0x88, b"\x03"), 1002),
        (raw(0x88, b"\x03\xed"), 1002),  # 1005 is for nobody to send
        (raw(0x88, b"\x03\xe8\xff"), 1007),
        (raw(0x81, b"\xff"), 1007),
        (b"\x82\xfe\x00\x7d" + MASK, 1002),  # 125 in two bytes
        (b"\x82\xff" + (0xFFFF).to_bytes(8, "big") + MASK, 1002),
        (b"\x82\xff" + (1 << 63).to_bytes(8, "big") + MASK, 1002),
        (raw(0x82, bytes(MAX_MESSAGE + 1))[:14], 1009),  # by what is announced, not when it is there
        (raw(0x02, bytes(MAX_MESSAGE)) + raw(0x80, b"x"), 1009),
        (raw(0x81, bytes(MAX_TEXT + 1)), 1009),
        (raw(0x02) + raw(0x00) * frames.MAX_FRAGMENTS, 1009),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_violations(sent: bytes, code: int, whole: bool) -> None:
    ours = reader()
    for chunk in [sent] if whole else [sent[i : i + 1] for i in range(len(sent))]:
        found = ours.receive(chunk)
        if found and isinstance(found[-1], Violation):
            break
    else:
        raise AssertionError
    assert found[-1].code == code
    assert ours.over
    assert not ours.receive(raw(0x82, b"more"))


def test_nothing_is_read_behind_a_close_frame() -> None:
    assert read([raw(0x88, b"\x0f\xa0bye") + raw(0x82, b"more") + b"\xff" * 100]) == [Close(4000, "bye")]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 1199, 1200, 1201, 65535, 65536, 70000])
def test_what_is_sent_reads_the_same_elsewhere(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    payload = payload[:size]
    sent = frames.binary_head(size) + payload
    by_wsproto = oracle.FrameProtocol(client=True, extensions=[])
    by_wsproto.receive_bytes(sent)
    assert b"".join(map(payload_of, by_wsproto.received_frames())) == payload
    assert parsed(sent) == Frame(Opcode.BINARY, payload)
    unmasked = FrameReader(max_message_bytes=1 << 20, max_text_bytes=1)
    assert b"".join(e for e in unmasked.receive(raw(0x82, payload)) if isinstance(e, bytes)) == payload


def test_control_frames_read_the_same_elsewhere() -> None:
    assert parsed(frames.ping_frame(b"1")) == Frame(Opcode.PING, b"1")
    assert parsed(frames.pong_frame(b"2")) == Frame(Opcode.PONG, b"2")
    assert parsed(frames.text_frame("ä")) == Frame(Opcode.TEXT, "ä".encode())
    assert parsed(frames.close_frame(4401, "no")) == Frame(Opcode.CLOSE, b"\x11\x31no")
    assert parsed(frames.close_frame(None)) == Frame(Opcode.CLOSE, b"")


def parsed(data: bytes) -> Frame:
    """By websockets."""
    _ = ClientProtocol(parse_uri("ws://192.0.2.1/"))  # which reads frames that are not masked
    stream = StreamReader()
    stream.feed_data(data)
    parsing = Frame.parse(stream.read_exact, mask=False)
    try:
        while True:
            next(parsing)
    except StopIteration as done:
        frame: Frame = done.value
    return frame


@pytest.mark.parametrize("frame", [b"\x89\x80abcd", b"\x8a\x80abcd", b"\x89\x80abcd\x82\x81abcdx"])
def test_a_flood_of_small_frames_is_looked_at_little_by_little(frame: bytes) -> None:
    ours = reader()
    expected = ours.receive(frame)
    turns = [ours.receive(frame * 1000)]
    while ours.has_more:
        turns.append(ours.receive(b""))
    assert max(map(len, turns)) <= MAX_EVENTS + 2
    assert [event for events in turns for event in events] == expected * 1000
    assert not ours.over
