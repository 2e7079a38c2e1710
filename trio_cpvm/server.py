"""The daemon: listeners up, connections in, and an orderly end.

Two nurseries, one in the other: listeners live in the inner one and can stop while connections in the outer one go on.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import ssl
from functools import partial

import attrs
import trio

from . import errors
from .access.setup import make_access_site
from .admin import AdminSite
from .certificates import BrowserTls
from .clients import Clients
from .config import Config
from .config_values import ListenAddress, UnixAddress
from .errors import BadConfiguration
from .front import Front
from .gate import Gate
from .listeners import listener_urls, open_listeners
from .logger import get_logger
from .metrics import Metrics
from .models import is_loopback
from .registry import SessionRegistry
from .site import Dial, PublicSite
from .static import PageFiles
from .token import TokenReader, read_key_file
from .upstream import Dialler

log = get_logger("trio_cpvm.server")

ADMIN_MAX_CONNECTIONS = 64
#: How long ended sessions may take to tell their browsers, in seconds.
GOODBYE_S = 5.0


@attrs.frozen
class Bound:
    """Where a server listens in the end.

    Attributes:
        public: addresses of the public listeners, as URLs or ``unix:/path``.
        admin: likewise, of the admin listener.
    """

    public: tuple[str, ...]
    admin: tuple[str, ...]


class Server:
    """One daemon.

    Args:
        config: the configuration.
        gate: decides about tokens; by default one with the configured key files.
        dial: opens the way to a VNC server; by default in every way that the configuration allows.

    Attributes:
        registry: the running sessions.
        front: what the public listeners' connections go to.
        admin_front: likewise, the admin listener's.
        stopped: set once ``run`` is over.

    Raises:
        BadConfiguration: a key or certificate file, or one of the access endpoint's, cannot be used, or the page is
            not built.
    """

    def __init__(self, config: Config, *, gate: Gate | None = None, dial: Dial | None = None) -> None:
        self.config = config
        for warning in insecure_settings(config):
            log.warning("insecure configuration", detail=warning)
        self.registry = SessionRegistry(config.session)
        metrics = Metrics()
        self._drain_asked = trio.Event()
        self._stop_asked = trio.Event()
        self.stopped = trio.Event()
        dialler = Dialler(config)
        gate = gate or make_gate(config)
        pages = PageFiles(
            frame_ancestors=config.server.allowed_origins,
            tls_only=bool(config.server.listen_tls) and not config.server.listen,
        )
        public = PublicSite(
            config=config,
            gate=gate,
            registry=self.registry,
            pages=pages,
            dial=dial or dialler.dial,
            start_tls=dialler.start_tls,
            access=make_access_site(config, gate.tokens, pages) if config.access.enabled else None,
            metrics=metrics,
        )
        self._certificate = BrowserTls(config.tls) if config.server.listen_tls else None
        self.front = Front(
            site=public,
            head_timeout_s=config.server.head_timeout_s,
            max_connections=config.server.max_connections,
            tls=self._context,
            clients=Clients(trusted_proxies=config.server.trusted_proxies, proxy_protocol=config.server.proxy_protocol),
            on_refused=partial(metrics.refused, "request"),
        )
        self.admin_front = Front(
            site=AdminSite(registry=self.registry, start_drain=self.drain, metrics=metrics),
            head_timeout_s=config.server.head_timeout_s,
            max_connections=ADMIN_MAX_CONNECTIONS,
        )
        self._show_in(metrics)

    def _show_in(self, metrics: Metrics) -> None:
        fronts = {"public": self.front, "admin": self.admin_front}
        metrics.watch_connections(
            lambda: {name: front.connections for name, front in fronts.items()}, lambda: self.front.turned_away
        )
        metrics.watch_sessions(
            lambda: len(self.registry), lambda: self.registry.draining, lambda: self.registry.bytes_relayed
        )

    def drain(self) -> None:
        """Take no new sessions, let the running ones finish within ``drain_timeout_s``, then stop."""
        self.registry.draining = True
        self._drain_asked.set()

    def stop(self) -> None:
        """Stop now; the browsers are still told."""
        self.drain()
        self._stop_asked.set()

    def reload(self) -> None:
        """Take up what has changed on disk and can be taken up while sessions run."""
        if self._certificate is not None:
            self._certificate.reload()
        else:
            log.info("nothing to reload")

    def _context(self) -> ssl.SSLContext:
        if self._certificate is None:
            raise BadConfiguration("server.listen_tls needs tls.certificate and tls.private_key")
        return self._certificate.context

    async def run(self, *, task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until drained or stopped. Reports ``Bound`` once every listener is up.

        The admin listener answers until the end, so that an operator can watch a drain.

        Raises:
            BadConfiguration: an address cannot be listened on.
        """
        async with contextlib.AsyncExitStack() as stack:
            plain = [li for a in self.config.server.listen for li in await stack.enter_async_context(open_listeners(a))]
            tls = [
                li for a in self.config.server.listen_tls for li in await stack.enter_async_context(open_listeners(a))
            ]
            admin = await stack.enter_async_context(open_listeners(self.config.admin.listen))
            async with trio.open_nursery() as connections:
                accept_admin = partial(
                    trio.serve_listeners, self.admin_front.handle, admin, handler_nursery=connections
                )
                connections.start_soon(accept_admin)
                async with trio.open_nursery() as accepting:
                    for listeners, handler in ((plain, self.front.handle), (tls, self.front.handle_tls)):
                        if listeners:
                            accept = partial(trio.serve_listeners, handler, listeners, handler_nursery=connections)
                            accepting.start_soon(accept)
                    if self._certificate is not None:
                        accepting.start_soon(self._certificate.watch)
                    bound = Bound((*listener_urls(plain), *listener_urls(tls, "https")), listener_urls(admin))
                    for url in bound.public:
                        log.info("listening", url=url)
                    for url in bound.admin:
                        log.info("listening for operators", url=url)
                    task_status.started(bound)
                    await self._drain_asked.wait()
                    accepting.cancel_scope.cancel()
                for listener in (*plain, *tls):
                    await trio.aclose_forcefully(listener)
                await self._finish_sessions()
                connections.cancel_scope.cancel()
        log.info("stopped")
        self.stopped.set()

    async def _finish_sessions(self) -> None:
        timeout_s = self.config.server.drain_timeout_s
        if len(self.registry):
            log.info("draining", sessions=len(self.registry), timeout_s=timeout_s)
        with trio.move_on_after(timeout_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_on_stop, nursery.cancel_scope)
                await self.registry.wait_empty()
                nursery.cancel_scope.cancel()
        ended = self.registry.end_all(errors.DRAINING)
        if ended:
            log.info("sessions ended", count=ended)
        with trio.move_on_after(GOODBYE_S):
            await self.registry.wait_empty()

    async def _cancel_on_stop(self, scope: trio.CancelScope) -> None:
        await self._stop_asked.wait()
        scope.cancel()


