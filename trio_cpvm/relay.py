"""The relay: two copy tasks between browser and host, until somebody ends it.

Knows streams and time, nothing of RFB but whether bytes are the user's input, and nothing of who is allowed what: a
filter for either direction is given to it.
One buffer is in flight per direction; a peer that does not read stops the other one's reader, and nothing grows.
"""

from __future__ import annotations

import math
from typing import Protocol

import trio

from . import errors
from .browser_websocket import BrowserSocket
from .errors import ConsoleError, Reason
from .limits import Limit
from .ready_stream import ready
from .rfb.input_watcher import InputWatcher
from .websocket import HostSocket

#: What is read from a host at once, and so the largest message a browser gets.
READ_BYTES = 65536
#: How long a host may take to accept one message, in seconds. Meanwhile its browser, which may be gone, is not read.
STALL_S = 120.0
#: How long a message that is on its way may take to leave once the session has ended, in seconds.
FLUSH_S = 1.0


class Filter(Protocol):
    """Decides which of a direction's bytes pass; ``rfb.client_filter`` and ``rfb.server_filter`` do."""

    def feed(self, data: bytes | bytearray) -> bytes:
        """Take a chunk, give what passes. Raises ``ConsoleError`` where that cannot be told."""
        ...


class Relay:
    """Carries bytes both ways and counts them. What a filter holds back is neither input nor counted.

    Args:
        browser: the accepted WebSocket.
        server: the connection to the host.
        up: filters what the browser says; ``None``: all of it passes as it is.
        down: likewise, what the host says.

    Attributes:
        bytes_up: payload bytes from browser to host.
        bytes_down: payload bytes from host to browser.
        touched_at: when the user last gave a sign, on trio's clock.
        reason: why it ended; ``None`` while it runs. The first one counts.
        detail: what exactly happened, for the log.
        limit: the limit that ended it, where it was one.
    """

    def __init__(
        self, browser: BrowserSocket, server: trio.abc.Stream, *, up: Filter | None = None, down: Filter | None = None
    ) -> None:
        self._browser = browser
        self._server = ready(server)
        self._up = up
        self._down = down
        self._watcher = InputWatcher()
        self._ended = trio.Event()
        self._reads: set[trio.CancelScope] = set()
        self._idle = trio.CancelScope()
        self._idle_timeout_s = math.inf
        self._host_silence = trio.CancelScope()
        self._host_silence_timeout_s = math.inf
        self._deadline = math.inf
        self.touched_at = trio.current_time()
        self.bytes_up = 0
        self.bytes_down = 0
        self._sending_up = 0
        self._sending_down = 0
        self.reason: Reason | None = None
        self.detail = ""
        self.limit: Limit | None = None

    @property
    def idle_left_s(self) -> float | None:
        """Seconds until it ends for want of input; ``None`` without such a limit."""
        return _left_s(self._idle.deadline)

    @property
    def lifetime_left_s(self) -> float | None:
        """Seconds until the end of the session's lifetime; ``None`` without such a limit."""
        return _left_s(self._deadline)

    @property
    def state(self) -> dict[str, object]:
        """How it stands, for operators: the limits in seconds, and what each copy task has in hand."""
        return {
            "idle_left_s": self.idle_left_s,
            "lifetime_left_s": self.lifetime_left_s,
            "host_silence_left_s": _left_s(self._host_silence.deadline),
            "bytes up": self.bytes_up,
            "bytes down": self.bytes_down,
            "being sent up": self._sending_up,
            "being sent down": self._sending_down,
            "reads": len(self._reads),
            "ending": str(self.reason or "no"),
        }

    def touch(self) -> None:
        """The user is there: the idle limit counts from now."""
        self.touched_at = trio.current_time()
        self._idle.deadline = self.touched_at + self._idle_timeout_s

    def end(self, reason: Reason, detail: str = "", limit: Limit | None = None) -> None:
        """End the relay: reads stop at once, messages on their way get ``FLUSH_S`` seconds. The first call counts."""
        if self.reason is not None:
            return
        self.reason, self.detail, self.limit = reason, detail, limit
        self._ended.set()
        for scope in self._reads:
            scope.cancel()

    async def run(
        self,
        *,
        idle_timeout_s: float = math.inf,
        host_silence_timeout_s: float = math.inf,
        deadline: float = math.inf,
        from_browser: bytes = b"",
        from_server: bytes = b"",
    ) -> None:
        """Copy until the end; ``reason`` says why.

        Args:
            idle_timeout_s: seconds without input of the user's hands; infinity for no limit.
            host_silence_timeout_s: seconds in which the host is listened to and says nothing; infinity for no limit.
            deadline: of the session's lifetime, on trio's clock.
            from_browser: bytes that came in before and belong to the host.
            from_server: likewise, to the browser.
        """
        self._idle_timeout_s, self._deadline = idle_timeout_s, deadline
        self._host_silence_timeout_s = host_silence_timeout_s
        self.touch()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._copy_up, from_browser)
            nursery.start_soon(self._copy_down, from_server)
            with trio.CancelScope(deadline=deadline) as lifetime, self._idle, self._host_silence:
                await self._ended.wait()
            if lifetime.cancelled_caught:
                self.end(errors.LIFETIME_REACHED, limit=Limit.LIFETIME)
            elif self._idle.cancelled_caught:
                self.end(errors.IDLE_TIMEOUT, f"no input for {idle_timeout_s:g} s", Limit.IDLE_TIME)
            elif self._host_silence.cancelled_caught:
                detail = f"nothing from the host for {host_silence_timeout_s:g} s"
                self.end(errors.UPSTREAM_TIMEOUT, detail, Limit.HOST_SILENCE)
            nursery.cancel_scope.deadline = trio.current_time() + FLUSH_S

    async def _copy_up(self, data: bytes | bytearray) -> None:
        while self.reason is None:
            passed = self._filtered(self._up, data)
            if passed is None:
                return
            if passed:
                if self._watcher.feed(passed):
                    self.touch()
                self._sending_up = len(passed)
                try:
                    with trio.move_on_after(STALL_S) as taking:
                        await self._server.send_all(passed)
                except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                    self.end(errors.CLOSED_BY_GUEST, _words(exc, "the connection broke"))
                    return
                if taking.cancelled_caught:
                    self.end(errors.UPSTREAM_TIMEOUT, f"the host took no input for {STALL_S:g} s")
                    return
                self.bytes_up += len(passed)
                self._sending_up = 0
            data = await self._read(self._browser)
            if not data:
                reason = errors.CLIENT_PROTOCOL if self._browser.violation else errors.CLOSED_BY_USER
                self.end(reason, f"the browser {self._browser.ended_by}", self._browser.limit)

    async def _copy_down(self, data: bytes | bytearray) -> None:
        while self.reason is None:
            passed = self._filtered(self._down, data)
            if passed is None:
                return
            if passed:
                self._sending_down = len(passed)
                try:
                    await self._browser.send_all(passed)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    # What the browser sent before it went may still be on its way up: the release of a key, say.
                    with trio.move_on_after(FLUSH_S):
                        await self._ended.wait()
                    self.end(errors.CLOSED_BY_USER, f"the browser {self._browser.ended_by or 'is gone'}")
                    return
                self.bytes_down += len(passed)
                self._sending_down = 0
            self._host_silence.deadline = trio.current_time() + self._host_silence_timeout_s
            try:
                data = await self._read(self._server)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                self.end(errors.CLOSED_BY_GUEST, _words(exc, "the connection broke"))
                return
            self._host_silence.deadline = math.inf  # while the browser takes its time
            if not data:
                limit = self._server.limit if isinstance(self._server, HostSocket) else None
                self.end(errors.CLOSED_BY_GUEST, "the host closed the connection", limit)

    def _filtered(self, direction: Filter | None, data: bytes | bytearray) -> bytes | bytearray | None:
        """What passes; ``None`` if the relay has ended because of it."""
        if direction is None or not data:
            return data
        try:
            return direction.feed(data)
        except ConsoleError as error:
            self.end(error.reason, error.detail)
            return None

    async def _read(self, stream: trio.abc.Stream) -> bytes | bytearray:
        """Read, unless the relay ends meanwhile: only reads are cancelled, so that no message is torn."""
        with trio.CancelScope() as scope:
            self._reads.add(scope)
            try:
                return await stream.receive_some(READ_BYTES)
            finally:
                self._reads.discard(scope)
        return b""


def _left_s(deadline: float) -> float | None:
    return None if deadline == math.inf else max(0.0, deadline - trio.current_time())


def _words(exc: BaseException, otherwise: str) -> str:
    cause = exc.__cause__
    return (cause.strerror if isinstance(cause, OSError) else None) or otherwise
