"""The daemon: listeners up, connections in, and an orderly end.

Two nurseries, one in the other: listeners live in the inner one and can stop while connections in the outer one go on.
"""

from __future__ import annotations

import contextlib
import math
from functools import partial

import attrs
import trio

from . import errors
from .acceptor import FILES_PER_CONNECTION, RESERVED_FILES, Acceptor, open_files_limit, room_for_connections
from .admin import AdminSite
from .attached_repl import AttachedRepl
from .authority import Authority, InThisProcess
from .browser_websocket import MAX_MESSAGE_BYTES
from .config import Config
from .config_values import ListenAddress, UnixAddress
from .ending import Ending
from .errors import ConsoleError
from .front import Front
from .gate import Gate
from .http import Request
from .http_io import TakeOver
from .inspection import names_in_reach
from .limits import Limit
from .listeners import InheritedSockets, listener_urls, open_listeners
from .logger import get_logger
from .metrics import Metrics
from .models import is_loopback
from .parts import Parts, make_parts
from .public_side import PublicSide
from .readiness import readiness
from .session import Session
from .site import Dial

log = get_logger("trio_cpvm.server")

ADMIN_MAX_CONNECTIONS = 64


@attrs.frozen
class Bound:
    """Where a server listens in the end.

    Attributes:
        public: addresses of the public listeners, as URLs or ``unix:/path``.
        admin: likewise, of the admin listener.
    """

    public: tuple[str, ...]
    admin: tuple[str, ...]


@attrs.frozen
class Opened:
    """Listeners of a daemon: for browsers without and with TLS, and for operators."""

    plain: list[trio.SocketListener]
    tls: list[trio.SocketListener]
    admin: list[trio.SocketListener]

    @property
    def bound(self) -> Bound:
        """Where they are."""
        return Bound((*listener_urls(self.plain), *listener_urls(self.tls, "https")), listener_urls(self.admin))


async def open_all(config: Config, inherited: InheritedSockets, stack: contextlib.AsyncExitStack) -> Opened:
    """Open every listener, until the stack is left.

    Raises:
        BadConfiguration: an address cannot be listened on, or an inherited socket is for none of them.
    """

    async def open_each(*addresses: ListenAddress) -> list[trio.SocketListener]:
        opened = []
        for address in addresses:
            opened += await stack.enter_async_context(open_listeners(address, inherited))
        return opened

    server = config.server
    plain, tls = await open_each(*server.listen), await open_each(*server.listen_tls)
    opened = Opened(plain, tls, await open_each(config.admin.listen))
    inherited.require_all_taken()
    return opened


