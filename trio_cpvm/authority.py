"""The authority: what holds for all consoles of a daemon. Used tokens, second chances, bad tokens, running sessions.

One object per daemon; it outlives every configuration. With one process the site asks it directly, with several the
others ask over their channels (``workers``). Whatever it decides it decides in one step: nothing is awaited in here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from . import errors
from .addresses import normal_address
from .asking import Asking
from .config import Config
from .errors import ConsoleError
from .limiter import FailureLimiter
from .limits import Limit
from .logger import get_logger
from .metrics import Metrics
from .models import SessionEnd
from .paced_log import PacedLog
from .registry import Counted, SessionRegistry
from .session import Session
from .token.again import SecondChances
from .token.used import UsedTokens

log = get_logger("trio_cpvm.gate")


class Admission(Protocol):
    """Whom the site asks about consoles: the authority itself, or somebody who asks it."""

    @property
    def draining(self) -> bool:
        """No new sessions are taken."""
        ...

    def wait_s(self, guesser: str) -> int:
        """Whole seconds that an address with bad tokens has to wait; 0: none."""
        ...

    async def failed(self, guesser: str) -> None:
        """An address has brought a bad token. Whoever asks from there afterwards waits, if it was one too many."""
        ...

    async def may_resume(self, asking: Asking) -> bool:
        """Whether its token is used, and its address may have the console again."""
        ...

    async def look(self, asking: Asking) -> None:
        """Whether that console would be opened at this moment; nothing is changed by asking.

        Raises:
            ConsoleError: why not.
        """
        ...

    async def admit(self, asking: Asking, session: Session) -> None:
        """Let a session in: its token is used up, it counts, and viewers that it replaces are told; or nothing is done.

        ``release`` has to follow, whatever happens.

        Raises:
            ConsoleError: why not.
        """
        ...

    def release(self, session: Session, end: SessionEnd) -> None:
        """An admitted session is over."""
        ...


class Decided(Counted, Protocol):
    """What the authority writes down with a session."""

    resumes: bool


S = TypeVar("S", bound=Decided)


class Authority(Generic[S]):
    """Decides.

    Args:
        config: the limits.
        metrics: counts sessions.
        now: the time of day, in seconds since the epoch.
        clock: seconds that never go back, for how long somebody has to wait, or may come back.

    Attributes:
        registry: the running sessions.
        failures: counts bad tokens per address; who brings too many has to wait.
        used: the tokens that were used.
        again: whose console broke.
    """

    def __init__(
        self,
        config: Config,
        *,
        metrics: Metrics | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry: SessionRegistry[S] = SessionRegistry(config.session)
        self.failures = FailureLimiter(config.token.max_failures, config.token.failure_window_s)
        self.used = UsedTokens()
        self.again = SecondChances()
        self._metrics = metrics or Metrics()
        self._now = now
        self._clock = clock
        self._lines = PacedLog()

    def configure(self, config: Config) -> None:
        """Go by other limits from now on; what is remembered stays."""
        self.failures.set_limits(config.token.max_failures, config.token.failure_window_s)
        self.registry.configure(config.session)

    def wait_s(self, guesser: str) -> int:
        """As ``Admission.wait_s``."""
        return self.failures.wait_s(guesser, now=self._clock())

    def failed(self, guesser: str) -> int:
        """As ``Admission.failed``; how long it has to wait now, in whole seconds."""
        self.failures.failed(guesser, now=self._clock())
        wait_s = self.wait_s(guesser)
        if wait_s:
            detail = str(Limit.BAD_TOKENS)
            self._lines.write(log.warning, "address has to wait", client=guesser, detail=detail, wait_s=wait_s)
        return wait_s

    def waiting(self) -> Iterator[tuple[str, int]]:
        """Every address that has to wait, and for how many whole seconds."""
        return self.failures.waiting(now=self._clock())

    def may_resume(self, asking: Asking) -> bool:
        """As ``Admission.may_resume``."""
        if not asking.single_use or asking.window_s <= 0:
            return False
        address = _one_spelling(asking.client)
        return self.again.has(asking.target.session_uuid, address, window_s=asking.window_s, now=self._clock())

    def look(self, asking: Asking) -> bool:
        """As ``Admission.look``; whether it would go on with an earlier console."""
        if asking.guesser:
            check_wait(self.wait_s(asking.guesser))
        resumes = self.may_resume(asking)
        if asking.late_s and not resumes:
            raise expired(asking)
        if asking.single_use and not resumes and self.used.seen(asking.target.session_uuid):
            raise ConsoleError(errors.TOKEN_USED)
        self.registry.check_room(asking.client, asking.target, resumes=resumes)
        return resumes

    def admit(self, asking: Asking, session: S) -> None:
        """As ``Admission.admit``."""
        session.resumes = self.look(asking)
        uuid = asking.target.session_uuid
        if asking.single_use and not session.resumes:
            now = self._now()
            until = None if asking.lives_s is None else now + asking.lives_s
            if not self.used.use(uuid, until=until, now=now):
                raise ConsoleError(errors.TOKEN_USED)
        if asking.single_use and asking.window_s > 0:
            self.again.opened(uuid, session.id, _one_spelling(asking.client))
        self._metrics.session_started()
        self.registry.add(session)

    def release(self, session: S, end: SessionEnd, opened_after_s: float | None) -> None:
        """As ``Admission.release``."""
        broke_at = self._clock() if end.broken else None
        self.again.ended(session.target.session_uuid, session.id, broke_at=broke_at)
        self._metrics.session_ended(end, opened_after_s)
        self.registry.remove(session)


class InThisProcess(Admission):
    """Asks an authority that is at hand: nothing is waited for."""

    def __init__(self, authority: Authority[Session]) -> None:
        self.authority = authority

    @property
    def draining(self) -> bool:
        """As ``Admission``; so is everything here."""
        return self.authority.registry.draining

    def wait_s(self, guesser: str) -> int:
        return self.authority.wait_s(guesser)

    async def failed(self, guesser: str) -> None:
        self.authority.failed(guesser)

    async def may_resume(self, asking: Asking) -> bool:
        return self.authority.may_resume(asking)

    async def look(self, asking: Asking) -> None:
        self.authority.look(asking)

    async def admit(self, asking: Asking, session: Session) -> None:
        self.authority.admit(asking, session)

    def release(self, session: Session, end: SessionEnd) -> None:
        self.authority.release(session, end, session.opened_after_s)


def check_wait(wait_s: int) -> None:
    """Refuse an address that has to wait so long.

    Raises:
        ConsoleError: ``too-many-attempts``.
    """
    if wait_s:
        detail = f"for {wait_s} s more; {Limit.BAD_TOKENS}"
        raise ConsoleError(errors.TOO_MANY_ATTEMPTS, detail, limit=Limit.BAD_TOKENS, retry_after_s=wait_s)


def expired(asking: Asking) -> ConsoleError:
    """Why a late token is refused."""
    return ConsoleError(errors.TOKEN_EXPIRED, f"by {asking.late_s:.0f} s")


def _one_spelling(client: str) -> str:
    """One for each IP address; a client may be none (a unix socket)."""
    try:
        return normal_address(client)
    except ValueError:
        return client
