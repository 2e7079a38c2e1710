"""The daemon on loopback and unix sockets: listening, draining, stopping; in real time, but nothing sleeps."""

from __future__ import annotations

import contextlib
import math
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import attrs
import pytest
import trio

from tests.helpers import KEY, NOW, PASSWORD, TARGET, has_ipv6, make_gate, no_host, url, within
from trio_cpvm.config import AdminConfig, Config, ServerConfig, TokenConfig, parse_config
from trio_cpvm.config_values import ListenAddress, TcpAddress, UnixAddress
from trio_cpvm.errors import BadConfiguration
from trio_cpvm.links import reachable_url
from trio_cpvm.models import ConsoleTarget
from trio_cpvm.parts import make_gate as make_configured_gate
from trio_cpvm.server import Bound, Server, scarce_files
from trio_cpvm.site import Dial
from trio_cpvm.testing import (
    RfbClient,
    ScriptedVncServer,
    WebSocketDouble,
    http_get,
    open_websocket,
)
from trio_cpvm.token import write_key_file

timely = within(20)

LOOPBACK = TcpAddress("127.0.0.1", 0)


def config_for(*listen: ListenAddress, admin: ListenAddress = LOOPBACK, drain_timeout_s: float = 60) -> Config:
    server = ServerConfig(listen=listen or (LOOPBACK,), drain_timeout_s=drain_timeout_s)
    return Config(server=server, admin=AdminConfig(listen=admin))


async def reach(address: str) -> trio.SocketStream:
    """Connect to an address out of ``Bound``."""
    if address.startswith("unix:"):
        return await trio.open_unix_socket(address.removeprefix("unix:"))
    host, _, port = reachable_url(address).removeprefix("http://").rpartition(":")
    return await trio.open_tcp_stream(host.strip("[]"), int(port))


async def status_of(address: str, path: str) -> int:
    async with await reach(address) as stream:
        return (await http_get(stream, path, host="localhost")).status


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@attrs.frozen
class Running:
    """A server that is up."""

    server: Server
    bound: Bound

    async def console(self, stream: trio.SocketStream) -> WebSocketDouble:
        """An open console over this connection."""
        websocket = await open_websocket(stream, url("/websockify"))
        await RfbClient(websocket).handshake()
        return websocket

    def visit(self) -> contextlib.AbstractAsyncContextManager[trio.SocketStream]:
        return visiting(self.bound.public[0])


@contextlib.asynccontextmanager
async def visiting(address: str) -> AsyncIterator[trio.SocketStream]:
    async with await reach(address) as stream:
        yield stream


@contextlib.asynccontextmanager
async def running(config: Config, dial: Dial = no_host) -> AsyncIterator[Running]:
    """A server for the length of a block, in which it may also end by itself."""
    async with trio.open_nursery() as nursery:
        server = Server(config, gate=make_gate(), dial=dial)
        bound: Bound = await nursery.start(server.run)
        yield Running(server, bound)
        server.stop()


async def refused(config: Config) -> str:
    """Why a server does not start."""
    with pytest.raises(BadConfiguration) as caught:
        await Server(config, gate=make_gate()).run()
    return str(caught.value)


# -- listening ---------------------------------------------------------------------------------------------------------


@timely
async def test_port_0_takes_free_ports_and_says_which() -> None:
    async with running(config_for()) as daemon:
        (public,), (admin,) = daemon.bound.public, daemon.bound.admin
        assert public.startswith("http://127.0.0.1:")
        assert public != admin
        assert await status_of(public, "/novnc/status") == 200
        assert await status_of(admin, "/healthz") == 200


@timely
async def test_the_two_sites_have_nothing_in_common() -> None:
    async with running(config_for()) as daemon:
        (public,), (admin,) = daemon.bound.public, daemon.bound.admin
        for path in ("/healthz", "/readyz", "/sessions"):
            assert await status_of(public, path) == 404
        for path in ("/novnc", "/novnc/status", "/websockify", "/novnc/assets/licences.txt"):
            assert await status_of(admin, path) == 404


@timely
async def test_one_daemon_listens_on_several_addresses(tmp_path: Path) -> None:
    other = UnixAddress(str(tmp_path / "public.sock"))
    admin = UnixAddress(str(tmp_path / "admin.sock"))
    async with running(config_for(LOOPBACK, TcpAddress("127.0.0.2", 0), other, admin=admin)) as daemon:
        hosts = [address.rpartition(":")[0] for address in daemon.bound.public]
        assert hosts == ["http://127.0.0.1", "http://127.0.0.2", "unix"]
        assert daemon.bound.admin == (f"unix:{admin.path}",)
        for address in daemon.bound.public:
            assert await status_of(address, "/novnc/status") == 200
        assert await status_of(daemon.bound.admin[0], "/healthz") == 200
    assert files_in(tmp_path) == []


