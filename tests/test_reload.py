"""The configuration read anew under a running daemon: what is taken up, what survives, what is refused."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import attrs
import pytest
import trio
import trio.testing
import trustme

from tests.helpers import KEY, PASSWORD, within
from trio_cpvm import errors
from trio_cpvm.access.callers import new_caller
from trio_cpvm.config import Config, LogConfig, ServerConfig, SessionConfig, TlsConfig, load_config
from trio_cpvm.config_values import TcpAddress
from trio_cpvm.daemon import obey_signals
from trio_cpvm.errors import BadConfiguration, ConsoleError
from trio_cpvm.models import ConsoleTarget, Secret
from trio_cpvm.parts import make_parts
from trio_cpvm.reload import Reloader, keep_fixed
from trio_cpvm.server import Bound, Server
from trio_cpvm.session import Session
from trio_cpvm.systemd import ServiceManager
from trio_cpvm.testing import (
    EchoForever,
    RfbClient,
    RfbRefused,
    ScriptedVncServer,
    UpgradeRefused,
    WebSocketDouble,
    http_get,
    listening,
    open_websocket,
)
from trio_cpvm.token import TokenKey, mint_token, write_key_file

timely = within(30)
OTHER_KEY = TokenKey(bytes(16), bytes(16))
AUTHORITY = trustme.CA()
PING = b"\4\1\0\0\0\0\0a"

BASE = """
[server]
listen = ["127.0.0.1:0"]
drain_timeout_s = 0
{server}
[admin]
listen = "127.0.0.1:0"
[token]
key_files = ["{key}"]
{token}
[session]
second_viewer = "share"
{session}
[upstream]
{upstream}
[log]
{log}
{more}
"""


@attrs.define
class Files:
    """A configuration and what it names."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "c.toml"

    def write(self, key: str = "key.json", **parts: str) -> None:
        blank = dict.fromkeys(("server", "token", "session", "upstream", "log", "more"), "")
        beside = self.path.with_suffix(".new")
        beside.write_text(BASE.format(key=key, **{**blank, **parts}))
        beside.replace(self.path)


@attrs.define
class Daemon:
    """A running server with its file."""

    server: Server
    bound: Bound
    files: Files
    reloader: Reloader
    logged_as: list[LogConfig]
    streams: list[trio.SocketStream] = attrs.field(factory=list)

    async def reload(self, key: str = "key.json", **parts: str) -> None:
        self.files.write(key, **parts)
        await self.reloader.reload()

    async def connect(self) -> trio.SocketStream:
        host, _, port = self.bound.public[0].removeprefix("http://").rpartition(":")
        stream = await trio.open_tcp_stream(host, int(port))
        self.streams.append(stream)
        return stream

    async def console(self, port: int, *, key: TokenKey = KEY, session_uuid: str = "") -> WebSocketDouble:
        target = ConsoleTarget(
            host="127.0.0.1",
            port=port,
            password=Secret(PASSWORD),
            session_uuid=session_uuid,
            not_after=time.time() + 600,
        )
        token = mint_token(target, key).replace("+", "%2B")
        websocket = await open_websocket(await self.connect(), f"/websockify?token={token}", host="localhost")
        await RfbClient(websocket).handshake()
        return websocket

    async def refusal(self, port: int, *, key: TokenKey = KEY, session_uuid: str = "") -> int:
        """The status that a new console is refused with."""
        with pytest.raises(UpgradeRefused) as caught:
            await self.console(port, key=key, session_uuid=session_uuid)
        return caught.value.answer.status


@pytest.fixture
def files(tmp_path: Path) -> Files:
    write_key_file(tmp_path / "key.json", KEY)
    write_key_file(tmp_path / "other.json", OTHER_KEY)
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    found = Files(tmp_path)
    found.write()
    return found


