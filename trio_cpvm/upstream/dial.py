"""From a console target to a stream on which its VNC server speaks RFB: TCP, TLS, tunnel, WebSocket or unix socket.

Which way it is follows from the target and the configuration. Everything that is opened is closed where a way fails,
also when cancelled; deadlines are inside.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import trio

from .. import errors
from ..config import Config
from ..config_values import host_matches
from ..errors import ConsoleError
from ..http.tunnel import TunnelAnswer, tunnel
from ..limits import Limit
from ..models import ConsoleTarget
from ..streams import PrefixedStream
from ..websocket import open_host_websocket
from .tcp import dial_tcp, out_of_resources
from .tls import HostTls

RECEIVE_BYTES = 4096

_Way: TypeAlias = Callable[[ConsoleTarget, trio.Nursery], Awaitable[trio.abc.Stream]]


class Dialler:
    """Opens the ways that the configuration allows.

    Args:
        config: networks, time limit, TLS.

    Raises:
        BadConfiguration: a certificate file cannot be used.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._tls = HostTls(config.upstream)

    async def dial(self, target: ConsoleTarget, nursery: trio.Nursery) -> trio.abc.Stream:
        """Open the way to a console target.

        Args:
            target: what to open.
            nursery: for a WebSocket's reader; must live as long as the stream.

        Raises:
            ConsoleError: it cannot be reached, or must not be.
        """
        timeout_s = self._config.session.connect_timeout_s
        way = self._way(target)
        if way is None:
            return await self._tcp(target.host, target.port)  # which has the same limit
        try:
            with trio.fail_after(timeout_s):
                return await way(target, nursery)
        except trio.TooSlowError:
            detail = f"no connection to {target.address} within {timeout_s:g} s"
            raise ConsoleError(errors.UPSTREAM_TIMEOUT, detail, limit=Limit.CONNECT_TIME) from None

    def _way(self, target: ConsoleTarget) -> _Way | None:
        """How to get there where it is not TCP alone."""
        if target.websocket_url:
            return self._websocket
        if target.tunnel_url:
            return self._tunnel
        if target.host.startswith("unix:/"):
            return self._unix
        marked = self._config.upstream.tls_hosts
        if any(host_matches(pattern, target.host, target.port) for pattern in marked):
            return self._tls_from_the_start
        return None

    async def _tls_from_the_start(self, target: ConsoleTarget, _: trio.Nursery) -> trio.abc.Stream:
        return await self._tls.start(await self._tcp(target.host, target.port), target.host)

    async def start_tls(self, stream: trio.abc.Stream, target: ConsoleTarget, *, anonymous: bool) -> trio.abc.Stream:
        """Begin TLS on a stream in the middle of RFB (VeNCrypt). Raises as ``HostTls.start``."""
        host = urlsplit(target.tunnel_url or target.websocket_url).hostname or target.host
        return await self._tls.start(stream, host, anonymous=anonymous)

    async def _tcp(self, host: str, port: int) -> trio.SocketStream:
        return await dial_tcp(
            host,
            port,
            allowed=self._config.upstream.allowed_networks,
            timeout_s=self._config.session.connect_timeout_s,
        )

    async def _tunnel(self, target: ConsoleTarget, _: trio.Nursery) -> trio.abc.Stream:
        where = tunnel(target.tunnel_url, target.tunnel_session)
        stream: trio.abc.Stream = await self._tcp(where.host, where.port)
        if where.tls:
            stream = await self._tls.start(stream, where.host)
        answer = TunnelAnswer()
        try:
            await stream.send_all(where.request)
            data = await stream.receive_some(RECEIVE_BYTES)
            while data and not answer.receive(data):
                data = await stream.receive_some(RECEIVE_BYTES)
        except trio.BrokenResourceError:
            data = b""
            await trio.aclose_forcefully(stream)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        if not data:
            await trio.aclose_forcefully(stream)
            raise ConsoleError(errors.UPSTREAM_PROTOCOL, "the tunnel was closed instead of answered")
        return PrefixedStream(answer.rest, stream)

    async def _websocket(self, target: ConsoleTarget, nursery: trio.Nursery) -> trio.abc.Stream:
        try:
            parts = urlsplit(target.websocket_url)
            port = parts.port or (443 if parts.scheme == "wss" else 80)
        except ValueError:
            raise ConsoleError(errors.UPSTREAM_PROTOCOL, "websocketUrl is no URL") from None
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ConsoleError(errors.UPSTREAM_PROTOCOL, "websocketUrl is no ws or wss URL")
        host = parts.netloc.rpartition("@")[2]
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not re.fullmatch(r"[\x21-\x7e]*", host + path):
            raise ConsoleError(errors.UPSTREAM_PROTOCOL, "websocketUrl has characters that no request may have")
        stream: trio.abc.Stream = await self._tcp(parts.hostname, port)
        if parts.scheme == "wss":
            stream = await self._tls.start(stream, parts.hostname)
        return await open_host_websocket(nursery, stream, host, path)

    async def _unix(self, target: ConsoleTarget, _: trio.Nursery) -> trio.abc.Stream:
        """A unix socket below the configured directory, every link followed first."""
        path = target.host.removeprefix("unix:")
        allowed = self._config.upstream.unix_socket_directory
        socket_path = await trio.to_thread.run_sync(_socket_below, allowed, path)
        try:
            return await trio.open_unix_socket(socket_path)
        except OSError as exc:
            if (ours := out_of_resources(exc)) is not None:
                raise ours from exc
            words = exc.strerror or str(exc)
            raise ConsoleError(errors.UPSTREAM_UNREACHABLE, f"no connection to unix:{path}: {words}") from exc


def _socket_below(directory: str, path: str) -> str:
    if not directory:
        raise ConsoleError(errors.UPSTREAM_FORBIDDEN, "upstream.unix_socket_directory is not set")
    try:
        real, root = Path(path).resolve(strict=True), Path(directory).resolve(strict=True)
        is_socket = stat.S_ISSOCK(real.stat().st_mode)
    except (OSError, ValueError, RuntimeError) as exc:
        words = getattr(exc, "strerror", None) or str(exc)
        raise ConsoleError(errors.UPSTREAM_UNREACHABLE, f"no connection to unix:{path}: {words}") from exc
    if not real.is_relative_to(root) or real == root:
        raise ConsoleError(errors.UPSTREAM_FORBIDDEN, f"unix:{path} is not below upstream.unix_socket_directory")
    if not is_socket:
        raise ConsoleError(errors.UPSTREAM_UNREACHABLE, f"unix:{path} is no socket")
    return str(real)
