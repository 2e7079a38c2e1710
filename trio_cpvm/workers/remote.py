"""What a worker has in place of the authority, the callers' memory and the metrics: it asks or tells the supervisor.

Knows the channel and its messages. What it keeps itself is which addresses have to wait, so that they cost nothing more
than being refused, and its own sessions.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import attrs
import trio

from .. import errors
from ..access.memory import CallerMemory
from ..access.used_signatures import TooManySignatures
from ..asking import Asking, plain_target
from ..authority import Admission
from ..config import AccessConfig
from ..errors import ConsoleError, Reason
from ..limiter import CAPACITY
from ..limits import Limit
from ..metrics import Counts, RefusedKind
from ..models import ConsoleTarget, SessionEnd
from ..registry import Sessions
from ..session import Session
from .channel import ANSWER_S, Channel, ChannelClosed
from .messages import (
    AccessAnswered,
    Admit,
    Admitted,
    Ended,
    Guess,
    LimitReached,
    Look,
    MayResume,
    Message,
    Refused,
    RequestRefused,
    Truth,
    UseSignature,
    Withdrawn,
)


class Waiting:
    """Which addresses have to wait, and until when, as the supervisor has told. Memory is bounded."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def put(self, key: str, wait_s: int) -> None:
        """That address has to wait for so long from now on."""
        self._until[key] = self._clock() + wait_s
        self._until.move_to_end(key)
        while len(self._until) > CAPACITY:
            self._until.popitem(last=False)

    def wait_s(self, key: str) -> int:
        """Whole seconds that an address still has to wait; 0: none."""
        until = self._until.get(key)
        if until is None:
            return 0
        left_s = until - self._clock()
        if left_s <= 0:
            del self._until[key]
            return 0
        return -int(-left_s // 1)

    def clear(self) -> None:
        """Nobody has to wait any more."""
        self._until.clear()


class RemoteAdmission(Admission):
    """Asks the supervisor about consoles.

    Args:
        channel: to it.
        sessions: this worker's own; a session is entered the moment its admission arrives.
        waiting: who brought too many bad tokens.
    """

    def __init__(self, channel: Channel, sessions: Sessions[Session], waiting: Waiting) -> None:
        self._channel = channel
        self._sessions = sessions
        self._waiting = waiting

    @property
    def draining(self) -> bool:
        """As ``Admission``; so is everything here."""
        return self._sessions.draining

    def wait_s(self, guesser: str) -> int:
        return self._waiting.wait_s(guesser)

    async def failed(self, guesser: str) -> None:
        await _ask(self._channel, Guess("token", guesser))

    async def may_resume(self, asking: Asking) -> bool:
        answer = await _ask(self._channel, MayResume(_plain(asking)))
        return isinstance(answer, Truth) and bool(answer.value)

    async def look(self, asking: Asking) -> None:
        await _ask(self._channel, Look(_plain(asking)))

    async def admit(self, asking: Asking, session: Session) -> None:
        admission = _Admission(self._channel, self._sessions, session)
        self._channel.question(Admit(session.id, _plain(asking)), admission.answered)
        try:
            with trio.fail_after(ANSWER_S):
                await admission.there.wait()
        except trio.TooSlowError:
            raise _nobody() from None
        finally:
            admission.abandoned = not admission.there.is_set()
        _check(admission.answer)

    def release(self, session: Session, end: SessionEnd) -> None:
        self._sessions.remove(session)
        self._channel.tell(
            Ended(
                session.id,
                end.reason.slug,
                end.detail,
                end.bytes_up,
                end.bytes_down,
                end.duration_s,
                end.broken,
                end.limit or "",
                session.opened_after_s,
            )
        )


@attrs.define(eq=False)
class _Admission:
    """Whether a session may begin. The answer takes effect as it arrives: what follows may end the session."""

    channel: Channel
    sessions: Sessions[Session]
    session: Session
    there: trio.Event = attrs.field(factory=trio.Event, init=False)
    answer: Message | None = attrs.field(default=None, init=False)
    #: Nobody waits for it any more.
    abandoned: bool = attrs.field(default=False, init=False)

    def answered(self, answer: Message | None) -> None:
        if isinstance(answer, Admitted):
            if self.abandoned:
                self.channel.tell(Withdrawn(self.session.id))
                return
            self.session.resumes, self.session.looks_on = answer.resumes, answer.looks_on
            self.sessions.add(self.session)
        self.answer = answer
        self.there.set()


class RemoteCallerMemory(CallerMemory):
    """Asks the supervisor about the access endpoint's callers.

    Args:
        channel: to it.
        waiting: who has failed too often.
    """

    def __init__(self, channel: Channel, waiting: Waiting) -> None:
        self._channel = channel
        self._waiting = waiting

    def wait_s(self, client: str) -> int:
        """As ``CallerMemory``; so is everything here."""
        return self._waiting.wait_s(client)

    async def failed(self, client: str) -> None:
        await _ask(self._channel, Guess("access", client))

    async def use_signature(self, caller: str, mark: str, *, lives_s: float) -> bool:
        answer = await _ask(self._channel, UseSignature(caller, mark, lives_s))
        if not isinstance(answer, Truth):
            raise _nobody()
        if answer.value is None:
            raise TooManySignatures
        return answer.value

    def configure(self, limits: AccessConfig) -> None:
        """The limits are the supervisor's business."""


class RemoteCounts(Counts):
    """Tells the supervisor what has to be counted. Sessions are counted there already."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def session_started(self) -> None:
        """As ``Metrics``; so is everything here."""

    def session_ended(self, end: SessionEnd, opened_after_s: float | None) -> None:
        pass

    def refused(self, kind: RefusedKind, reason: Reason) -> None:
        self._channel.tell(RequestRefused(kind, reason.slug))

    def access_answered(self, status: int) -> None:
        self._channel.tell(AccessAnswered(status))

    def limit_reached(self, limit: Limit) -> None:
        self._channel.tell(LimitReached(limit))


def _plain(asking: Asking) -> Asking:
    target = asking.target
    return attrs.evolve(asking, target=plain_target(target)) if isinstance(target, ConsoleTarget) else asking


async def _ask(channel: Channel, question: Message) -> Message:
    """Raises ``ConsoleError`` where the answer is one, or there is none."""
    try:
        answer = await channel.ask(question)
    except (ChannelClosed, trio.TooSlowError):
        raise _nobody() from None
    return _check(answer)


def _check(answer: Message | None) -> Message:
    if isinstance(answer, Refused):
        raise ConsoleError(
            errors.REASONS[answer.slug],
            answer.detail,
            limit=Limit(answer.limit) if answer.limit else None,
            retry_after_s=answer.retry_after_s,
        )
    if answer is None:
        raise _nobody()
    return answer


def _nobody() -> ConsoleError:
    return ConsoleError(errors.INTERNAL_ERROR, "the supervisor does not answer")
