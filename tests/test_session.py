"""Sessions from browser double to VNC double, in memory, on a mock clock: every way one begins and ends."""

from __future__ import annotations

import contextlib

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.consoles import PASSWORD, TARGET, console
from trio_cpvm import errors
from trio_cpvm.config import SessionConfig, UpstreamConfig
from trio_cpvm.errors import ConsoleError, Phase, Reason
from trio_cpvm.limits import Limit
from trio_cpvm.models import Secret
from trio_cpvm.testing import (
    Abort,
    Authenticate,
    Close,
    EchoForever,
    Initialise,
    InteractiveVncServer,
    Pause,
    ReadForever,
    Result,
    RfbClient,
    RfbRefused,
    ScriptedVncServer,
    Security,
    Send,
    SendForever,
    SendSlowly,
    Stall,
    Step,
    StreamEnded,
    Version,
)

KEY = b"\4\1\0\0\0\0\0a"
UPDATE_REQUEST = b"\3" + bytes(9)
HOST_38: list[Step] = [Version(), Security((2,)), Authenticate(PASSWORD.encode()), Result(), Initialise()]


async def test_a_console_from_browser_to_machine(autojump_clock: MockClock) -> None:
    async with InteractiveVncServer(name="guest", password=PASSWORD).running() as machine:
        async with console(machine.serve) as c:
            client = RfbClient(c.browser)
            init = await client.handshake()
            assert init.name == "Web 1"
            assert client.offered_security == (1,)
            await client.type_text("hello")
            await machine.until(lambda: machine.text == "hello")
            assert (await client.refresh()).width == init.width
            await c.browser.close()
            end = await c.wait_end()
    assert end.reason is errors.CLOSED_BY_USER
    assert end.bytes_up > 5 * 16
    assert end.bytes_down > init.width * init.height * 4


