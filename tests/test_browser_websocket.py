"""``BrowserSocket`` where the system takes only a part of what is sent: nothing is torn, nothing is lost."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.consoles import small_sockets, websocket_pair
from tests.helpers import within
from trio_cpvm.browser_websocket import BrowserSocket

timely = within(20)
SIZE = 4 << 20


async def receive(browser: trio.abc.ReceiveStream, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        received += await browser.receive_some()
    return bytes(received)


@timely
async def test_what_was_given_up_half_way_goes_out_before_what_is_sent_next() -> None:
    async with websocket_pair(small_sockets) as (browser, ours), trio.open_nursery() as nursery:
        with trio.move_on_after(0.05) as scope:
            await ours.send_all(b"a" * SIZE)
        assert scope.cancelled_caught
        nursery.start_soon(ours.send_all, b"b")
        assert await receive(browser, SIZE + 1) == b"a" * SIZE + b"b"


@timely
async def test_who_receives_sends_what_was_given_up() -> None:
    async with websocket_pair(small_sockets) as (browser, ours), trio.open_nursery() as nursery:
        with trio.move_on_after(0.05):
            await ours.send_all(b"a" * SIZE)
        nursery.start_soon(ours.receive_some)
        assert await receive(browser, SIZE) == b"a" * SIZE
        nursery.cancel_scope.cancel()


@timely
async def test_without_waiting_as_much_goes_out_as_is_taken_and_flush_sends_the_rest() -> None:
    async with websocket_pair(small_sockets) as (browser, ours), trio.open_nursery() as nursery:
        data = bytearray(b"x" * SIZE)
        assert not ours.send_now(memoryview(data))
        data[:] = bytes(SIZE)  # it was only lent
        assert not ours.send_now(b"y"), "it waits behind the first"
        nursery.start_soon(ours.flush)
        assert await receive(browser, SIZE + 1) == b"x" * SIZE + b"y"
    async with websocket_pair(small_sockets) as (browser, ours):
        assert ours.send_now(b"short")
        assert await receive(browser, 5) == b"short"


@timely
async def test_several_may_wait_for_the_rest() -> None:
    async with websocket_pair(small_sockets) as (browser, ours):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.send_all, b"a" * SIZE)
            nursery.start_soon(ours.send_all, b"b" * SIZE)
            received = await receive(browser, 2 * SIZE)
        assert sorted([received[:SIZE], received[SIZE:]]) == [b"a" * SIZE, b"b" * SIZE]


@timely
async def test_all_who_wait_are_told_that_the_browser_is_gone() -> None:
    async with websocket_pair(small_sockets) as (browser, ours):

        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await ours.send_all(b"a" * SIZE)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(send)
            await trio.sleep(0.05)
            await trio.aclose_forcefully(browser.stream)
        with pytest.raises(trio.BrokenResourceError):
            ours.send_now(b"b")
        await ours.close(1000, "", within_s=1)


@timely
async def test_a_close_frame_waits_for_the_message_before_it() -> None:
    async with websocket_pair(small_sockets) as (browser, ours), trio.open_nursery() as nursery:
        assert not ours.send_now(b"a" * SIZE)
        nursery.start_soon(lambda: ours.close(4411, "killed", within_s=10))
        assert await receive(browser, SIZE) == b"a" * SIZE
        assert await browser.receive_some() == b""
        assert browser.close_code == 4411


@timely
async def test_every_one_of_many_pings_is_answered_and_what_follows_them_is_read() -> None:
    async with websocket_pair(small_sockets) as (browser, ours), trio.open_nursery() as nursery:
        pongs = 0

        async def count() -> None:
            nonlocal pongs
            while pongs < 5000 * 6:  # each has four bytes of payload, and two in front of them
                pongs += len(await browser.stream.receive_some(65536))

        nursery.start_soon(count)
        nursery.start_soon(browser.stream.send_all, b"\x89\x84\0\0\0\0ping" * 5000 + b"\x82\x83\0\0\0\0end")
        assert await ours.receive_some() == b"end"
    assert pongs == 5000 * 6


@timely
async def test_a_browser_that_has_said_that_it_goes_is_not_lost_even_if_sending_found_it_gone_first() -> None:
    stream, peer = trio.testing.memory_stream_pair()
    ours = BrowserSocket(stream)
    await peer.send_all(bytes([0x88, 0x82, 0, 0, 0, 0]) + (1001).to_bytes(2, "big"))
    await peer.receive_stream.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await ours.send_all(b"an update")
    assert ours.lost
    assert await ours.receive_some() == b""
    assert ours.ended_by == "closed with 1001"
    assert not ours.lost
