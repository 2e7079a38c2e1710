"""Streams and the ways to reach a server."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_cpvm.testing import (
    MemoryDialer,
    StreamEnded,
    TrickleStream,
    abort,
    background,
    connected,
    listening,
    read_exactly,
)
from trio_cpvm.testing.streams import Exclusive, close_in_time

from . import timely


async def echo(stream: trio.abc.Stream) -> None:
    async with stream:
        while data := await stream.receive_some():
            await stream.send_all(data)


async def crash(stream: trio.abc.Stream) -> None:
    async with stream:
        raise RuntimeError("the server crashed")


@timely
async def test_reading_exactly_takes_nothing_more(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"abcdef")
    assert await read_exactly(ours, 0) == b""
    assert await read_exactly(ours, 4) == b"abcd"
    assert await ours.receive_some() == b"ef"


@timely
async def test_reading_exactly_puts_pieces_together(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(TrickleStream(theirs).send_all, b"abcd")
        assert await read_exactly(ours, 4) == b"abcd"


@timely
async def test_an_end_within_says_what_had_come(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"ab")
    await theirs.aclose()
    with pytest.raises(StreamEnded, match="2 of 4 bytes") as info:
        await read_exactly(ours, 4)
    assert info.value.got == b"ab"


@timely
async def test_trickle_streams_are_streams(autojump_clock: MockClock) -> None:
    async def trickling(pair: tuple[trio.abc.Stream, trio.abc.Stream]) -> tuple[TrickleStream, TrickleStream]:
        await trio.lowlevel.checkpoint()
        # The checks move a mebibyte: byte by byte that takes minutes.
        return TrickleStream(pair[0], 500), TrickleStream(pair[1], 4000)

    await trio.testing.check_two_way_stream(
        lambda: trickling(trio.testing.memory_stream_pair()), lambda: trickling(trio.testing.lockstep_stream_pair())
    )


@timely
async def test_a_trickle_stream_trickles(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await TrickleStream(ours).send_all(b"abc")
    assert [await TrickleStream(theirs, 2).receive_some(9), await theirs.receive_some()] == [b"ab", b"c"]


def test_only_one_at_a_time() -> None:
    door = Exclusive("somebody is in")
    with door, pytest.raises(trio.BusyResourceError, match="somebody"), door:
        pass
    with door:
        assert door.held
    assert not door.held


@timely
async def test_dialling(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    dialer = MemoryDialer(echo, nursery, delay_s=3)
    one, other = await dialer.dial("host", 5900), await dialer.dial()
    assert trio.current_time() == pytest.approx(6)
    assert dialer.dialled == [("host", 5900), ()]
    await one.send_all(b"one")
    await other.send_all(b"other")
    assert [await one.receive_some(), await other.receive_some()] == [b"one", b"other"]
    dialer.failure = OSError("no route")
    with pytest.raises(OSError, match="no route"):
        await dialer.dial()


@timely
async def test_one_connection_for_a_block(autojump_clock: MockClock) -> None:
    async with connected(echo, make_pair=trio.testing.lockstep_stream_pair) as stream:
        await stream.send_all(b"x")
        assert await stream.receive_some() == b"x"
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")


@timely
@pytest.mark.parametrize("kind", [LookupError, KeyboardInterrupt])
async def test_a_blocks_own_exception_is_not_wrapped(kind: type[BaseException], autojump_clock: MockClock) -> None:
    with pytest.raises(kind):
        async with connected(echo):
            raise kind


@timely
async def test_a_crash_in_the_background_is_a_group(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(RuntimeError):
        async with connected(crash) as stream:
            await stream.receive_some()
            await trio.sleep(1)


@timely
async def test_both_failures_are_told(autojump_clock: MockClock) -> None:
    async def refuse_to_go() -> None:
        try:
            await trio.sleep(99)
        finally:
            raise RuntimeError("while going")

    with pytest.RaisesGroup(RuntimeError) as info:
        async with background() as nursery:
            nursery.start_soon(refuse_to_go)
            await trio.testing.wait_all_tasks_blocked()
            raise LookupError
    assert isinstance(info.value.__cause__, LookupError)


@timely
async def test_cancelling_a_block_from_outside(autojump_clock: MockClock) -> None:
    with trio.move_on_after(5) as scope:
        async with connected(echo) as stream:
            await stream.receive_some()
    assert scope.cancelled_caught


@timely
async def test_closing_is_bounded(autojump_clock: MockClock) -> None:
    class Slow(trio.abc.AsyncResource):
        forced = False

        async def aclose(self) -> None:
            try:
                await trio.sleep(99)
            except trio.Cancelled:
                self.forced = True
                raise

    slow = Slow()
    await close_in_time(slow, 2)
    assert slow.forced
    assert trio.current_time() == pytest.approx(2)


async def test_on_a_port() -> None:
    with trio.fail_after(10):
        async with listening(echo) as (host, port), await trio.open_tcp_stream(host, port) as stream:
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"


async def test_an_abort_is_a_reset_on_tcp() -> None:
    with trio.fail_after(10):
        async with listening(abort) as (host, port), await trio.open_tcp_stream(host, port) as stream:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
