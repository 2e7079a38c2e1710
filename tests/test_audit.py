"""The audit record: one for each session that passed the gate, however it went, with every field and no secret."""

from __future__ import annotations

import re

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import PASSWORD, TARGET, make_front, make_site, registry_of, url, within
from trio_cpvm import errors
from trio_cpvm.config import Config, SessionConfig
from trio_cpvm.errors import ConsoleError
from trio_cpvm.http import Request
from trio_cpvm.http_io import TakeOver
from trio_cpvm.metrics import Metrics
from trio_cpvm.models import Secret
from trio_cpvm.site import PublicSite
from trio_cpvm.testing import RfbClient, RfbRefused, ScriptedVncServer, connected, open_websocket

timely = within(60)

FIELDS = {
    *("event", "session", "user", "client", "vm", "name", "host", "view_only", "resumes", "security", "transport"),
    *("reason", "side", "phase", "detail", "bytes_up", "bytes_down", "started", "duration_s", "opened_after_s"),
}
SPELLED = attrs.evolve(
    TARGET, user="alice", view_only=True, ticket=Secret("tick3t-s3cret"), tunnel_session=Secret("tunn3l-s3cret")
)


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="trio_cpvm")


def records(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for record in caplog.records:
        if record.name == "trio_cpvm.audit":
            assert isinstance(record.msg, dict)
            assert record.msg.keys() == FIELDS
            found.append(record.msg)
    return found


async def open_console(site: PublicSite, target: str) -> None:
    async with connected(make_front(site).handle) as stream:
        client = RfbClient(await open_websocket(stream, target))
        await client.handshake()
        await client.aclose()
    await trio.testing.wait_all_tasks_blocked()


@timely
async def test_a_console_that_was_used(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    site = make_site(dial=ScriptedVncServer(password=PASSWORD).start(nursery).dial)
    await open_console(site, url("/websockify", SPELLED))
    (record,) = records(caplog)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(record.pop("started")))
    assert re.fullmatch(r"[0-9a-f]{12}", str(record.pop("session")))
    assert record == {
        "event": "session ended",
        "user": "alice",
        "client": "local",
        "vm": "vm-1",
        "name": "Web 1",
        "host": "192.0.2.5:5901",
        "view_only": True,
        "resumes": False,
        "security": "VncAuth(2)",
        "transport": "no TLS",
        "reason": "closed-by-user",
        "side": "downstream",
        "phase": "relay",
        "detail": "the browser closed with 1000",
        "bytes_up": 0,
        "bytes_down": 0,
        "duration_s": 0.0,
        "opened_after_s": 0.0,
    }
    for secret in (PASSWORD, "tick3t-s3cret", "tunn3l-s3cret", TARGET.session_uuid):
        assert secret not in caplog.text


@timely
async def test_a_console_that_never_opened(caplog: pytest.LogCaptureFixture, autojump_clock: MockClock) -> None:
    with pytest.raises(RfbRefused):
        await open_console(make_site(), url("/websockify"))
    (record,) = records(caplog)
    assert (record["reason"], record["side"], record["phase"]) == ("upstream-unreachable", "upstream", "connect")
    assert (record["security"], record["transport"], record["opened_after_s"]) == ("", "", None)


async def take_over(site: PublicSite) -> TakeOver:
    path, _, query = url("/websockify").partition("?")
    headers = {
        "host": "console.test",
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    answer = await site.answer(Request(method="GET", path=path, query=query, headers=tuple(headers.items())), "local")
    assert isinstance(answer, TakeOver)
    return answer


@timely
async def test_a_browser_that_was_gone_before_its_websocket_was_open(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    site = make_site()
    answer = await take_over(site)
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.aclose()
    await answer.handler(theirs)
    (record,) = records(caplog)
    assert (record["reason"], record["phase"], record["opened_after_s"]) == ("closed-by-user", "request", None)
    assert "gone before the WebSocket was open" in str(record["detail"])
    assert len(registry_of(site)) == 0


@timely
async def test_one_that_was_ended_before_its_websocket_was_open(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    site = make_site()
    site.gate = attrs.evolve(site.gate, reconnect_window_s=60)
    answer = await take_over(site)
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer.handler, theirs)
        await trio.testing.wait_all_tasks_blocked()  # the 101 is not read
        registry_of(site).end_all(errors.KILLED)
    (record,) = records(caplog)
    assert (record["reason"], record["phase"]) == ("killed", "request")
    assert isinstance(site.metrics, Metrics)
    counted = site.metrics.exposition().decode()
    assert 'trio_cpvm_sessions_ended_total{reason="killed",side="internal"} 1.0' in counted
    assert 'trio_cpvm_limit_reached_total{limit="server.head_timeout_s"} 1.0' in counted
    with pytest.raises(ConsoleError) as caught:
        await take_over(site)
    assert caught.value.reason is errors.TOKEN_USED, "an operator's word gives no second chance"
    await ours.aclose()


@timely
async def test_each_of_many_viewers_has_one(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    config = Config(session=SessionConfig(second_viewer="replace"))
    site = make_site(config, dial=ScriptedVncServer(password=PASSWORD).start(nursery).dial)
    async with connected(make_front(site).handle) as one:
        old = await open_websocket(one, url("/websockify"))
        await RfbClient(old).handshake()
        await open_console(site, url("/websockify", attrs.evolve(TARGET, user="bob", session_uuid="uuid-2")))
        assert await old.receive_some() == b""
        assert old.close_reason == "replaced: The console was opened somewhere else. By: bob"
    await trio.testing.wait_all_tasks_blocked()
    first, second = sorted(records(caplog), key=lambda record: str(record["reason"]))
    assert (first["reason"], first["user"]) == ("closed-by-user", "bob")
    assert (second["reason"], second["detail"]) == ("replaced", f"by session {first['session']}, 'bob' from local")
