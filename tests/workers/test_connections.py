"""Connections counted in shared memory: exactly, by client as well, and given to whoever has fewest."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from tests.helpers import within
from tests.workers.daemon import ROOT
from trio_cpvm.front import TooManyConnections
from trio_cpvm.limits import Limit
from trio_cpvm.workers import connections as module
from trio_cpvm.workers.connections import NOBODY, SharedConnections, SharedListener, SharedRoom

timely = within(30)


@pytest.fixture
def shared() -> Iterator[SharedConnections]:
    found = SharedConnections.create(3)
    yield found
    found.close()


@timely
async def test_all_workers_together_have_no_more_than_there_may_be(shared: SharedConnections) -> None:
    one, two = SharedRoom(shared, 1), SharedRoom(shared, 2)
    await one.enter(3)
    await two.enter(3)
    await two.enter(3)
    assert shared.open == 3
    for room in (one, two):
        with pytest.raises(TooManyConnections, match=r"server.max_connections = 3") as caught:
            await room.enter(3)
        assert caught.value.limit is Limit.CONNECTIONS
    await two.enter(4)
    one.leave()
    two.leave()
    await one.enter(3)
    shared.clear(2)
    assert shared.open == 1


@timely
async def test_each_client_has_a_limit_of_its_own(shared: SharedConnections) -> None:
    one, two = SharedRoom(shared, 1), SharedRoom(shared, 3)
    await one.enter_client("192.0.2.1", 2)
    await two.enter_client("192.0.2.1", 2)
    with pytest.raises(TooManyConnections) as caught:
        await one.enter_client("192.0.2.1", 2)
    assert caught.value.limit is Limit.CONNECTIONS_PER_CLIENT
    await one.enter_client("192.0.2.2", 2)
    await one.enter_client("192.0.2.1", 0)
    one.leave_client("192.0.2.1")
    two.leave_client("192.0.2.1")
    await two.enter_client("192.0.2.1", 2)


def test_who_has_more_stands_back(shared: SharedConnections) -> None:
    shared.write_accepted(1, 2)
    assert not shared.has_more(1), "the others are not there"
    shared.write_accepted(2, 1)
    assert shared.has_more(1)
    assert not shared.has_more(2)
    shared.write_accepted(2, NOBODY)
    assert not shared.has_more(1)


ATTEMPTS = """
import sys, trio
from trio_cpvm.front import TooManyConnections
from trio_cpvm.workers.connections import SharedConnections, SharedRoom

async def main():
    room, entered = SharedRoom(SharedConnections(int(sys.argv[1]), 3), int(sys.argv[2])), 0
    for _ in range(4000):
        try:
            await room.enter(5000)
            entered += 1
        except TooManyConnections:
            pass
    print(entered)

trio.run(main)
"""


def test_processes_that_come_at_the_same_time_get_no_more_than_there_are(shared: SharedConnections) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ATTEMPTS, str(shared.descriptor), str(number)],
            pass_fds=[shared.descriptor],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for number in (1, 2)
    ]
    entered = [int(process.communicate(timeout=20)[0]) for process in processes]
    assert sum(entered) == shared.open == 5000


def test_a_lock_whose_holder_has_died_is_free(shared: SharedConnections) -> None:
    code = "import fcntl, sys; fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX); print('has it', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(shared.descriptor)],
        pass_fds=[shared.descriptor],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert not shared.try_lock()
        process.kill()
        process.wait()
        assert shared.try_lock()
        shared.unlock()


# -- accepting ---------------------------------------------------------------------------------------------------------


@timely
async def test_who_has_fewer_accepts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        busy = SharedListener(listening.dup(), lambda: True)
        free = SharedListener(listening.dup(), lambda: False)
        taken: list[str] = []

        async def accept(name: str, listener: SharedListener) -> None:
            while True:
                async with await listener.accept():
                    taken.append(name)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept, "busy", busy)
            nursery.start_soon(accept, "free", free)
            for number in range(5):
                async with await trio.open_tcp_stream(*listening.getsockname()) as stream:
                    assert await stream.receive_some() == b""
                    assert len(taken) == number + 1
            nursery.cancel_scope.cancel()
        assert taken.count("free") >= 4
        await busy.aclose()
        await free.aclose()


@timely
async def test_who_has_more_takes_what_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOMENT_S", 0.001)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with SharedListener(listening.dup(), lambda: True) as only:
            async with await trio.open_tcp_stream(*listening.getsockname()) as stream, await only.accept() as accepted:
                await accepted.send_all(b"x")
                assert await stream.receive_some() == b"x"


@timely
async def test_a_closed_listener_accepts_no_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listener = SharedListener(listening.dup(), lambda: False)
        async with trio.open_nursery() as nursery:

            async def accept() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await listener.accept()

            nursery.start_soon(accept)
            await trio.testing.wait_all_tasks_blocked()
            await listener.aclose()
        await accept()