@pytest.mark.parametrize("make_pair", [trio.testing.memory_stream_pair, trio.testing.lockstep_stream_pair])
@pytest.mark.parametrize("version", [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n", b"RFB 003.889\n"])
async def test_bytes_are_carried_both_ways(version: bytes, make_pair: type, autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(version=version, password=PASSWORD, after_init=b"<early>", then=[EchoForever()])
    async with console(host, make_pair=make_pair) as c:
        client = RfbClient(c.browser)
        await client.handshake()
        await c.browser.send_all(KEY)
        got = b""
        while len(got) < len(b"<early>" + KEY):
            got += await c.browser.receive_some()
        assert got == b"<early>" + KEY
        await trio.testing.wait_all_tasks_blocked()
        assert c.session.phase is Phase.RELAY
        assert (c.session.bytes_up, c.session.bytes_down) == (len(KEY), len(got))


async def test_a_browser_that_sends_everything_at_once_is_understood(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD, then=[EchoForever()])
    async with console(host) as c:
        await c.browser.send_all(b"RFB 003.008\n" + b"\1" + b"\1" + KEY)
        data = b""
        while KEY not in data:
            data += await c.browser.receive_some()


async def end_of(host: ScriptedVncServer, **settings: object) -> tuple[Reason, int, str, str]:
    """Run a console whose browser only watches; how it ended, and what the browser was told."""
    async with console(host, **settings) as c:  # type: ignore[arg-type]
        client = RfbClient(c.browser)
        told = ""
        try:
            await client.handshake()
        except RfbRefused as refused:
            told = refused.reason_text
        except (StreamEnded, trio.BrokenResourceError):
            pass
        await c.drain()
        end = await c.wait_end()
        for stream in c.host_streams:
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(b"x")
        return end.reason, c.browser.close_code or 0, c.browser.close_reason or "", told


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (ScriptedVncServer(password="another"), errors.UPSTREAM_AUTH_FAILED),
        (ScriptedVncServer(refuse_with="Too many security failures"), errors.UPSTREAM_AUTH_BLOCKED),
        (ScriptedVncServer(security_types=(1,)), errors.UPSTREAM_PROTOCOL),
        (ScriptedVncServer(security_types=(30, 6)), errors.UPSTREAM_PROTOCOL),
        (ScriptedVncServer.playing(Send(b"SSH-2.0-OpenSSH_9.2\r\n"), ReadForever()), errors.UPSTREAM_PROTOCOL),
        (ScriptedVncServer.playing(Close()), errors.UPSTREAM_PROTOCOL),
        (ScriptedVncServer.playing(Abort()), errors.UPSTREAM_PROTOCOL),
    ],
)
async def test_a_host_that_will_not_is_named_three_times(
    host: ScriptedVncServer, reason: Reason, autojump_clock: MockClock
) -> None:
    ended, code, text, told = await end_of(host)
    assert ended is reason
    assert code == reason.close_code
    assert text.startswith(f"{reason.slug}: {reason.text[:20]}")
    assert told.startswith(reason.text)


async def test_no_downgrade_sends_nothing_but_a_version(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(security_types=(1,))
    await end_of(host)
    assert host.received == b"RFB 003.008\n"


async def test_none_is_taken_where_the_operator_allows_it(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(security_types=(1,), then=[Close()])
    ended, *_ = await end_of(host, upstream=UpstreamConfig(allow_no_authentication=True))
    assert ended is errors.CLOSED_BY_GUEST


async def test_a_token_without_password_at_a_host_that_wants_one(autojump_clock: MockClock) -> None:
    ended, _, _, told = await end_of(ScriptedVncServer(password="x"), target=attrs.evolve(TARGET, password=None))
    assert ended is errors.UPSTREAM_AUTH_FAILED
    assert "password" in told


HANDSHAKE_BYTES = b"RFB 003.008\n" + b"\1\2" + bytes(16)


@pytest.mark.parametrize("cut", range(len(HANDSHAKE_BYTES)))
async def test_a_host_that_stalls_within_any_message_times_out(cut: int, autojump_clock: MockClock) -> None:
    started = trio.current_time()
    ended, code, _, told = await end_of(ScriptedVncServer.playing(Send(HANDSHAKE_BYTES[:cut]), Stall()))
    assert ended is errors.UPSTREAM_TIMEOUT
    assert code == 4504
    assert told == errors.UPSTREAM_TIMEOUT.text
    assert trio.current_time() - started == pytest.approx(15, abs=0.1)


@pytest.mark.parametrize("sent", [0, 3, 10, 24, 26])
async def test_a_host_that_stalls_after_authentication(sent: int, autojump_clock: MockClock) -> None:
    init = bytes.fromhex("0320 0258 20180001 00ff00ff00ff 100800 000000 00000004") + b"name"
    stalls = [*HOST_38[:4], Send(init[:sent]), Stall()]
    ended, code, text, _ = await end_of(ScriptedVncServer.playing(*stalls))
    assert ended is errors.UPSTREAM_TIMEOUT
    assert code == 4504
    assert text.startswith("upstream-timeout: ")


async def test_a_slow_host_is_given_its_time(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer.playing(SendSlowly(b"RFB 003.008\n", pause_s=1), Stall())
    async with console(host) as c:
        await trio.sleep(11.5)
        assert host.received == b"RFB 003.008\n"
        assert c.session.outcome is None


@pytest.mark.parametrize("said", [b"", b"RFB", b"RFB 003.008\n", b"RFB 003.008\n\1"])
async def test_a_browser_that_stalls_times_out(said: bytes, autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password=PASSWORD)) as c:
        await c.browser.send_all(said)
        await c.drain()
        end = await c.wait_end()
        assert end.reason is errors.CLIENT_TIMEOUT
        assert end.duration_s == pytest.approx(15, abs=2.5)
        assert c.browser.close_code == 4408


async def test_a_browser_that_stalls_does_not_hide_why_the_host_failed(autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password="another")) as c:
        await c.drain()
        assert (await c.wait_end()).reason is errors.UPSTREAM_AUTH_FAILED


@pytest.mark.parametrize("said", [b"", b"RFB", b"RFB 003.008\n"])
async def test_a_browser_that_goes_frees_the_host_at_once(said: bytes, autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer.playing(Send(b"RFB 003.008\n"), Stall())) as c:
        await c.browser.send_all(said)
        await trio.testing.wait_all_tasks_blocked()
        await c.browser.vanish()
        end = await c.wait_end()
        assert end.reason is errors.CLOSED_BY_USER
        assert end.duration_s < 1
        with pytest.raises(trio.ClosedResourceError):
            await c.host_streams[0].send_all(b"x")


@pytest.mark.parametrize("reason", [errors.UPSTREAM_UNREACHABLE, errors.UPSTREAM_FORBIDDEN, errors.UPSTREAM_TIMEOUT])
async def test_a_host_that_cannot_be_connected_to(reason: Reason, autojump_clock: MockClock) -> None:
    async def connect(_: trio.Nursery) -> trio.abc.Stream:
        raise ConsoleError(reason, "detail for the log")

    async with console(connect, dials=True) as c:
        with pytest.raises(RfbRefused, match=reason.text.replace(".", r"\.")):
            await RfbClient(c.browser).handshake()
        await c.drain()
        end = await c.wait_end()
        assert (end.reason, end.detail) == (reason, "detail for the log")
        assert c.browser.close_code == reason.close_code


async def test_a_browser_that_goes_while_connecting_ends_the_attempt(autojump_clock: MockClock) -> None:
    cancelled = trio.Event()

    async def connect(_: trio.Nursery) -> trio.abc.Stream:
        try:
            await trio.sleep(100)
        finally:
            cancelled.set()
        raise AssertionError

    async with console(connect, dials=True) as c:
        await trio.testing.wait_all_tasks_blocked()
        await c.browser.vanish()
        end = await c.wait_end()
        assert cancelled.is_set()
        assert end.reason is errors.CLOSED_BY_USER
        assert end.duration_s < 1


async def test_the_guest_may_end_it(autojump_clock: MockClock) -> None:
    ended, code, text, _ = await end_of(ScriptedVncServer(password=PASSWORD, then=[Pause(5), Close()]))
    assert ended is errors.CLOSED_BY_GUEST
    assert code == 1000
    assert text == f"closed-by-guest: {errors.CLOSED_BY_GUEST.text}"


async def test_what_the_guest_sent_before_it_closed_arrives(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD, then=[Send(b"x" * 300_000), Close()])
    async with console(host) as c:
        await RfbClient(c.browser).handshake()
        assert await c.drain() == b"x" * 300_000


#: Without pings: these browsers do not answer while they do nothing.
IDLE = SessionConfig(idle_timeout_s=60, lifetime_s=0, ping_interval_s=0)


async def test_a_console_nobody_touches_ends_although_its_screen_moves(autojump_clock: MockClock) -> None:
    moving = [step for _ in range(100) for step in (Pause(10), Send(b"update"))]
    async with console(ScriptedVncServer(password=PASSWORD, then=moving), config=IDLE) as c:
        await RfbClient(c.browser).handshake()
        await c.browser.send_all(UPDATE_REQUEST)
        await c.drain()
        end = await c.wait_end()
    assert end.reason is errors.IDLE_TIMEOUT
    assert end.duration_s == pytest.approx(60, abs=1)
    assert c.browser.close_code == 4408


async def test_a_browsers_own_chatter_does_not_keep_a_console_open(autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password=PASSWORD), config=IDLE) as c:
        await RfbClient(c.browser).handshake()
        for _ in range(5):
            await trio.sleep(11)
            await c.browser.send_all(UPDATE_REQUEST)
        await c.drain()
        assert (await c.wait_end()).duration_s == pytest.approx(60, abs=1)


async def test_keys_keep_a_still_console_open(autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password=PASSWORD), config=IDLE) as c:
        await RfbClient(c.browser).handshake()
        for _ in range(10):
            await trio.sleep(50)
            await c.browser.send_all(KEY)
        await c.drain()
        assert (await c.wait_end()).duration_s == pytest.approx(560, abs=1)


