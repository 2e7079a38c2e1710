"""Carries out an RFB handshake on two streams: reads both peers, obeys the machine's commands, keeps the time.

What the handshake says is the business of ``rfb.handshake``; how the server's stream comes about, the caller's.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeAlias

import trio

from . import errors
from .errors import ConsoleError, Side
from .limits import Limit
from .ready_stream import ready
from .rfb.commands import Command, Established, Failed, Reconnect, SendToClient, SendToServer, StartTls
from .rfb.handshake import Handshake
from .streams import close_at_once
from .upstream.tls import secured_by, tls_words
from .websocket import HostSocket

#: How a session gets its stream to the VNC server. Raises ``ConsoleError`` where it does not. The nursery lives as long
#: as the session, for streams that need a task of their own.
Connect: TypeAlias = Callable[[trio.Nursery], Awaitable[trio.abc.Stream]]
#: How TLS is begun on that stream in the middle of RFB; the flag is for VeNCrypt's sub-types without certificates.
SecureStream: TypeAlias = Callable[[trio.abc.Stream, bool], Awaitable[trio.abc.Stream]]

RECEIVE_BYTES = 4096
#: How long a browser may take to hear why there is no console, in seconds.
REFUSAL_GRACE_S = 2.0
#: How long a peer may take to answer a close frame, in seconds.
CLOSE_S = 2.0


class HandshakeDriver:
    """One handshake on two streams.

    Args:
        shake: the machine, not started yet.
        browser: the browser's stream; stays the caller's.

    Attributes:
        server: the server's stream once there is one; the caller's to close, whatever the outcome.
    """

    def __init__(self, shake: Handshake, browser: trio.abc.Stream) -> None:
        self._shake = shake
        self._browser = browser
        self.server: trio.abc.Stream | None = None
        self._host: trio.abc.Stream | None = None  # the same, for reading and writing
        self._queue: deque[Command] = deque()
        self._obeying = trio.Lock()
        self._at_work: trio.CancelScope | None = None
        self._given_up = False
        self._result: Established | Failed | None = None
        self._connect: Callable[[], Awaitable[trio.abc.Stream]]
        self._secure: SecureStream | None = None
        self._tls_is_new = False

    @property
    def waiting_for(self) -> str:
        """What it waits for, in words."""
        return self._shake.waiting_for_what

    async def run(
        self, connect: Connect, nursery: trio.Nursery, *, timeout_s: float, secure: SecureStream | None = None
    ) -> Established | Failed:
        """Connect to the server and run the handshake to its end.

        Both peers are read all the time, so that a browser that goes away ends the attempt at once. Where the time is
        up, the browser is still told why, within ``REFUSAL_GRACE_S``.

        Args:
            connect: gives the server's stream.
            nursery: for ``connect``; must live as long as the server's stream.
            timeout_s: seconds for all of it.
            secure: begins TLS on the server's stream.

        Returns:
            How it ended. After ``give_up`` that means nothing.
        """
        self._connect = partial(connect, nursery)
        self._secure = secure
        await self._run_until_done(timeout_s)
        if self._result is None and not self._shake.done and not self._given_up:
            await self._tell_timeout(timeout_s)
        # A handshake that the machine has finished, but whose last bytes nobody took in time, is late all the same.
        return self._result or Failed(self._timeout_error(timeout_s))

    def give_up(self) -> None:
        """Have ``run`` return at once, now or whenever it is called."""
        self._given_up = True
        if self._at_work is not None:
            self._at_work.cancel()

    def take_leftovers(self) -> tuple[bytes, bytes]:
        """What the peers sent behind the handshake: (the server's bytes, the browser's bytes)."""
        return self._shake.take_leftovers()

    def _begin(self, scope: trio.CancelScope, timeout_s: float) -> None:
        """What is at work from now on: it ends in time, with the handshake, or when it is given up."""
        self._at_work = scope
        scope.deadline = trio.current_time() + timeout_s
        if self._given_up:
            scope.cancel()

    async def _run_until_done(self, timeout_s: float) -> None:
        async with trio.open_nursery() as nursery:
            self._begin(nursery.cancel_scope, timeout_s)
            self._queue.extend(self._shake.start())
            nursery.start_soon(self._pump, Side.DOWNSTREAM)
            await self._connect_server()
            await self._pump(Side.UPSTREAM)

    async def _tell_timeout(self, timeout_s: float) -> None:
        self._queue.clear()  # what could not be sent in time is not sent now
        with trio.CancelScope() as scope:
            self._begin(scope, REFUSAL_GRACE_S)
            self._queue.extend(self._shake.abort(self._timeout_error(timeout_s)))
            await self._pump(Side.DOWNSTREAM)

    def _timeout_error(self, timeout_s: float) -> ConsoleError:
        waiting = self._shake.waiting_for_what
        if self._shake.done:
            reason, detail = errors.CLIENT_TIMEOUT, f"the handshake's end was not taken within {timeout_s:g} s"
        elif self._shake.waiting_for is Side.DOWNSTREAM:
            reason, detail = errors.CLIENT_TIMEOUT, f"no {waiting} within {timeout_s:g} s"
        else:
            reason, detail = errors.UPSTREAM_TIMEOUT, f"still waiting for {waiting} after {timeout_s:g} s"
        return ConsoleError(reason, detail, limit=Limit.HANDSHAKE_TIME)

    async def _connect_server(self) -> None:
        """Connect, and tell the machine whether the connection is safe, or why there is none."""
        self._use(None)
        try:
            self._use(await self._connect())
        except ConsoleError as error:
            self._queue.extend(self._shake.abort(error))
        else:
            if self.server is not None and secured_by(self.server):
                self._tls_is_new = True
                self._shake.connected_securely()

    def _use(self, server: trio.abc.Stream | None) -> None:
        self.server = server
        self._host = ready(server) if server is not None else None

    async def _start_tls(self, anonymous: bool) -> None:
        if self._secure is None or self.server is None:
            self._queue.extend(self._shake.abort(ConsoleError(errors.UPSTREAM_TLS_FAILED, "no TLS to hosts")))
            return
        try:
            self._use(await self._secure(self.server, anonymous))
            self._tls_is_new = True
        except ConsoleError as error:
            self._use(None)  # closed; there is nothing to read any more while the browser is told
            self._queue.extend(self._shake.abort(error))

    async def _pump(self, side: Side) -> None:
        """Feed the machine with one peer's bytes; between receiving and feeding nothing can be lost.

        The server's stream may change while commands are carried out (TLS, another connection), never while it is
        being read: what changes it follows from its own bytes.
        """
        while not self._shake.done:
            await self._obey()
            stream = self._host if side is Side.UPSTREAM else self._browser
            if stream is None:
                return
            data: bytes | bytearray = b""
            broken = ""
            try:
                data = await stream.receive_some(RECEIVE_BYTES)
            except trio.BrokenResourceError as exc:
                broken = tls_words(exc) if isinstance(exc.__cause__, ssl.SSLError) else ""
            if side is Side.UPSTREAM and not data and (broken or self._tls_is_new):
                # With TLS 1.3 a host judges our certificate only now, and some do it without an alert.
                detail = f"TLS broke: {broken or 'closed at once; the host may want another client certificate'}"
                self._queue.extend(self._shake.server_failed(ConsoleError(errors.UPSTREAM_TLS_FAILED, detail)))
            self._tls_is_new = self._tls_is_new and side is not Side.UPSTREAM
            self._queue.extend(self._fed(side, data))
            if not data:
                break
        await self._obey()

    def _fed(self, side: Side, data: bytes | bytearray) -> Iterable[Command]:
        if side is Side.UPSTREAM:
            return self._shake.receive_from_server(data) if data else self._shake.server_closed()
        return self._shake.receive_from_client(data) if data else self._shake.client_closed()

    async def _obey(self) -> None:
        """Carry out what the machine has asked for, in its order, one task at a time."""
        if self._obeying.locked():
            await self._obeying.acquire()
        elif self._queue:
            await trio.lowlevel.checkpoint_if_cancelled()  # then no message is begun
            self._obeying.acquire_nowait()
        else:
            return
        try:
            await self._obey_queue()
        finally:
            self._obeying.release()

    async def _obey_queue(self) -> None:
        while self._queue and self._result is None:
            command = self._queue.popleft()
            match command:
                case SendToClient(data):
                    await self._send(self._browser, data, self._shake.client_closed)
                case SendToServer(data) if self._host is not None:
                    await self._send(self._host, data, self._shake.server_closed)
                case StartTls(anonymous=anonymous):
                    await self._start_tls(anonymous)
                case Reconnect() if self.server is not None:
                    await close_host(self.server)
                    await self._connect_server()
                case Established() | Failed():
                    self._result = command
                    if self._at_work is not None:
                        self._at_work.cancel()

    async def _send(self, stream: trio.abc.Stream, data: bytes, on_gone: Callable[[], list[Command]]) -> None:
        try:
            await stream.send_all(data)
        except trio.BrokenResourceError:
            self._queue.extend(on_gone())


async def close_host(stream: trio.abc.Stream) -> None:
    """A host's WebSocket is closed properly, so that it frees the console's place at once; anything else just is."""
    while isinstance(stream, trio.SSLStream):  # VeNCrypt inside a WebSocket
        stream = stream.transport_stream
    if isinstance(stream, HostSocket):
        await stream.close(1000, "", within_s=CLOSE_S)
    else:
        await close_at_once(stream)
