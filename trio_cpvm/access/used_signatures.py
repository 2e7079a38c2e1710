"""Which signatures have been used, by caller. Sans-I/O; the caller of this brings the time.

What is forgotten too early could be used again, so nothing is: whose memory is full has to wait. Everybody has one of
their own, or one caller's requests would use up that of all.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..token.used import UsedTokens

#: How many signatures of one caller are remembered at once, each until it expires.
CAPACITY = 100_000


class TooManySignatures(Exception):
    """The caller has as many unexpired signatures as are remembered."""


class UsedSignatures:
    """Remembers each signature for as long as it is good.

    Args:
        capacity: how many of each caller.
        clock: seconds that never go back.
    """

    def __init__(self, capacity: int = CAPACITY, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._clock = clock
        self._by_caller: dict[str, UsedTokens] = {}

    def use(self, caller: str, mark: str, *, until: float, now: float) -> bool:
        """Use a signature, in one step: true if it had not been used before.

        Args:
            caller: the name of whose it is.
            mark: tells it from the caller's others.
            until: when it expires.
            now: on the same clock.

        Raises:
            TooManySignatures: it cannot be remembered.
        """
        if caller not in self._by_caller:
            self._drop_empty(now)
        used = self._by_caller.setdefault(caller, UsedTokens(self._capacity, clock=self._clock))
        used.forget(now)
        if len(used) >= self._capacity and not used.seen(mark):
            raise TooManySignatures
        return used.use(mark, until=until, now=now)

    def _drop_empty(self, now: float) -> None:
        """Callers come and go with their file."""
        for caller, used in list(self._by_caller.items()):
            used.forget(now)
            if not len(used):
                del self._by_caller[caller]