@timely
@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_an_empty_host_is_every_address_of_both_families() -> None:
    async with running(config_for(TcpAddress("", 0), TcpAddress("::1", 0))) as daemon:
        hosts = [address.rpartition(":")[0] for address in daemon.bound.public]
        assert sorted(hosts) == ["http://0.0.0.0", "http://[::1]", "http://[::]"]
        for address in daemon.bound.public:
            assert await status_of(address, "/novnc/status") == 200


@timely
async def test_an_address_in_use_is_named_and_nothing_stays_behind(tmp_path: Path) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    first = UnixAddress(str(tmp_path / "first.sock"))
    async with listener:
        taken = TcpAddress("127.0.0.1", listener.socket.getsockname()[1])
        for config in (config_for(first, taken), config_for(first, admin=taken)):
            assert await refused(config) == f"cannot listen on {taken}: Address already in use"
            assert files_in(tmp_path) == []


@timely
@pytest.mark.parametrize(
    ("address", "words"),
    [
        (TcpAddress("192.0.2.1", 0), "Cannot assign requested address"),
        (UnixAddress("/nowhere/at/all.sock"), "No such file or directory"),
        (UnixAddress("/" + "x" * 200), "AF_UNIX path too long"),
    ],
)
async def test_an_address_that_cannot_be_listened_on_is_named(address: ListenAddress, words: str) -> None:
    assert await refused(config_for(address)) == f"cannot listen on {address}: {words}"


# -- unix sockets ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def socket_at(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.bind(str(path))
        yield sock


@timely
async def test_a_unix_socket_is_for_owner_and_group(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with running(config_for(UnixAddress(str(path)))):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


@timely
async def test_a_dead_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket_at(path):
        pass
    assert path.is_socket()
    async with running(config_for(UnixAddress(str(path)))) as daemon:
        assert await status_of(daemon.bound.public[0], "/novnc/status") == 200


@timely
async def test_a_live_unix_socket_is_left_alone(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "s"))
    async with running(config_for(address)) as daemon:
        assert await refused(config_for(address)) == f"cannot listen on {address}: Address already in use"
        assert await status_of(daemon.bound.public[0], "/novnc/status") == 200


@timely
async def test_somebody_elses_socket_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "syslog"
    with socket_at(path, socket.SOCK_DGRAM):
        assert "Address already in use" in await refused(config_for(UnixAddress(str(path))))
        assert path.is_socket()


