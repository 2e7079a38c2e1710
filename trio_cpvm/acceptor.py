"""Accepting connections, and pausing while there are no file descriptors for more.

What has to wait waits in the kernel's queue: nothing is accepted that could not be served, so that running consoles and
the operators' listener always have the descriptors they need. Knows streams, nothing of what is spoken on them.
"""

from __future__ import annotations

import errno
import math
import os
import resource
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from .limits import Limit
from .logger import get_logger
from .streams import close_at_once

log = get_logger("trio_cpvm.acceptor")

S = TypeVar("S", bound=trio.abc.AsyncResource)

#: What ``accept`` says where this machine or process has no room; anything else is a bug (accept(2)).
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
#: A connection is a browser's, and perhaps one to a host.
FILES_PER_CONNECTION = 2
#: Descriptors for all else: listeners, operators' connections, name look-ups, second addresses of a host, files.
RESERVED_FILES = 192
#: How long a pause lasts where no connection ends, in seconds.
PAUSE_S = 1.0
#: A shortage is over once there has been none for so long, in seconds: at the limit it comes and goes all the time.
CALM_S = 2.0


def open_files_limit() -> float:
    """How many descriptors this process may have (the soft ``RLIMIT_NOFILE``); infinity for any number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if soft == resource.RLIM_INFINITY else soft


def room_for_connections(open_files: float) -> float:
    """How many connections so many descriptors are enough for; a very low limit is not all kept in reserve."""
    if open_files == math.inf:
        return open_files
    return max(open_files - RESERVED_FILES, open_files // 2) // FILES_PER_CONNECTION


class Acceptor:
    """Accepts on listeners and counts what is open.

    Args:
        holds_back: pause already while the descriptors that are left may be needed by what is open.
        on_limit: told when a shortage begins.
        open_files: how many descriptors there may be.

    Attributes:
        open: connections that are being handled.
        on_change: told how many there are, whenever that changes.
    """

    def __init__(
        self,
        *,
        holds_back: bool,
        on_limit: Callable[[Limit], None] = lambda _: None,
        open_files: Callable[[], float] = open_files_limit,
    ) -> None:
        self._holds_back = holds_back
        self._on_limit = on_limit
        self._open_files = open_files
        self._one_ended = trio.Event()
        self._short = False
        #: When the present shortage will have been over for long enough, unless it comes back; infinity while it lasts.
        self._calm_at = math.inf
        self.open = 0
        self.on_change: Callable[[int], None] = lambda _: None

    async def serve(
        self,
        handler: Callable[[S], Awaitable[object]],
        listeners: Sequence[trio.abc.Listener[S]],
        *,
        handler_nursery: trio.Nursery,
    ) -> None:
        """Accept until cancelled, and run ``handler`` on each connection in ``handler_nursery``.

        As ``trio.serve_listeners``: the listeners are closed at the end, each connection with its handler; what a
        handler raises leaves through ``handler_nursery``. But for what happens where descriptors are short.

        Raises:
            OSError: a listener failed otherwise.
        """
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._serve_one, handler, listener, handler_nursery)

    async def _serve_one(
        self, handler: Callable[[S], Awaitable[object]], listener: trio.abc.Listener[S], handler_nursery: trio.Nursery
    ) -> None:
        async with listener:
            while True:
                limit = self._open_files()
                if self._holds_back and self.open >= room_for_connections(limit):
                    await self._pause(f"{self.open} connections, RLIMIT_NOFILE is {limit:g}")
                    continue
                stream = None
                try:
                    if self._calm_at == math.inf:
                        stream = await listener.accept()
                    else:
                        with trio.CancelScope(deadline=self._calm_at):
                            stream = await listener.accept()
                except OSError as exc:
                    if exc.errno not in SHORTAGES:
                        raise
                    await self._pause(os.strerror(exc.errno))
                    continue
                if stream is not None:
                    self.open += 1
                    self.on_change(self.open)
                    handler_nursery.start_soon(self._handle, handler, stream)
                if self._short:
                    self._note_calm()

    async def _handle(self, handler: Callable[[S], Awaitable[object]], stream: S) -> None:
        try:
            await handler(stream)
        finally:
            try:
                await close_at_once(stream)
            finally:
                self.open -= 1
                self.on_change(self.open)
                self._one_ended.set()
                self._one_ended = trio.Event()

    async def _pause(self, why: str) -> None:
        if not self._short:
            self._short = True
            log.warning("accepting paused", detail=why)
            self._on_limit(Limit.OPEN_FILES)
        self._calm_at = math.inf
        with trio.move_on_after(PAUSE_S):
            await self._one_ended.wait()
        self._calm_at = trio.current_time() + CALM_S

    def _note_calm(self) -> None:
        if trio.current_time() >= self._calm_at:
            self._short, self._calm_at = False, math.inf
            log.warning("accepting again", connections=self.open)