async def test_no_idle_limit_where_there_is_none(autojump_clock: MockClock) -> None:
    config = SessionConfig(idle_timeout_s=0, lifetime_s=100_000)
    async with console(ScriptedVncServer(password=PASSWORD), config=config) as c:
        await RfbClient(c.browser).handshake()
        await c.drain()
        end = await c.wait_end()
    assert end.reason is errors.LIFETIME_REACHED
    assert end.duration_s == pytest.approx(100_000, abs=1)
    assert c.browser.close_code == 4410


@pytest.mark.parametrize("reason", [errors.KILLED, errors.REPLACED, errors.DRAINING])
async def test_an_end_from_outside_reaches_the_browser_in_the_middle_of_a_film(
    reason: Reason, autojump_clock: MockClock
) -> None:
    host = ScriptedVncServer(password=PASSWORD, then=[SendForever(b"x" * 5000)])
    async with console(host, make_pair=trio.testing.lockstep_stream_pair) as c:
        await RfbClient(c.browser).handshake()
        for _ in range(10):
            await c.browser.receive_some()
        c.session.end(reason, "by a test")
        c.session.end(errors.IDLE_TIMEOUT)
        assert set(await c.drain()) <= set(b"x")
        assert c.browser.close_code == reason.close_code
        assert (c.browser.close_reason or "").startswith(f"{reason.slug}: ")
        assert (await c.wait_end()).reason is reason


