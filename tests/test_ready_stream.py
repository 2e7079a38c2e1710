"""``ReadyStream`` on real sockets: all of trio's stream but for the turns it gives up."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from tests.helpers import within
from trio_cpvm.ready_stream import (
    LEAST_BYTES,
    TURN_BYTES,
    AnyReadyStream,
    ReadySocket,
    ready,
)
from trio_cpvm.streams import close_at_once

timely = within(30)
SIZE = 3 << 20


@contextlib.asynccontextmanager
async def pair(*, buffer: int = 0) -> AsyncIterator[tuple[ReadySocket, trio.SocketStream]]:
    """A connection over loopback, this package's end first."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        theirs = await trio.open_tcp_stream(*listener.socket.getsockname())
        stream = await listener.accept()
    for one in (theirs, stream):
        if buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    ours = ready(stream)
    assert isinstance(ours, ReadySocket)
    async with ours, theirs:
        yield ours, theirs


@timely
@pytest.mark.parametrize(("buffer", "size"), [(0, SIZE), (4096, 1 << 16)])
async def test_everything_arrives_in_both_directions(buffer: int, size: int) -> None:
    data = bytes(range(256)) * (size // 256)
    received = bytearray()
    async with pair(buffer=buffer) as (ours, theirs), trio.open_nursery() as nursery:

        async def echo() -> None:
            async for chunk in theirs:
                await theirs.send_all(chunk)

        async def send() -> None:
            for start in range(0, size, 100_000):
                part = memoryview(data)[start : start + 100_000]
                sent = ours.send_parts_now(bytes(part[:7]), part[7:])
                sent += ours.send_now(part[sent : sent + 5])
                await ours.send_all(part[sent:])

        nursery.start_soon(echo)
        nursery.start_soon(send)
        while len(received) < size:
            received += await ours.receive_some(10_000)
            received += await ours.borrow_some() if len(received) < size else b""
        nursery.cancel_scope.cancel()
    assert received == data


@timely
async def test_ends() -> None:
    async with pair() as (ours, theirs):
        await theirs.send_eof()
        assert await ours.receive_some(1) == b""
    async with pair() as (ours, theirs):
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await theirs.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await ours.receive_some(1)
        with pytest.raises(trio.BrokenResourceError):
            await ours.send_all(b"x")


@timely
@pytest.mark.parametrize("reads", [True, False])
async def test_closing_wakes_who_waits(reads: bool) -> None:
    async with pair(buffer=4096) as (ours, _), trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await (ours.receive_some(1) if reads else ours.send_all(bytes(SIZE)))
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await ours.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some(1)
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"x")


@timely
async def test_a_cancelled_read_loses_nothing_and_a_write_that_blocks_can_be_given_up() -> None:
    async with pair(buffer=4096) as (ours, theirs):
        with trio.move_on_after(0.01) as read:
            await ours.receive_some(1)
        assert read.cancelled_caught
        await theirs.send_all(b"later")
        assert await ours.receive_some(100) == b"later"
        with trio.move_on_after(0.01) as write:
            await ours.send_all(bytes(SIZE))
        assert write.cancelled_caught


@timely
@pytest.mark.parametrize("size", [1, 10_000])
async def test_who_is_always_ready_gives_up_its_turn(size: int) -> None:
    """As often as its budget says, however small the pieces are; and can be cancelled there."""
    turns = 0
    operations = 0
    async with pair() as (ours, theirs), trio.open_nursery() as nursery:

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        await theirs.send_all(bytes(100_000))
        nursery.start_soon(count_turns)
        with trio.CancelScope() as scope:
            while True:
                if turns >= 3:
                    scope.cancel()
                await ours.receive_some(size) if operations < 100_000 // size // 2 else await ours.send_all(b"x")
                operations += 1
        nursery.cancel_scope.cancel()
    assert operations <= 6 * TURN_BYTES // LEAST_BYTES


@timely
async def test_what_is_borrowed_may_be_changed_and_is_the_same_place_for_all() -> None:
    async with pair() as (ours, theirs), pair() as (others, their_peers):
        await theirs.send_all(b"one")
        await their_peers.send_all(b"two")
        borrowed = await ours.borrow_some()
        assert isinstance(borrowed, memoryview)
        assert bytes(borrowed) == b"one"
        borrowed[:] = b"ONE"
        assert bytes(await others.borrow_some()) == b"two"
        assert bytes(borrowed) == b"two"


