"""An inventory that asks libvirt, anew at each access. libvirt-python blocks, so every call runs in a thread.

One connection is kept and opened again once it has broken. The threads only work on what they are handed; everything
that is remembered is remembered by trio's thread.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Protocol, TypeVar, cast
from urllib.parse import urlsplit

import trio

from ..errors import INVENTORY_FAILED, BadConfiguration, ConsoleError, sanitise_text
from ..logger import get_logger
from .libvirt_xml import NoConsole, console_target
from .machines import Found, Machine, MachineState

log = get_logger("trio_cpvm.access")

T = TypeVar("T")

#: How long an answer may take, in seconds.
DEADLINE_S = 10.0
#: How many calls may be under way. One that libvirt never answers takes its thread along.
MAX_CALLS = 4


class _Domain(Protocol):
    """``libvirt.virDomain``, as far as it is used here."""

    def name(self) -> str: ...
    def UUIDString(self) -> str: ...  # noqa: N802 -- libvirt's
    def state(self) -> list[int]: ...
    def XMLDesc(self, flags: int) -> str: ...  # noqa: N802


class _Connection(Protocol):
    """``libvirt.virConnect``, likewise."""

    def isAlive(self) -> int: ...  # noqa: N802
    def getAllDomainStats(self, stats: int, flags: int) -> list[tuple[_Domain, dict[str, int]]]: ...  # noqa: N802
    def lookupByUUIDString(self, text: str) -> _Domain: ...  # noqa: N802
    def lookupByName(self, name: str) -> _Domain: ...  # noqa: N802


class LibvirtInventory:
    """The domains of one libvirt daemon. Their ids are their UUIDs; ``find`` takes their names as well.

    Args:
        uri: libvirt's connection URI.
        any_host: where to connect to domains that listen on every address; by default the URI's host, or loopback.
        deadline_s: seconds for one answer.
        libvirt: the module, by default ``libvirt`` itself.

    Raises:
        BadConfiguration: libvirt-python is not installed. Whether libvirt answers shows at the first access.
    """

    def __init__(
        self, uri: str, *, any_host: str = "", deadline_s: float = DEADLINE_S, libvirt: ModuleType | None = None
    ) -> None:
        self._uri = uri
        self._any_host = any_host or urlsplit(uri).hostname or "127.0.0.1"
        self._deadline_s = deadline_s
        self._libvirt = libvirt or _import_libvirt()
        self._connection: _Connection | None = None
        self._limiter = trio.CapacityLimiter(MAX_CALLS)

    async def machines(self) -> Sequence[Machine]:
        """See ``Inventory``. Sorted by name."""
        return await self._ask(self._list)

    async def find(self, machine_id: str) -> Found | None:
        """See ``Inventory``."""
        return await self._ask(lambda connection: self._look_up(connection, machine_id))

    # -- within trio's thread

    async def _ask(self, question: Callable[[_Connection], T]) -> T:
        """Have a question answered, on a new connection if the kept one turns out to be broken."""
        try:
            with trio.fail_after(self._deadline_s):
                kept = self._connection
                if kept is not None:
                    try:
                        return await self._in_thread(lambda: question(kept))
                    except self._error():
                        if await self._in_thread(lambda: self._is_alive(kept)):
                            raise
                        log.info("libvirt connection lost")
                        self._forget(kept)
                self._connection = opened = await self._in_thread(self._open)
                return await self._in_thread(lambda: question(opened))
        except trio.TooSlowError:
            self._connection = None  # whoever waits on it may wait for ever
            raise ConsoleError(INVENTORY_FAILED, f"libvirt did not answer within {self._deadline_s:g} s") from None
        except self._error() as exc:
            raise ConsoleError(INVENTORY_FAILED, f"libvirt: {sanitise_text(str(exc))}") from None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter)

    def _forget(self, connection: _Connection) -> None:
        if self._connection is connection:
            self._connection = None

    def _error(self) -> type[Exception]:
        return cast("type[Exception]", self._libvirt.libvirtError)

    # -- within other threads

    def _open(self) -> _Connection:
        return cast("_Connection", self._libvirt.open(self._uri))

    def _is_alive(self, connection: _Connection) -> bool:
        try:
            return connection.isAlive() == 1
        except self._error():
            return False

    def _list(self, connection: _Connection) -> list[Machine]:
        rows = connection.getAllDomainStats(self._libvirt.VIR_DOMAIN_STATS_STATE, 0)
        found = [
            Machine(id=domain.UUIDString(), name=domain.name(), state=self._state(stats.get("state.state", 0)))
            for domain, stats in rows
        ]
        return sorted(found, key=lambda machine: (machine.name, machine.id))

    def _look_up(self, connection: _Connection, machine_id: str) -> Found | None:
        try:
            domain = self._domain(connection, machine_id)
            machine = Machine(id=domain.UUIDString(), name=domain.name(), state=self._state(domain.state()[0]))
            if machine.state is MachineState.STOPPED:
                return Found(machine=machine, target=None, lack="libvirt says it does not run")
            xml = domain.XMLDesc(self._libvirt.VIR_DOMAIN_XML_SECURE)
        except self._error() as exc:
            if getattr(exc, "get_error_code", int)() == self._libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        try:
            target = console_target(xml, any_host=self._any_host, now=time.time())
        except NoConsole as exc:
            return Found(machine=machine, target=None, lack=str(exc))
        return Found(machine=machine, target=target)

    @staticmethod
    def _domain(connection: _Connection, machine_id: str) -> _Domain:
        try:
            return connection.lookupByUUIDString(str(uuid.UUID(machine_id)))
        except ValueError:
            return connection.lookupByName(machine_id)

    def _state(self, number: int) -> MachineState:
        """``virDomainState``; a domain that is being shut down still shows its screen."""
        if number in (self._libvirt.VIR_DOMAIN_SHUTOFF, self._libvirt.VIR_DOMAIN_CRASHED):
            return MachineState.STOPPED
        if number in (self._libvirt.VIR_DOMAIN_PAUSED, self._libvirt.VIR_DOMAIN_PMSUSPENDED):
            return MachineState.PAUSED
        return MachineState.RUNNING


def _import_libvirt() -> ModuleType:
    try:
        module = import_module("libvirt")
    except ImportError as exc:
        raise BadConfiguration(
            "access.inventory = 'libvirt:...' needs libvirt-python: pip install 'trio-cpvm[libvirt]', "
            f"or Debian's python3-libvirt ({exc})"
        ) from None
    module.registerErrorHandler(lambda _, __: None, None)  # it would print every error besides raising it
    return module
