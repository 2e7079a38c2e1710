"""Accepting goes on whatever happens to the descriptors, and tells it in two lines."""

from __future__ import annotations

import errno
import logging
import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import final

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import within
from trio_cpvm.acceptor import CALM_S, PAUSE_S, Acceptor, open_files_limit, room_for_connections
from trio_cpvm.limits import Limit

timely = within(60)


@final
class Queue(trio.abc.Listener[trio.abc.Stream]):
    """A listener whose queue holds what the test puts there: connections, and faults that ``accept`` reports."""

    def __init__(self) -> None:
        self._put, self._get = trio.open_memory_channel[trio.abc.Stream | OSError](100)
        self.accepts = 0
        self.closed = False

    def connect(self) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        self._put.send_nowait(theirs)
        return ours

    def fail(self, number: int) -> None:
        self._put.send_nowait(OSError(number, os.strerror(number)))

    async def accept(self) -> trio.abc.Stream:
        self.accepts += 1
        found = await self._get.receive()
        if isinstance(found, OSError):
            raise found
        return found

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


@attrs.define
class Running:
    """An acceptor at work. Its connections last until the test closes its end.

    Attributes:
        queue: its listener.
        limits: what it was told.
        open_files: how many descriptors there may be.
    """

    acceptor: Acceptor
    queue: Queue
    limits: list[Limit]
    open_files: int


@asynccontextmanager
async def running(*, holds_back: bool = False, open_files: int = 1000) -> AsyncIterator[Running]:
    limits: list[Limit] = []
    found: list[Running] = []
    acceptor = Acceptor(holds_back=holds_back, on_limit=limits.append, open_files=lambda: found[0].open_files)
    found.append(Running(acceptor, Queue(), limits, open_files))

    async def read_to_end(stream: trio.abc.Stream) -> None:
        while await stream.receive_some():
            pass

    async with trio.open_nursery() as connections, trio.open_nursery() as accepting:

        async def serve() -> None:
            await acceptor.serve(read_to_end, [found[0].queue], handler_nursery=connections)

        accepting.start_soon(serve)
        yield found[0]
        connections.cancel_scope.cancel()


def events(caplog: pytest.LogCaptureFixture) -> list[object]:
    return [record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)]


@timely
async def test_connections_are_handled_until_they_end(autojump_clock: MockClock) -> None:
    async with running() as server:
        clients = [server.queue.connect() for _ in range(3)]
        await trio.testing.wait_all_tasks_blocked()
        assert server.acceptor.open == 3
        await clients[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert server.acceptor.open == 2


@timely
async def test_the_end_closes_the_listeners_and_leaves_connections_alone(autojump_clock: MockClock) -> None:
    queue, echoed = Queue(), trio.Event()

    async def echo(stream: trio.abc.Stream) -> None:
        await stream.send_all(await stream.receive_some(1))
        echoed.set()

    acceptor = Acceptor(holds_back=False)
    client = queue.connect()
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:

            async def serve() -> None:
                await acceptor.serve(echo, [queue], handler_nursery=connections)

            accepting.start_soon(serve)
            await trio.testing.wait_all_tasks_blocked()
            accepting.cancel_scope.cancel()
        assert queue.closed
        assert acceptor.open == 1
        await client.send_all(b"x")
        assert await client.receive_some() == b"x"
        await echoed.wait()
        assert await client.receive_some() == b"", "closed with its handler"
    assert acceptor.open == 0


@timely
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_a_shortage_pauses_and_is_told_once(
    number: int, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO)
    async with running() as server:
        for _ in range(20):
            server.queue.fail(number)
        server.queue.connect()
        await trio.sleep(20 * PAUSE_S + 0.1)
        assert server.queue.accepts == 22, "one more try after each pause"
        assert server.acceptor.open == 1
        assert events(caplog) == ["accepting paused"]
        await trio.sleep(CALM_S)
        assert events(caplog) == ["accepting paused", "accepting again"]
        assert server.limits == [Limit.OPEN_FILES]
        server.queue.fail(number)
        await trio.sleep(0.1)
        assert events(caplog)[2:] == ["accepting paused"]


@timely
async def test_the_end_of_a_connection_ends_a_pause(autojump_clock: MockClock) -> None:
    async with running() as server:
        client = server.queue.connect()
        await trio.sleep(0.1)
        server.queue.fail(errno.EMFILE)
        server.queue.connect()
        await trio.sleep(PAUSE_S / 2)
        assert server.acceptor.open == 1
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert server.acceptor.open == 1
        assert trio.current_time() < PAUSE_S


@timely
async def test_another_fault_of_a_listener_is_a_bug(autojump_clock: MockClock) -> None:
    queue = Queue()
    queue.fail(errno.EBADF)
    with pytest.RaisesGroup(pytest.RaisesGroup(OSError)):
        async with trio.open_nursery() as nursery:

            async def nothing(stream: trio.abc.Stream) -> None:
                pass

            await Acceptor(holds_back=False).serve(nothing, [queue], handler_nursery=nursery)
    assert queue.closed


@timely
async def test_descriptors_are_kept_for_what_is_open(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with running(holds_back=True, open_files=20) as server:
        clients = [server.queue.connect() for _ in range(8)]
        await trio.sleep(30)
        assert server.acceptor.open == 5
        assert events(caplog) == ["accepting paused"]
        for client in clients[:2]:
            await client.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert server.acceptor.open == 5, "two went, two of those that had waited are there"
        server.open_files = 40  # prlimit
        await trio.sleep(PAUSE_S + CALM_S + 0.1)
        assert server.acceptor.open == 6
        assert events(caplog) == ["accepting paused", "accepting again"]


@timely
async def test_whoever_keeps_nothing_back_accepts_them_all(autojump_clock: MockClock) -> None:
    async with running(open_files=20) as server:
        for _ in range(30):
            server.queue.connect()
        await trio.testing.wait_all_tasks_blocked()
        assert server.acceptor.open == 30


@pytest.mark.parametrize(
    ("open_files", "connections"), [(64, 16), (256, 64), (1024, 416), (4096, 1952), (65536, 32672), (float("inf"),) * 2]
)
def test_how_many_connections_there_is_room_for(open_files: float, connections: float) -> None:
    assert room_for_connections(open_files) == connections


def test_the_limit_is_the_system_s(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_files_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert open_files_limit() == float("inf")
