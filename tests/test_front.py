"""The error boundary: whatever a site or a stream does, nothing comes out but a line in the log."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import HEAD_TIMEOUT_S, has_ipv6, make_front, within
from trio_cpvm import errors
from trio_cpvm.addresses import parse_trusted_proxy
from trio_cpvm.clients import Clients
from trio_cpvm.errors import ConsoleError, Reason
from trio_cpvm.front import Front, client_address
from trio_cpvm.http import Request, Response
from trio_cpvm.http_io import TakeOver
from trio_cpvm.limits import Limit
from trio_cpvm.testing import connected, http_get

timely = within(60)

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@attrs.frozen
class Site:
    """Answers with whatever ``act`` does."""

    act: Callable[[], Awaitable[Response | TakeOver]]

    async def answer(self, request: Request, client: str) -> Response | TakeOver:
        return await self.act()


def raising(error: Exception, *, later: bool) -> Site:
    """A site that raises at once, or out of what takes the connection over."""

    async def handler(stream: trio.abc.Stream) -> None:
        raise error

    async def act() -> Response | TakeOver:
        if later:
            return TakeOver(handler)
        raise error

    return Site(act)


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[int, object]]:
    """Levels and events of the front's own log lines."""
    return [
        (record.levelno, record.msg["event"])
        for record in caplog.records
        if record.name == "trio_cpvm.front" and isinstance(record.msg, dict)
    ]


BROKEN = trio.BrokenResourceError("gone")
FAULTS: dict[str, tuple[Exception, list[tuple[int, object]]]] = {
    "a bug": (RuntimeError("bug"), [(logging.ERROR, "internal error")]),
    "a group of bugs": (ExceptionGroup("g", [RuntimeError(), KeyError()]), [(logging.ERROR, "internal error")]),
    "a bug deep inside": (
        ExceptionGroup("g", [ExceptionGroup("h", [RuntimeError()])]),
        [(logging.ERROR, "internal error")],
    ),
    "a peer that is gone": (BROKEN, [(logging.DEBUG, "connection lost")]),
    "a stream closed by us": (trio.ClosedResourceError(), [(logging.DEBUG, "connection lost")]),
    "a peer that is too slow": (trio.TooSlowError(), [(logging.DEBUG, "connection lost")]),
    "a group of peers' faults": (
        ExceptionGroup("g", [BROKEN, ExceptionGroup("h", [trio.TooSlowError()])]),
        [(logging.DEBUG, "connection lost")],
    ),
    "a bug beside a peer's fault": (
        ExceptionGroup("g", [BROKEN, RuntimeError()]),
        [(logging.DEBUG, "connection lost"), (logging.ERROR, "internal error")],
    ),
}


