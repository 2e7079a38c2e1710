"""The operators' client against a real admin site over TCP and a unix socket, and against everything else."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import attrs
import pytest
import trio

from tests.helpers import TARGET, deaf_port, make_front, make_registry, within
from trio_cpvm import admin_client, errors
from trio_cpvm.admin import AdminSite
from trio_cpvm.admin_client import AdminClient, AdminUnreachable
from trio_cpvm.config import SessionConfig
from trio_cpvm.config_values import ListenAddress, TcpAddress, UnixAddress
from trio_cpvm.registry import SessionRegistry
from trio_cpvm.session import Session
from trio_cpvm.testing import listening

timely = within(20)
T = TypeVar("T")


async def in_thread(call: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(call)


@attrs.define(eq=False)
class Daemon:
    """An admin listener with sessions that only exist."""

    address: ListenAddress
    registry: SessionRegistry[Session]
    drains: int = 0

    @property
    def client(self) -> AdminClient:
        return AdminClient(self.address)

    def drain(self) -> None:
        self.drains += 1


@contextlib.asynccontextmanager
async def daemon(kind: str, folder: Path) -> AsyncIterator[Daemon]:
    running = Daemon(UnixAddress(str(folder / "admin.sock")), make_registry(SessionConfig()))
    front = make_front(AdminSite(registry=running.registry, start_drain=running.drain))
    if kind == "tcp":
        async with listening(front.handle) as (host, port):
            running.address = TcpAddress(host, port)
            yield running
        return
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    await sock.bind(str(running.address).removeprefix("unix:"))
    sock.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, front.handle, [trio.SocketListener(sock)])
        yield running
        nursery.cancel_scope.cancel()


@timely
@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_an_operators_day(kind: str, tmp_path: Path) -> None:
    async with daemon(kind, tmp_path) as d:
        assert await in_thread(d.client.sessions) == []
        session = Session(target=TARGET, client="192.0.2.9")
        with d.registry.running(session):
            (listed,) = await in_thread(d.client.sessions)
            assert (listed["id"], listed["vm"]) == (session.id, "vm-1")
            assert await in_thread(lambda: d.client.kill(session.id))
            assert session._ending is not None
            assert session._ending.reason is errors.KILLED
            assert await in_thread(d.client.drain) == 1
        assert d.drains == 1
        assert await in_thread(d.client.drain) == 0


@timely
@pytest.mark.parametrize("session_id", ["x", "", "a/b", "../drain", "a b", "a\r\nb", "ä", "\udcff", "?", "#", "%2F"])
async def test_an_id_that_is_none_kills_nothing(session_id: str, tmp_path: Path) -> None:
    async with daemon("tcp", tmp_path) as d:
        with d.registry.running(session := Session(target=TARGET, client="192.0.2.9")):
            assert not await in_thread(lambda: d.client.kill(session_id))
            assert session._ending is None
        assert d.drains == 0


async def answer_of(raw: bytes, call: Callable[[AdminClient], T]) -> tuple[T, bytes]:
    """What the client makes of a listener that says this, and what it asked."""
    asked = b""

    async def serve(stream: trio.abc.Stream) -> None:
        nonlocal asked
        async with stream:
            while b"\r\n\r\n" not in asked:
                asked += await stream.receive_some()
            await stream.send_all(raw)

    async with listening(serve) as (host, port):
        return await in_thread(lambda: call(AdminClient(TcpAddress(host, port)))), asked


OK = b"HTTP/1.1 200 OK\r\nContent-Length: "


@timely
@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "no daemon answers at 127.0.0.1"),
        (b"RFB 003.008\n", "no daemon answers at"),
        (OK + b"100\r\n\r\n{", "is no trio-cpvm admin listener"),
        (OK + b"5\r\n\r\nhello", "is no trio-cpvm admin listener"),
        (OK + b"2\r\n\r\n\xff\xff", "is no trio-cpvm admin listener"),
        (OK + b"2\r\n\r\n[]", "is no trio-cpvm admin listener"),
        (OK + b"2\r\n\r\n{}", "is no trio-cpvm admin listener"),
        (OK + b'15\r\n\r\n{"sessions": 1}', "is no trio-cpvm admin listener"),
        (OK + b'17\r\n\r\n{"sessions": [1]}', "is no trio-cpvm admin listener"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "answered 403 to /sessions"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered 404 to /sessions"),
    ],
)
async def test_who_is_no_daemon_is_told_apart(raw: bytes, words: str) -> None:
    with pytest.raises(AdminUnreachable, match=words):
        await answer_of(raw, AdminClient.sessions)


@timely
async def test_the_client_names_no_host_that_the_listener_would_take_for_a_web_pages() -> None:
    """The configuration may name the listener's machine; the admin site answers to addresses only."""
    _, asked = await answer_of(OK + b"16\r\n\r\n" + b'{"sessions": []}', AdminClient.sessions)
    assert b"\r\nHost: localhost\r\n" in asked


@timely
async def test_draining_somebody_else_is_no_success() -> None:
    with pytest.raises(AdminUnreachable, match="is no trio-cpvm admin listener"):
        await answer_of(OK + b"2\r\n\r\n{}", AdminClient.drain)


@timely
async def test_nobody_there(tmp_path: Path) -> None:
    with deaf_port() as port:
        for where in (TcpAddress("127.0.0.1", port), UnixAddress(str(tmp_path / "none")), UnixAddress("/" + "x" * 200)):
            with pytest.raises(AdminUnreachable, match="no daemon answers at"):
                await in_thread(AdminClient(where).sessions)


@timely
async def test_a_daemon_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_client, "TIMEOUT_S", 0.05)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = AdminClient(TcpAddress("127.0.0.1", listener.socket.getsockname()[1]))
        with pytest.raises(AdminUnreachable, match="timed out"):
            await in_thread(client.sessions)
