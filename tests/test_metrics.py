"""What is counted, under which names, from the events of a real site; and that the dashboard knows these names only."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import attrs
import pytest
import trio
import trio.testing
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock
from wsproto.frame_protocol import FrameProtocol

from tests.helpers import PASSWORD, TARGET, make_gate, no_host, url, within
from trio_cpvm.acceptor import open_files_limit
from trio_cpvm.addresses import parse_trusted_proxy
from trio_cpvm.config import Config, ServerConfig, SessionConfig, TokenConfig
from trio_cpvm.errors import REASONS
from trio_cpvm.limits import Limit
from trio_cpvm.metrics import CONTENT_TYPE, Metrics
from trio_cpvm.models import ConsoleTarget, SessionEnd
from trio_cpvm.server import Server
from trio_cpvm.site import Dial
from trio_cpvm.testing import (
    RfbClient,
    ScriptedVncServer,
    UpgradeRefused,
    connected,
    http_get,
    open_websocket,
)

timely = within(60)

Labels: TypeAlias = tuple[tuple[str, str], ...]
Counts: TypeAlias = Mapping[tuple[str, Labels], float]

DASHBOARD = Path(__file__).parent.parent / "conf" / "grafana-dashboard.json"


def parsed(exposition: bytes) -> Counts:
    """Every sample, by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
    }


def make_server(*, dial: Dial = no_host, max_connections: int = 100) -> Server:
    return Server(Config(server=ServerConfig(max_connections=max_connections)), gate=make_gate(), dial=dial)


