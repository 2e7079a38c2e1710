"""An inventory that asks libvirt, anew at each access. libvirt-python blocks, so every call runs in a thread.

Connections are kept and opened again once they have broken. Each belongs to one thread at a time, and trio's thread
never holds one: a call that is given up goes on, and closing a connection, or forgetting the last object of one, is a
question to libvirt as well.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from types import ModuleType
from typing import Protocol, TypeVar, cast
from urllib.parse import urlsplit

import trio

from ..errors import INVENTORY_FAILED, BadConfiguration, ConsoleError, sanitise_text
from ..logger import get_logger
from ..models import is_loopback
from .libvirt_xml import NoConsole, console_target
from .machines import Found, Machine, MachineState

log = get_logger("trio_cpvm.access")

T = TypeVar("T")

#: How long an answer may take, in seconds.
DEADLINE_S = 10.0
#: How many calls may be under way, those included that nobody waits for any more. One that libvirt never answers takes
#: its thread along, for as long as the connection holds.
MAX_CALLS = 16
#: How many idle connections are kept for the next calls.
MAX_KEPT = 4
#: A connection on which nothing is heard for so many times so many seconds is broken, and the calls on it with it.
KEEP_ALIVE_S, KEEP_ALIVE_COUNT = 5, 3


class _Domain(Protocol):
    """``libvirt.virDomain``, as far as it is used here."""

    def name(self) -> str: ...
    def UUIDString(self) -> str: ...  # noqa: N802 -- libvirt's
    def state(self) -> list[int]: ...
    def XMLDesc(self, flags: int) -> str: ...  # noqa: N802


class _Connection(Protocol):
    """``libvirt.virConnect``, likewise."""

    def isAlive(self) -> int: ...  # noqa: N802
    def setKeepAlive(self, interval: int, count: int) -> int: ...  # noqa: N802
    def close(self) -> int: ...
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
        BadConfiguration: the URI is none, or libvirt-python is not installed. Whether libvirt answers shows at the
            first access.
    """

    def __init__(
        self, uri: str, *, any_host: str = "", deadline_s: float = DEADLINE_S, libvirt: ModuleType | None = None
    ) -> None:
        self._uri = uri
        try:
            remote_host = urlsplit(uri).hostname or ""
        except ValueError as exc:
            raise BadConfiguration(f"access.inventory = 'libvirt:{uri}': {exc}") from None
        self._any_host = any_host or remote_host or "127.0.0.1"
        self._remote = bool(remote_host) and not is_loopback(remote_host)
        self._deadline_s = deadline_s
        self._libvirt = libvirt or _import_libvirt()
        self._idle: deque[_Connection] = deque()
        self._keeps = MAX_KEPT
        self._limiter = trio.CapacityLimiter(MAX_CALLS)

    async def machines(self) -> Sequence[Machine]:
        """See ``Inventory``. Sorted by name."""
        return await self._ask(self._list)

    async def find(self, machine_id: str) -> Found | None:
        """See ``Inventory``."""
        return await self._ask(lambda connection: self._look_up(connection, machine_id))

    async def _ask(self, question: Callable[[_Connection], T]) -> T:
        """Have a question answered in a thread, which goes on by itself if the answer comes too late."""
        try:
            with trio.fail_after(self._deadline_s):
                work = partial(self._answer, question)
                return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter)
        except trio.TooSlowError:
            unanswered = f"{self._limiter.borrowed_tokens} of {MAX_CALLS} calls are unanswered"
            detail = f"libvirt did not answer within {self._deadline_s:g} s; {unanswered}"
            raise ConsoleError(INVENTORY_FAILED, detail) from None

    # -- within other threads

    def close(self) -> None:
        """Close the kept connections, and those under way as soon as they are free. Blocks; not for trio's thread."""
        self._keeps = 0
        while (connection := self._take()) is not None:
            with contextlib.suppress(self._error()):
                connection.close()

    def _answer(self, question: Callable[[_Connection], T]) -> T:
        """What is raised has no traceback from within libvirt: trio's thread would have to free the objects in it."""
        try:
            return self._ask_connection(question)
        except self._error() as exc:
            words = sanitise_text(str(exc))
        raise ConsoleError(INVENTORY_FAILED, f"libvirt: {words}")

    def _ask_connection(self, question: Callable[[_Connection], T]) -> T:
        """Ask on a kept connection, or on a new one if there is none, or if those that were kept are broken.

        Raises:
            trio.Cancelled: nobody waits any more.
        """
        while True:
            trio.from_thread.check_cancelled()
            kept = self._take()
            connection = kept or self._open()
            works = False
            try:
                answer = question(connection)
                works = True
                return answer
            except self._error():
                works = self._is_alive(connection)
                if works or kept is None:
                    raise
                log.info("libvirt connection lost")
            finally:
                if works and len(self._idle) < self._keeps:
                    self._idle.append(connection)
                else:
                    with contextlib.suppress(self._error()):
                        connection.close()

    def _take(self) -> _Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _open(self) -> _Connection:
        connection = cast("_Connection", self._libvirt.open(self._uri))
        with contextlib.suppress(self._error()):  # not every driver has that
            connection.setKeepAlive(KEEP_ALIVE_S, KEEP_ALIVE_COUNT)
        return connection

    def _error(self) -> type[Exception]:
        return cast("type[Exception]", self._libvirt.libvirtError)

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
            target = console_target(xml, any_host=self._any_host, remote=self._remote, now=time.time())
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
    _run_events(module)
    return module


@cache
def _run_events(module: ModuleType) -> None:
    """Run libvirt's event loop in a thread, once in a process: without one it asks no peer whether it is still there.

    Has to come before the first connection is opened.
    """
    module.virEventRegisterDefaultImpl()

    def run() -> None:
        while True:
            module.virEventRunDefaultImpl()

    trio.lowlevel.start_thread_soon(run, lambda _: None, "libvirt events")
