"""Which used tokens may open their console again, because its connection broke. Sans-I/O; the caller brings the time.

Source of the idea: CloudStack's ``consoleproxy.session.reconnection.window`` (PR #13683): the same token, from the same
address, for a while.
"""

from __future__ import annotations

import math

import attrs

#: How many consoles are remembered at once; the oldest are forgotten first.
CAPACITY = 20_000


@attrs.frozen
class _Console:
    session_id: str
    address: str
    broke_at: float


class SecondChances:
    """Remembers who has which token's console open, and when it broke: the same address may have it again for a while.

    A console that still seems open counts as broken when its own address asks again: a browser that lost its network
    notices that long before the proxy does.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._consoles: dict[str, _Console] = {}

    def __len__(self) -> int:
        return len(self._consoles)

    def opened(self, session_uuid: str, session_id: str, address: str) -> None:
        """A token's console is open, in that session, at that address."""
        self._consoles.pop(session_uuid, None)
        self._consoles[session_uuid] = _Console(session_id, address, math.inf)
        while len(self._consoles) > self._capacity:
            del self._consoles[next(iter(self._consoles))]

    def ended(self, session_uuid: str, session_id: str, *, broke_at: float | None) -> None:
        """That session is over.

        Args:
            broke_at: when it broke; ``None``: it did not, and nobody may have the console again.
        """
        console = self._consoles.get(session_uuid)
        if console is None or console.session_id != session_id:
            return  # another session has taken over
        if broke_at is None:
            del self._consoles[session_uuid]
        else:
            self._consoles[session_uuid] = attrs.evolve(console, broke_at=broke_at)

    def has(self, session_uuid: str, address: str, *, window_s: float, now: float) -> bool:
        """Whether this address may have this token's console again, which broke no more than ``window_s`` ago."""
        console = self._consoles.get(session_uuid)
        return console is not None and console.address == address and now <= console.broke_at + window_s