@contextlib.asynccontextmanager
async def running(files: Files) -> AsyncIterator[Daemon]:
    async with trio.open_nursery() as nursery:
        server = Server(load_config(files.path))
        logged_as: list[LogConfig] = []
        reloader = Reloader(server, files.path, configure_logging=logged_as.append)
        bound: Bound = await nursery.start(server.run)
        daemon = Daemon(server, bound, files, reloader, logged_as)
        yield daemon
        for stream in daemon.streams:
            await trio.aclose_forcefully(stream)
        server.stop()
        await server.stopped.wait()


@contextlib.asynccontextmanager
async def machine() -> AsyncIterator[int]:
    """A VNC server's port."""
    async with listening(ScriptedVncServer(password=PASSWORD, then=[EchoForever()]).serve) as (_, port):
        yield port


async def works(websocket: WebSocketDouble) -> bool:
    await websocket.send_all(PING)
    return await websocket.receive_some() == PING


def events(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, object]]:
    found = [cast("dict[str, object]", record.msg) for record in caplog.records if isinstance(record.msg, dict)]
    return [one for one in found if one["event"] == event]


# -- taken -------------------------------------------------------------------------------------------------------------


@timely
async def test_everything_new_holds_at_once_and_sessions_go_on(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running(files) as daemon, machine() as port:
        console = await daemon.console(port)
        assert await daemon.refusal(port, key=OTHER_KEY) == 403
        await daemon.reload(
            key="other.json",
            server='allowed_origins = ["https://cloud.example"]\nmax_connections = 30\nhead_timeout_s = 7\n'
            "max_connections_per_client = 40",
            session="max_sessions = 2\nidle_timeout_s = 77",
            log='level = "debug"',
        )
        (line,) = events(caplog, "configuration reloaded")
        assert line["changed"] == [
            "server.allowed_origins = ['https://cloud.example']",
            "server.head_timeout_s = 7.0",
            "server.max_connections = 30",
            "server.max_connections_per_client = 40",
            f"token.key_files = ['{files.folder}/other.json']",
            "session.idle_timeout_s = 77.0",
            "session.max_sessions = 2",
            "log.level = 'debug'",
        ]
        assert await works(console)
        assert await daemon.refusal(port) == 403, "the old key"
        second = await daemon.console(port, key=OTHER_KEY)
        assert [session.config.idle_timeout_s for session in daemon.server.registry] == [300, 77]
        assert await daemon.refusal(port, key=OTHER_KEY) == 503, "session.max_sessions"
        assert daemon.logged_as == [LogConfig(level="debug")]
        front = daemon.server.front
        assert (front.head_timeout_s, front.max_connections, front.max_connections_per_client) == (7, 30, 40)
        stream = await daemon.connect()
        page = await http_get(stream, "/novnc/status", host="localhost")
        assert page.status == 200
        await trio.aclose_forcefully(stream)
        await console.close()
        await second.close()


@timely
async def test_networks_and_authorities_hold_for_the_next_console(files: Files) -> None:
    async with running(files) as daemon, machine() as port:
        console = await daemon.console(port)
        await daemon.reload(upstream='allowed_networks = ["192.0.2.0/24"]\nca_file = "ca.pem"')
        with pytest.raises(RfbRefused):
            await daemon.console(port)
        assert await works(console)
        await daemon.reload()
        await works(await daemon.console(port))


@timely
async def test_what_is_remembered_outlives_a_reload(files: Files) -> None:
    files.write(session="reconnect_window_s = 60")
    async with running(files) as daemon, machine() as port:
        await (await daemon.console(port, session_uuid="used")).close()
        broken = await daemon.console(port, session_uuid="broken")
        await trio.aclose_forcefully(broken)
        await daemon.server.registry.wait_empty()
        gate = daemon.server.parts.gate
        await daemon.reload(session="reconnect_window_s = 61")
        assert daemon.server.parts.gate is not gate
        assert await daemon.refusal(port, session_uuid="used") == 403
        assert await works(await daemon.console(port, session_uuid="broken"))


@timely
async def test_failures_of_guessers_are_remembered_and_counted_by_the_new_limits(files: Files) -> None:
    path = "/novnc?token=wrong"
    who = (("X-Forwarded-For", "192.0.2.66"),)

    async def answer(daemon: Daemon) -> int:
        stream = await daemon.connect()
        status = (await http_get(stream, path, host="localhost", headers=who)).status
        await trio.aclose_forcefully(stream)
        return status

    async with running(files) as daemon:
        for limit, expected in ((2, [403, 403, 429]), (0, [403] * 3), (1, [403, 429]), (20, [403] * 3)):
            await daemon.reload(server='trusted_proxies = ["127.0.0.1"]', token=f"max_failures = {limit}")
            assert [await answer(daemon) for _ in expected] == expected


@timely
async def test_failures_of_callers_are_remembered(files: Files) -> None:
    for name in ("callers.toml", "machines.toml"):
        (files.folder / name).touch(mode=0o600)
    on, off = "[access]\nenabled = true\nmax_failures = 2\n", ""
    files.write(more=on)

    async def answer(daemon: Daemon) -> int:
        stream = await daemon.connect()
        path = "/client/console?cmd=access&vm=1&websocketconsole=true"
        headers = (("Authorization", "Bearer wrong"),)
        status = (await http_get(stream, path, host="localhost", headers=headers)).status
        await trio.aclose_forcefully(stream)
        return status

    async with running(files) as daemon:
        assert [await answer(daemon) for _ in range(3)] == [401, 401, 429]
        await daemon.reload(more=off)
        assert await answer(daemon) == 404
        new = new_caller("a", bearer=True, signed=False, machines=())
        (files.folder / "callers.toml").write_text(new.snippet)
        await daemon.reload(more=on)
        assert await answer(daemon) == 429
        await daemon.reload(more=on.replace("2", "5"))
        assert [await answer(daemon) for _ in range(4)] == [401, 401, 401, 429]


@timely
async def test_files_with_other_content_are_told(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running(files) as daemon:
        await daemon.reload()
        (files.folder / "key.json").write_text(OTHER_KEY.to_json())
        await daemon.reload()
        assert [line["changed"] for line in events(caplog, "configuration reloaded")] == [
            [],
            ["token.key_files: other keys"],
        ]


@timely
async def test_what_may_be_a_ticket_is_told_by_name_only(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running(files) as daemon:
        await daemon.reload(more='[access]\nlegacy_console_url = "https://old.example/?ticket=sesame"')
    (line,) = events(caplog, "configuration reloaded")
    assert line["changed"] == ["access.legacy_console_url"]
    assert "sesame" not in caplog.text


@timely
async def test_what_needs_a_restart_is_said_and_stays(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running(files) as daemon:
        old = daemon.server.config
        text = files.path.read_text().replace('listen = "127.0.0.1:0"', 'listen = "127.0.0.1:9"')
        files.path.write_text(text.replace('["127.0.0.1:0"]', '["127.0.0.1:0", "127.0.0.1:9"]'))
        await daemon.reloader.reload()
        assert [(line["key"], line["kept"]) for line in events(caplog, "needs a restart")] == [
            ("server.listen", "['127.0.0.1:0']"),
            ("admin.listen", "'127.0.0.1:0'"),
        ]
        assert daemon.server.config == old
        assert daemon.server.metrics.exposition().decode().count('reloads_total{result="ok"} 1.0') == 1


def test_a_listener_keeps_its_certificate() -> None:
    tls = ServerConfig(listen_tls=(TcpAddress("", 1),))
    old = Config(server=tls, tls=TlsConfig(certificate="a", private_key="b"))
    kept, ignored = keep_fixed(old, Config(session=SessionConfig(max_sessions=5)))
    assert kept == attrs.evolve(old, server=attrs.evolve(tls, listen=old.server.listen), session=kept.session)
    assert kept.session.max_sessions == 5
    assert ignored == ["server.listen_tls", "tls"]
    other = Config(server=tls, tls=TlsConfig(certificate="c", private_key="d"))
    assert keep_fixed(old, other) == (other, [])


# -- refused -----------------------------------------------------------------------------------------------------------


def unparsable(files: Files) -> None:
    files.path.write_text("[server\n")


def missing(files: Files) -> None:
    files.path.unlink()


@timely
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (unparsable, ["c.toml: not TOML"]),
        (missing, ["c.toml: No such file"]),
        (
            lambda files: files.write(session="idle_timeout = 5"),
            ["c.toml: session.idle_timeout: unknown key (value 5)"],
        ),
        (
            lambda files: files.write(session="max_sessions = 0\nlifetime_s = -1"),
            ["session.max_sessions = 0: must be at least 1", "session.lifetime_s = -1: must be at least 0"],
        ),
        (lambda files: files.write(key="none.json"), ["none.json: No such file"]),
        (lambda files: files.write(key="ca.pem"), ["ca.pem: not a token key file"]),
        (lambda files: files.write(upstream='ca_file = "key.json"'), ["upstream.ca_file = "]),
        (
            lambda files: files.write(
                key="none.json", upstream="ca_file = 'none.pem'", more="[access]\nenabled = true"
            ),
            ["none.json: No such file", "upstream.ca_file", "callers.toml: No such", "machines.toml: No such"],
        ),
    ],
)
async def test_a_bad_configuration_leaves_the_old_one_whole(
    spoil: Callable[[Files], None], words: list[str], files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with running(files) as daemon, machine() as port:
        console = await daemon.console(port)
        before = (daemon.server.parts, daemon.server.front.site, daemon.server.front.clients)
        spoil(files)
        await daemon.reloader.reload()
        assert (daemon.server.parts, daemon.server.front.site, daemon.server.front.clients) == before
        faults = events(caplog, "configuration refused")
        assert all(fault["kept"] == "the old one" for fault in faults)
        for fault, expected in zip(faults, words, strict=True):
            assert expected in str(fault["detail"])
        assert all(record.levelno < logging.ERROR or record.msg in faults for record in caplog.records)
        assert await works(console)
        await works(await daemon.console(port))
        counts = daemon.server.metrics.exposition().decode()
        assert 'trio_cpvm_config_reloads_total{result="refused"} 1.0' in counts
        assert "trio_cpvm_config_last_reload_successful 0.0" in counts
        await daemon.reload()
        counts = daemon.server.metrics.exposition().decode()
        assert "trio_cpvm_config_last_reload_successful 1.0" in counts


@timely
async def test_systemd_hears_of_no_readiness_once_the_end_has_begun(files: Files) -> None:
    class Manager(ServiceManager):
        async def reloading(self) -> None:
            told.append("reloading")

        async def ready(self, status: str) -> None:
            told.append(f"ready {status}")

    told: list[str] = []
    async with running(files) as daemon:
        reloader = Reloader(
            daemon.server, files.path, configure_logging=lambda _: None, status=lambda: "now", manager=Manager()
        )
        await reloader.reload()
        assert told == ["reloading", "ready now"]
        with daemon.server.registry.running(Session(target=ConsoleTarget(host="h", port=1), client="192.0.2.1")):
            daemon.server.drain()
            await reloader.reload()
        assert told[2:] == ["reloading"]


@timely
async def test_a_fault_of_ours_leaves_the_daemon_running(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(files) as daemon, machine() as port:
        monkeypatch.setattr("trio_cpvm.reload.make_parts", lambda *_, **__: 1 // 0)
        await daemon.reload()
        assert await works(await daemon.console(port))


# -- one after the other -----------------------------------------------------------------------------------------------


@timely
async def test_reloads_come_one_after_the_other_and_the_last_word_counts(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    going: list[int] = []
    most = 0
    may_go_on = threading.Event()

    def slowly(*args: object, **kwargs: object) -> object:
        nonlocal most
        going.append(1)
        most = max(most, len(going))
        assert may_go_on.wait(10)
        going.pop()
        return make_parts(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("trio_cpvm.reload.make_parts", slowly)
    async with running(files) as daemon:
        async with trio.open_nursery() as nursery:
            for count in range(10, 15):
                files.write(session=f"max_sessions = {count}")
                nursery.start_soon(daemon.reloader.reload)
                await trio.testing.wait_all_tasks_blocked()
            may_go_on.set()
        assert most == 1
        assert daemon.server.config.session.max_sessions == 14
        assert 'result="ok"} 2.0' in daemon.server.metrics.exposition().decode(), "who waits reads for all that wait"


@timely
async def test_a_slow_disk_does_not_stop_the_consoles(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    read_on = trio.Event()

    def stuck(*_: object, **__: object) -> object:
        trio.from_thread.run(read_on.wait)
        raise BadConfiguration("too late")

    monkeypatch.setattr("trio_cpvm.reload.make_parts", stuck)
    async with running(files) as daemon, machine() as port, trio.open_nursery() as nursery:
        console = await daemon.console(port)
        nursery.start_soon(daemon.reload)
        assert await works(console)
        read_on.set()


@timely
async def test_a_file_that_cannot_be_read_to_its_end_does_not_end_all_reloads(
    files: Files, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_cpvm.reload.READ_S", 0.1)
    async with running(files) as daemon:
        files.path.unlink()
        os.mkfifo(files.path)
        await daemon.reloader.reload()
        told = events(caplog, "configuration refused")
        assert "not read within 0.1 s" in str(told[0]["detail"])
        files.path.open("wb", buffering=0).close()  # lets go of the thread that waits
        monkeypatch.undo()
        await daemon.reload(session="max_sessions = 5")
        assert daemon.server.config.session.max_sessions == 5


@timely
async def test_signals_reload_drain_and_stop(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running(files) as daemon, trio.open_nursery() as nursery:
        await nursery.start(obey_signals, daemon.server, daemon.reloader.reload)
        files.write(session="max_sessions = 5")
        os.kill(os.getpid(), signal.SIGHUP)
        while daemon.server.config.session.max_sessions != 5:  # noqa: ASYNC110 -- nothing tells
            await trio.sleep(0.01)
        assert not daemon.server.draining
        os.kill(os.getpid(), signal.SIGTERM)
        await daemon.server.stopped.wait()
        nursery.cancel_scope.cancel()


@timely
async def test_without_a_file_there_is_nothing_to_reload(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running(files) as daemon, trio.open_nursery() as nursery:
        await nursery.start(obey_signals, daemon.server)
        os.kill(os.getpid(), signal.SIGHUP)
        while "nothing to reload" not in caplog.text:  # noqa: ASYNC110 -- nothing tells
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


# -- the drain ---------------------------------------------------------------------------------------------------------


@timely
async def test_the_first_drain_sets_the_time(files: Files) -> None:
    files.path.write_text(files.path.read_text().replace("drain_timeout_s = 0", "drain_timeout_s = 30"))
    async with running(files) as daemon:
        target = ConsoleTarget(host="192.0.2.1", port=1)
        session = Session(target=target, client="192.0.2.2")
        with daemon.server.registry.running(session):
            daemon.server.drain()
            first = session.drains_at
            assert first is not None
            assert first - trio.current_time() == pytest.approx(30, abs=1)
            assert await daemon.server.wait_draining() == pytest.approx(30, abs=1)
            daemon.server.drain()
            assert session.drains_at == first
            with pytest.raises(ConsoleError) as caught:
                daemon.server.registry.check_room("192.0.2.1", target)
            assert caught.value.reason is errors.DRAINING
