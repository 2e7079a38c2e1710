"""Which sockets have something to read: who only hands bytes on is called where it waits, and not woken for it.

To wake a task costs more than to read, unmask and write the key that it is woken for. So the tasks that copy bytes wait
here, each with a step that does its work without waiting for anything; a task is woken when its step cannot go on. One
task of trio's watches all sockets at once, by an epoll of its own: it wakes up once for all that have something, and a
socket is registered once for all that come. What the bytes are, the steps know.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable

import attrs
import trio

#: So many steps are made before other tasks have their turn.
MOST_AT_ONCE = 64

_readiness: trio.lowlevel.RunVar[Readiness] = trio.lowlevel.RunVar("readiness")


@attrs.define(eq=False)
class _Waiting:
    """A task that waits, what is done meanwhile, and what that raised."""

    task: trio.lowlevel.Task
    step: Callable[[], bool]
    fault: BaseException | None = None


class Readiness:
    """All sockets of one event loop that somebody waits for here."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: dict[int, _Waiting] = {}

    async def wait(self, descriptor: int, step: Callable[[], bool]) -> None:
        """Call ``step`` each time that the socket has something to read, or has ended, until it gives ``False``.

        It has to read, and may not wait. What it raises is raised here. Cancelling it loses nothing: a step is done, or
        not begun.

        Args:
            descriptor: the socket's; ``closing`` has to be called before it is closed.
            step: whether it wants to be called again.

        Raises:
            trio.BusyResourceError: somebody waits for it already.
            trio.ClosedResourceError: it was closed meanwhile.
        """
        if descriptor in self._waiting:
            raise trio.BusyResourceError("another task is already waiting for this socket")
        self._epoll.register(descriptor, select.EPOLLIN)
        waiting = self._waiting[descriptor] = _Waiting(trio.lowlevel.current_task(), step)

        def forget(_: Callable[[], object]) -> trio.lowlevel.Abort:
            self._forget(descriptor)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(forget)
        fault, waiting.fault = waiting.fault, None
        if fault is not None:
            try:
                raise fault
            finally:
                del fault  # its traceback has this frame: no cycle for the garbage collector

    def closing(self, descriptor: int) -> None:
        """The socket is about to be closed: who waits for it is woken with ``trio.ClosedResourceError``."""
        if descriptor in self._waiting:
            self._waiting[descriptor].fault = trio.ClosedResourceError("this socket was closed")
            self._wake(descriptor)

    async def watch(self) -> None:
        """Look after all of them, until cancelled.

        What comes while others are looked after, an answer to what was just sent perhaps, is looked after as well: a
        turn of the event loop costs more than to ask once more.
        """
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                left = MOST_AT_ONCE
                while left > 0 and (found := self._epoll.poll(0, left)):
                    left -= len(found)
                    for descriptor, _ in found:
                        self._look_after(descriptor)
        finally:
            self._epoll.close()

    def _look_after(self, descriptor: int) -> None:
        waiting = self._waiting.get(descriptor)
        if waiting is None:  # another one's step has ended it a moment ago
            return
        try:
            if waiting.step():
                return
        except BaseException as exc:  # it is that task's, whatever it is
            waiting.fault = exc
        if self._waiting.get(descriptor) is waiting:  # unless the step itself has ended the waiting
            self._wake(descriptor)

    def _wake(self, descriptor: int) -> None:
        trio.lowlevel.reschedule(self._forget(descriptor).task)

    def _forget(self, descriptor: int) -> _Waiting:
        with contextlib.suppress(OSError):  # closed without a word, and so forgotten by the system already
            self._epoll.unregister(descriptor)
        return self._waiting.pop(descriptor)


def readiness() -> Readiness:
    """That of the running event loop; who is the first to ask has it begin."""
    try:
        return _readiness.get()
    except LookupError:
        found = Readiness()
        _readiness.set(found)
        trio.lowlevel.spawn_system_task(found.watch, name="readiness")
        return found