class Counted:
    """A server, and what its counters have done since the last look."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._before: Counts = {}

    async def now(self) -> Counts:
        async with connected(self._server.admin_front.handle) as stream:
            answer = await http_get(stream, "/metrics", host="127.0.0.1:8001")
        assert (answer.status, answer.header("content-type")) == (200, CONTENT_TYPE)
        return parsed(answer.body)

    async def rise(self, *names: str) -> dict[str, float]:
        """What of the metrics with these names has changed since the last call, spelled as in the exposition."""
        now = await self.now()
        changed = {
            name + ("{" + ",".join(f"{k}={v}" for k, v in labels) + "}" if labels else ""): value
            - self._before.get((name, labels), 0)
            for (name, labels), value in now.items()
            if name in names and value != self._before.get((name, labels), 0)
        }
        self._before = now
        return changed


@timely
async def test_a_console_is_counted_from_its_start_to_its_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = make_server(dial=ScriptedVncServer(password=PASSWORD, after_init=b"12345").start(nursery).dial)
    counted = Counted(server)
    names = ("trio_cpvm_sessions", "trio_cpvm_sessions_started_total", "trio_cpvm_sessions_ended_total")
    traffic, duration = "trio_cpvm_relayed_bytes_total", "trio_cpvm_session_duration_seconds_count"
    async with connected(server.front.handle) as stream:
        websocket = await open_websocket(stream, url("/websockify"))
        await RfbClient(websocket).handshake()
        await websocket.receive_some()
        await websocket.send_all(b"\4\1\0\0\0\0\0a")
        await trio.testing.wait_all_tasks_blocked()
        assert await counted.rise(*names, traffic, duration, "trio_cpvm_handshake_duration_seconds_count") == {
            "trio_cpvm_sessions": 1,
            "trio_cpvm_sessions_started_total": 1,
            "trio_cpvm_relayed_bytes_total{direction=up}": 8,
            "trio_cpvm_relayed_bytes_total{direction=down}": 5,
        }
        await websocket.close()
    await server.registry.wait_empty()
    assert await counted.rise(*names, traffic, duration, "trio_cpvm_handshake_duration_seconds_count") == {
        "trio_cpvm_sessions": -1,
        "trio_cpvm_sessions_ended_total{reason=closed-by-user,side=downstream}": 1,
        "trio_cpvm_session_duration_seconds_count": 1,
        "trio_cpvm_handshake_duration_seconds_count": 1,
    }


@timely
async def test_a_console_that_never_opened_has_no_handshake_time(autojump_clock: MockClock) -> None:
    server = make_server()
    counted = Counted(server)
    async with connected(server.front.handle) as stream:
        websocket = await open_websocket(stream, url("/websockify"))
        with pytest.raises(Exception):  # noqa: B017,PT011 -- how it ends is the session's tests' business
            await RfbClient(websocket).handshake()
    await server.registry.wait_empty()
    assert await counted.rise("trio_cpvm_sessions_ended_total", "trio_cpvm_handshake_duration_seconds_count") == {
        "trio_cpvm_sessions_ended_total{reason=upstream-unreachable,side=upstream}": 1
    }


@timely
async def test_refusals_are_counted_by_what_was_asked_for(autojump_clock: MockClock) -> None:
    server = make_server()
    counted = Counted(server)

    async def refused_at(path: str) -> dict[str, float]:
        async with connected(server.front.handle) as stream:
            await http_get(stream, path)
        return await counted.rise("trio_cpvm_requests_refused_total", "trio_cpvm_sessions_started_total")

    name = "trio_cpvm_requests_refused_total"
    assert await refused_at("/nowhere") == {name + "{kind=page,reason=not-found}": 1}
    assert await refused_at("/novnc?token=x") == {name + "{kind=page,reason=token-invalid}": 1}
    assert await refused_at("/novnc/status?token=x") == {}  # an answer, not a refusal
    async with connected(server.front.handle) as stream:
        with pytest.raises(UpgradeRefused):
            await open_websocket(stream, "/websockify?token=x")
    assert await counted.rise(name) == {name + "{kind=console,reason=token-invalid}": 1}
    async with connected(server.front.handle) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nno header\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
    assert await counted.rise(name) == {name + "{kind=request,reason=bad-request}": 1}


@timely
async def test_connections_are_counted_while_they_are_open(autojump_clock: MockClock) -> None:
    server = make_server(max_connections=1)
    counted = Counted(server)
    names = ("trio_cpvm_connections", "trio_cpvm_connections_refused_total")
    async with connected(server.front.handle):
        await trio.testing.wait_all_tasks_blocked()
        assert await counted.rise(*names) == {
            "trio_cpvm_connections{listener=public}": 1,
            "trio_cpvm_connections{listener=admin}": 1,  # this very question
        }
        async with connected(server.front.handle) as second:
            assert await second.receive_some() == b""
    await trio.testing.wait_all_tasks_blocked()
    assert await counted.rise(*names) == {
        "trio_cpvm_connections{listener=public}": -1,
        "trio_cpvm_connections_refused_total{listener=public}": 1,
    }


@timely
async def test_a_drain_shows(autojump_clock: MockClock) -> None:
    server = make_server()
    assert (await Counted(server).now())["trio_cpvm_draining", ()] == 0
    server.drain()
    assert (await Counted(server).now())["trio_cpvm_draining", ()] == 1


def test_servers_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.session_started()
    assert parsed(one.exposition())["trio_cpvm_sessions_started_total", ()] == 1
    assert parsed(other.exposition())["trio_cpvm_sessions_started_total", ()] == 0


def test_every_reason_can_be_counted_and_no_event_makes_a_new_series() -> None:
    metrics = Metrics()
    before = parsed(metrics.exposition())
    for reason in REASONS.values():
        if reason.close_code is not None:
            metrics.session_ended(SessionEnd(reason=reason, duration_s=1), 0.1)
        if reason.http_status is not None:
            metrics.refused("page", reason)
    for status in (200, 302, 403, 418, 999):
        metrics.access_answered(status)
    after = parsed(metrics.exposition())
    assert after.keys() == before.keys()
    assert after["trio_cpvm_access_answers_total", (("status", "other"),)] == 2
    ended = {labels: value for (name, labels), value in after.items() if name == "trio_cpvm_sessions_ended_total"}
    assert set(ended.values()) == {1}


# -- limits ------------------------------------------------------------------------------------------------------------

REACHED = "trio_cpvm_limit_reached_total"
LIMIT = "trio_cpvm_limit"


async def never_there(target: ConsoleTarget, _: trio.Nursery) -> trio.abc.Stream:
    """The way to a host that does not answer."""
    await trio.Event().wait()
    raise AssertionError


async def test_every_limit_is_shown_as_it_is_now(autojump_clock: MockClock) -> None:
    server = make_server(max_connections=77)
    counted = Counted(server)

    async def shown() -> dict[str, float]:
        return {
            dict(labels)["limit"]: value for (name, labels), value in (await counted.now()).items() if name == LIMIT
        }

    values = await shown()
    assert set(values) == set(Limit)
    assert values == {
        **values,
        "server.max_connections": 77,
        "session.idle_timeout_s": 300,
        "session.lifetime_s": 0,
        "token.max_failures": 20,
        "message-size": 1 << 20,
        "open-files": open_files_limit(),
    }
    config = attrs.evolve(server.config, session=SessionConfig(max_sessions=3, lifetime_s=60))
    server.take(attrs.evolve(server.parts, config=config))
    assert await shown() == {**values, "session.max_sessions": 3, "session.lifetime_s": 60}


async def test_tasks_are_counted(autojump_clock: MockClock) -> None:
    server = make_server()
    counted = Counted(server)
    await counted.rise("trio_cpvm_tasks")
    async with connected(server.front.handle), connected(server.front.handle):
        await trio.testing.wait_all_tasks_blocked()
        assert (await counted.rise("trio_cpvm_tasks"))["trio_cpvm_tasks"] >= 2


async def test_a_guesser_is_counted_for_each_request_it_makes(autojump_clock: MockClock) -> None:
    config = ServerConfig(proxy_protocol=True, trusted_proxies=(parse_trusted_proxy("unix"),))
    server = Server(Config(server=config, token=TokenConfig(max_failures=2)), gate=make_gate(), dial=no_host)
    counted = Counted(server)
    async with connected(server.front.handle) as stream:
        await stream.send_all(b"PROXY TCP4 192.0.2.66 192.0.2.1 1000 80\r\n")
        for path, status in [("/novnc", 403), ("/novnc/status", 200), ("/novnc", 429), ("/novnc/status", 200)]:
            assert (await http_get(stream, f"{path}?token=x")).status == status
        with pytest.raises(UpgradeRefused) as caught:
            await open_websocket(stream, url("/websockify"))
    assert caught.value.status == 429
    assert await counted.rise(REACHED) == {REACHED + "{limit=token.max_failures}": 3}


async def test_limits_on_sessions_are_counted(autojump_clock: MockClock) -> None:
    session = SessionConfig(second_viewer="share", max_sessions_per_machine=1, handshake_timeout_s=5)
    server = Server(Config(session=session), gate=make_gate(), dial=never_there)
    counted = Counted(server)
    async with connected(server.front.handle) as first, connected(server.front.handle) as second:
        await open_websocket(first, url("/websockify"))
        with pytest.raises(UpgradeRefused):
            await open_websocket(second, url("/websockify", attrs.evolve(TARGET, session_uuid="another")))
        assert await counted.rise(REACHED) == {REACHED + "{limit=session.max_sessions_per_machine}": 1}
        await server.registry.wait_empty()
    assert await counted.rise(REACHED) == {REACHED + "{limit=session.handshake_timeout_s}": 1}


@pytest.mark.parametrize(
    ("session", "limit"),
    [
        (SessionConfig(idle_timeout_s=5), "session.idle_timeout_s"),
        (SessionConfig(lifetime_s=5), "session.lifetime_s"),
        (SessionConfig(host_silence_timeout_s=5), "session.host_silence_timeout_s"),
    ],
)
async def test_what_ends_consoles_is_counted(
    session: SessionConfig, limit: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    host = ScriptedVncServer(password=PASSWORD).start(nursery)
    server = Server(Config(session=session), gate=make_gate(), dial=host.dial)
    counted = Counted(server)
    async with connected(server.front.handle) as stream:
        await RfbClient(await open_websocket(stream, url("/websockify"))).handshake()
        await server.registry.wait_empty()
    assert await counted.rise(REACHED) == {REACHED + "{limit=" + limit + "}": 1}


@pytest.mark.parametrize("frames", [1, 5000], ids=["too large", "too many pieces"])
async def test_messages_that_are_too_large_are_counted(
    frames: int, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    host = ScriptedVncServer(password=PASSWORD).start(nursery)
    server = Server(Config(), gate=make_gate(), dial=host.dial)
    counted = Counted(server)
    async with connected(server.front.handle) as stream:
        websocket = await open_websocket(stream, url("/websockify"))
        await RfbClient(websocket).handshake()
        payload = b"x" * ((1 << 20) // frames + 1)
        protocol = FrameProtocol(client=True, extensions=[])
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for _ in range(frames):
                await stream.send_all(protocol.send_data(payload, fin=frames == 1))
        await server.registry.wait_empty()
    assert await counted.rise(REACHED) == {REACHED + "{limit=message-size}": 1}


def test_the_librarys_creation_times_are_left_out() -> None:
    assert b"_created" not in Metrics().exposition()


async def test_the_dashboard_asks_for_what_there_is(autojump_clock: MockClock) -> None:
    there = {name for name, _ in await Counted(make_server()).now()}
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [str(variable["query"]) for variable in dashboard["templating"]["list"]]
    named = {name for expr in asked for name in re.findall(r"\b(?:trio_cpvm|process)_\w+", expr)}
    assert named - there == set()
    ours = {name for name in there if name.startswith("trio_cpvm_") and not name.endswith(("_count", "_sum"))}
    assert ours - named == set(), "counted, but not on the dashboard"


def test_the_dashboards_labels_exist() -> None:
    metrics = Metrics()
    metrics.watch_connections(lambda: {"public": 0, "admin": 0}, lambda: 0)
    metrics.watch_sessions(lambda: 0, lambda: False, lambda: {"up": 0, "down": 0})
    metrics.watch_limits(lambda: dict.fromkeys(Limit, 0))
    labels = {key for _, pairs in parsed(metrics.exposition()) for key, _ in pairs}
    text = DASHBOARD.read_text("utf-8")
    grouped = {word.strip() for group in re.findall(r"by \(([^)]*)\)", text) for word in group.split(",")}
    shown = set(re.findall(r"\{\{(\w+)\}\}", text))
    assert (grouped | shown) - {"instance"} <= labels


def test_what_processes_take_is_summed_up() -> None:
    """And nothing of what one has taken is forgotten when it ends: the CPU time never goes back."""
    metrics = Metrics()
    alone = parsed(metrics.exposition())
    with subprocess.Popen(
        [sys.executable, "-c", "sum(range(10**6)); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        metrics.watch_workers(lambda: 1, lambda: [other.pid])
        both = parsed(metrics.exposition())
        other.kill()
        other.wait()
        after = parsed(metrics.exposition())
    for name in ("process_resident_memory_bytes", "process_open_fds", "process_max_fds"):
        assert both[name, ()] > alone[name, ()]
        assert after[name, ()] < both[name, ()]
    cpu = ("process_cpu_seconds_total", ())
    assert alone[cpu] < both[cpu] <= after[cpu] + 0.02, "seconds, which the kernel counts in hundredths"
    assert both["trio_cpvm_workers", ()] == 1
