"""Sessions that let not everything through: what reaches the host and the browser, and how breaking the rules ends."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.consoles import PASSWORD, TARGET, Console, console
from tests.rfb import messages as rfb
from trio_cpvm import errors
from trio_cpvm.config import SessionConfig
from trio_cpvm.errors import Reason
from trio_cpvm.models import Clipboard, ConsoleTarget
from trio_cpvm.rfb.encodings import FilterPolicy
from trio_cpvm.session import filter_policy
from trio_cpvm.testing import EchoForever, InteractiveVncServer, RfbClient, ScriptedVncServer

VIEW_ONLY = attrs.evolve(TARGET, view_only=True)
BELL = b"\2"
OPENING = b"RFB 003.008\n" + b"\1" + b"\1"


def forbidding(clipboard: Clipboard, max_bytes: int = 0) -> ConsoleTarget:
    return attrs.evolve(TARGET, clipboard=clipboard, clipboard_max_bytes=max_bytes)


def after_init(host: ScriptedVncServer) -> bytes:
    """What the host got behind the handshake."""
    return host.received.partition(b"RFB 003.008\n\2")[2][16 + 1 :]


async def test_looking_on(autojump_clock: MockClock) -> None:
    async with InteractiveVncServer(name="guest", password=PASSWORD).running() as machine:
        async with console(machine.serve, target=VIEW_ONLY) as c:
            client = RfbClient(c.browser)
            init = await client.handshake()
            await client.type_text("hello")
            await client.send_cut_text("a text")
            assert (await client.refresh()).width == init.width
            await c.browser.close()
            end = await c.wait_end()
        assert machine.text == ""
    assert end.reason is errors.CLOSED_BY_USER
    assert end.bytes_down > init.width * init.height * 4


@pytest.mark.parametrize("target", [VIEW_ONLY, TARGET])
async def test_what_came_with_the_handshake_is_filtered_too(target: ConsoleTarget, autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD)
    async with console(host, target=target) as c:
        await c.browser.send_all(OPENING + rfb.key() + rfb.update_request())
        await trio.testing.wait_all_tasks_blocked()
        assert after_init(host) == (b"" if target is VIEW_ONLY else rfb.key()) + rfb.update_request()
        assert c.session.bytes_up == len(after_init(host))


async def test_what_came_with_the_hosts_is_filtered_too(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD, after_init=rfb.cut_text(b"secret", 3) + BELL, then=[EchoForever()])
    async with console(host, target=forbidding(Clipboard.TO_GUEST)) as c:
        await RfbClient(c.browser).handshake()
        assert await c.browser.receive_some() == BELL
        assert c.session.bytes_down == len(BELL)


async def opened(c: Console) -> None:
    await RfbClient(c.browser).handshake()
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize(
    ("target", "sent", "reason", "close_code"),
    [
        (VIEW_ONLY, b"\x07", errors.CLIENT_PROTOCOL, 1002),
        (VIEW_ONLY, rfb.key() + b"\xff\2", errors.CLIENT_PROTOCOL, 1002),
        (forbidding(Clipboard.NONE), b"\x07", errors.CLIENT_PROTOCOL, 1002),
        (forbidding(Clipboard.TO_GUEST), rfb.key(), errors.UPSTREAM_PROTOCOL, 4500),  # echoed
    ],
)
async def test_what_cannot_be_filtered_ends_the_session(
    target: ConsoleTarget, sent: bytes, reason: Reason, close_code: int, autojump_clock: MockClock
) -> None:
    host = ScriptedVncServer(password=PASSWORD, then=[EchoForever()])
    async with console(host, target=target) as c:
        await opened(c)
        before = trio.current_time()
        await c.browser.send_all(sent)
        await c.drain()
        end = await c.wait_end()
    assert (end.reason, c.browser.close_code) == (reason, close_code)
    assert "cannot be filtered" in end.detail
    assert trio.current_time() - before < 1.5


async def test_without_rules_nothing_is_looked_at(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD, then=[EchoForever()])
    odd = b"\x07 anything at all" + rfb.set_encodings(-316, 12345)
    async with console(host) as c:
        await opened(c)
        await c.browser.send_all(odd)
        assert await c.browser.receive_some() == odd


@pytest.mark.parametrize(
    ("target", "config", "shared"),
    [
        (TARGET, SessionConfig(), False),
        (VIEW_ONLY, SessionConfig(), True),
        (TARGET, SessionConfig(second_viewer="share"), True),
    ],
)
async def test_who_only_looks_and_who_shares_drives_nobody_out(
    target: ConsoleTarget, config: SessionConfig, shared: bool, autojump_clock: MockClock
) -> None:
    host = ScriptedVncServer(password=PASSWORD)
    async with console(host, target=target, config=config) as c:
        await c.browser.send_all(b"RFB 003.008\n" + b"\1" + b"\0" + rfb.update_request())
        await trio.testing.wait_all_tasks_blocked()
        assert host.conversations[0].shared is shared


@pytest.mark.parametrize(("target", "passes"), [(VIEW_ONLY, False), (TARGET, True)])
async def test_what_does_not_pass_is_no_input(target: ConsoleTarget, passes: bool, autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD)
    config = SessionConfig(idle_timeout_s=60, ping_interval_s=0)
    async with console(host, target=target, config=config) as c:
        await opened(c)
        for _ in range(5):
            await trio.sleep(50)
            if c.ended.is_set():
                break
            await c.browser.send_all(rfb.key() + rfb.update_request())
        assert c.ended.is_set() is not passes
        if not passes:
            assert (await c.wait_end()).reason is errors.IDLE_TIMEOUT


async def test_who_only_looks_may_stay(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD)
    async with console(host, target=VIEW_ONLY, config=SessionConfig(idle_timeout_s=60, ping_interval_s=0)) as c:
        await opened(c)
        for number in range(5):
            await trio.sleep(50)
            await c.browser.send_text(f'{{"stay": {number}}}')
            await trio.testing.wait_all_tasks_blocked()
        assert not c.ended.is_set()


async def test_who_looks_on_types_once_it_may(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD)
    async with console(host) as c:
        c.session.look_on(True)
        await opened(c)
        await c.browser.send_all(rfb.key() + rfb.cut_text(b"a text") + rfb.set_encodings(-258, -316))
        await trio.testing.wait_all_tasks_blocked()
        c.session.look_on(False)
        await c.browser.send_all(rfb.pointer())
        await trio.testing.wait_all_tasks_blocked()
        assert after_init(host) == rfb.set_encodings(-258) + rfb.pointer()


async def test_who_could_type_from_the_start_is_not_told_to_look_on(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD)
    async with console(host) as c:
        await opened(c)
        c.session.look_on(True)
        assert not c.session.looks_on
        await c.browser.send_all(rfb.key())
        await trio.testing.wait_all_tasks_blocked()
        assert after_init(host) == rfb.key()


async def test_who_may_type_before_the_console_is_open_is_not_filtered(autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD)
    async with console(host) as c:
        c.session.look_on(True)
        c.session.look_on(False)
        await opened(c)
        await c.browser.send_all(b"\x07")
        await trio.testing.wait_all_tasks_blocked()
        assert after_init(host) == b"\x07"


@pytest.mark.parametrize(
    ("configured", "token", "to_guest", "from_guest"),
    [
        (Clipboard.BOTH, None, True, True),
        (Clipboard.BOTH, Clipboard.TO_GUEST, True, False),
        (Clipboard.TO_GUEST, Clipboard.BOTH, True, False),
        (Clipboard.TO_GUEST, Clipboard.FROM_GUEST, False, False),
        (Clipboard.NONE, Clipboard.BOTH, False, False),
        (Clipboard.FROM_GUEST, None, False, True),
    ],
)
def test_the_stricter_direction_counts(
    configured: Clipboard, token: Clipboard | None, to_guest: bool, from_guest: bool
) -> None:
    policy = filter_policy(attrs.evolve(TARGET, clipboard=token), SessionConfig(clipboard=configured))
    assert policy == FilterPolicy(to_guest=to_guest, from_guest=from_guest)
    assert policy.watches_browser is not (to_guest and from_guest)
    assert policy.watches_host is not from_guest


@pytest.mark.parametrize(
    ("configured", "token", "limit"), [(0, 0, 0), (10, 0, 10), (0, 10, 10), (10, 20, 10), (20, 10, 10)]
)
def test_the_stricter_limit_counts(configured: int, token: int, limit: int) -> None:
    policy = filter_policy(forbidding(Clipboard.BOTH, token), SessionConfig(clipboard_max_bytes=configured))
    assert policy == FilterPolicy(max_bytes=limit)
    assert policy.watches_host is policy.watches_browser is (limit > 0)
