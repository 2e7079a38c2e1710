"""Log lines that anybody out there can cause, a few in a second: a flood of requests must not fill the disk.

Knows nothing of who is logged; the metrics count every event, also those whose line is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LINES_PER_S = 20


class PacedLog:
    """Writes at most so many lines within a second; the next one after that says how many were left out.

    Args:
        per_s: lines within a second, all events together.
        clock: seconds that never go back.
    """

    def __init__(self, per_s: int = LINES_PER_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock = clock
        self._since = float("-inf")
        self._written = 0
        self._left_out = 0

    def write(self, line: Callable[..., object], event: str, **fields: object) -> None:
        """Have ``line`` (a logger's method) write an event, or count it only."""
        now = self._clock()
        if now >= self._since + 1:
            self._since, self._written = now, 0
        if self._written >= self._per_s:
            self._left_out += 1
            return
        self._written += 1
        if self._left_out:
            fields["left_out"], self._left_out = self._left_out, 0
        line(event, **fields)
