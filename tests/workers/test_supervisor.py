"""The supervisor in the test's own process, with real workers: one hangs, or cannot do as it is told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import attrs
import pytest
import trio
import trio.testing

from tests.helpers import KEY, PASSWORD, within
from tests.workers.daemon import config_with, runs
from trio_cpvm.listeners import InheritedSockets
from trio_cpvm.models import ConsoleTarget, Secret
from trio_cpvm.reload import Reloader
from trio_cpvm.server import Bound
from trio_cpvm.testing import (
    EchoForever,
    RfbClient,
    ScriptedVncServer,
    WebSocketDouble,
    http_get,
    listening,
    open_websocket,
)
from trio_cpvm.token import TokenKey, mint_token, write_key_file
from trio_cpvm.workers import pool
from trio_cpvm.workers.supervisor import Supervisor

timely = within(60)


@attrs.frozen
class Running:
    supervisor: Supervisor
    bound: Bound
    path: Path

    async def ask(self, path: str) -> bytes:
        host, _, port = self.bound.admin[0].removeprefix("http://").rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            return (await http_get(stream, path, host="localhost")).body

    async def sessions(self) -> list[dict[str, object]]:
        listed = json.loads(await self.ask("/sessions"))["sessions"]
        assert isinstance(listed, list)
        return listed


def write(path: Path, key: str, **settings: str) -> str:
    path.write_text(config_with(key=key, **settings))
    return path.read_text()


@contextlib.asynccontextmanager
async def running(folder: Path, **settings: str) -> AsyncIterator[Running]:
    path = folder / "c.toml"
    write_key_file(folder / "key.json", KEY)
    text = write(path, "key.json", **settings)
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(text, path)
        bound: Bound = await nursery.start(supervisor.run)
        yield Running(supervisor, bound, path)
        supervisor.stop()


@contextlib.asynccontextmanager
async def consoles(running: Running, count: int) -> AsyncIterator[list[WebSocketDouble]]:
    """Consoles with a host that echoes, spread over the workers."""
    host, _, port = running.bound.public[0].removeprefix("http://").rpartition(":")
    async with (
        listening(ScriptedVncServer(password=PASSWORD, then=[EchoForever()]).serve) as (_, vnc),
        contextlib.AsyncExitStack() as stack,
    ):
        target = ConsoleTarget(host="127.0.0.1", port=vnc, password=Secret(PASSWORD), not_after=time.time() + 600)
        opened = []
        for _ in range(count):
            stream = await stack.enter_async_context(await trio.open_tcp_stream(host, int(port)))
            path = f"/websockify?token={quote(mint_token(target, KEY), safe='')}"
            opened.append(await open_websocket(stream, path, host="localhost"))
            await RfbClient(opened[-1]).handshake()
        yield opened


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, object]]:
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [line for line in lines if line["event"] == event]


@timely
async def test_a_worker_that_hangs_is_left_out_and_then_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "REPORT_S", 0.05)
    async with running(tmp_path) as daemon, consoles(daemon, 2) as browsers:
        for browser in browsers:
            await browser.send_all(b"\4\1\0\0\0\0\0a")
            assert await browser.receive_some()  # now it relays
        listed = await daemon.sessions()
        assert [one["phase"] for one in listed] == ["relay", "relay"]
        number = int(str(listed[0]["worker"]))
        hung, other = daemon.supervisor.pool.workers[number], daemon.supervisor.pool.workers[3 - number]
        its_own = [one["id"] for one in listed if one["worker"] == number]
        os.kill(hung.process.pid, signal.SIGSTOP)
        assert [one["id"] for one in await daemon.sessions()] == [one["id"] for one in listed]
        monkeypatch.setattr(pool, "PING_S", 0.05)
        monkeypatch.setattr(pool, "HANG_S", 0.05)
        hung.watched.cancel()  # it would look after the usual time only
        await hung.gone.wait()
        assert not runs(hung.process.pid)
        assert [one["id"] for one in await daemon.sessions()] == [
            one["id"] for one in listed if one["id"] not in its_own
        ]
        assert other in daemon.supervisor.pool.serving
        assert logged(caplog, "worker hangs")
        (died,) = logged(caplog, "worker died")
        assert (died["number"], died["how"], died["sessions"]) == (number, "SIGKILL", len(its_own))
        records = logged(caplog, "session ended")
        assert [(record["session"], record["reason"]) for record in records] == [
            (one, "internal-error") for one in its_own
        ]
        await browsers[0].aclose()


@timely
async def test_what_one_worker_cannot_do_nobody_does(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key file that only this process can read: a descriptor of its own."""
    async with running(tmp_path) as daemon:
        before = daemon.supervisor.parts
        reloader = Reloader(daemon.supervisor, daemon.path, configure_logging=lambda _: None)
        write_key_file(tmp_path / "other.json", TokenKey(bytes(16), bytes(16)))
        with (tmp_path / "other.json").open("rb") as file:
            own = f"/proc/self/fd/{file.fileno()}"
            write(daemon.path, own, session="max_sessions = 7")
            await reloader.reload()
        (refused,) = logged(caplog, "configuration refused")
        assert str(refused["detail"]).startswith(own)
        assert daemon.supervisor.parts is before
        assert json.loads(await daemon.ask("/sessions"))["max_sessions"] == 1000
        async with consoles(daemon, 2):
            pass
        write(daemon.path, str(tmp_path / "key.json"), session="max_sessions = 7")
        await reloader.reload()
        assert logged(caplog, "configuration reloaded")
        assert json.loads(await daemon.ask("/sessions"))["max_sessions"] == 7
        assert b'trio_cpvm_config_reloads_total{result="refused"} 1.0' in await daemon.ask("/metrics")


