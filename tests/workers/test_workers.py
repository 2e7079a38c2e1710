"""Several processes on the same listeners: what consoles share holds across them; a dead one ends its own only."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from tests.helpers import KEY, PASSWORD, within
from tests.workers.daemon import Browser, Daemon, running, runs, until
from trio_cpvm.testing import EchoForever, ScriptedVncServer, UpgradeRefused, http_get, listening
from trio_cpvm.token import write_key_file

timely = within(60)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


@pytest.fixture
async def daemon(shared: Daemon) -> AsyncIterator[Daemon]:
    """Two workers, with nothing on them before and after."""
    shared.wait_up()
    yield shared
    with trio.fail_after(20):
        await shared.wait_idle()


@pytest.fixture
async def host() -> AsyncIterator[int]:
    """The port of a host whose screens echo."""
    async with listening(ScriptedVncServer(password=PASSWORD, then=[EchoForever()]).serve) as (_, port):
        yield port


@contextlib.asynccontextmanager
async def reloaded(daemon: Daemon, **settings: str) -> AsyncIterator[None]:
    """Other settings for the length of the block; what there was before is written again."""
    before = daemon.settings
    try:
        await daemon.reload(**settings)
        yield
    finally:
        await daemon.reload(**before)


@contextlib.asynccontextmanager
async def one_on_each(daemon: Daemon, host: int, **target: str) -> AsyncIterator[tuple[Browser, Browser]]:
    """A console on either worker, the first of the two opened first."""
    async with contextlib.AsyncExitStack() as stack:
        (first,) = await stack.enter_async_context(consoles(daemon, host, 1, **target))
        (held,) = daemon.sessions()
        for _ in range(20):  # once will do, but where this machine is too busy for the other worker to come in time
            async with contextlib.AsyncExitStack() as attempt:
                (second,) = await attempt.enter_async_context(consoles(daemon, host, 1, **target))
                if daemon.sessions()[-1]["worker"] != held["worker"]:
                    stack.push_async_exit(attempt.pop_all())
                    break
            await until(lambda: len(daemon.sessions()) == 1, "that one is gone")
        yield first, second


@contextlib.asynccontextmanager
async def consoles(daemon: Daemon, host: int, count: int, **target: str) -> AsyncIterator[list[Browser]]:
    """Consoles, opened one after the other."""
    browsers: list[Browser] = []
    try:
        for _ in range(count):
            browsers.append(await daemon.open(daemon.path(host, **target)))
        yield browsers
    finally:
        for browser in browsers:
            await browser.aclose()


@timely
async def test_consoles_are_spread_evenly(daemon: Daemon, host: int) -> None:
    async with consoles(daemon, host, 8) as browsers:
        assert min(daemon.spread()) >= 3  # 4 and 4, but where this machine is too busy for a worker to come in time
        assert all([await browser.works() for browser in browsers])


@timely
async def test_a_token_opens_one_console_whoever_asks_at_the_same_time(daemon: Daemon, host: int) -> None:
    path, opened, refused = daemon.path(host, "once"), list[Browser](), list[int]()

    async def attempt() -> None:
        try:
            opened.append(await daemon.open(path))
        except UpgradeRefused as exc:
            refused.append(exc.answer.status)

    async with trio.open_nursery() as nursery:
        for _ in range(16):
            nursery.start_soon(attempt)
    assert (len(opened), refused) == (1, [403] * 15)
    assert await daemon.refusal(path) == (403, "token-used")
    await opened[0].aclose()


# -- what holds for all consoles ---------------------------------------------------------------------------------------


@timely
async def test_a_second_viewer_on_another_worker_replaces_the_first(daemon: Daemon, host: int) -> None:
    async with reloaded(daemon, second_viewer="replace"), consoles(daemon, host, 1) as first:
        for _ in range(20):  # as in ``one_on_each``
            before, one = first[0], daemon.sessions()[0]
            first[:] = [await daemon.open(daemon.path(host, user="bob"))]
            assert await before.end() == "replaced"
            await before.aclose()
            assert await first[0].works()
            await until(lambda: len(daemon.sessions()) == 1, "the one before is gone")
            if daemon.sessions()[0]["worker"] != one["worker"]:
                break
        else:
            raise AssertionError("all on one worker")


@timely
async def test_only_the_first_of_several_viewers_types(daemon: Daemon, host: int) -> None:
    async with reloaded(daemon, session='shared_input = "first"'), one_on_each(daemon, host) as browsers:
        assert [one["looks_on"] for one in daemon.sessions()] == [False, True]
        await browsers[0].websocket.close()
        await until(lambda: [one["looks_on"] for one in daemon.sessions()] == [False], "the second one types")
        assert await browsers[1].works()


@timely
async def test_no_more_sessions_than_allowed_whoever_has_them(daemon: Daemon, host: int) -> None:
    opened, refused = list[Browser](), list[str]()

    async def attempt() -> None:
        try:
            opened.append(await daemon.open(daemon.path(host)))
        except UpgradeRefused as exc:
            refused.append(exc.answer.text.partition(":")[0])

    reached = 'trio_cpvm_limit_reached_total{limit="session.max_sessions"}'
    before = daemon.counted(reached)
    async with reloaded(daemon, session="max_sessions = 3"):
        async with trio.open_nursery() as nursery:
            for _ in range(9):
                nursery.start_soon(attempt)
        assert (len(opened), refused) == (3, ["too-many-sessions"] * 6)
        assert daemon.counted(reached) == before + 6
        for browser in opened:
            await browser.aclose()


@timely
async def test_no_more_connections_than_allowed_whoever_has_them(daemon: Daemon) -> None:
    refused = 'trio_cpvm_connections_refused_total{listener="public"}'
    before, closed = daemon.counted(refused), 0
    async with reloaded(daemon, server="max_connections = 6\nmax_connections_per_client = 4"):
        async with trio.open_nursery() as nursery:
            streams = [await daemon.connect() for _ in range(10)]

            async def watch(stream: trio.SocketStream) -> None:
                nonlocal closed
                with contextlib.suppress(trio.BrokenResourceError):
                    assert await stream.receive_some() == b""
                closed += 1

            for stream in streams:
                nursery.start_soon(watch, stream)
            await until(lambda: closed == 6, "six are closed at once")
            assert json.loads(daemon.ask("/sessions"))["connections"]["public"] == 4
            assert daemon.counted(refused) == before + 6
            nursery.cancel_scope.cancel()
        for stream in streams:
            await trio.aclose_forcefully(stream)


@timely
async def test_who_guesses_on_one_worker_waits_on_all(daemon: Daemon) -> None:
    async def ask() -> int:
        async with daemon.connected() as stream:
            return (await http_get(stream, "/novnc?token=x")).status

    async with reloaded(daemon, token="max_failures = 2"):
        assert [await ask() for _ in range(6)] == [403, 403, 429, 429, 429, 429]
        async with reloaded(daemon, token="max_failures = 3"):
            assert [await ask() for _ in range(4)] == [403, 429, 429, 429]
            async with reloaded(daemon, token="max_failures = 0"):
                assert [await ask() for _ in range(4)] == [403, 403, 403, 403]


@timely
async def test_sessions_are_killed_and_counted_wherever_they_are(daemon: Daemon, host: int) -> None:
    before = daemon.counted('trio_cpvm_sessions_ended_total{reason="killed",side="internal"}')
    relayed = daemon.counted('trio_cpvm_relayed_bytes_total{direction="up"}')
    async with one_on_each(daemon, host, vm_id="vm-1", user="alice") as browsers:
        for browser in browsers:
            assert await browser.works()
        listed = daemon.sessions()
        assert sorted(str(one["worker"]) for one in listed) == ["1", "2"]
        for one in listed:
            assert (one["phase"], one["user"], one["vm"], one["security"]) == ("relay", "alice", "vm-1", "VncAuth(2)")
            assert (one["bytes_up"], one["bytes_down"], one["transport"]) == (8, 8, "no TLS")
        assert daemon.counted('trio_cpvm_relayed_bytes_total{direction="up"}') == relayed + 16
        for one in listed:
            assert daemon.ask(f"/sessions/{one['id']}/kill", "POST")
        assert [await browser.end() for browser in browsers] == ["killed", "killed"]
        assert len(json.loads(daemon.ask("/cmd/getstatus"))["connections"]) <= 2
    await daemon.wait_idle()
    assert daemon.counted('trio_cpvm_sessions_ended_total{reason="killed",side="internal"}') == before + 2
    assert daemon.counted("trio_cpvm_workers") == 2
    assert daemon.counted("trio_cpvm_sessions") == 0


# -- death -------------------------------------------------------------------------------------------------------------


@timely
async def test_a_dead_worker_ends_its_own_sessions_and_is_replaced(daemon: Daemon, host: int) -> None:
    deaths = daemon.counted("trio_cpvm_worker_deaths_total")
    starts = len(daemon.log("worker ready"))
    path = daemon.path(host, "of-the-dead")
    async with one_on_each(daemon, host) as both, consoles(daemon, host, 3) as browsers:
        browsers += [*both, await daemon.open(path)]
        assert all([await browser.works() for browser in browsers])
        held = {str(one["id"]): one for one in daemon.sessions()}
        daemon.kill_worker(1)
        await daemon.event("worker ready", starts + 1)
        of_the_other = [session for session, one in held.items() if one["worker"] == 2]
        left = len(of_the_other)
        assert [str(one["id"]) for one in daemon.sessions()] == of_the_other
        alive = []
        for browser in browsers:
            with contextlib.suppress(trio.BrokenResourceError):
                alive.append(await browser.works())
        assert (alive.count(True), 0 < left < 6) == (left, True)
        records = daemon.log("session ended")
        for session, one in held.items():
            written = [record for record in records if record["session"] == session]
            assert len(written) == (one["worker"] == 1)
            for record in written:
                assert (record["reason"], record["detail"]) == ("internal-error", "the process of worker 1 died")
                assert (record["security"], record["phase"]) == ("VncAuth(2)", "relay")
        assert daemon.counted("trio_cpvm_worker_deaths_total") == deaths + 1
        async with consoles(daemon, host, 3):
            assert daemon.spread()[0] > 0
    (died,) = daemon.log("worker died")[-1:]
    assert (died["number"], died["how"], died["sessions"]) == (1, "SIGKILL", 6 - left)


@timely
async def test_whose_worker_died_may_come_back(daemon: Daemon, host: int) -> None:
    starts = len(daemon.log("worker ready"))
    path = daemon.path(host, "back-again")
    async with reloaded(daemon, session="reconnect_window_s = 60"):
        browser = await daemon.open(path)
        (one,) = daemon.sessions()
        daemon.kill_worker(int(str(one["worker"])))
        assert await browser.end() == ""
        await daemon.event("worker ready", starts + 1)
        again = await daemon.open(path)
        assert await again.works()
        (other,) = daemon.sessions()
        assert (other["resumes"], other["id"] != one["id"]) == (True, True)
        await again.websocket.close()
        await daemon.wait_idle()
        assert await daemon.refusal(path) == (403, "token-used")
        await browser.aclose()
        await again.aclose()


@timely
async def test_workers_obey_nobody_but_the_supervisor(daemon: Daemon, host: int) -> None:
    async with consoles(daemon, host, 2) as browsers:
        for number in (1, 2):
            for how in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                daemon.kill_worker(number, how)
        assert [await browser.works() for browser in browsers] == [True, True]


@timely
async def test_lines_say_which_worker_wrote_them(daemon: Daemon, host: int) -> None:
    async with consoles(daemon, host, 2):
        held = {one["id"]: one["worker"] for one in daemon.sessions()}
    await daemon.wait_idle()
    ended = {line["session"]: line["worker"] for line in daemon.log("session ended") if line["session"] in held}
    assert ended == held
    assert "worker" not in daemon.log("listening")[0]


# -- start and end -----------------------------------------------------------------------------------------------------


@timely
async def test_a_drain_tells_the_users_of_all_workers_and_leaves_nothing(host: int, tmp_path: Path) -> None:
    unix = tmp_path / "public.sock"
    with running(tmp_path, also=f', "unix:{unix}"') as daemon:
        pids = daemon.worker_pids()
        async with await trio.open_unix_socket(unix) as stream:
            assert (await http_get(stream, "/novnc/status", host="localhost")).status == 200
        async with one_on_each(daemon, host) as browsers:
            others = len(daemon.log("session ended"))
            daemon.process.send_signal(signal.SIGTERM)
            await daemon.event("draining")
            with pytest.raises(OSError, match=r"refused|failed"):
                await daemon.connect()
            assert [await browser.works() for browser in browsers] == [True, True]
            assert json.loads(daemon.ask("/sessions"))["draining"] is True
            assert [await browser.end() for browser in browsers] == ["draining", "draining"]
        assert await until(lambda: daemon.process.poll() is not None, "it ends")
        assert daemon.process.returncode == 0, daemon.said()
        assert not any(runs(pid) for pid in pids.values())
        assert [line["reason"] for line in daemon.log("session ended")][others:] == ["draining", "draining"]
        assert "Traceback" not in daemon.said()
        assert daemon.log("worker died") == []
        assert not unix.exists()


@timely
async def test_no_worker_outlives_the_supervisor(host: int, tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        pids = list(daemon.worker_pids().values())
        async with consoles(daemon, host, 2) as browsers:
            daemon.process.kill()
            daemon.process.wait()
            assert [await browser.end() for browser in browsers] == ["", ""]
        await until(lambda: not any(runs(pid) for pid in pids), "the workers end")


def test_what_no_worker_can_use_ends_the_daemon(tmp_path: Path) -> None:
    """A file that only the supervisor can read: a descriptor of its own."""
    write_key_file(tmp_path / "key.json", KEY)
    with (tmp_path / "key.json").open("rb") as file:
        path = f"/proc/self/fd/{file.fileno()}"
        daemon = Daemon(tmp_path, key=path, opened=file.fileno())
    try:
        assert daemon.process.wait(20) == 2
        assert daemon.said().splitlines()[-1].startswith(f"trio-cpvm: {path}: ")
    finally:
        daemon.stop()
