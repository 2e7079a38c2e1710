"""A session's answers to its page: in every phase, about its limits, without becoming part of the console."""

from __future__ import annotations

import json
from typing import TypedDict, cast

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.consoles import PASSWORD, Console, console
from tests.helpers import make_registry, within
from trio_cpvm import errors
from trio_cpvm.config import SessionConfig
from trio_cpvm.control import MAX_TEXTS
from trio_cpvm.testing import (
    EchoForever,
    ReadForever,
    RfbClient,
    ScriptedVncServer,
    Send,
    SendForever,
    Stall,
    listening,
)

KEY = b"\4\1\0\0\0\0\0a"
#: Without pings: these browsers do not answer while they do nothing.
IDLE = SessionConfig(idle_timeout_s=60, lifetime_s=0, ping_interval_s=0)


class Answer(TypedDict):
    """What the page is told."""

    pong: int
    phase: str
    idle_left_s: float | None
    lifetime_left_s: float | None
    host_rtt_ms: float | None
    drain_left_s: float | None
    looks_on: bool


async def ask(c: Console, question: str, number: int = 0) -> Answer:
    """Ask a question of the page and wait for its answer, which is the only one there is."""
    already = len(c.browser.texts)
    await c.browser.send_text(json.dumps({question: number}))
    with trio.move_on_after(0.001):  # receiving is what lets the double take texts in
        await c.browser.receive_some()
    (text,) = c.browser.texts[already:]
    return cast("Answer", json.loads(text))


async def test_questions_are_answered_in_every_phase(autojump_clock: MockClock) -> None:
    host_is_there = trio.Event()

    async def connect(_: trio.Nursery) -> trio.abc.Stream:
        await host_is_there.wait()
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(ScriptedVncServer(password=PASSWORD, then=[ReadForever()]).serve, theirs)
        return ours

    limits = SessionConfig(idle_timeout_s=60, lifetime_s=3600)
    async with trio.open_nursery() as nursery:
        async with console(connect, dials=True, config=limits) as c:
            await RfbClient(c.browser).stream.receive_some()  # our version
            nothing: dict[str, float | bool | None] = dict.fromkeys(
                ("idle_left_s", "lifetime_left_s", "host_rtt_ms", "drain_left_s")
            )
            nothing["looks_on"] = False
            assert await ask(c, "ping", 1) == {"pong": 1, "phase": "connect", **nothing}
            assert await ask(c, "stay", 2) == {"pong": 2, "phase": "connect", **nothing}
            host_is_there.set()
            await trio.testing.wait_all_tasks_blocked()
            assert await ask(c, "ping", 3) == {"pong": 3, "phase": "handshake", **nothing}
        nursery.cancel_scope.cancel()
    async with console(ScriptedVncServer(password=PASSWORD, then=[ReadForever()]), config=limits) as c:
        await RfbClient(c.browser).handshake()
        await trio.sleep(10)
        answer = await ask(c, "ping", 2**31 - 1)
        assert (answer["pong"], answer["phase"]) == (2**31 - 1, "relay")
        assert answer["idle_left_s"] == pytest.approx(50, abs=0.2)
        assert answer["lifetime_left_s"] == pytest.approx(3590, abs=0.2)
        assert answer["host_rtt_ms"] is None


async def test_a_question_is_no_input_and_to_stay_is(autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password=PASSWORD, then=[ReadForever()]), config=IDLE) as c:
        await RfbClient(c.browser).handshake()
        await trio.sleep(50)
        assert (await ask(c, "ping"))["idle_left_s"] == pytest.approx(10, abs=0.2)
        assert (await ask(c, "stay"))["idle_left_s"] == pytest.approx(60, abs=0.2)
        await trio.sleep(50)
        await ask(c, "ping")
        await c.drain()
        end = await c.wait_end()
    assert end.reason is errors.IDLE_TIMEOUT
    assert end.duration_s == pytest.approx(110, abs=1)


async def test_without_limits_there_is_nothing_left_to_tell(autojump_clock: MockClock) -> None:
    config = SessionConfig(idle_timeout_s=0, lifetime_s=0)
    async with console(ScriptedVncServer(password=PASSWORD, then=[ReadForever()]), config=config) as c:
        await RfbClient(c.browser).handshake()
        for question in ("ping", "stay"):
            answer = await ask(c, question)
            assert (answer["idle_left_s"], answer["lifetime_left_s"]) == (None, None)


async def test_the_page_is_told_of_a_drain_and_of_who_types(autojump_clock: MockClock) -> None:
    registry = make_registry(SessionConfig())
    async with console(ScriptedVncServer(password=PASSWORD, then=[ReadForever()]), config=IDLE) as c:
        c.session.look_on(True)
        with registry.running(c.session):
            c.session.look_on(True)
            await RfbClient(c.browser).handshake()
            answer = await ask(c, "ping", 1)
            assert (answer["drain_left_s"], answer["looks_on"]) == (None, True)
            c.session.look_on(False)
            registry.start_drain(trio.current_time() + 30)
            await trio.sleep(10)
            answer = await ask(c, "ping", 2)
            assert answer["drain_left_s"] == pytest.approx(20, abs=0.2)
            assert not answer["looks_on"]
            await trio.sleep(30)
            assert (await ask(c, "ping", 3))["drain_left_s"] == 0