@timely
async def test_sending_without_waiting_ends_where_the_system_takes_no_more() -> None:
    async with pair(buffer=4096) as (ours, _):
        sent = 0
        while taken := ours.send_now(bytes(10_000)):
            sent += taken
        assert 0 < sent < SIZE
        assert ours.send_parts_now(b"1", b"2") == 0
        await ours.aclose()
        with pytest.raises(trio.ClosedResourceError):
            ours.send_now(b"x")
        with pytest.raises(trio.ClosedResourceError):
            ours.send_parts_now(b"x", b"y")


async def test_other_streams_are_never_ready_but_always_waited_for() -> None:
    stream, peer = trio.testing.memory_stream_pair()
    ours = ready(stream)
    assert isinstance(ours, AnyReadyStream)
    assert ready(ours) is ours
    assert ours.send_now(b"x") == ours.send_parts_now(b"x", b"y") == 0
    await ours.send_all(b"up")
    assert await peer.receive_some() == b"up"
    await peer.send_all(b"down")
    assert await ours.borrow_some() == b"down"
    await ours.aclose()
    assert await peer.receive_some() == b""


class Taken:
    """What a stream hands on.

    Attributes:
        data: all of it.
        ended: the end has been told.
    """

    def __init__(self, most: int = SIZE) -> None:
        self.data = bytearray()
        self.ended = False
        self._most = most

    def take(self, data: bytes | memoryview) -> bool:
        assert not self.ended
        self.data += data
        self.ended = not data
        return len(self.data) < self._most


@timely
@pytest.mark.parametrize("buffer", [0, 4096])
async def test_what_comes_is_handed_on_until_the_end(buffer: int) -> None:
    data = bytes(range(256)) * 256
    taken = Taken()
    async with pair(buffer=buffer) as (ours, theirs), trio.open_nursery() as nursery:

        async def send() -> None:
            await theirs.send_all(data)
            await theirs.send_eof()

        nursery.start_soon(send)
        while not taken.ended:
            await ours.hand_on(taken.take)
    assert taken.data == data


@timely
async def test_who_takes_no_more_is_given_no_more() -> None:
    async with pair() as (ours, theirs):
        await theirs.send_all(bytes(10))
        first = Taken(most=5)
        await ours.hand_on(first.take)
        await theirs.send_all(b"rest")
        await trio.sleep(0.01)
        assert len(first.data) == 10
        assert await ours.receive_some() == b"rest"


@timely
async def test_a_flood_that_is_handed_on_leaves_others_their_turns() -> None:
    turns: list[int] = []
    taken = Taken(most=16 * TURN_BYTES)
    async with pair() as (ours, theirs), trio.open_nursery() as nursery:

        async def flood() -> None:
            await theirs.send_all(bytes(16 * TURN_BYTES))

        async def count() -> None:
            while True:
                turns.append(len(taken.data))
                await trio.lowlevel.checkpoint()

        nursery.start_soon(flood)
        nursery.start_soon(count)
        while len(taken.data) < 16 * TURN_BYTES:
            await ours.hand_on(taken.take)
        nursery.cancel_scope.cancel()
    assert max(after - before for before, after in itertools.pairwise(turns)) <= 2 * TURN_BYTES


@timely
@pytest.mark.parametrize("at_once", [False, True])
async def test_who_hands_on_is_woken_by_closing(at_once: bool) -> None:
    async with pair() as (ours, _), trio.open_nursery() as nursery:

        async def hand_on() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await ours.hand_on(Taken().take)

        nursery.start_soon(hand_on)
        await trio.testing.wait_all_tasks_blocked()
        await (close_at_once(ours) if at_once else ours.aclose())
        await ours.aclose()


@timely
async def test_a_connection_that_breaks_while_it_is_handed_on() -> None:
    async with pair() as (ours, theirs):
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        async def hand_on() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await ours.hand_on(Taken().take)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hand_on)
            await trio.testing.wait_all_tasks_blocked()
            await theirs.aclose()


async def test_other_streams_hand_on_too() -> None:
    stream, peer = trio.testing.memory_stream_pair()
    taken = Taken()
    async with trio.open_nursery() as nursery:

        async def hand_on() -> None:
            while not taken.ended:
                await ready(stream).hand_on(taken.take)

        nursery.start_soon(hand_on)
        await peer.send_all(b"one")
        await trio.testing.wait_all_tasks_blocked()
        await peer.send_all(b"two")
        await peer.aclose()
    assert taken.data == b"onetwo"
