"""The relay: two copy tasks between browser and host, until somebody ends it.

Knows streams and time, nothing of RFB but whether bytes are the user's input, and nothing of who is allowed what: a
filter for either direction is given to it.
One buffer is in flight per direction; a peer that does not read stops the other one's reader, and nothing grows.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Protocol

import trio

from . import errors
from .browser_websocket import BrowserSocket
from .errors import ConsoleError, Reason
from .limits import Limit
from .ready_stream import ready
from .rfb.input_watcher import InputWatcher
from .websocket import HostSocket

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
        self._host = server
        self._up = up
        self._down = down
        self._watcher = InputWatcher()
        self._ended = trio.Event()
        self._reads: set[trio.CancelScope] = set()
        self._idle_timeout_s = math.inf
        self._host_silence_timeout_s = math.inf
        #: Since when the host is listened to in vain; infinity while its bytes are on their way to the browser.
        self._listens_since = math.inf
        self._deadline = math.inf
        self.touched_at = trio.current_time()
        self.bytes_up = 0
        self.bytes_down = 0
        self._rest_up: bytes | memoryview = b""
        self._sending_up = 0
        self._sending_down = 0
        self._browser_gone = False
        self.reason: Reason | None = None
        self.detail = ""
        self.limit: Limit | None = None

    @property
    def idle_left_s(self) -> float | None:
        """Seconds until it ends for want of input; ``None`` without such a limit."""
        return _left_s(self._idle_at)

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
            "host_silence_left_s": _left_s(self._silent_at),
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
            await self._keep_time()
            nursery.cancel_scope.deadline = trio.current_time() + FLUSH_S

    @property
    def _idle_at(self) -> float:
        return self.touched_at + self._idle_timeout_s

    @property
    def _silent_at(self) -> float:
        return self._listens_since + self._host_silence_timeout_s

    async def _keep_time(self) -> None:
        """Wait for the end, or end it where a limit is reached.

        The limits move with every byte; they are looked at when the earliest of them would have been reached.
        """
        while self.reason is None:
            with trio.move_on_at(min(self._deadline, self._idle_at, self._silence_looked_at)):
                await self._ended.wait()
            now = trio.current_time()
            if self._ended.is_set():
                return
            if now >= self._deadline:
                self.end(errors.LIFETIME_REACHED, limit=Limit.LIFETIME)
            elif now >= self._idle_at:
                self.end(errors.IDLE_TIMEOUT, f"no input for {self._idle_timeout_s:g} s", Limit.IDLE_TIME)
            elif now >= self._silent_at:
                detail = f"nothing from the host for {self._host_silence_timeout_s:g} s"
                self.end(errors.UPSTREAM_TIMEOUT, detail, Limit.HOST_SILENCE)

    @property
    def _silence_looked_at(self) -> float:
        """When to look for the host's silence: while it is not listened to, that cannot begin before now."""
        return min(self._listens_since, trio.current_time()) + self._host_silence_timeout_s

    # -- up: from browser to host

    async def _copy_up(self, data: bytes) -> None:
        if data and (passed := self._filtered(self._up, data)):
            self._watch(passed)
            self._rest_up = passed
        while self.reason is None:
            if self._rest_up:
                rest, self._rest_up = self._rest_up, b""
                await self._finish_up(rest)
            with self._reading():
                await self._hand_on_up()

    async def _hand_on_up(self) -> None:
        """Copy until the host takes no more, or the end."""
        while self.reason is None and not self._rest_up:
            await self._browser.hand_on(self._take_up)

    def _take_up(self, data: bytes) -> bool:
        """Give the host what the browser says; whether it takes more."""
        if not data:
            reason = errors.CLIENT_PROTOCOL if self._browser.violation else errors.CLOSED_BY_USER
            self.end(reason, f"the browser {self._browser.ended_by}", self._browser.limit)
            return False
        if self._up is not None:
            passed = self._filtered(self._up, data)
            if not passed:
                return self.reason is None
            data = passed
        try:
            sent = self._server.send_now(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self.end(errors.CLOSED_BY_GUEST, _words(exc, "the connection broke"))
            return False
        self._watch(data)
        self.bytes_up += sent
        if sent < len(data):
            self._rest_up = memoryview(data)[sent:]
            return False
        return self.reason is None

    async def _finish_up(self, rest: bytes | memoryview) -> None:
        self._sending_up = len(rest)
        try:
            with trio.move_on_after(STALL_S) as taking:
                await self._server.send_all(rest)
                self.bytes_up += len(rest)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self.end(errors.CLOSED_BY_GUEST, _words(exc, "the connection broke"))
        if taking.cancelled_caught:
            self.end(errors.UPSTREAM_TIMEOUT, f"the host took no input for {STALL_S:g} s")
        self._sending_up = 0

    def _watch(self, data: bytes) -> None:
        if self._watcher.feed(data):
            self.touch()

    # -- down: from host to browser

    async def _copy_down(self, data: bytes) -> None:
        try:
            passed = self._filtered(self._down, data)
            if passed:
                await self._browser.send_all(passed)
                self.bytes_down += len(passed)
            while self.reason is None:
                self._listen()
                with self._reading():
                    await self._hand_on_down()
                if self._sending_down:
                    self._listens_since = math.inf
                    await self._browser.flush()
                    self.bytes_down += self._sending_down
                    self._sending_down = 0
        except trio.BrokenResourceError:
            # What the browser sent before it went may still be on its way up: the release of a key, say.
            with trio.move_on_after(FLUSH_S):
                await self._ended.wait()
            self.end(errors.CLOSED_BY_USER, f"the browser {self._browser.ended_by or 'is gone'}")

    async def _hand_on_down(self) -> None:
        """Copy until the browser takes no more, or the end.

        Raises:
            trio.BrokenResourceError: the browser is gone.
        """
        while self.reason is None and not self._sending_down:
            try:
                await self._server.hand_on(self._take_down)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                self.end(errors.CLOSED_BY_GUEST, _words(exc, "the connection broke"))
            if self._browser_gone:
                raise trio.BrokenResourceError("the browser is gone")

    def _take_down(self, data: bytes | memoryview) -> bool:
        """Give the browser what the host says; whether it takes more."""
        if not data:
            limit = self._host.limit if isinstance(self._host, HostSocket) else None
            self.end(errors.CLOSED_BY_GUEST, "the host closed the connection", limit)
            return False
        if self._down is not None:
            passed = self._filtered(self._down, bytes(data))
            if not passed:
                return self.reason is None
            data = passed
        try:
            whole = self._browser.send_now(data)
        except trio.BrokenResourceError:
            self._browser_gone = True
            return False
        if not whole:
            self._sending_down = len(data)
            return False
        self.bytes_down += len(data)
        self._listen()
        return self.reason is None

    def _listen(self) -> None:
        """The host's silence counts from now."""
        if self._host_silence_timeout_s < math.inf:
            self._listens_since = trio.current_time()

    # -- both

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Within the block only reads are waited for, so that the relay's end may cancel it: no message is torn."""
        with trio.CancelScope() as scope:
            self._reads.add(scope)
            try:
                yield
            finally:
                self._reads.discard(scope)

    def _filtered(self, direction: Filter | None, data: bytes) -> bytes | None:
        """What passes; ``None`` if the relay has ended because of it."""
        if direction is None or not data:
            return data
        try:
            return direction.feed(data)
        except ConsoleError as error:
            self.end(error.reason, error.detail)
            return None


def _left_s(deadline: float) -> float | None:
    return None if deadline == math.inf else max(0.0, deadline - trio.current_time())


def _words(exc: BaseException, otherwise: str) -> str:
    cause = exc.__cause__
    return (cause.strerror if isinstance(cause, OSError) else None) or otherwise