async def test_to_stay_does_not_lengthen_the_lifetime(autojump_clock: MockClock) -> None:
    config = SessionConfig(idle_timeout_s=60, lifetime_s=100, ping_interval_s=0)
    async with console(ScriptedVncServer(password=PASSWORD, then=[ReadForever()]), config=config) as c:
        await RfbClient(c.browser).handshake()
        for _ in range(2):
            await trio.sleep(45)
            await ask(c, "stay")
        await c.drain()
        end = await c.wait_end()
    assert (end.reason, round(end.duration_s)) == (errors.LIFETIME_REACHED, 100)


async def test_texts_are_not_relayed_and_not_counted(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD, then=[EchoForever()])
    async with console(host) as c:
        await RfbClient(c.browser).handshake()
        before = len(host.received)
        await c.browser.send_text('{"ping":1}')
        await c.browser.send_all(KEY)
        await c.browser.send_text('{"stay":2}')
        assert await c.browser.receive_some() == KEY
        await c.browser.close()
        end = await c.wait_end()
        assert host.received[before:] == KEY
        assert (end.bytes_up, end.bytes_down) == (len(KEY), len(KEY))


async def test_a_page_that_asks_in_the_middle_of_a_film_is_answered(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD, then=[SendForever(b"x" * 5000)])
    async with console(host, make_pair=trio.testing.lockstep_stream_pair) as c:
        await RfbClient(c.browser).handshake()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.browser.send_text, '{"ping":1}')
            for _ in range(1000):
                assert set(await c.browser.receive_some()) == set(b"x")
                if c.browser.texts:
                    break
        assert json.loads(c.browser.texts[0])["pong"] == 1


async def test_a_browser_that_takes_no_answer_can_still_be_told_why_it_ends(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD, then=[ReadForever()])
    async with console(host, make_pair=trio.testing.lockstep_stream_pair) as c:
        await RfbClient(c.browser).handshake()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.browser.send_text, '{"ping":1}')
            await trio.testing.wait_all_tasks_blocked()
            c.session.end(errors.KILLED)
            await trio.sleep(0.5)
            await c.drain()
        assert len(c.browser.texts) == 1
        assert c.browser.close_code == 4411


async def test_a_flood_of_questions_ends_the_console(autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password=PASSWORD, then=[ReadForever()])) as c:
        await RfbClient(c.browser).handshake()
        for number in range(MAX_TEXTS):
            await ask(c, "ping", number)
        await c.browser.send_text('{"ping":1}')
        await c.drain()
        end = await c.wait_end()
        assert (end.reason, end.detail) == (errors.CLIENT_PROTOCOL, "more than 20 text messages within 10 s")
        assert len(c.browser.texts) == MAX_TEXTS
        assert (c.browser.close_code, (c.browser.close_reason or "")[:16]) == (1002, "client-protocol:")


async def test_a_flood_in_the_handshake_does_so_too(autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer.playing(Send(b"RFB 003.008\n"), Stall())) as c:
        for _ in range(MAX_TEXTS + 1):
            await c.browser.send_text('{"ping":1}')
        await c.drain()
        end = await c.wait_end()
        assert (end.reason, end.duration_s < 1) == (errors.CLIENT_PROTOCOL, True)
        assert c.browser.close_code == 1002


async def test_questions_at_a_pages_own_pace_go_on_for_ever(autojump_clock: MockClock) -> None:
    config = SessionConfig(idle_timeout_s=0, lifetime_s=0)
    async with console(ScriptedVncServer(password=PASSWORD, then=[ReadForever()]), config=config) as c:
        await RfbClient(c.browser).handshake()
        for number in range(200):
            await trio.sleep(1)
            assert (await ask(c, "ping", number))["pong"] == number
        assert c.session.outcome is None


@pytest.mark.parametrize("text", ["hello", '{"pong":1}', '{"ping":1}' + " " * 250])
async def test_a_text_that_is_no_question_is_a_fault_of_the_browser(text: str, autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password=PASSWORD, then=[ReadForever()])) as c:
        await RfbClient(c.browser).handshake()
        await ask(c, "ping")
        await c.browser.send_text(text)
        await c.drain()
        end = await c.wait_end()
        assert (end.reason, end.detail) == (errors.CLIENT_PROTOCOL, "the browser sent a text message")


@within(10)
async def test_the_way_to_the_host_is_measured() -> None:
    """On real sockets, where the kernel has measured something."""
    host = ScriptedVncServer(password=PASSWORD, then=[EchoForever()])
    async with listening(host.serve) as (address, port):

        async def connect(_: trio.Nursery) -> trio.abc.Stream:
            return await trio.open_tcp_stream(address, port)

        async with console(connect, dials=True) as c:
            await RfbClient(c.browser).handshake()
            await c.browser.send_all(KEY)
            assert await c.browser.receive_some() == KEY
            await c.browser.send_text('{"ping":5}')
            await c.browser.send_all(KEY)
            assert await c.browser.receive_some() == KEY
            (text,) = c.browser.texts
            rtt_ms = json.loads(text)["host_rtt_ms"]
            assert 0 <= rtt_ms < 1000