@pytest.mark.parametrize("host", [ScriptedVncServer.playing(Stall()), ScriptedVncServer(password=PASSWORD)])
async def test_an_end_from_outside_during_the_handshake(host: ScriptedVncServer, autojump_clock: MockClock) -> None:
    async with console(host) as c:
        await trio.testing.wait_all_tasks_blocked()
        c.session.end(errors.KILLED)
        await c.drain()
        assert (await c.wait_end()).reason is errors.KILLED
        assert c.browser.close_code == 4411


async def test_an_end_before_the_session_has_begun(autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password=PASSWORD)) as c:
        c.session.end(errors.REPLACED)
        await c.drain()
        assert (await c.wait_end()).reason is errors.REPLACED


async def test_a_browser_that_stops_reading_stops_the_host_and_can_still_be_ended(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD, then=[SendForever(b"x" * 50_000)])
    async with console(host, make_pair=trio.testing.lockstep_stream_pair) as c:
        await RfbClient(c.browser).handshake()
        await trio.testing.wait_all_tasks_blocked()
        assert c.session.bytes_down <= 65536
        started = trio.current_time()
        c.session.end(errors.KILLED)
        end = await c.wait_end()
        assert end.reason is errors.KILLED
        assert trio.current_time() - started < 5


async def test_a_host_that_stops_reading_stops_the_browser_and_can_still_be_ended(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD, then=[Stall(reading=False)])
    async with console(host, make_pair=trio.testing.lockstep_stream_pair) as c:
        await RfbClient(c.browser).handshake()
        with trio.move_on_after(1) as stuck:
            for _ in range(100):
                await c.browser.send_all(KEY * 1000)
        assert stuck.cancelled_caught
        c.session.end(errors.KILLED)
        assert (await c.wait_end()).reason is errors.KILLED


async def test_a_text_message_is_a_fault_of_the_browser(autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password=PASSWORD)) as c:
        await RfbClient(c.browser).handshake()
        await c.browser.send_text("hello")
        await c.drain()
        end = await c.wait_end()
        assert end.reason is errors.CLIENT_PROTOCOL
        assert end.detail == "the browser sent a text message"


async def test_a_broken_frame_is_a_fault_of_the_browser(autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password=PASSWORD)) as c:
        await RfbClient(c.browser).handshake()
        await c.browser.send_frame(3, b"reserved opcode")
        await c.drain()
        assert (await c.wait_end()).reason is errors.CLIENT_PROTOCOL


async def test_a_browser_that_vanishes(autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password=PASSWORD)) as c:
        await RfbClient(c.browser).handshake()
        await c.browser.vanish()
        end = await c.wait_end()
        assert end.reason is errors.CLOSED_BY_USER
        assert end.detail == "the browser connection lost"


