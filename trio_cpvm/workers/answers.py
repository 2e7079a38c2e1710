"""What the supervisor does with what one worker says: the authority is asked, sessions and events are counted.

One object for each worker that runs; what it leaves behind when its process dies is taken back here as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import attrs

from .. import errors
from ..access.memory import AccessMemory
from ..access.used_signatures import TooManySignatures
from ..asking import PlainTarget
from ..authority import Authority
from ..errors import ConsoleError
from ..limits import Limit
from ..metrics import Metrics, RefusedKind
from ..models import SessionEnd
from .channel import Reply
from .messages import (
    AccessAnswered,
    Admit,
    Bytes,
    Details,
    Done,
    Ended,
    Guess,
    LimitReached,
    Look,
    MayResume,
    Message,
    NotAMessage,
    Recorded,
    Refused,
    RequestRefused,
    Truth,
    UseSignature,
    Waits,
    Withdrawn,
    session_details,
)
from .remote_session import RemoteSession

_KINDS: tuple[RefusedKind, ...] = ("page", "console", "request")


@attrs.define(eq=False, kw_only=True)
class Shared:
    """What all workers share, in the supervisor.

    Attributes:
        authority: decides about consoles.
        callers: remembers the access endpoint's callers.
        metrics: counts events.
        tell_all: sends a message to every worker.
        turned_away: connections that found no room, since the start.
    """

    authority: Authority[RemoteSession]
    callers: AccessMemory
    metrics: Metrics
    tell_all: Callable[[Message], None]
    turned_away: int = 0

    def count_limit(self, limit: Limit) -> None:
        """A limit has refused or ended something of a worker's."""
        self.turned_away += limit in (Limit.CONNECTIONS, Limit.CONNECTIONS_PER_CLIENT)
        self.metrics.limit_reached(limit)


class Answers:
    """Answers one worker.

    Args:
        number: which one.
        shared: what is asked.
        tell: sends it a message.

    Attributes:
        sessions: those that it has.
    """

    def __init__(self, number: int, shared: Shared, tell: Callable[[Message], None]) -> None:
        self._number = number
        self._shared = shared
        self._tell = tell
        self.sessions: dict[str, RemoteSession] = {}

    def handle(self, message: Message, reply: Reply) -> None:
        """Do what the worker asks for.

        Raises:
            NotAMessage: it says what no worker says, or of what it does not have.
        """
        shared = self._shared
        try:
            match message:
                case Admit():
                    reply(self._admit(message))
                case Ended():
                    self._end(message)
                case Recorded():
                    self._session(message.session_id).recorded = True
                case Withdrawn():
                    self._lose(self._session(message.session_id), "its worker was too busy to begin it")
                case MayResume():
                    reply(Truth(shared.authority.may_resume(message.asking)))
                case Look():
                    shared.authority.look(message.asking)
                    reply(Done())
                case Guess():
                    self._guess(message)
                    reply(Done())
                case UseSignature():
                    reply(Truth(self._use(message)))
                case RequestRefused():
                    kind = _KINDS.index(cast("RefusedKind", message.kind))
                    shared.metrics.refused(_KINDS[kind], _reason(message.slug))
                case AccessAnswered():
                    shared.metrics.access_answered(message.status)
                case LimitReached():
                    shared.count_limit(Limit(message.limit))
                case _:
                    raise NotAMessage(type(message).__name__)
        except ConsoleError as error:
            reply(Refused(error.reason.slug, error.detail, error.limit or "", error.retry_after_s))
        except (ValueError, TypeError) as exc:
            raise NotAMessage(f"{type(message).__name__}: {exc}") from exc

    def note(self, answer: Message) -> int:
        """What the worker says of its sessions; of those that began or ended in the meantime nothing is known.

        Returns:
            how many tasks it has.

        Raises:
            NotAMessage: it says nothing of the kind.
        """
        if not isinstance(answer, Details | Bytes) or not isinstance(answer.tasks, int):
            raise NotAMessage(type(answer).__name__)
        if isinstance(answer, Details):
            for details in map(session_details, answer.sessions):
                session = self.sessions.get(details.id)
                if session is not None:
                    session.details = details
                    session.bytes_up, session.bytes_down = details.bytes_up, details.bytes_down
            return answer.tasks
        try:
            for session_id, up, down in answer.sessions:
                session = self.sessions.get(session_id)
                if session is not None:
                    session.bytes_up, session.bytes_down = int(up), int(down)
        except (ValueError, TypeError) as exc:
            raise NotAMessage(f"Bytes: {exc}") from exc
        return answer.tasks

    def lose_all(self, detail: str, *, recorded: bool = False) -> int:
        """The worker is gone, with all that it had.

        Args:
            detail: why.
            recorded: it writes its sessions' records itself.

        Returns:
            how many sessions those were.
        """
        lost = list(self.sessions.values())
        for session in lost:
            session.recorded |= recorded
            self._lose(session, detail)
        return len(lost)

    def _session(self, session_id: str) -> RemoteSession:
        try:
            return self.sessions[session_id]
        except KeyError:
            raise NotAMessage(f"no session {session_id[:20]!r} is this worker's") from None

    def _admit(self, message: Admit) -> Message:
        asking = message.asking
        if not isinstance(asking.target, PlainTarget) or message.session_id in self.sessions:
            raise NotAMessage("Admit")
        session = RemoteSession(
            id=message.session_id,
            client=asking.client,
            target=asking.target,
            worker=self._number,
            tell=self._tell,
        )
        self._shared.authority.admit(asking, session)
        self.sessions[session.id] = session
        return session.begin()

    def _end(self, message: Ended) -> None:
        session = self._session(message.session_id)
        del self.sessions[session.id]
        end = SessionEnd(
            reason=_reason(message.slug),
            detail=message.detail,
            bytes_up=message.bytes_up,
            bytes_down=message.bytes_down,
            duration_s=message.duration_s,
            broken=message.broken,
            limit=Limit(message.limit) if message.limit else None,
        )
        self._shared.authority.release(session, end, message.opened_after_s)

    def _lose(self, session: RemoteSession, detail: str) -> None:
        del self.sessions[session.id]
        self._shared.authority.release(session, session.lost(detail), session.opened_after_s)

    def _guess(self, message: Guess) -> None:
        shared = self._shared
        note = {"token": shared.authority.failed, "access": shared.callers.note_failure}.get(message.kind)
        if note is None:
            raise NotAMessage(f"Guess of {message.kind[:20]!r}")
        wait_s = note(message.key)
        if wait_s:
            shared.tell_all(Waits(message.kind, message.key, wait_s))

    def _use(self, message: UseSignature) -> bool | None:
        try:
            return self._shared.callers.use(message.caller, message.mark, lives_s=message.lives_s)
        except TooManySignatures:
            return None


def _reason(slug: str) -> errors.Reason:
    try:
        return errors.REASONS[slug]
    except KeyError:
        raise NotAMessage(f"no reason {slug[:20]!r}") from None
