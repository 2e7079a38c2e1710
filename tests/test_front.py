"""The error boundary: whatever a site or a stream does, nothing comes out but a line in the log."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import HEAD_TIMEOUT_S, has_ipv6, make_front, within
from trio_cpvm import errors
from trio_cpvm.errors import ConsoleError
from trio_cpvm.front import client_address
from trio_cpvm.http import Request, Response
from trio_cpvm.http_io import TakeOver
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
    assert logged(caplog) == [(logging.WARNING, "connection refused")] * 3


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
