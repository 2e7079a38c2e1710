"""The supervisor: the process that the operator starts where several serve consoles.

It opens the listeners and lets the workers accept on them, answers operators, and is the authority on all that consoles
share. It takes no connection of a browser, opens no token and relays no byte, so nothing from outside can hurt it.
Has the face of ``server.Server``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import trio

from .. import errors
from ..acceptor import Acceptor
from ..access.memory import AccessMemory
from ..admin import AdminSite
from ..attached_repl import AttachedRepl
from ..authority import Authority
from ..config import Config, config_of
from ..ending import Ending
from ..errors import ConsoleError
from ..front import Front
from ..http import Request
from ..http_io import TakeOver
from ..inspection import names_in_supervisor
from ..limiter import FailureLimiter
from ..listeners import InheritedSockets
from ..logger import get_logger
from ..metrics import Metrics
from ..parts import Parts, make_parts
from ..server import ADMIN_MAX_CONNECTIONS, Bound, limits_in, open_all, tell_bound, warn
from .answers import Shared
from .connections import SharedConnections
from .messages import Start
from .pool import Pool, WorkerProcess
from .remote_session import RemoteSession

log = get_logger("trio_cpvm.supervisor")


class Supervisor:
    """One daemon of several processes.

    Args:
        text: of the configuration file.
        path: the file.
        inherited: sockets that somebody else has opened for it.

    Attributes:
        parts: what the configuration says; the workers have made the same of it.
        metrics: what is counted, by all.
        authority: decides about consoles.
        registry: the running sessions, of all workers.
        pool: the workers.
        admin_front: what the admin listener's connections go to.
        stopped: set once ``run`` is over.

    Raises:
        BadConfiguration: as ``config_of`` and ``make_parts``.
    """

    def __init__(self, text: str, path: Path, *, inherited: InheritedSockets | None = None) -> None:
        config = config_of(text, path)
        warn(config)
        self._first_text = self._text = text
        self._path = path
        self.metrics = Metrics()
        self.authority: Authority[RemoteSession] = Authority(config, metrics=self.metrics)
        self.registry = self.authority.registry
        self._ending = Ending(self.registry)
        self.stopped = trio.Event()
        self._inherited = inherited or InheritedSockets(())
        self._callers = AccessMemory(FailureLimiter(config.access.max_failures, config.access.failure_window_s))
        self.parts = make_parts(config, access_memory=self._callers)
        self._connected = SharedConnections.create(config.server.workers)
        self._prepared: tuple[str, Sequence[WorkerProcess]] = ("", ())
        self._shared = Shared(
            authority=self.authority,
            callers=self._callers,
            metrics=self.metrics,
            tell_all=lambda message: self.pool.tell_all(message),
        )
        self.pool = Pool(
            size=config.server.workers,
            shared=self._shared,
            connections=self._connected,
            start=self._start_of,
            on_death=self.metrics.worker_died,
        )
        self._repl = AttachedRepl(names=self._names)
        self.admin_front = Front(
            site=AdminSite(
                registry=self.registry,
                start_drain=self.drain,
                metrics=self.metrics,
                connections=self._connections,
                attach=self._attach,
                gather=self.pool.reports,
                is_ready=lambda: bool(self.pool.serving),
            ),
            head_timeout_s=config.server.head_timeout_s,
            max_connections=ADMIN_MAX_CONNECTIONS,
        )
        self._admin_acceptor = Acceptor(holds_back=False, on_limit=self.metrics.limit_reached)
        self._show_in(self.metrics)

    @property
    def config(self) -> Config:
        """The configuration in use."""
        return self.parts.config

    @property
    def draining(self) -> bool:
        """Whether the end has begun."""
        return self._ending.begun

    async def wait_draining(self) -> float:
        """As ``Server.wait_draining``."""
        return await self._ending.wait_begun()

    def drain(self) -> None:
        """As ``Server.drain``."""
        self._ending.drain(self.config.server.drain_timeout_s)

    def stop(self) -> None:
        """As ``Server.stop``."""
        self.drain()
        self._ending.stop()

    # -- another configuration

    async def prepare(self, config_text: str) -> None:
        """Have every worker make what that configuration says, and wait; all of them can, or it is forgotten.

        Raises:
            BadConfiguration: one cannot.
        """
        self._prepared = (config_text, await self.pool.prepare(config_text))

    def take(self, parts: Parts) -> None:
        """Work with these parts from now on, which ``prepare`` was for; the workers are told to."""
        config = parts.config
        warn(config)
        self.parts = parts
        self.authority.configure(config)
        self._callers.configure(config.access)
        self.admin_front.head_timeout_s = config.server.head_timeout_s
        self._text, prepared = self._prepared
        self._prepared = ("", ())
        self.pool.take(prepared, self._waiting())

    async def settle(self) -> None:
        """Wait until the workers have taken what ``take`` told them."""
        await self.pool.settle()

    def _waiting(self) -> list[tuple[str, str, int]]:
        return [
            *(("token", key, wait_s) for key, wait_s in self.authority.waiting()),
            *(("access", key, wait_s) for key, wait_s in self._callers.waiting()),
        ]

    def _start_of(self, number: int) -> Start:
        return Start(number, self._first_text, self._text, str(self._path), self._waiting())

    # -- operators

    def _show_in(self, metrics: Metrics) -> None:
        metrics.watch_connections(self._connections, lambda: self._shared.turned_away)
        metrics.watch_sessions(
            lambda: len(self.registry), lambda: self.registry.draining, lambda: self.registry.bytes_relayed
        )
        metrics.watch_limits(lambda: limits_in(self.config))
        metrics.watch_tasks(
            lambda: trio.lowlevel.current_statistics().tasks_living + sum(worker.tasks for worker in self.pool.serving)
        )
        metrics.watch_workers(
            lambda: len(self.pool.serving), lambda: [worker.process.pid for worker in self.pool.workers.values()]
        )

    def _connections(self) -> dict[str, int]:
        """How many are open, by listener."""
        return {"public": self._connected.open, "admin": self.admin_front.connections}

    def _attach(self, request: Request) -> TakeOver:
        if not self.config.admin.repl:
            raise ConsoleError(errors.NOT_FOUND, "admin.repl = false")
        number = request.parameter("worker")
        answer = self._repl.attach(request)
        if number is None:
            return answer
        worker = self.pool.workers.get(int(number)) if number.isascii() and number.isdigit() else None
        if worker is None or not worker.ready:
            raise ConsoleError(errors.NOT_FOUND, "no such worker")
        return TakeOver(worker.hand_over)

    def _names(self) -> Mapping[str, object]:
        return names_in_supervisor(self, self.registry, self.config)

    # -- from start to end

    async def run(self, *, task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until drained or stopped. Reports ``Bound`` once every worker serves. As ``Server.run`` otherwise.

        Raises:
            BadConfiguration: as there, or a worker's at its start.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._connected.close)
            opened = await open_all(self.config, self._inherited, stack)
            listeners = [(listener, False) for listener in opened.plain] + [(one, True) for one in opened.tls]
            async with trio.open_nursery() as connections:
                accept_admin = partial(
                    self._admin_acceptor.serve, self.admin_front.handle, opened.admin, handler_nursery=connections
                )
                shared = self._inherited.were_for(self.config.admin.listen)
                async with trio.open_nursery() as workers:
                    workers.start_soon(self.pool.run, [(one.socket.fileno(), tls) for one, tls in listeners])
                    async with trio.open_nursery() as accepting:
                        (accepting if shared else connections).start_soon(accept_admin)
                        await self._wait_up_or_drained()
                        tell_bound(opened.bound, self.config)
                        task_status.started(opened.bound)
                        self.pool.drain(await self._ending.wait_begun())
                        accepting.cancel_scope.cancel()
                    for listener, _ in listeners:
                        await trio.aclose_forcefully(listener)
                    await self._ending.finish_sessions()
                    await self.pool.finish()
                connections.cancel_scope.cancel()
        log.info("stopped")
        self.stopped.set()

    async def _wait_up_or_drained(self) -> None:
        async with trio.open_nursery() as nursery:

            async def wait_drained() -> None:
                await self._ending.wait_begun()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait_drained)
            await self.pool.up.wait()
            nursery.cancel_scope.cancel()
