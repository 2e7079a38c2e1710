"""The process around the server: its signals, its service manager, its limits."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from .config import Config, LogConfig, config_text
from .ending import GOODBYE_S
from .listeners import InheritedSockets
from .logger import get_logger
from .logs import configure_logging, whole_lines
from .reload import Reloader
from .server import Server
from .systemd import ServiceManager, inherited_sockets
from .websocket import learn_answers

if TYPE_CHECKING:  # one process does without
    from .workers.supervisor import Supervisor

log = get_logger("trio_cpvm.daemon")

#: How long the end may take beyond the sessions' own, in seconds.
END_S = 5.0


async def run_daemon(config: Config, path: Path) -> None:
    """Serve until a signal: SIGTERM drains, SIGINT or a second SIGTERM stops; SIGHUP reads the configuration anew.

    Args:
        config: what the file says now.
        path: the file.

    Raises:
        BadConfiguration: something that it names cannot be used.
    """
    _raise_file_limit()
    manager = ServiceManager.from_environment(os.environ)
    inherited = InheritedSockets(inherited_sockets(os.environ))
    server: Server | Supervisor
    configure: Callable[[LogConfig], None] = configure_logging
    if config.server.workers == 1:
        server = Server(config, inherited=inherited)
    else:
        from .workers.supervisor import Supervisor

        configure = partial(configure_logging, stream=whole_lines(sys.stderr))
        configure(config.log)
        server = Supervisor(config_text(path), path, inherited=inherited)

    def status() -> str:
        return f"{'draining' if server.draining else 'serving'}, sessions: {len(server.registry)}"

    reloader = Reloader(server, path, configure_logging=configure, status=status, manager=manager)
    up = trio.Event()

    async def reload() -> None:
        await up.wait()
        await reloader.reload()

    async with trio.open_nursery() as nursery:
        await nursery.start(obey_signals, server, reload)
        await nursery.start(server.run)
        await manager.ready(status())
        up.set()
        if isinstance(server, Server):
            nursery.start_soon(learn_answers)
        nursery.start_soon(manager.keep_informed, status)
        left_s = await server.wait_draining()
        await manager.stopping(status(), within_s=left_s + GOODBYE_S + END_S)
        await server.stopped.wait()
        nursery.cancel_scope.cancel()


def _raise_file_limit() -> None:
    """A console takes two file descriptors; the usual soft limit of 1,024 is for programs that use ``select``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def obey_signals(
    server: Server | Supervisor,
    reload: Callable[[], Awaitable[None]] | None = None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Turn signals into ``drain``, ``stop`` and ``reload`` until cancelled."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            task_status.started()
            async for number in signals:
                name = signal.Signals(number).name
                if number == signal.SIGHUP:
                    log.info("reload asked for", signal=name)
                    if reload is not None:
                        nursery.start_soon(reload)
                    else:
                        log.info("nothing to reload")
                elif number == signal.SIGINT or server.draining:
                    log.info("stopping", signal=name)
                    server.stop()
                else:
                    log.info("drain asked for", signal=name)
                    server.drain()