class Server:
    """One daemon.

    Args:
        config: the configuration.
        gate: looks at tokens; by default one with the configured key files.
        dial: opens the way to a VNC server; by default in every way that the configuration allows.
        inherited: sockets that somebody else has opened for it.

    Attributes:
        parts: what it works with.
        metrics: what it counts.
        authority: decides about consoles.
        registry: the running sessions.
        front: what the public listeners' connections go to.
        admin_front: likewise, the admin listener's.
        metrics: what was counted.
        stopped: set once ``run`` is over.

    Raises:
        BadConfiguration: as ``make_parts``.
    """

    def __init__(
        self,
        config: Config,
        *,
        gate: Gate | None = None,
        dial: Dial | None = None,
        inherited: InheritedSockets | None = None,
    ) -> None:
        warn(config)
        self.metrics = Metrics()
        self.authority: Authority[Session] = Authority(config, metrics=self.metrics)
        self.registry = self.authority.registry
        self._ending = Ending(self.registry)
        self.stopped = trio.Event()
        self._inherited = inherited or InheritedSockets(())
        parts = make_parts(config, gate=gate, dial=dial)
        self._public = PublicSide(parts, admission=InThisProcess(self.authority), metrics=self.metrics)
        self.front = self._public.front
        self._repl = AttachedRepl(names=partial(names_in_reach, self))
        self.admin_front = Front(
            site=AdminSite(
                registry=self.registry,
                start_drain=self.drain,
                metrics=self.metrics,
                connections=self._connections,
                attach=self._attach,
            ),
            head_timeout_s=config.server.head_timeout_s,
            max_connections=ADMIN_MAX_CONNECTIONS,
        )
        self._admin_acceptor = Acceptor(holds_back=False, on_limit=self.metrics.limit_reached)
        self._show_in(self.metrics)

    @property
    def parts(self) -> Parts:
        """What it works with."""
        return self._public.parts

    @property
    def config(self) -> Config:
        """The configuration in use."""
        return self.parts.config

    @property
    def draining(self) -> bool:
        """Whether the end has begun."""
        return self._ending.begun

    async def wait_draining(self) -> float:
        """Wait until the end begins; seconds that are left until the last session is ended, if nobody stops it."""
        return await self._ending.wait_begun()

    async def prepare(self, config_text: str) -> None:
        """Nobody else has to agree to another configuration."""

    async def settle(self) -> None:
        """What was taken is in force."""

    def take(self, parts: Parts) -> None:
        """Work with other parts from this moment on: all of them, without an await in between.

        Sessions that run keep the limits and hosts' TLS they began with; only what the registry counts is new to them.
        """
        config = parts.config
        warn(config)
        self.authority.configure(config)
        parts.access_memory.configure(config.access)
        self._public.take(parts)
        self.admin_front.head_timeout_s = config.server.head_timeout_s

    def _show_in(self, metrics: Metrics) -> None:
        metrics.watch_connections(self._connections, lambda: self.front.turned_away)
        metrics.watch_sessions(
            lambda: len(self.registry), lambda: self.registry.draining, lambda: self.registry.bytes_relayed
        )
        metrics.watch_limits(lambda: limits_in(self.config))
        metrics.watch_tasks(lambda: trio.lowlevel.current_statistics().tasks_living)
        metrics.watch_workers(lambda: 1, tuple)

    def _attach(self, request: Request) -> TakeOver:
        if not self.config.admin.repl:
            raise ConsoleError(errors.NOT_FOUND, "admin.repl = false")
        return self._repl.attach(request)

    def _connections(self) -> dict[str, int]:
        """How many are open, by listener."""
        return {"public": self.front.connections, "admin": self.admin_front.connections}

    def drain(self) -> None:
        """Take no new sessions, let the running ones finish within ``drain_timeout_s``, then stop."""
        self._ending.drain(self.config.server.drain_timeout_s)

    def stop(self) -> None:
        """Stop now; the browsers are still told."""
        self.drain()
        self._ending.stop()

    async def run(self, *, task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until drained or stopped. Reports ``Bound`` once every listener is up.

        The admin listener answers until the end, so that an operator can watch a drain; but an inherited one, which the
        daemon that comes next may have as well, is given up when the drain begins.

        Raises:
            BadConfiguration: an address cannot be listened on, or an inherited socket is for none of them.
        """
        readiness()  # before the first console wants it
        async with contextlib.AsyncExitStack() as stack:
            opened = await open_all(self.config, self._inherited, stack)
            plain, tls, admin = opened.plain, opened.tls, opened.admin
            async with trio.open_nursery() as connections:
                accept_admin = partial(
                    self._admin_acceptor.serve, self.admin_front.handle, admin, handler_nursery=connections
                )
                async with trio.open_nursery() as accepting:
                    shared = self._inherited.were_for(self.config.admin.listen)
                    (accepting if shared else connections).start_soon(accept_admin)
                    accepting.start_soon(partial(self._public.serve, plain, tls, connections=connections))
                    tell_bound(opened.bound, self.config)
                    task_status.started(opened.bound)
                    await self._ending.wait_begun()
                    accepting.cancel_scope.cancel()
                await self._ending.finish_sessions()
                connections.cancel_scope.cancel()
        log.info("stopped")
        self.stopped.set()


def warn(config: Config) -> None:
    """Log what the configuration leaves unprotected."""
    for warning in insecure_settings(config):
        log.warning("insecure configuration", detail=warning)


def tell_bound(bound: Bound, config: Config) -> None:
    """Log where a daemon listens, and what will never be reached there."""
    for url in bound.public:
        log.info("listening", url=url)
    for url in bound.admin:
        log.info("listening for operators", url=url)
    for warning in scarce_files(config, open_files_limit()):
        log.warning("few open files", detail=warning)


def scarce_files(config: Config, open_files: float) -> list[str]:
    """Which limits will never be reached for want of file descriptors."""
    workers = config.server.workers
    room, wanted = room_for_connections(open_files) * workers, config.server.max_connections
    if room >= wanted:
        return []
    limits = [Limit.CONNECTIONS, *([Limit.SESSIONS] if room < config.session.max_sessions else [])]
    values = limits_in(config)
    beyond = " and ".join(f"{limit} = {values[limit]:g}" for limit in limits)
    needed = math.ceil(wanted / workers) * FILES_PER_CONNECTION + RESERVED_FILES
    return [f"RLIMIT_NOFILE = {open_files:g} (wanted: {needed}): room for {room:g} connections, less than {beyond}"]


def limits_in(config: Config) -> dict[Limit, float]:
    """What each limit is at the moment; 0: none."""
    values: dict[Limit, float] = {Limit.MESSAGE_SIZE: MAX_MESSAGE_BYTES, Limit.OPEN_FILES: open_files_limit()}
    for limit in Limit:
        if limit not in values:
            section, _, key = limit.partition(".")
            values[limit] = getattr(getattr(config, section), key)
    return values


def insecure_settings(config: Config) -> list[str]:
    """What the configuration leaves unprotected although it could be."""
    upstream, warnings = config.upstream, []
    if not upstream.verify_certificate:
        warnings.append("upstream.verify_certificate = false: anybody in between can read and take over consoles")
    elif not upstream.verify_hostname:
        warnings.append("upstream.verify_hostname = false: any host of the same authority passes for any other")
    if upstream.allow_anonymous_tls:
        warnings.append(
            "upstream.allow_anonymous_tls = true: TLS without certificates keeps nobody out who is in between"
        )
    if upstream.allow_no_authentication:
        warnings.append("upstream.allow_no_authentication = true: hosts that have lost their password are accepted")
    for proxy in config.server.trusted_proxies:
        if proxy.network is not None and proxy.network.prefixlen == 0:
            warnings.append(f"server.trusted_proxies = {proxy}: everybody may say what their address is")
    exposed = [str(address) for address in config.server.listen if not _stays_on_this_machine(address)]
    if config.access.enabled and exposed:
        warnings.append(
            f"access.enabled = true and server.listen = {', '.join(exposed)}: callers' keys travel without encryption"
        )
    return warnings


def _stays_on_this_machine(address: ListenAddress) -> bool:
    return isinstance(address, UnixAddress) or is_loopback(address.host)