async def test_one_line_at_the_start_one_when_open_one_at_the_end(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level("DEBUG", logger="trio_cpvm")
    async with console(
        ScriptedVncServer(password=PASSWORD), target=attrs.evolve(TARGET, extra_token=Secret("xt"))
    ) as c:
        await RfbClient(c.browser).handshake()
        await c.browser.close()
        await c.wait_end()
    names = ("trio_cpvm.session", "trio_cpvm.audit")
    lines = [record.msg for record in caplog.records if record.name in names]
    assert [line["event"] for line in lines if isinstance(line, dict)] == [
        "session started",
        "console open",
        "session ended",
    ]
    last = lines[-1]
    assert isinstance(last, dict)
    assert last["reason"] == "closed-by-user"
    assert {"bytes_up", "bytes_down", "duration_s", "session"} <= last.keys()
    assert PASSWORD not in caplog.text


async def test_a_handshake_whose_end_nobody_takes_is_late(autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password=PASSWORD), make_pair=trio.testing.lockstep_stream_pair) as c:
        # version, types, result; then ServerInit is not read
        for wanted, answer in ((12, b"RFB 003.008\n"), (2, b"\1"), (4, b"\1")):
            got = b""
            while len(got) < wanted:
                got += await c.browser.receive_some()
            await c.browser.send_all(answer)
        await trio.sleep(20)
        await c.drain()
        end = await c.wait_end()
        assert end.reason is errors.CLIENT_TIMEOUT
        assert c.session.phase is Phase.HANDSHAKE


async def test_a_fault_of_our_own_is_called_one(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async def connect(_: trio.Nursery) -> trio.abc.Stream:
        raise ZeroDivisionError

    async with console(connect, dials=True) as c:
        await c.drain()
        assert (await c.wait_end()).reason is errors.INTERNAL_ERROR
        assert c.browser.close_code == 1011
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("then", [[ReadForever()], [SendForever(b"x" * 3000)]])
async def test_what_the_browser_sent_before_it_went_still_arrives(then: list[Step], autojump_clock: MockClock) -> None:
    press, release = KEY, b"\4\0\0\0\0\0\0a"
    host = ScriptedVncServer(password=PASSWORD, then=then)
    async with console(host) as c:
        await RfbClient(c.browser).handshake()
        frames = b"".join(
            bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload
            for opcode, payload in ((2, press), (2, release), (8, b"\3\xe8"))
        )
        await c.browser.send_raw(frames)  # in one segment, as a closing tab does it
        end = await c.wait_end()
        assert end.reason is errors.CLOSED_BY_USER
        assert end.bytes_up == len(press + release)


@pytest.mark.parametrize("said", [b"", b"RFB 003.008\n"])
async def test_a_fault_of_the_browser_in_the_handshake_is_called_one(said: bytes, autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer.playing(Stall())) as c:
        await c.browser.send_all(said)
        await c.browser.send_text("hello")
        await c.drain()
        end = await c.wait_end()
        assert (end.reason, end.detail) == (errors.CLIENT_PROTOCOL, "the browser sent a text message")
        assert c.browser.close_code == 1002


async def test_a_browser_that_sends_a_frame_bit_by_bit_is_idle(autojump_clock: MockClock) -> None:
    """Each byte shows that it lives, and none of them is input."""
    async with console(ScriptedVncServer(password=PASSWORD), config=SessionConfig(idle_timeout_s=60)) as c:
        await RfbClient(c.browser).handshake()
        frame = bytes([0x82, 0x80 | 126, 4, 0]) + bytes(4) + bytes(1024)
        async with trio.open_nursery() as nursery:

            async def drip() -> None:
                with contextlib.suppress(trio.BrokenResourceError):
                    for byte in frame:
                        await c.browser.send_raw(bytes([byte]))
                        await trio.sleep(1)

            nursery.start_soon(drip)
            end = await c.wait_end()
            nursery.cancel_scope.cancel()
    assert end.reason is errors.IDLE_TIMEOUT
    assert 59 < end.duration_s < 70


async def test_a_browser_that_is_slow_about_its_handshake_is_told_in_time(autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password=PASSWORD), config=SessionConfig(handshake_timeout_s=15)) as c:
        await c.browser.send_raw(bytes([0x82, 0x80 | 12]) + bytes(4) + b"RFB 003")
        end = await c.wait_end()
    assert end.reason is errors.CLIENT_TIMEOUT
    assert end.limit is Limit.HANDSHAKE_TIME
    assert 14 < end.duration_s < 20
