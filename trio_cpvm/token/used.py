"""Which single-use tokens have been used. Sans-I/O; the caller brings the time of day."""

from __future__ import annotations

import heapq
import time
from collections import OrderedDict
from collections.abc import Callable

#: How many used tokens are remembered at once. Whoever is given a token can bring one here, and no more than that.
CAPACITY = 100_000


class UsedTokens:
    """Remembers the ``sessionUuid`` of every token that opened a console, for as long as the token lives.

    Tokens without an end are remembered until ``CAPACITY`` is reached; then the oldest of them are forgotten first, and
    those that end soonest after them.

    A token is forgotten once its life is over by the time of day and by a clock that nobody sets: the time of day may
    jump ahead and back again, and then the token would be good a second time.

    Args:
        capacity: how many are remembered.
        clock: seconds that never go back.
    """

    def __init__(self, capacity: int = CAPACITY, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._clock = clock
        #: Until when by the clock.
        self._until: dict[str, float] = {}
        self._ends: list[tuple[float, str]] = []
        self._endless: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until) + len(self._endless)

    def seen(self, session_uuid: str) -> bool:
        """Whether this token has been used."""
        return session_uuid in self._until or session_uuid in self._endless

    def use(self, session_uuid: str, *, until: float | None, now: float) -> bool:
        """Use a token, in one step: true if it had not been used before.

        Args:
            session_uuid: the token's.
            until: the time of day from which on the token can no longer be good, clock skew included; ``None``: never.
            now: the time of day.
        """
        self.forget(now)
        if self.seen(session_uuid):
            return False
        if until is None:
            self._endless[session_uuid] = None
        else:
            self._until[session_uuid] = self._clock() + max(0.0, until - now)
            heapq.heappush(self._ends, (until, session_uuid))
        while len(self) > self._capacity:
            if self._endless:
                self._endless.popitem(last=False)
            else:
                del self._until[heapq.heappop(self._ends)[1]]
        return True

    def forget(self, now: float) -> None:
        """Forget the tokens that can no longer be good."""
        while self._ends and self._ends[0][0] < now and self._until[self._ends[0][1]] < self._clock():
            del self._until[heapq.heappop(self._ends)[1]]