@timely
@pytest.mark.parametrize("later", [False, True], ids=["answering", "taken over"])
@pytest.mark.parametrize(("fault", "lines"), FAULTS.values(), ids=FAULTS.keys())
async def test_no_fault_leaves_the_connection_it_happened_on(
    fault: Exception,
    lines: list[tuple[int, object]],
    later: bool,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    caplog.set_level(logging.DEBUG)
    front = make_front(raising(fault, later=later))
    async with connected(front.handle) as stream:
        await stream.send_all(GET)
        assert await stream.receive_some() == b""
        assert front.connections == 0
    assert logged(caplog) == lines


@timely
async def test_a_refusal_that_nobody_answered_is_a_bug(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    front = make_front(raising(ConsoleError(errors.KILLED), later=True))
    async with connected(front.handle) as stream:
        await stream.send_all(GET)
        assert await stream.receive_some() == b""
    assert logged(caplog) == [(logging.ERROR, "internal error")]


@timely
async def test_a_fault_on_one_connection_leaves_the_others_alone(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    asked = []

    async def act() -> Response:
        asked.append(1)
        if len(asked) == 1:
            raise RuntimeError("bug")
        return Response(status=200, body=b"ok")

    front = make_front(Site(act))
    async with connected(front.handle) as first, connected(front.handle) as second:
        await first.send_all(GET)
        assert await first.receive_some() == b""
        assert (await http_get(second, "/")).body == b"ok"
    assert len(logged(caplog)) == 1


@timely
async def test_cancellation_passes_and_closes(autojump_clock: MockClock) -> None:
    async def act() -> Response:
        await trio.sleep(1000)
        return Response(status=200)

    front = make_front(Site(act))
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(GET)
    with trio.move_on_after(5) as scope:
        await front.handle(theirs)
    assert scope.cancelled_caught
    assert front.connections == 0
    assert await ours.receive_some() == b""


@timely
async def test_connections_over_the_limit_are_closed_at_once(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    front = make_front(max_connections=2)
    async with connected(front.handle), connected(front.handle):
        await trio.testing.wait_all_tasks_blocked()
        assert front.connections == 2
        for _ in range(3):
            async with connected(front.handle) as third:
                assert await third.receive_some() == b""
        assert front.connections == 2
        assert trio.current_time() == 0
        await trio.sleep(HEAD_TIMEOUT_S)
        await trio.testing.wait_all_tasks_blocked()
        assert front.connections == 0
        async with connected(front.handle) as stream:
            assert (await http_get(stream, "/novnc/status")).status == 200
    assert front.turned_away == 3
    said = [line for line in logged(caplog) if line[0] >= logging.WARNING]
    assert said == [(logging.WARNING, "connection refused")], "a flood is one line in a second"


@timely
async def test_what_takes_too_long_is_told_as_that(autojump_clock: MockClock) -> None:
    reached: list[Limit] = []
    front = make_front()
    front.on_limit = reached.append
    async with connected(front.handle) as silent:
        assert await silent.receive_some() == b""
    assert reached == [Limit.HEAD_TIME]
    async with connected(front.handle) as slow:
        await slow.send_all(GET[:-2])
        assert (await slow.receive_some()).startswith(b"HTTP/1.1 408 ")
    assert reached == [Limit.HEAD_TIME] * 2
    async with connected(front.handle) as stream:
        assert (await http_get(stream, "/novnc/status")).status == 200
        assert await stream.receive_some() == b""
    assert reached == [Limit.HEAD_TIME] * 2, "who has been answered may be silent"


# -- one client's connections ------------------------------------------------------------------------------------------


def line_of(client: str) -> bytes:
    family, server = ("TCP6", "2001:db8::ffff") if ":" in client else ("TCP4", "203.0.113.1")
    return f"PROXY {family} {client} {server} 56324 443\r\n".encode()


def crowded_front(*, trusted: str = "unix") -> Front:
    """A front door behind a proxy on a unix socket, which lets two connections of each client in."""
    front = make_front()
    front.max_connections_per_client = 2
    front.clients = Clients(
        trusted_proxies=[parse_trusted_proxy(text) for text in ("unix", trusted)], proxy_protocol=True
    )
    return front


@asynccontextmanager
async def from_client(front: Front, client: str) -> AsyncIterator[bool]:
    """A connection of that client; whether it was let in."""
    async with connected(front.handle) as stream:
        await stream.send_all(line_of(client))
        with trio.move_on_after(0.1) as scope:
            assert await stream.receive_some() == b""
        yield scope.cancelled_caught


@timely
@pytest.mark.parametrize(
    ("clients", "let_in"),
    [
        (["192.0.2.1"] * 3, [True, True, False]),
        (["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"], [True] * 4),
        (["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"], [True, True, False, True]),
    ],
)
async def test_one_client_has_so_many_connections_and_no_more(
    clients: list[str], let_in: list[bool], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    front = crowded_front()
    reached: list[Limit] = []
    front.on_limit = reached.append
    async with AsyncExitStack() as stack:
        assert [await stack.enter_async_context(from_client(front, client)) for client in clients] == let_in
        refused = let_in.count(False)
        assert front.connections == let_in.count(True)
        assert front.turned_away == refused
        assert reached == [Limit.CONNECTIONS_PER_CLIENT] * refused
        assert logged(caplog) == [(logging.WARNING, "connection refused")] * refused
    await trio.testing.wait_all_tasks_blocked()
    assert front.per_client == {}
    async with from_client(front, clients[0]) as again:
        assert again


@timely
async def test_peers_that_are_many_people_are_not_counted(autojump_clock: MockClock) -> None:
    front = crowded_front(trusted="192.0.2.0/24")
    async with AsyncExitStack() as stack:
        for _ in range(5):
            assert await stack.enter_async_context(from_client(front, "192.0.2.1")), "a trusted proxy"
    front = make_front()
    front.max_connections_per_client = 2
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(connected(front.handle))
        await trio.testing.wait_all_tasks_blocked()
        assert front.connections == 5, "behind a unix socket"


@timely
async def test_no_limit_per_client_is_none(autojump_clock: MockClock) -> None:
    front = crowded_front()
    front.max_connections_per_client = 0
    async with AsyncExitStack() as stack:
        for _ in range(20):
            assert await stack.enter_async_context(from_client(front, "192.0.2.1"))


@timely
async def test_a_flood_of_broken_requests_is_a_few_lines(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO)
    refused: list[Reason] = []
    front = make_front(max_connections=1000)
    front.on_refused = refused.append
    for _ in range(100):
        async with connected(front.handle) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nno header\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
    assert refused == [errors.BAD_REQUEST] * 100
    assert 0 < len(logged(caplog)) < 100


# -- addresses, on real sockets ----------------------------------------------------------------------------------------


async def address_seen(listener: trio.SocketListener, client: trio.SocketStream) -> str:
    async with listener, client:
        stream = await listener.accept()
        async with stream:
            return client_address(stream)


@within(20)
async def test_the_address_of_a_client_over_tcp() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    assert await address_seen(listener, await trio.open_tcp_stream("127.0.0.1", port)) == "127.0.0.1"


@within(20)
@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_an_ipv4_client_of_an_ipv6_listener_has_its_ipv4_address() -> None:
    sock = trio.socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    await sock.bind(("::", 0))
    sock.listen()
    client = await trio.open_tcp_stream("127.0.0.1", sock.getsockname()[1])
    assert await address_seen(trio.SocketListener(sock), client) == "127.0.0.1"


@within(20)
async def test_clients_without_an_address(tmp_path: Path) -> None:
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    await sock.bind(str(tmp_path / "s"))
    sock.listen()
    assert await address_seen(trio.SocketListener(sock), await trio.open_unix_socket(tmp_path / "s")) == "local"
    ours, _ = trio.testing.memory_stream_pair()
    assert client_address(ours) == "local"


@within(20)
async def test_a_client_that_is_gone_already_is_unknown() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        stream = await listener.accept()
        await client.aclose()
        await stream.aclose()
        assert client_address(stream) == "unknown"
