"""What is remembered of the access endpoint's callers: who has failed how often, which signatures have been used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

import attrs

from ..config import AccessConfig
from ..limiter import FailureLimiter
from .used_signatures import UsedSignatures


class CallerMemory(Protocol):
    """What is remembered of callers, here or elsewhere; it outlives the site that takes another one's place."""

    def wait_s(self, client: str) -> int:
        """Whole seconds that an address which failed too often has to wait; 0: none."""
        ...

    async def failed(self, client: str) -> None:
        """An address has shown something wrong."""
        ...

    async def use_signature(self, caller: str, mark: str, *, lives_s: float) -> bool:
        """Use a signature: true if it had not been used before.

        Args:
            caller: the name of whose it is.
            mark: tells it from the caller's others.
            lives_s: for so many seconds it is good.

        Raises:
            TooManySignatures: it cannot be remembered.
        """
        ...

    def configure(self, limits: AccessConfig) -> None:
        """Go by other limits from now on; what is remembered stays."""
        ...


@attrs.frozen
class AccessMemory(CallerMemory):
    """The memory itself.

    Attributes:
        failures: who has failed how often.
        signatures: which have been used.
        now: the time of day, in seconds since the epoch.
        clock: seconds that never go back, for how long somebody has to wait.
    """

    failures: FailureLimiter
    signatures: UsedSignatures = attrs.field(factory=UsedSignatures)
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic

    def wait_s(self, client: str) -> int:
        """As ``CallerMemory``; so is everything here."""
        return self.failures.wait_s(client, now=self.clock())

    async def failed(self, client: str) -> None:
        self.note_failure(client)

    def note_failure(self, client: str) -> int:
        """An address has shown something wrong; how long it has to wait now, in whole seconds."""
        self.failures.failed(client, now=self.clock())
        return self.wait_s(client)

    def waiting(self) -> Iterator[tuple[str, int]]:
        """Every address that has to wait, and for how many whole seconds."""
        return self.failures.waiting(now=self.clock())

    async def use_signature(self, caller: str, mark: str, *, lives_s: float) -> bool:
        return self.use(caller, mark, lives_s=lives_s)

    def use(self, caller: str, mark: str, *, lives_s: float) -> bool:
        """As ``use_signature``, at once."""
        now = self.now()
        return self.signatures.use(caller, mark, until=now + lives_s, now=now)

    def configure(self, limits: AccessConfig) -> None:
        self.failures.set_limits(limits.max_failures, limits.failure_window_s)
