"""How often somebody may fail before being made to wait. Sans-I/O; the caller brings the time. Memory is bounded."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from functools import lru_cache

#: How many addresses are remembered at once; the ones that failed longest ago are forgotten first.
CAPACITY = 10_000


class FailureLimiter:
    """Counts failures of the last ``window_s`` seconds.

    Args:
        max_failures: from so many on within the window, the next attempt has to wait; 0: nobody ever has to.
        window_s: the window in seconds.
        capacity: how many keys are remembered.
    """

    def __init__(self, max_failures: int, window_s: float, capacity: int = CAPACITY) -> None:
        self._max = max_failures
        self._window_s = window_s
        self._capacity = capacity
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def set_limits(self, max_failures: int, window_s: float) -> None:
        """Count by other limits from now on; what is known of failures stays."""
        if (max_failures, window_s) == (self._max, self._window_s):
            return
        self._max, self._window_s = max_failures, window_s
        kept = self._failures.items() if max_failures else ()
        self._failures = OrderedDict((key, deque(times, maxlen=max_failures)) for key, times in kept)

    def wait_s(self, key: str, *, now: float) -> int:
        """Whole seconds until ``key`` may try again; 0: now."""
        times = self._failures.get(key)
        if not self._max or times is None or len(times) < self._max:
            return 0
        return max(0, math.ceil(times[0] + self._window_s - now))

    def waiting(self, *, now: float) -> Iterator[tuple[str, int]]:
        """Every key that has to wait, and for how many whole seconds."""
        for key in self._failures:
            wait_s = self.wait_s(key, now=now)
            if wait_s:
                yield key, wait_s

    def failed(self, key: str, *, now: float) -> None:
        """Note a failure; only the last ``max_failures`` of a key matter, so only they are kept."""
        if not self._max:
            return
        self._failures.setdefault(key, deque(maxlen=self._max)).append(now)
        self._failures.move_to_end(key)
        while self._failures and (
            len(self._failures) > self._capacity or self._oldest_failure() < now - self._window_s
        ):
            self._failures.popitem(last=False)

    def _oldest_failure(self) -> float:
        """When the key that failed longest ago did so."""
        return next(iter(self._failures.values()))[-1]


@lru_cache(maxsize=CAPACITY)
def client_key(client: str) -> str:
    """What stands for a client: its address, and for IPv6 the /64 network, of which one client has all addresses."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
