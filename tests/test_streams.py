"""``PrefixedStream`` is a stream like any other: trio's own conformance check, with and without a prefix."""

from __future__ import annotations

import pytest
import trio
from trio.testing import check_two_way_stream, memory_stream_pair

from trio_cpvm.streams import PrefixedStream


@pytest.mark.parametrize("prefix", [b"", b"x"])
async def test_it_conforms(prefix: bytes) -> None:
    async def make_pair() -> tuple[PrefixedStream, PrefixedStream]:
        ours, theirs = memory_stream_pair()
        left, right = PrefixedStream(prefix, ours), PrefixedStream(prefix, theirs)
        if prefix:  # the check wants to see only what it sends itself
            assert await left.receive_some(1) == prefix
            assert await right.receive_some() == prefix
        return left, right

    await check_two_way_stream(make_pair, None)


async def test_the_prefix_comes_first_and_in_pieces() -> None:
    ours, theirs = memory_stream_pair()
    stream = PrefixedStream(b"hello", ours)
    await theirs.send_all(b" world")
    assert await stream.receive_some(2) == b"he"
    assert await stream.receive_some(10) == b"llo"
    assert await stream.receive_some(3) == b" wo"


async def test_a_cancelled_read_loses_nothing() -> None:
    stream = PrefixedStream(b"hello", memory_stream_pair()[0])
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.receive_some()
    assert scope.cancelled_caught
    assert await stream.receive_some() == b"hello"


async def test_closing_closes_what_is_behind() -> None:
    ours, theirs = memory_stream_pair()
    await PrefixedStream(b"", ours).aclose()
    assert await theirs.receive_some() == b""


async def test_what_is_held_back_goes_out_with_the_next() -> None:
    ours, theirs = memory_stream_pair()
    stream = PrefixedStream(b"", ours)
    stream.hold_next()
    await stream.send_all(b"last words")
    with trio.move_on_after(0):
        assert not await theirs.receive_some()
    await stream.send_all(b", goodbye")
    assert await theirs.receive_some() == b"last words, goodbye"
