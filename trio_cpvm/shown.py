"""What operators are shown of sessions, whichever process has them: the face that they all have.

A ``Session`` is ``Shown``, and so is what the supervisor knows of a worker's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from .asking import Viewed
from .config import SessionConfig
from .control import Standing
from .errors import Phase
from .registry import Counted


class ShownTarget(Viewed, Protocol):
    """What a session has open."""

    @property
    def vm_id(self) -> str:
        """The platform's id of the machine."""
        ...

    @property
    def host(self) -> str:
        """Name or address of the VNC server."""
        ...

    @property
    def port(self) -> int:
        """Its TCP port."""
        ...

    @property
    def address(self) -> str:
        """Both."""
        ...


class HasSecurity(Protocol):
    """What a handshake agreed on."""

    @property
    def security(self) -> str:
        """The security type."""
        ...


class Shown(Counted, Protocol):
    """One session."""

    @property
    def target(self) -> ShownTarget:
        """What it has open."""
        ...

    @property
    def phase(self) -> Phase:
        """How far it has come."""
        ...

    @property
    def name(self) -> str:
        """What its console is called."""
        ...

    @property
    def established(self) -> HasSecurity | None:
        """What its handshake agreed on, once it has."""
        ...

    @property
    def transport(self) -> str:
        """What protects the bytes on their way to the host."""
        ...

    @property
    def standing(self) -> Standing:
        """How much longer it may go on, and how far its host is."""
        ...

    @property
    def age_s(self) -> float:
        """Seconds since the start."""
        ...

    @property
    def idle_s(self) -> float:
        """Seconds without input."""
        ...

    @property
    def worker(self) -> int | None:
        """Which process has it, where there are several."""
        ...


class ShownSessions(Protocol):
    """All that run."""

    @property
    def draining(self) -> bool:
        """No new ones are taken."""
        ...

    @property
    def limits(self) -> SessionConfig:
        """How many there may be."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Shown]: ...

    def get(self, session_id: str) -> Shown | None:
        """The one of that id."""
        ...