@timely
async def test_a_worker_that_starts_later_has_the_configuration_in_force(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And the keys that were fixed at the start, whatever the file says of them."""
    async with running(tmp_path) as daemon:
        reloader = Reloader(daemon.supervisor, daemon.path, configure_logging=lambda _: None)
        other = TokenKey(bytes(16), bytes(16))
        write_key_file(tmp_path / "other.json", other)
        text = write(daemon.path, "other.json").replace("workers = 2", "workers = 64")
        daemon.path.write_text(text)
        await reloader.reload()
        (kept,) = logged(caplog, "needs a restart")
        assert kept["key"] == "server.workers"
        for worker in daemon.supervisor.pool.serving:
            worker.process.kill()
            await worker.gone.wait()
        while len(daemon.supervisor.pool.serving) < 2:
            await trio.testing.wait_all_tasks_blocked(0.05)
        host, _, port = daemon.bound.public[0].removeprefix("http://").rpartition(":")
        target = ConsoleTarget(host="127.0.0.1", port=1, not_after=time.time() + 600)
        for key, status in ((other, 200), (KEY, 403)):
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                path = f"/novnc?token={quote(mint_token(target, key), safe='')}"
                assert (await http_get(stream, path, host="localhost")).status == status


@timely
async def test_without_a_worker_it_is_not_ready(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        assert await daemon.ask("/readyz") == b"ready\n"
        for worker in daemon.supervisor.pool.serving:
            worker.ready = False
        assert await daemon.ask("/readyz") == b"no worker serves\n"
        assert await daemon.ask("/healthz") == b"ok\n"


@timely
async def test_cancelled_it_leaves_no_process_and_writes_no_records_of_theirs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pids = []
    with trio.CancelScope() as scope:
        async with running(tmp_path) as daemon, consoles(daemon, 1):
            pids = [worker.process.pid for worker in daemon.supervisor.pool.serving]
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert len(pids) == 2
    assert not any(runs(pid) for pid in pids)
    assert logged(caplog, "session ended") == [], "its worker has seen the end coming, and written it"


@timely
@pytest.mark.parametrize(("worker", "status"), [("", 101), ("?worker=2", 101), ("?worker=3", 404), ("?worker=x", 404)])
async def test_an_operator_attaches_to_any_process(worker: str, status: int, tmp_path: Path) -> None:
    admin = f'listen = "unix:{tmp_path}/admin.sock"\nrepl = true'
    async with running(tmp_path, admin=admin) as daemon:
        pids = {"": os.getpid(), "?worker=2": daemon.supervisor.pool.workers[2].process.pid}
        async with await trio.open_unix_socket(f"{tmp_path}/admin.sock") as stream:
            head = (
                f"GET /repl{worker} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: trio-cpvm-repl\r\n"
            )
            await stream.send_all(head.encode() + b"\r\n")
            said = await stream.receive_some()
            assert said.startswith(b"HTTP/1.1 %d " % status)
            if status == 101:
                await stream.send_all(b'{"run": "import os; os.getpid(); len(sessions())"}\n')
                while b"done" not in said.partition(b"done")[2]:
                    said += await stream.receive_some()
                assert b"%d" % pids[worker] in said
                assert b"Error" not in said


@timely
async def test_a_drain_is_obeyed_while_the_workers_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "c.toml"
    write_key_file(tmp_path / "key.json", KEY)
    supervisor = Supervisor(write(path, "key.json"), path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        while len(supervisor.pool.workers) < 2:
            await trio.testing.wait_all_tasks_blocked()
        pids = [worker.process.pid for worker in supervisor.pool.workers.values()]
        supervisor.drain()
        await supervisor.stopped.wait()
    assert not any(runs(pid) for pid in pids)
    assert logged(caplog, "worker died") == []
    assert logged(caplog, "stopped")


@timely
async def test_inherited_sockets_are_the_workers_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        write_key_file(tmp_path / "key.json", KEY)
        path = tmp_path / "c.toml"
        text = config_with(key="key.json").replace('listen = ["127.0.0.1:0"]', f'listen = ["127.0.0.1:{port}"]')
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(text, path, inherited=InheritedSockets([held.dup()]))
            bound: Bound = await nursery.start(supervisor.run)
            assert bound.public == (f"http://127.0.0.1:{port}",)
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                assert (await http_get(stream, "/novnc/status", host="localhost")).status == 200
            supervisor.stop()
        async with await trio.open_tcp_stream("127.0.0.1", port):
            held.settimeout(5)
            held.accept()[0].close()


@timely
async def test_where_no_worker_can_be_started_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool, "PROGRAM", "trio_cpvm.no_such_program")
    path = tmp_path / "c.toml"
    write_key_file(tmp_path / "key.json", KEY)
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="no worker can be started"), flatten_subgroups=True):
        await Supervisor(write(path, "key.json"), path).run()
    assert {line["how"] for line in logged(caplog, "worker died")} == {"exit code 1"}