async def run_daemon(config: Config) -> None:
    """Serve until a signal: SIGTERM drains, SIGINT or a second SIGTERM stops; SIGHUP reloads the certificate."""
    _raise_file_limit()
    server = Server(config)
    async with trio.open_nursery() as nursery:
        await nursery.start(obey_signals, server)
        await server.run()
        nursery.cancel_scope.cancel()


def _raise_file_limit() -> None:
    """A console takes two file descriptors; the usual soft limit of 1,024 is for programs that use ``select``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def obey_signals(server: Server, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Turn signals into ``drain`` and ``stop`` until cancelled."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            name = signal.Signals(number).name
            if number == signal.SIGHUP:
                log.info("reload asked for", signal=name)
                server.reload()
            elif number == signal.SIGINT or server.registry.draining:
                log.info("stopping", signal=name)
                server.stop()
            else:
                log.info("drain asked for", signal=name)
                server.drain()


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


def make_gate(config: Config) -> Gate:
    """A gate as the configuration says.

    Raises:
        BadConfiguration: a key file cannot be used.
    """
    keys = tuple(read_key_file(path) for path in config.token.key_files)
    tokens = TokenReader(
        keys=keys,
        accept_legacy_cbc=config.token.accept_legacy_cbc,
        require_expiry=config.token.require_expiry,
        clock_skew_s=config.token.clock_skew_s,
    )
    return Gate(
        tokens=tokens,
        check_source_ip=config.session.check_source_ip,
        single_use=config.token.single_use,
        reconnect_window_s=config.session.reconnect_window_s,
    )
