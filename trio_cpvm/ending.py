"""The orderly end of a daemon: no new sessions, time for those that run, and a word to whom it ends.

Knows sessions, whichever process has them; the listeners are the caller's.
"""

from __future__ import annotations

import math
from typing import Generic

import trio

from . import errors
from .logger import get_logger
from .registry import S, Sessions

log = get_logger("trio_cpvm.server")

#: How long ended sessions may take to tell their browsers, in seconds.
GOODBYE_S = 5.0


class Ending(Generic[S]):
    """When and how a daemon ends.

    Args:
        sessions: all that run.
    """

    def __init__(self, sessions: Sessions[S]) -> None:
        self._sessions = sessions
        self._drain_asked = trio.Event()
        self._stop_asked = trio.Event()
        self._drains_at = math.inf

    @property
    def begun(self) -> bool:
        """Whether the end has begun."""
        return self._drain_asked.is_set()

    async def wait_begun(self) -> float:
        """Wait until the end begins; seconds that are left until the last session is ended, if nobody stops it."""
        await self._drain_asked.wait()
        return max(0.0, self._drains_at - trio.current_time())

    def drain(self, within_s: float) -> None:
        """Take no new sessions, and let the running ones finish within so many seconds. Only the first call counts."""
        if self.begun:
            return
        self._drains_at = trio.current_time() + within_s
        self._sessions.start_drain(self._drains_at)
        self._drain_asked.set()

    def stop(self) -> None:
        """Wait for the sessions no longer; ``drain`` has been called."""
        self._stop_asked.set()

    async def finish_sessions(self) -> None:
        """Wait for the sessions as long as there is time, and end the others."""
        sessions = self._sessions
        if len(sessions):
            left_s = max(0.0, self._drains_at - trio.current_time())
            log.info("draining", sessions=len(sessions), timeout_s=round(left_s, 1))
        with trio.move_on_at(self._drains_at):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_on_stop, nursery.cancel_scope)
                await sessions.wait_empty()
                nursery.cancel_scope.cancel()
        ended = sessions.end_all(errors.DRAINING)
        if ended:
            log.info("sessions ended", count=ended)
        with trio.move_on_after(GOODBYE_S):
            await sessions.wait_empty()

    async def _cancel_on_stop(self, scope: trio.CancelScope) -> None:
        await self._stop_asked.wait()
        scope.cancel()
