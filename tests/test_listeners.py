"""Sockets that systemd has opened: which address each is for, and what is refused. Opening is in ``test_server``."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.helpers import TARGET, has_ipv6, make_gate, within
from trio_cpvm.config import AdminConfig, Config, ServerConfig
from trio_cpvm.config_values import ListenAddress, TcpAddress, UnixAddress
from trio_cpvm.errors import BadConfiguration
from trio_cpvm.listeners import InheritedSockets, open_listeners
from trio_cpvm.server import Bound, Server
from trio_cpvm.session import Session
from trio_cpvm.testing import http_get

timely = within(20)
ANY = TcpAddress("127.0.0.1", 0)


class Listening(Protocol):
    def __call__(self, host: str) -> socket.socket: ...


@pytest.fixture
def listening() -> Iterator[Listening]:
    """Sockets that listen on a free port of a host, or on a path."""
    with ExitStack() as stack:

        def listen(host: str) -> socket.socket:
            named = host.startswith(("/", "\0"))
            family = socket.AF_UNIX if named else socket.AF_INET6 if ":" in host else socket.AF_INET
            sock = stack.enter_context(socket.socket(family))
            sock.bind(host if named else (host, 0))
            sock.listen()
            return sock

        yield listen


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


@timely
@pytest.mark.parametrize(
    ("bound", "configured", "fits"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "", False),
        ("0.0.0.0", "", True),
        ("0.0.0.0", "0.0.0.0", True),
        ("0.0.0.0", "127.0.0.1", False),
        ("::", "", True),
        ("::", "::", True),
        ("::", "0:0:0:0:0:0:0:0", True),
        ("::", "0.0.0.0", False),
        ("0.0.0.0", "::", False),
        ("::1", "::1", True),
    ],
)
async def test_which_socket_is_for_an_address(bound: str, configured: str, fits: bool, listening: Listening) -> None:
    if ":" in bound and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    sock = listening(bound)
    inherited = InheritedSockets([sock])
    assert await inherited.take(TcpAddress(configured, port_of(sock) + 1)) == []
    found = await inherited.take(TcpAddress(configured, port_of(sock)))
    assert found == ([sock] if fits else [])
    if fits:
        assert not sock.getblocking()
        inherited.require_all_taken()
        assert await inherited.take(TcpAddress(configured, port_of(sock))) == [], "each goes to one"


@timely
async def test_a_unix_socket_goes_by_its_path_and_its_file_stays(listening: Listening, tmp_path: Path) -> None:
    path = tmp_path / "s"
    inherited = InheritedSockets([listening(str(path))])
    assert await inherited.take(UnixAddress(str(tmp_path / "other"))) == []
    async with open_listeners(UnixAddress(str(path)), inherited) as listeners:
        assert [listener.socket.getsockname() for listener in listeners] == [str(path)]
    assert path.is_socket()


@timely
async def test_what_nobody_hands_over_is_opened_here(listening: Listening) -> None:
    inherited = InheritedSockets([listening("127.0.0.1")])
    async with open_listeners(ANY, inherited) as listeners:
        assert len(listeners) == 1
    with pytest.raises(BadConfiguration, match="none of"):
        inherited.require_all_taken()


def test_only_listening_stream_sockets_will_do(tmp_path: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        with pytest.raises(BadConfiguration, match=rf"127\.0\.0\.1:{port_of(deaf)} is no listening stream socket"):
            InheritedSockets([deaf])
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(BadConfiguration, match="no listening stream socket"):
            InheritedSockets([datagrams])
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as packets:
        packets.bind(str(tmp_path / "s"))
        packets.listen()
        with pytest.raises(BadConfiguration, match=rf"unix:{tmp_path}/s is no listening stream socket"):
            InheritedSockets([packets])


# -- in a server -------------------------------------------------------------------------------------------------------


def server_on(
    admin: ListenAddress, *listen: ListenAddress, inherited: list[socket.socket], drain_timeout_s: float = 0
) -> Server:
    server = ServerConfig(listen=listen, drain_timeout_s=drain_timeout_s)
    config = Config(server=server, admin=AdminConfig(listen=admin))
    return Server(config, gate=make_gate(), inherited=InheritedSockets(inherited))


@timely
async def test_who_has_connected_before_the_start_is_served(listening: Listening, nursery: trio.Nursery) -> None:
    public, admin = listening("127.0.0.1"), listening("127.0.0.1")
    async with await trio.open_tcp_stream("127.0.0.1", port_of(public)) as early:
        addresses = (TcpAddress("127.0.0.1", port_of(admin)), TcpAddress("127.0.0.1", port_of(public)))
        server = server_on(*addresses, ANY, inherited=[public, admin])
        bound: Bound = await nursery.start(server.run)
        assert len(bound.public) == 2
        assert bound.public[0] == f"http://127.0.0.1:{port_of(public)}"
        assert bound.admin == (f"http://127.0.0.1:{port_of(admin)}",)
        assert (await http_get(early, "/novnc/status", host="localhost")).status == 200
        server.stop()
        await server.stopped.wait()


@timely
@pytest.mark.parametrize("shared", [True, False])
async def test_while_it_drains_an_inherited_admin_socket_is_left_to_the_next_daemon(
    shared: bool, listening: Listening, nursery: trio.Nursery
) -> None:
    """Both have it while one takes over from the other; one that is the daemon's own answers until the end."""
    public, admin = listening("127.0.0.1"), listening("127.0.0.1")
    handed_over = [public, *([admin.dup()] if shared else [])]
    address = TcpAddress("127.0.0.1", port_of(admin)) if shared else ANY
    server = server_on(address, TcpAddress("127.0.0.1", port_of(public)), inherited=handed_over, drain_timeout_s=60)
    bound: Bound = await nursery.start(server.run)
    port = int(bound.admin[0].rpartition(":")[2])
    with server.registry.running(Session(target=TARGET, client="192.0.2.1")):
        async with await trio.open_tcp_stream("127.0.0.1", port) as early:
            assert (await http_get(early, "/readyz", host="localhost")).status == 200
            server.drain()
            await wait_all_tasks_blocked()
            async with await trio.open_tcp_stream("127.0.0.1", port) as late:
                with trio.move_on_after(0.5) as answered:
                    assert (await http_get(late, "/readyz", host="localhost")).status == 503
                assert answered.cancelled_caught is shared
    await server.stopped.wait()


@timely
async def test_a_socket_that_no_key_names_stops_the_start(listening: Listening) -> None:
    sock, abstract = listening("127.0.0.1"), listening(f"\0trio-cpvm-{id(listening)}")
    with pytest.raises(BadConfiguration) as caught:
        await server_on(ANY, ANY, inherited=[sock, abstract]).run()
    assert str(caught.value) == (
        "inherited sockets that none of server.listen, server.listen_tls or admin.listen names: "
        f"127.0.0.1:{port_of(sock)}, unix:@trio-cpvm-{id(listening)}"
    )
