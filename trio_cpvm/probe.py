"""A handshake by hand: one step at a time against a host or a double, with every command in sight.

For the REPL and for whoever asks why a host's console does not open. The browser's side is played here, so that all
that is needed is a VNC server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import trio
import trio.testing

from . import errors
from .config import UpstreamConfig
from .errors import ConsoleError, Side
from .models import Secret
from .rfb.commands import Command, Established, Failed, Reconnect, SendToServer, StartTls
from .rfb.handshake import Handshake, HandshakeSettings
from .rfb.security import SecurityPolicy
from .rfb.versions import Version
from .upstream import HostTls

#: How long one step may wait for the server, in seconds.
STEP_TIMEOUT_S = 15.0


class Serves(Protocol):
    """Anything that serves VNC on a stream: the doubles of ``testing``."""

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection."""
        ...


class Probe:
    """One handshake with a VNC server, driven by hand.

    Args:
        server: the stream to it.
        settings: as for any handshake.
        connect: gives another stream to it, should the handshake ask for one.
        start_tls: begins TLS on the stream; the flag is for VeNCrypt's sub-types without certificates.

    Attributes:
        commands: every command so far.
        server: the stream; after ``Established`` it is at the first byte behind ServerInit.
    """

    def __init__(
        self,
        server: trio.abc.Stream,
        settings: HandshakeSettings,
        *,
        connect: Callable[[], Awaitable[trio.abc.Stream]] | None = None,
        start_tls: Callable[[trio.abc.Stream, bool], Awaitable[trio.abc.Stream]] | None = None,
    ) -> None:
        self.server = server
        self.commands: list[Command] = []
        self._shake = Handshake(settings)
        self._connect = connect
        self._start_tls = start_tls
        self._started = False
        # what noVNC would say, message by message: version, security type None, ClientInit (shared)
        self._browser_says = iter((Version.V3_8.wire, b"\1", b"\1"))

    @property
    def outcome(self) -> Established | Failed | None:
        """How the handshake ended; ``None`` while it goes on."""
        last = self.commands[-1] if self.commands else None
        return last if isinstance(last, Established | Failed) else None

    @property
    def waiting_for(self) -> str:
        """What has to come next."""
        return self._shake.waiting_for_what

    async def step(self) -> list[Command]:
        """Go on until the handshake asks for something; an empty list once it has ended.

        Raises:
            trio.TooSlowError: the server said nothing for ``STEP_TIMEOUT_S`` seconds; step again to wait longer.
        """
        new: list[Command] = [] if self._started else self._shake.start()
        self._started = True
        while not new and not self._shake.done:
            new = await self._advance()
        for command in new:  # grows where a command fails
            self.commands.append(command)
            try:
                await self._obey(command)
            except ConsoleError as error:
                new.extend(self._shake.server_failed(error))
        return new

    async def run(self) -> Established | Failed | None:
        """Take all remaining steps and close the stream if they failed; the outcome."""
        while await self.step():
            pass
        if isinstance(self.outcome, Failed):
            await self.aclose()
        return self.outcome

    async def aclose(self) -> None:
        """Close the stream to the server."""
        await trio.aclose_forcefully(self.server)

    async def _obey(self, command: Command) -> None:
        match command:
            case SendToServer(data):
                await self.server.send_all(data)
            case StartTls(anonymous=anonymous) if self._start_tls is not None:
                with trio.fail_after(STEP_TIMEOUT_S):
                    self.server = await self._start_tls(self.server, anonymous)
            case Reconnect() if self._connect is not None:
                await self.aclose()
                self.server = await self._connect()
            case StartTls() | Reconnect():
                raise ConsoleError(errors.UPSTREAM_PROTOCOL, f"this probe cannot do that: {command}")

    async def _advance(self) -> list[Command]:
        if self._shake.waiting_for is Side.DOWNSTREAM:
            return self._shake.receive_from_client(next(self._browser_says, b""))
        try:
            with trio.fail_after(STEP_TIMEOUT_S):
                data = await self.server.receive_some(1024)
        except trio.BrokenResourceError:
            data = b""
        return self._shake.receive_from_server(data) if data else self._shake.server_closed()


async def open_probe(
    where: str | Serves,
    *,
    password: str | None = None,
    username: str = "",
    name: str = "",
    ca_file: str = "",
    allow_anonymous_tls: bool = False,
    allow_no_authentication: bool = False,
) -> Probe:
    """Begin a handshake by hand.

    Args:
        where: ``host:port`` of a VNC server, or a double, which is then served in the background of this trio run.
        password: what the server is to be given.
        username: for servers that ask for one as well.
        name: what the browser would be told the console is called.
        ca_file: PEM of the authority that the server's certificate has to come from; empty: the system's.
        allow_anonymous_tls: take VeNCrypt's sub-types without certificates.
        allow_no_authentication: go on where the server asks for nothing although there is a password.

    Raises:
        OSError: there is no connection.
        ValueError: ``where`` is no ``host:port``.
        BadConfiguration: the CA file cannot be used.
    """
    policy = SecurityPolicy(
        password=Secret(password) if password is not None else None,
        username=username,
        allow_anonymous_tls=allow_anonymous_tls,
        allow_no_authentication=allow_no_authentication,
    )
    tls = HostTls(UpstreamConfig(ca_file=ca_file, allow_anonymous_tls=allow_anonymous_tls))
    host, connect = _way(where)

    async def start_tls(stream: trio.abc.Stream, anonymous: bool) -> trio.abc.Stream:
        return await tls.start(stream, host, anonymous=anonymous)

    settings = HandshakeSettings(policy=policy, name=name)
    return Probe(await connect(), settings, connect=connect, start_tls=start_tls)


def _way(where: str | Serves) -> tuple[str, Callable[[], Awaitable[trio.abc.Stream]]]:
    """A server's name, and what connects to it."""
    if not isinstance(where, str):
        double = where

        async def connect_in_memory() -> trio.abc.Stream:
            ours, theirs = trio.testing.memory_stream_pair()
            trio.lowlevel.spawn_system_task(_serve, double, theirs)
            return ours

        return "localhost", connect_in_memory
    host, _, port = where.rpartition(":")
    if not port.isdecimal():
        raise ValueError("expected host:port")
    host = host.strip("[]") or "127.0.0.1"
    return host, partial(trio.open_tcp_stream, host, int(port))


async def _serve(double: Serves, stream: trio.abc.Stream) -> None:
    """A system task must not fail: what the double stumbles over shows on the other end as a closed stream."""
    try:
        await double.serve(stream)
    except* (Exception, ConsoleError):
        await trio.aclose_forcefully(stream)
