"""A worker's session as the supervisor knows it: with the same face as a session of its own, and no bytes.

What it is told to do becomes a message to its worker; what operators are shown of it is as of the worker's last report.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import attrs
import trio

from .. import errors
from ..asking import PlainTarget
from ..control import Standing
from ..errors import Phase, Reason
from ..logger import get_logger
from ..models import SessionEnd
from .messages import Admitted, End, LookOn, Message, SessionDetails

audit = get_logger("trio_cpvm.audit")


@attrs.frozen
class Agreed:
    """What its handshake agreed on."""

    security: str


@attrs.define(eq=False, kw_only=True)
class RemoteSession:
    """One session of a worker.

    Attributes:
        id: as its worker calls it.
        client: the browser's address.
        target: what it has open.
        worker: which worker has it.
        tell: sends a message to that.
        resumes: it goes on with an earlier one's console.
        looks_on: somebody else has keyboard and pointer.
        drains_at: the worker knows.
        ending: it has been told to end.
        recorded: its record has been written.
        details: the worker's last report.
        bytes_up: payload bytes to the host, by then or later.
        bytes_down: likewise, to the browser.
    """

    id: str
    client: str
    target: PlainTarget
    worker: int
    tell: Callable[[Message], None]
    resumes: bool = False
    looks_on: bool = False
    drains_at: float | None = None
    ending: bool = False
    recorded: bool = False
    details: SessionDetails | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    _begun: bool = attrs.field(default=False, init=False)
    _started: datetime = attrs.field(factory=lambda: datetime.now(UTC), init=False)
    _started_at: float = attrs.field(factory=trio.current_time, init=False)

    def begin(self) -> Admitted:
        """It counts from now on; what its worker is told of that. Everything later has a message of its own."""
        self._begun = True
        return Admitted(self.resumes, self.looks_on)

    def end(self, reason: Reason, detail: str = "", *, by: str = "") -> None:
        """As ``Session.end``."""
        self.ending = True
        self.tell(End(self.id, reason.slug, detail, by))

    def look_on(self, on: bool) -> None:
        """As ``Session.look_on``."""
        if self._begun and on is not self.looks_on:
            self.tell(LookOn(self.id, on))
        self.looks_on = on

    # -- what operators are shown

    @property
    def phase(self) -> Phase:
        """How far it has come."""
        return Phase(self.details.phase) if self.details is not None else Phase.CONNECT

    @property
    def name(self) -> str:
        """What its console is called."""
        return self.details.name if self.details is not None else self.target.name

    @property
    def established(self) -> Agreed | None:
        """What its handshake agreed on, once it has."""
        security = self.details.security if self.details is not None else None
        return Agreed(security) if security is not None else None

    @property
    def transport(self) -> str:
        """What protects the bytes on their way to the host."""
        return self.details.transport if self.details is not None else ""

    @property
    def age_s(self) -> float:
        """Seconds since the start."""
        return trio.current_time() - self._started_at

    @property
    def idle_s(self) -> float:
        """Seconds without input, at the last report."""
        return self.details.idle_s if self.details is not None else self.age_s

    @property
    def opened_after_s(self) -> float | None:
        """Seconds until its console was open, if that was ever reported."""
        return self.details.opened_after_s if self.details is not None else None

    @property
    def standing(self) -> Standing:
        """How it stands, at the last report."""
        found = self.details
        return Standing(
            phase=self.phase,
            idle_left_s=found.idle_left_s if found is not None else None,
            lifetime_left_s=found.lifetime_left_s if found is not None else None,
            host_rtt_s=found.host_rtt_s if found is not None else None,
            drain_left_s=None,
            looks_on=self.looks_on,
        )

    # -- the end

    def lost(self, detail: str) -> SessionEnd:
        """Its worker will say no more of it. What is known of it goes into its record, unless that has been written."""
        end = SessionEnd(
            reason=errors.INTERNAL_ERROR,
            detail=detail,
            bytes_up=self.bytes_up,
            bytes_down=self.bytes_down,
            duration_s=self.age_s,
            broken=True,
        )
        if not self.recorded:
            self.recorded = True
            self._write_record(end)
        return end

    def _write_record(self, end: SessionEnd) -> None:
        """As ``Session``'s own, field by field."""
        audit.info(
            "session ended",
            session=self.id,
            user=self.target.user,
            client=self.client,
            vm=self.target.vm_id,
            name=self.name,
            host=self.target.address,
            view_only=self.target.view_only,
            resumes=self.resumes,
            security=self.established.security if self.established is not None else "",
            transport=self.transport,
            reason=end.reason.slug,
            side=str(end.reason.side),
            phase=str(self.phase),
            detail=end.detail,
            bytes_up=end.bytes_up,
            bytes_down=end.bytes_down,
            started=self._started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            duration_s=round(end.duration_s, 3),
            opened_after_s=None if self.opened_after_s is None else round(self.opened_after_s, 3),
        )
