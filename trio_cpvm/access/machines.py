"""Machines as the access endpoint sees them, and the one interface behind which they are found. Knows no trio."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

import attrs

from ..models import ConsoleTarget

#: Longer ones are no machine's.
MAX_ID_CHARS = 256


class MachineState(enum.StrEnum):
    """What a machine does, as far as its console is concerned."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@attrs.frozen(kw_only=True)
class Machine:
    """A machine in a list.

    Attributes:
        id: what requests name it by.
        name: what people call it.
        state: what it does at this moment.
    """

    id: str
    name: str
    state: MachineState


@attrs.frozen(kw_only=True)
class Found:
    """A machine that was looked up.

    Attributes:
        machine: which one it is.
        target: its console; ``None`` if it has none at this moment.
        lack: why not, for the log.
    """

    machine: Machine
    target: ConsoleTarget | None
    lack: str = ""


class Inventory(Protocol):
    """Where the machines are."""

    async def machines(self) -> Sequence[Machine]:
        """All of them.

        Raises:
            ConsoleError: ``inventory-failed``.
        """
        ...

    async def find(self, machine_id: str) -> Found | None:
        """One of them, as it is at this moment; ``None`` if there is none of that id.

        Raises:
            ConsoleError: ``inventory-failed``.
        """
        ...
