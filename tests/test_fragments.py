"""The pieces of WebSocket messages are counted whatever they come in, against wsproto's own frames."""

from __future__ import annotations

import pytest
from wsproto.frame_protocol import FrameProtocol, Opcode

from trio_cpvm.fragments import PieceCounter

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def message(*payloads: bytes, masked: bool = True, text: bool = False) -> bytes:
    """One message in so many frames."""
    protocol = FrameProtocol(client=masked, extensions=[])
    data = b""
    for number, payload in enumerate(payloads):
        last = number == len(payloads) - 1
        data += protocol.send_data(payload.decode() if text else payload, fin=last)
    return data


def ping(payload: bytes) -> bytes:
    return bytes(FrameProtocol(client=True, extensions=[])._serialize_frame(Opcode.PING, payload))


def opened() -> PieceCounter:
    counter = PieceCounter()
    assert counter.feed(HEAD) == 0
    return counter


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_whole_messages_are_in_as_many_pieces_as_frames(masked: bool, size: int, frames: int) -> None:
    counter = opened()
    for _ in range(3):
        assert counter.feed(message(*[b"x" * size] * frames, masked=masked)) == frames
        assert counter.pieces == 0


def test_many_messages_at_once_are_not_one_of_many_pieces() -> None:
    assert opened().feed(message(b"x") * 1000) == 1
    assert opened().feed(message(b"") * 1000) == 1


@pytest.mark.parametrize("text", [True, False])
def test_an_endless_message_is_ever_more_pieces(text: bool) -> None:
    counter = opened()
    endless = message(*[b"ab"] * 1001, text=text)
    assert counter.feed(endless[:-8]) == 1000
    assert counter.feed(endless[-8:]) == 1001
    assert counter.pieces == 0


def test_what_is_read_byte_by_byte_is_a_piece_for_each() -> None:
    counter = opened()
    data = message(b"x" * 100)
    assert [counter.feed(data[i : i + 1]) for i in range(len(data))] == [0] * 6 + list(range(1, 101))
    assert counter.pieces == 0


def test_pings_in_between_are_no_pieces() -> None:
    counter = opened()
    first, last = message(b"a", b"b")[:7], message(b"a", b"b")[7:]
    assert counter.feed(first + ping(b"12345678") * 50 + ping(b"") + last) == 2
    assert counter.feed(ping(b"x")) == 0


@pytest.mark.parametrize("cut", range(1, len(HEAD)))
def test_the_opening_handshake_is_skipped_wherever_it_is_cut(cut: int) -> None:
    counter = PieceCounter()
    counter.feed(HEAD[:cut])
    assert counter.feed(HEAD[cut:] + message(b"a", b"b", b"c")) == 3
