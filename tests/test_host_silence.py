"""``session.host_silence_timeout_s``: a limit of its own, apart from the user's idleness, off by default."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock, lockstep_stream_pair

from tests.consoles import PASSWORD, console
from trio_cpvm import errors
from trio_cpvm.config import SessionConfig
from trio_cpvm.testing import Pause, ReadForever, RfbClient, ScriptedVncServer, Send, SendForever, Step

KEY = b"\4\1\0\0\0\0\0a"


def limits(silence_s: float) -> SessionConfig:
    return SessionConfig(idle_timeout_s=0, lifetime_s=0, ping_interval_s=0, host_silence_timeout_s=silence_s)


@pytest.mark.parametrize("typing", [False, True])
async def test_a_silent_host_ends_the_console_whatever_the_user_does(typing: bool, autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password=PASSWORD, then=[ReadForever()]), config=limits(30)) as c:
        await RfbClient(c.browser).handshake()
        for _ in range(5 if typing else 0):
            await trio.sleep(5)
            await c.browser.send_all(KEY)
        await c.drain()
        end = await c.wait_end()
    assert (end.reason, end.detail) == (errors.UPSTREAM_TIMEOUT, "nothing from the host for 30 s")
    assert end.duration_s == pytest.approx(30, abs=1)
    assert (c.browser.close_code, end.broken) == (4504, True)


async def test_every_word_of_the_host_counts(autojump_clock: MockClock) -> None:
    talking: list[Step] = [step for _ in range(10) for step in (Pause(25), Send(b"."))]
    async with console(ScriptedVncServer(password=PASSWORD, then=[*talking, ReadForever()]), config=limits(30)) as c:
        await RfbClient(c.browser).handshake()
        assert await c.drain() == b"." * 10
        end = await c.wait_end()
    assert end.reason is errors.UPSTREAM_TIMEOUT
    assert end.duration_s == pytest.approx(280, abs=1)


async def test_a_host_that_nobody_listens_to_is_not_silent(autojump_clock: MockClock) -> None:
    """The browser takes nothing, so the host cannot get rid of anything either."""
    host = ScriptedVncServer(password=PASSWORD, then=[SendForever(b"x" * 5000)])
    async with console(host, config=limits(30), make_pair=lockstep_stream_pair) as c:
        await RfbClient(c.browser).handshake()
        await trio.sleep(3600)
        assert c.session.outcome is None


async def test_no_limit_by_default(autojump_clock: MockClock) -> None:
    assert SessionConfig().host_silence_timeout_s == 0
    async with console(ScriptedVncServer(password=PASSWORD, then=[ReadForever()]), config=limits(0)) as c:
        await RfbClient(c.browser).handshake()
        await trio.sleep(80_000)
        assert c.session.outcome is None


@pytest.mark.parametrize("gone", [False, True])
async def test_a_host_that_takes_nothing_ends_the_console_in_the_end(gone: bool, autojump_clock: MockClock) -> None:
    """Nobody would notice that the browser has gone: what it says is read only as the host takes it."""
    host = ScriptedVncServer(password=PASSWORD, then=[Pause(80_000)])
    async with console(host, config=limits(0), make_pair=lockstep_stream_pair) as c, trio.open_nursery() as nursery:
        await RfbClient(c.browser).handshake()
        nursery.start_soon(c.browser.send_all, KEY)
        await trio.testing.wait_all_tasks_blocked()
        if gone:
            await trio.aclose_forcefully(c.transport)
        else:
            nursery.start_soon(c.drain)
        end = await c.wait_end()
        nursery.cancel_scope.cancel()
    assert (end.reason, end.detail) == (errors.UPSTREAM_TIMEOUT, "the host took no input for 120 s")
    assert end.duration_s == pytest.approx(120, abs=1)


async def test_a_host_may_take_its_time(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD, then=[Pause(100), ReadForever()])
    async with console(host, config=limits(0), make_pair=lockstep_stream_pair) as c:
        await RfbClient(c.browser).handshake()
        await c.browser.send_all(KEY)
        await c.browser.send_all(KEY)
        await trio.sleep(3600)
        assert c.session.outcome is None