@timely
@pytest.mark.parametrize("make", [Path.touch, Path.mkdir])
async def test_what_is_no_socket_is_left_alone(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "s"
    make(path)
    assert "Address already in use" in await refused(config_for(UnixAddress(str(path))))
    assert path.exists()


@timely
async def test_a_daemon_that_drains_makes_room_for_the_next_one(tmp_path: Path, nursery: trio.Nursery) -> None:
    config = config_for(UnixAddress(str(tmp_path / "s")))
    dial = ScriptedVncServer(password=PASSWORD).start(nursery).dial
    async with running(config, dial) as old, old.visit() as stream:
        console = await old.console(stream)
        old.server.drain()
        await wait_until_refused(old.bound.public[0])
        async with running(config) as new:
            await console.close()
            await old.server.stopped.wait()
            assert await status_of(new.bound.public[0], "/novnc/status") == 200
    assert files_in(tmp_path) == []


# -- the end -----------------------------------------------------------------------------------------------------------


@timely
async def test_a_daemon_without_sessions_stops_at_once_whoever_is_connected() -> None:
    async with running(config_for()) as daemon, daemon.visit() as stream:
        await stream.send_all(b"GET /novnc")
        daemon.server.drain()
        await daemon.server.stopped.wait()
        assert await stream.receive_some() == b""
        for address in (*daemon.bound.public, *daemon.bound.admin):
            with pytest.raises(OSError, match=r"refused|failed"):
                await reach(address)


@timely
async def test_draining_lets_the_running_session_finish(nursery: trio.Nursery) -> None:
    dial = ScriptedVncServer(password=PASSWORD).start(nursery).dial
    async with running(config_for(), dial) as daemon, daemon.visit() as stream, daemon.visit() as waiting:
        console = await daemon.console(stream)
        assert (await http_get(waiting, "/novnc/status")).status == 200
        daemon.server.drain()
        await wait_until_refused(daemon.bound.public[0])
        # who is connected already is told; the console goes on; operators can look
        assert (await http_get(waiting, url("/novnc", attrs.evolve(TARGET, session_uuid="2")))).status == 503
        await console.send_all(b"\x05" + bytes(5))
        assert console.close_code is None
        assert await status_of(daemon.bound.admin[0], "/readyz") == 503
        assert await status_of(daemon.bound.admin[0], "/healthz") == 200
        assert not daemon.server.stopped.is_set()
        await console.close()
        await daemon.server.stopped.wait()


async def wait_until_refused(address: str) -> None:
    """Wait until the listener is closed; looks again as soon as the other tasks have had their turn."""
    with contextlib.suppress(OSError):
        while True:
            await (await reach(address)).aclose()


@timely
async def test_the_end_of_the_drain_ends_sessions_with_its_reason(nursery: trio.Nursery) -> None:
    dial = ScriptedVncServer(password=PASSWORD).start(nursery).dial
    async with running(config_for(drain_timeout_s=0.05), dial) as daemon, daemon.visit() as stream:
        console = await daemon.console(stream)
        daemon.server.drain()
        await assert_drained(console)
        await daemon.server.stopped.wait()


@timely
@pytest.mark.parametrize("drained_before", [False, True])
async def test_stopping_does_not_wait_but_says_so(drained_before: bool, nursery: trio.Nursery) -> None:
    dial = ScriptedVncServer(password=PASSWORD).start(nursery).dial
    async with running(config_for(drain_timeout_s=3600), dial) as daemon, daemon.visit() as stream:
        console = await daemon.console(stream)
        if drained_before:
            daemon.server.drain()
            await wait_until_refused(daemon.bound.public[0])
        daemon.server.stop()
        await assert_drained(console)
        await daemon.server.stopped.wait()


async def assert_drained(console: WebSocketDouble) -> None:
    while await console.receive_some():
        pass
    assert console.close_code == 4412
    assert (console.close_reason or "").startswith("draining: ")


@timely
async def test_a_session_whose_host_is_not_there_yet_is_ended_as_well() -> None:
    never = trio.Event()

    async def dial(target: ConsoleTarget, _: trio.Nursery) -> trio.abc.Stream:
        await never.wait()
        raise AssertionError

    async with running(config_for(drain_timeout_s=0), dial) as daemon, daemon.visit() as stream:
        console = await open_websocket(stream, url("/websockify"))
        daemon.server.drain()
        await assert_drained(console)
        await daemon.server.stopped.wait()


@timely
async def test_an_operator_drains_over_the_admin_listener() -> None:
    async with running(config_for()) as daemon:
        async with visiting(daemon.bound.admin[0]) as stream:
            assert (await http_get(stream, "/drain", method="POST", host="localhost")).status == 200
        await daemon.server.stopped.wait()


@timely
async def test_a_cancelled_daemon_leaves_nothing_behind(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        server = Server(config_for(UnixAddress(str(tmp_path / "s")), LOOPBACK), gate=make_gate())
        bound: Bound = await nursery.start(server.run)
        nursery.cancel_scope.cancel()
    assert files_in(tmp_path) == []
    with pytest.raises(OSError, match=r"refused|failed"):
        await reach(bound.public[1])


# -- what the configuration makes of gate and dialling -----------------------------------------------------------------


def test_the_gate_is_made_from_the_configuration(tmp_path: Path) -> None:
    write_key_file(tmp_path / "key.json", KEY)
    token = TokenConfig(
        key_files=(tmp_path / "key.json",),
        accept_legacy_cbc=True,
        require_expiry=False,
        clock_skew_s=7,
        single_use=False,
    )
    gate = make_configured_gate(attrs.evolve(parse_config("[session]\ncheck_source_ip = true", "x"), token=token))
    assert (gate.tokens.keys, gate.tokens.accept_legacy_cbc, gate.tokens.require_expiry) == ((KEY,), True, False)
    assert (gate.tokens.clock_skew_s, gate.check_source_ip, gate.single_use) == (7, True, False)
    assert gate.now() > NOW - 10**8


@timely
async def test_no_key_file_means_no_daemon(tmp_path: Path) -> None:
    config = attrs.evolve(config_for(), token=TokenConfig(key_files=(tmp_path / "none.json",)))
    with pytest.raises(BadConfiguration, match=r"none\.json: No such file"):
        Server(config)


@pytest.mark.parametrize(
    ("open_files", "words"),
    [
        (math.inf, []),
        (40192, []),
        (4096, ["RLIMIT_NOFILE = 4096 (wanted: 40192)", "room for 1952 connections", "server.max_connections = 20000"]),
        (1024, ["room for 416 connections", "session.max_sessions = 1000"]),
    ],
)
def test_too_few_open_files_for_the_configured_limits_are_told(open_files: float, words: list[str]) -> None:
    warnings = scarce_files(Config(), open_files)
    assert len(warnings) == bool(words)
    for word in words:
        assert word in warnings[0]
