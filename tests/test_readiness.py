"""``Readiness`` on real sockets: who is called for what, and who is woken."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.helpers import within
from trio_cpvm.readiness import MOST_AT_ONCE, Readiness, readiness

timely = within(30)


@contextlib.contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection that do not block."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


class Reader:
    """Reads whatever comes, and gives what ``goes_on`` says of it.

    Attributes:
        found: what has come.
    """

    def __init__(self, sock: socket.socket, goes_on: Callable[[bytes], bool] = bool) -> None:
        self.found: list[bytes] = []
        self._socket = sock
        self._goes_on = goes_on

    def step(self) -> bool:
        self.found.append(self._socket.recv(100))
        return self._goes_on(self.found[-1])


class Steps(trio.abc.Instrument):
    """Counts how often a task runs."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.counts[task.name] = self.counts.get(task.name, 0) + 1


@timely
async def test_the_task_is_woken_at_the_end_only() -> None:
    with pair() as (ours, theirs):
        reader, steps = Reader(ours), Steps()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readiness().wait, ours.fileno(), reader.step, name="reader")
            await trio.testing.wait_all_tasks_blocked()
            trio.lowlevel.add_instrument(steps)
            for key in (b"a", b"b", b"c"):
                theirs.send(key)
                await trio.testing.wait_all_tasks_blocked(0.01)
            assert reader.found == [b"a", b"b", b"c"]
            assert "reader" not in steps.counts
            theirs.close()
        trio.lowlevel.remove_instrument(steps)
        assert reader.found[-1] == b""
        assert steps.counts["reader"] == 1


@timely
async def test_what_was_there_before_is_read_too() -> None:
    with pair() as (ours, theirs):
        theirs.send(b"early")
        reader = Reader(ours, lambda _: False)
        await readiness().wait(ours.fileno(), reader.step)
        assert reader.found == [b"early"]


@timely
async def test_what_is_left_unread_is_told_again() -> None:
    with pair() as (ours, theirs):
        theirs.send(bytes(250))
        theirs.close()
        reader = Reader(ours)
        await readiness().wait(ours.fileno(), reader.step)
        assert list(map(len, reader.found)) == [100, 100, 50, 0]


@timely
async def test_more_sockets_than_are_looked_after_at_once() -> None:
    with contextlib.ExitStack() as stack:
        pairs = [stack.enter_context(pair()) for _ in range(3 * MOST_AT_ONCE)]
        readers = [Reader(ours, lambda data: data != b"end") for ours, _ in pairs]
        async with trio.open_nursery() as nursery:
            for (ours, _), reader in zip(pairs, readers, strict=True):
                nursery.start_soon(readiness().wait, ours.fileno(), reader.step)
            await trio.testing.wait_all_tasks_blocked()
            for word in (b"key", b"end"):
                for _, theirs in pairs:
                    theirs.send(word)
                await trio.testing.wait_all_tasks_blocked(0.01)
        assert all(reader.found == [b"key", b"end"] for reader in readers)


@timely
async def test_sockets_that_never_rest_leave_other_tasks_their_turns() -> None:
    steps: list[int] = [0]
    with pair() as (ours, theirs):

        def echo(sock: socket.socket) -> bool:
            sock.send(sock.recv(1))
            steps[-1] += 1
            return True

        async with trio.open_nursery() as nursery:
            for sock in (ours, theirs):
                nursery.start_soon(readiness().wait, sock.fileno(), partial(echo, sock))
            await trio.testing.wait_all_tasks_blocked()
            ours.send(b"x")
            for _ in range(20):
                steps.append(0)
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert sum(steps) > 0
    assert max(steps) <= 2 * MOST_AT_ONCE, "who watches may be the last one in one turn and the first in the next"


class _Fault(BaseException):
    pass


@timely
async def test_a_step_s_fault_is_its_own_task_s() -> None:
    def fail(_: bytes) -> bool:
        raise _Fault

    with pair() as (ours, theirs), pair() as (others, their_others):
        reader = Reader(others, lambda data: data != b"end")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readiness().wait, others.fileno(), reader.step)
            theirs.send(b"x")
            with pytest.raises(_Fault):
                await readiness().wait(ours.fileno(), Reader(ours, fail).step)
            their_others.send(b"end")
        assert reader.found == [b"end"]


@timely
async def test_cancelled_nothing_is_lost() -> None:
    with pair() as (ours, theirs):
        reader = Reader(ours, lambda _: False)
        with trio.move_on_after(0.01):
            await readiness().wait(ours.fileno(), reader.step)
        theirs.send(b"later")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert reader.found == []
        await readiness().wait(ours.fileno(), reader.step)
        assert reader.found == [b"later"]


@timely
async def test_one_task_at_a_time() -> None:
    with pair() as (ours, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readiness().wait, ours.fileno(), Reader(ours).step)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await readiness().wait(ours.fileno(), Reader(ours).step)
            nursery.cancel_scope.cancel()


@timely
async def test_who_waits_for_a_socket_that_is_closed_is_woken() -> None:
    with pair() as (ours, _):

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await readiness().wait(ours.fileno(), Reader(ours).step)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            readiness().closing(ours.fileno())
            readiness().closing(ours.fileno())  # nobody waits any more
            ours.close()


@timely
async def test_a_socket_that_was_closed_without_a_word_harms_nobody_else() -> None:
    with pair() as (ours, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readiness().wait, ours.fileno(), Reader(ours).step)
            await trio.testing.wait_all_tasks_blocked()
            ours.close()
            nursery.cancel_scope.cancel()


@timely
async def test_what_cannot_be_watched_is_forgotten_at_once(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:  # epoll takes no regular files
        for _ in range(2):
            with pytest.raises(PermissionError):
                await readiness().wait(file.fileno(), lambda: False)


@timely
async def test_a_step_may_end_others_and_itself() -> None:
    """As a console does that ends: both of its sockets are closed, and both may have something to read."""
    with pair() as (ours, theirs), pair() as (others, their_others):
        both = [ours, others]
        began: list[socket.socket] = []

        def end(sock: socket.socket) -> bool:
            began.append(sock)
            for one in both:
                readiness().closing(one.fileno())
                one.close()
            return True

        async def wait(sock: socket.socket) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await readiness().wait(sock.fileno(), lambda: end(sock))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, ours)
            nursery.start_soon(wait, others)
            await trio.testing.wait_all_tasks_blocked()
            theirs.send(b"x")
            their_others.send(b"x")
        assert len(began) == 1


def test_each_event_loop_has_its_own() -> None:
    async def main() -> Readiness:
        assert readiness() is readiness()
        await trio.lowlevel.checkpoint()
        return readiness()

    assert trio.run(main) is not trio.run(main)
