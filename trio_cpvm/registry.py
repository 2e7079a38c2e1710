"""The sessions that run: how many, whose, of which machine; and who has to make room for whom.

One object per daemon. It counts and ends sessions; it does not know how they work, nor whether in this process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

import trio

from . import errors
from .asking import Viewed
from .config import SessionConfig
from .errors import ConsoleError, Reason
from .limiter import client_key
from .limits import Limit


class Counted(Protocol):
    """What is known of a session here. A ``Session`` is one, and so is one that another process has."""

    drains_at: float | None

    @property
    def id(self) -> str:
        """What tells it."""
        ...

    @property
    def client(self) -> str:
        """The browser's address."""
        ...

    @property
    def target(self) -> Viewed:
        """What it has open."""
        ...

    @property
    def resumes(self) -> bool:
        """It goes on with the console of an earlier session of the same token."""
        ...

    @property
    def ending(self) -> bool:
        """It only says goodbye."""
        ...

    @property
    def looks_on(self) -> bool:
        """Somebody else has the keyboard and pointer."""
        ...

    @property
    def bytes_up(self) -> int:
        """Payload bytes to the host so far."""
        ...

    @property
    def bytes_down(self) -> int:
        """Payload bytes to the browser so far."""
        ...

    def look_on(self, on: bool) -> None:
        """Let its user look only, or type as well."""
        ...

    def end(self, reason: Reason, detail: str = "", *, by: str = "") -> None:
        """End it; the first reason counts."""
        ...


S = TypeVar("S", bound=Counted)


class Sessions(Generic[S]):
    """Sessions that run.

    Attributes:
        draining: no new sessions are taken.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, S] = {}
        self._changed = trio.Event()
        self.draining = False
        self._drains_at: float | None = None

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[S]:
        return iter(list(self._sessions.values()))

    @property
    def bytes_relayed(self) -> dict[str, int]:
        """Payload bytes of the running sessions so far, ``up`` to the hosts and ``down`` to the browsers."""
        return {"up": sum(one.bytes_up for one in self), "down": sum(one.bytes_down for one in self)}

    def get(self, session_id: str) -> S | None:
        """The running session of that id."""
        return self._sessions.get(session_id)

    def add(self, session: S) -> None:
        """The session counts from now on."""
        self._sessions[session.id] = session
        session.drains_at = self._drains_at  # it may have passed every check a moment before the drain

    def remove(self, session: S) -> None:
        """It is over."""
        del self._sessions[session.id]
        self._changed.set()
        self._changed = trio.Event()

    @contextmanager
    def running(self, session: S) -> Iterator[None]:
        """The session counts within the block."""
        self.add(session)
        try:
            yield
        finally:
            self.remove(session)

    def start_drain(self, deadline: float) -> None:
        """Take no new sessions.

        Args:
            deadline: when the running ones are ended (trio's clock), for their pages; ending them is the caller's task.
        """
        self.draining = True
        self._drains_at = deadline
        for session in self:
            session.drains_at = deadline

    def end_all(self, reason: Reason) -> int:
        """End every running session; how many there were."""
        sessions = list(self)
        for session in sessions:
            session.end(reason)
        return len(sessions)

    async def wait_empty(self) -> None:
        """Wait until no session runs."""
        while self._sessions:
            await self._changed.wait()


class SessionRegistry(Sessions[S]):
    """Every running session of the daemon, and the rules about how many there may be."""

    def __init__(self, config: SessionConfig) -> None:
        super().__init__()
        self._config = config
        self._per_client: Counter[str] = Counter()
        self._viewers: dict[str, list[S]] = {}

    @property
    def limits(self) -> SessionConfig:
        """What is configured at present."""
        return self._config

    def configure(self, config: SessionConfig) -> None:
        """Go by other limits from now on. Nobody is ended for them; where all may type from now on, all do."""
        self._config = config
        for viewers in self._viewers.values():
            self._give_input(viewers)

    def check_room(self, client: str, target: Viewed, *, resumes: bool = False) -> None:
        """Whether another session of this client and machine may start. Viewers it would replace make room for it.

        Args:
            client: the browser's address.
            target: what it would open.
            resumes: it would go on with the console of an earlier session.

        Raises:
            ConsoleError: ``draining`` or ``too-many-sessions``.
        """
        if self.draining:
            raise ConsoleError(errors.DRAINING)
        limits = self._config
        replaced = self._replaced_by(target, resumes=resumes)
        if len(self) - len(replaced) >= limits.max_sessions:
            raise _full(Limit.SESSIONS, limits.max_sessions)
        counted_as = client_key(client)
        of_client = self._per_client[counted_as] - sum(client_key(one.client) == counted_as for one in replaced)
        if 0 < limits.max_sessions_per_client <= of_client:
            raise _full(Limit.SESSIONS_PER_CLIENT, limits.max_sessions_per_client)
        of_machine = len(self._viewers.get(target.viewer_key, ())) - len(replaced)
        if 0 < limits.max_sessions_per_machine <= of_machine:
            raise _full(Limit.SESSIONS_PER_MACHINE, limits.max_sessions_per_machine)
        if limits.second_viewer == "refuse" and of_machine > 0:
            raise ConsoleError(errors.TOO_MANY_SESSIONS, "the machine has a viewer; session.second_viewer = refuse")

    def add(self, session: S) -> None:
        """The session counts from now on; viewers it replaces are told at once."""
        for other in self._replaced_by(session.target, resumes=session.resumes):
            user = session.target.user
            who = f"{user!r} from {session.client}" if user else session.client
            other.end(errors.REPLACED, f"by session {session.id}, {who}", by=user)
        viewers = self._viewers.setdefault(session.target.viewer_key, [])
        viewers.append(session)
        self._give_input(viewers)
        self._per_client[client_key(session.client)] += 1
        super().add(session)

    def remove(self, session: S) -> None:
        """It is over."""
        counted_as = client_key(session.client)
        self._per_client[counted_as] -= 1
        if not self._per_client[counted_as]:
            del self._per_client[counted_as]
        key = session.target.viewer_key
        viewers = self._viewers[key]
        viewers.remove(session)
        self._give_input(viewers)
        if not viewers:
            del self._viewers[key]
        super().remove(session)

    def _give_input(self, viewers: list[S]) -> None:
        """Where only one of a machine's viewers types, the one that has been there longest does."""
        if self._config.shared_input == "first":
            able = [viewer for viewer in viewers if not viewer.target.view_only and not viewer.ending]
            for viewer in able:
                viewer.look_on(viewer is not able[0])
        else:
            for viewer in viewers:
                if viewer.looks_on:
                    viewer.look_on(False)

    def _replaced_by(self, target: Viewed, *, resumes: bool) -> list[S]:
        """The viewers that have to go for a new one of that machine."""
        # Those that are saying goodbye already make no room a second time.
        viewers = [viewer for viewer in self._viewers.get(target.viewer_key, ()) if not viewer.ending]
        if self._config.second_viewer == "replace" and not target.needs_new_viewer:
            return [viewer for viewer in viewers if not viewer.target.needs_new_viewer]
        if resumes:
            return [viewer for viewer in viewers if viewer.target.session_uuid == target.session_uuid]
        return []


def _full(limit: Limit, value: int) -> ConsoleError:
    return ConsoleError(errors.TOO_MANY_SESSIONS, f"{limit} = {value}", limit=limit)
