"""A handshake by hand: one step at a time against a host or a double, with every command in sight.

For the REPL and for whoever asks why a host's console does not open. The browser's side is played here, so that all
that is needed is a VNC server.
"""

from __future__ import annotations

from typing import Protocol

import trio
import trio.testing

from .errors import ConsoleError, Side
from .models import Secret
from .rfb.commands import Command, Established, Failed, SendToServer
from .rfb.handshake import Handshake, HandshakeSettings
from .rfb.security import SecurityPolicy
from .rfb.versions import Version

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

    Attributes:
        commands: every command so far.
        server: the stream; after ``Established`` it is at the first byte behind ServerInit.
    """

    def __init__(self, server: trio.abc.Stream, settings: HandshakeSettings) -> None:
        self.server = server
        self.commands: list[Command] = []
        self._shake = Handshake(settings)
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
        for command in new:
            self.commands.append(command)
            if isinstance(command, SendToServer):
                await self.server.send_all(command.data)
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
    where: str | Serves, *, password: str | None = None, name: str = "", allow_no_authentication: bool = False
) -> Probe:
    """Begin a handshake by hand.

    Args:
        where: ``host:port`` of a VNC server, or a double, which is then served in the background of this trio run.
        password: what the server is to be given.
        name: what the browser would be told the console is called.
        allow_no_authentication: go on where the server asks for nothing although there is a password.

    Raises:
        OSError: there is no connection.
        ValueError: ``where`` is no ``host:port``.
    """
    policy = SecurityPolicy(
        password=Secret(password) if password is not None else None,
        allow_no_authentication=allow_no_authentication,
    )
    settings = HandshakeSettings(policy=policy, name=name)
    if not isinstance(where, str):
        ours, theirs = trio.testing.memory_stream_pair()
        trio.lowlevel.spawn_system_task(_serve, where, theirs)
        return Probe(ours, settings)
    host, _, port = where.rpartition(":")
    if not port.isdecimal():
        raise ValueError("expected host:port")
    return Probe(await trio.open_tcp_stream(host.strip("[]") or "127.0.0.1", int(port)), settings)


async def _serve(double: Serves, stream: trio.abc.Stream) -> None:
    """A system task must not fail: what the double stumbles over shows on the other end as a closed stream."""
    try:
        await double.serve(stream)
    except* (Exception, ConsoleError):
        await trio.aclose_forcefully(stream)
