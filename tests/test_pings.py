"""Pings to browsers: who is gone is noticed, who only reads slowly, or is not listened to, is not taken for gone."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock, lockstep_stream_pair

from tests.consoles import PASSWORD, console, small_sockets, websocket_pair
from tests.helpers import within
from trio_cpvm import errors
from trio_cpvm.config import SessionConfig
from trio_cpvm.testing import (
    Opcode,
    ReadForever,
    RfbClient,
    ScriptedVncServer,
    Send,
    SendForever,
    Stall,
)

KEY = b"\4\1\0\0\0\0\0a"
PINGS = SessionConfig(idle_timeout_s=0, lifetime_s=0, ping_interval_s=20)


def still_host() -> ScriptedVncServer:
    return ScriptedVncServer(password=PASSWORD, then=[ReadForever()])


async def test_a_browser_that_answers_nothing_is_gone(autojump_clock: MockClock) -> None:
    async with console(still_host(), config=PINGS) as c:
        await RfbClient(c.browser).handshake()
        c.browser.go_silent()
        end = await c.wait_end()
    assert (end.reason, end.detail) == (errors.CLOSED_BY_USER, "no answer to a ping")
    assert end.broken, "its token is good again for the reconnect window"
    assert 40 <= end.duration_s <= 45


async def test_a_browser_that_only_looks_stays(autojump_clock: MockClock) -> None:
    async with console(still_host(), config=PINGS) as c:
        await RfbClient(c.browser).handshake()
        with trio.move_on_after(3600):
            await c.browser.receive_some()
        assert c.session.outcome is None
        assert 170 <= len(c.browser.pings) <= 180
        c.session.end(errors.KILLED)
        await c.drain()


async def test_no_pings_where_none_are_wanted(autojump_clock: MockClock) -> None:
    config = SessionConfig(idle_timeout_s=0, lifetime_s=0, ping_interval_s=0)
    async with console(still_host(), config=config) as c:
        await RfbClient(c.browser).handshake()
        c.browser.go_silent()
        await trio.sleep(3600)
        assert c.session.outcome is None


async def test_input_is_life_although_pings_go_unanswered(autojump_clock: MockClock) -> None:
    async with console(still_host(), config=PINGS) as c:
        await RfbClient(c.browser).handshake()
        c.browser.go_silent()
        for _ in range(20):
            await trio.sleep(15)
            await c.browser.send_all(KEY)
        assert c.session.outcome is None
        end = await c.wait_end()
        assert (end.detail, 320 <= end.duration_s <= 325) == ("no answer to a ping", True)


async def test_pongs_are_no_input(autojump_clock: MockClock) -> None:
    config = SessionConfig(idle_timeout_s=60, lifetime_s=0, ping_interval_s=5)
    async with console(still_host(), config=config) as c:
        await RfbClient(c.browser).handshake()
        await c.drain()
        end = await c.wait_end()
    assert (end.reason, round(end.duration_s)) == (errors.IDLE_TIMEOUT, 60)


async def test_a_browser_that_takes_data_slowly_stays_and_one_that_stops_does_not(autojump_clock: MockClock) -> None:
    """In memory: each write that comes to its end is progress; pongs have to wait behind the film."""
    host = ScriptedVncServer(password=PASSWORD, then=[SendForever(b"x" * 5000)])
    async with console(host, config=PINGS, make_pair=lockstep_stream_pair) as c:
        await RfbClient(c.browser).handshake()
        for _ in range(20):
            await trio.sleep(15)
            assert await c.transport.receive_some()  # reads frames, and answers none
        assert c.session.outcome is None
        end = await c.wait_end()
        assert (end.reason, end.detail) == (errors.CLOSED_BY_USER, "no answer to a ping")
        assert 320 <= end.duration_s <= 330


async def test_a_host_that_takes_nothing_is_not_the_browsers_fault(autojump_clock: MockClock) -> None:
    """The pong is there, behind input that nobody reads."""
    host = ScriptedVncServer(password=PASSWORD, then=[Stall(reading=False)])
    async with console(host, config=PINGS, make_pair=lockstep_stream_pair) as c:
        await RfbClient(c.browser).handshake()
        with trio.move_on_after(1) as stuck:
            for _ in range(100):
                await c.browser.send_all(KEY * 1000)
        assert stuck.cancelled_caught
        await trio.sleep(100)
        assert c.session.outcome is None


async def test_a_browser_is_watched_while_the_host_is_waited_for(autojump_clock: MockClock) -> None:
    config = SessionConfig(handshake_timeout_s=600, ping_interval_s=20)
    async with console(ScriptedVncServer.playing(Stall()), config=config) as c:
        c.browser.go_silent()
        end = await c.wait_end()
    assert (end.reason, end.detail, end.broken) == (errors.CLOSED_BY_USER, "no answer to a ping", True)


async def test_a_browser_that_closes_while_a_ping_is_under_way_has_closed(autojump_clock: MockClock) -> None:
    async with console(still_host(), config=PINGS) as c:
        await RfbClient(c.browser).handshake()
        c.browser.go_silent()
        await trio.sleep(25)
        await c.browser.send_frame(Opcode.CLOSE, (1000).to_bytes(2, "big"))
        end = await c.wait_end()
    assert (end.reason, end.detail, end.broken) == (errors.CLOSED_BY_USER, "the browser closed with 1000", False)


async def test_what_the_host_sent_last_goes_before_the_end(autojump_clock: MockClock) -> None:
    """The browser is still told by a close frame, should it be there after all."""
    host = ScriptedVncServer(password=PASSWORD, then=[Send(b"last"), ReadForever()])
    async with console(host, config=PINGS) as c:
        await RfbClient(c.browser).handshake()
        assert await c.browser.receive_some() == b"last"
        c.browser.go_silent()
        await c.wait_end()
        await c.drain()
        assert (c.browser.close_code, (c.browser.close_reason or "")[:14]) == (1000, "closed-by-user")


async def test_pongs_that_nobody_asked_for_are_no_answer(autojump_clock: MockClock) -> None:
    async with websocket_pair() as (browser, ours), trio.open_nursery() as nursery:
        browser.go_silent()
        nursery.start_soon(ours.receive_some)
        with trio.fail_after(50):
            nursery.start_soon(browser.send_frame, Opcode.PONG, b"\0\0\0\0")
            assert await ours.wait_until_lost(20)
        nursery.cancel_scope.cancel()


# -- on sockets, where the kernel takes what the browser does not ------------------------------------------------------


@within(20)
async def test_a_hung_browser_whose_kernel_lives_is_gone() -> None:
    async with websocket_pair(small_sockets) as (browser, ours), trio.open_nursery() as nursery:
        browser.go_silent()
        nursery.start_soon(ours.receive_some)

        async def trickle() -> None:
            while True:
                await ours.send_all(b"x" * 100)
                await trio.sleep(0.05)

        nursery.start_soon(trickle)
        started = trio.current_time()
        assert await ours.wait_until_lost(0.4)
        # at the latest when its kernel's buffers are full, which they are after about eight seconds
        assert 0.8 <= trio.current_time() - started < 15
        assert ours.lost
        nursery.cancel_scope.cancel()


@within(20)
async def test_a_browser_that_stops_reading_is_gone_although_the_kernel_takes_more() -> None:
    async with websocket_pair(small_sockets) as (_, ours), trio.open_nursery() as nursery:
        nursery.start_soon(ours.receive_some)

        async def film() -> None:
            while True:
                await ours.send_all(b"x" * 1000)

        nursery.start_soon(film)
        started = trio.current_time()
        assert await ours.wait_until_lost(0.4)
        assert trio.current_time() - started < 3
        nursery.cancel_scope.cancel()


@within(20)
async def test_a_browser_that_reads_slowly_what_the_kernel_has_for_it_stays() -> None:
    """A ping waits behind all of it, far longer than the interval."""
    size = 500_000
    async with websocket_pair(small_sockets) as (browser, ours), trio.open_nursery() as nursery:
        nursery.start_soon(ours.receive_some)
        nursery.start_soon(ours.send_all, b"x" * size)

        async def watch() -> None:
            assert not await ours.wait_until_lost(1)
            pytest.fail("it is gone, or closed")

        nursery.start_soon(watch)
        started, seen = trio.current_time(), 0
        while seen < size:
            await trio.sleep(0.05)
            seen += len(await browser.receive_some(10_000))
        while not browser.pings:
            await browser.receive_some(1)
        nursery.cancel_scope.cancel()
        assert trio.current_time() - started > 2
