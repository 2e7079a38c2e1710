"""libvirt as an inventory, on a double of its module: broken connections, slow answers, unknown machines.

The real one is in ``tests/real/test_libvirt.py``.
"""

from __future__ import annotations

import re
import threading
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import cast

import pytest
import trio

from trio_cpvm import errors
from trio_cpvm.access import libvirt_inventory
from trio_cpvm.access.libvirt_inventory import LibvirtInventory
from trio_cpvm.access.machines import Machine, MachineState
from trio_cpvm.errors import BadConfiguration, ConsoleError

UUID = "b5aaafa0-009a-4771-b77c-ebe3de6f2999"
XML = f"""<domain><name>web-1</name><uuid>{UUID}</uuid><devices>
<graphics type='vnc' port='5900' listen='0.0.0.0' passwd='x'/></devices></domain>"""


class LibvirtError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"fault {code}\nof libvirt")
        self._code = code

    def get_error_code(self) -> int:
        return self._code


class Domain:
    def __init__(self, name: str, uuid: str, state: int) -> None:
        self._name, self._uuid, self._state = name, uuid, state

    def name(self) -> str:
        return self._name

    def UUIDString(self) -> str:  # noqa: N802
        return self._uuid

    def state(self) -> list[int]:
        return [self._state, 0]

    def XMLDesc(self, flags: int) -> str:  # noqa: N802
        assert flags == FakeLibvirt.VIR_DOMAIN_XML_SECURE
        return XML


class Connection:
    def __init__(self, module: FakeLibvirt) -> None:
        self.module = module
        self.alive = 1
        self.keep_alive = (0, 0)

    def isAlive(self) -> int:  # noqa: N802
        return self.alive

    def setKeepAlive(self, interval: int, count: int) -> int:  # noqa: N802
        self.keep_alive = (interval, count)
        return 0

    def close(self) -> int:
        self.module.closed.append((self, threading.current_thread()))
        return 0

    def _work(self) -> None:
        self.module.before_each()
        if not self.alive:
            raise LibvirtError(38)

    def getAllDomainStats(self, stats: int, flags: int) -> list[tuple[Domain, dict[str, int]]]:  # noqa: N802
        self._work()
        return [(domain, {"state.state": domain.state()[0]}) for domain in self.module.domains]

    def lookupByUUIDString(self, text: str) -> Domain:  # noqa: N802
        return self._first(lambda domain: domain.UUIDString() == text)

    def lookupByName(self, name: str) -> Domain:  # noqa: N802
        return self._first(lambda domain: domain.name() == name)

    def _first(self, fits: Callable[[Domain], bool]) -> Domain:
        self._work()
        for domain in self.module.domains:
            if fits(domain):
                return domain
        raise LibvirtError(self.module.VIR_ERR_NO_DOMAIN)


class FakeLibvirt:
    """The names of libvirt's module that are used, with libvirt's own numbers."""

    libvirtError = LibvirtError  # noqa: N815
    VIR_DOMAIN_STATS_STATE = 1
    VIR_DOMAIN_XML_SECURE = 1
    VIR_DOMAIN_PAUSED, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_CRASHED, VIR_DOMAIN_PMSUSPENDED = 3, 5, 6, 7
    VIR_ERR_NO_DOMAIN = 42

    def __init__(self) -> None:
        self.domains = [Domain("web-1", UUID, 1), Domain("db-1", "0" * 8 + UUID[8:], 5)]
        self.connections: list[Connection] = []
        self.closed: list[tuple[Connection, threading.Thread]] = []
        self.before_open: Callable[[], None] = lambda: None
        self.before_each: Callable[[], None] = lambda: None
        self.refuses = False

    def open(self, uri: str) -> Connection:
        self.before_open()
        if self.refuses:
            raise LibvirtError(38)
        self.connections.append(Connection(self))
        return self.connections[-1]


def inventory(fake: FakeLibvirt, uri: str = "qemu:///system", **more: object) -> LibvirtInventory:
    return LibvirtInventory(uri, libvirt=cast("ModuleType", fake), **more)  # type: ignore[arg-type]


async def reason_of(inventory: LibvirtInventory) -> str:
    with pytest.raises(ConsoleError) as caught:
        await inventory.machines()
    assert caught.value.reason is errors.INVENTORY_FAILED
    assert "\n" not in caught.value.detail
    return caught.value.detail


async def test_domains_are_listed_by_name() -> None:
    assert await inventory(FakeLibvirt()).machines() == [
        Machine(id="0" * 8 + UUID[8:], name="db-1", state=MachineState.STOPPED),
        Machine(id=UUID, name="web-1", state=MachineState.RUNNING),
    ]


@pytest.mark.parametrize("spelled", [UUID, UUID.upper(), UUID.replace("-", ""), "web-1"])
async def test_a_domain_is_found_by_its_uuid_or_name(spelled: str) -> None:
    found = await inventory(FakeLibvirt()).find(spelled)
    assert found is not None
    assert found.machine.id == UUID
    assert found.target is not None
    assert (found.target.host, found.target.port) == ("127.0.0.1", 5900)


@pytest.mark.parametrize("spelled", ["web-2", "1" * 32, "x\0y"])
async def test_no_such_domain(spelled: str) -> None:
    assert await inventory(FakeLibvirt()).find(spelled) is None


@pytest.mark.parametrize(
    ("number", "state"),
    [
        (0, "running"),
        (1, "running"),
        (2, "running"),
        (3, "paused"),
        (4, "running"),
        (5, "stopped"),
        (6, "stopped"),
        (7, "paused"),
    ],
)
async def test_states(number: int, state: str) -> None:
    fake = FakeLibvirt()
    fake.domains = [Domain("web-1", UUID, number)]
    found = await inventory(fake).find(UUID)
    assert found is not None
    assert found.machine.state == state
    assert (found.target is None) is (state == "stopped")


async def test_a_running_domain_without_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Domain, "XMLDesc", lambda *_: "<domain/>")
    found = await inventory(FakeLibvirt()).find(UUID)
    assert found is not None
    assert (found.target, found.lack) == (None, "it has no VNC graphics")


@pytest.mark.parametrize(
    ("uri", "any_host", "host"),
    [
        ("qemu:///system", "", "127.0.0.1"),
        ("qemu+tls://kvm1.example.com/system", "", "kvm1.example.com"),
        ("qemu+tls://kvm1.example.com/system", "10.0.0.1", "10.0.0.1"),
    ],
)
async def test_where_a_screen_on_every_address_is(uri: str, any_host: str, host: str) -> None:
    found = await inventory(FakeLibvirt(), uri, any_host=any_host).find(UUID)
    assert found is not None
    assert found.target is not None
    assert found.target.host == host


@pytest.mark.parametrize(
    ("uri", "any_host", "opened"),
    [
        ("qemu:///system", "", True),
        ("qemu:///system", "10.0.0.1", True),
        ("qemu+tcp://127.0.0.1/system", "", True),
        ("qemu+tcp://localhost/system", "", True),
        ("qemu+ssh://kvm7/system", "", False),
        ("qemu+ssh://root@kvm7/system", "10.0.0.7", False),
    ],
)
async def test_a_remote_domains_loopback_is_not_this_machines(
    uri: str, any_host: str, opened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Domain, "XMLDesc", lambda *_: XML.replace("0.0.0.0", "127.0.0.1"))
    found = await inventory(FakeLibvirt(), uri, any_host=any_host).find(UUID)
    assert found is not None
    assert (found.target is not None) is opened


async def test_one_connection_is_kept_and_opened_again_once_broken() -> None:
    fake = FakeLibvirt()
    machines = inventory(fake)
    await machines.machines()
    await machines.machines()
    (first,) = fake.connections
    assert all(first.keep_alive)
    first.alive = 0
    assert len(await machines.machines()) == 2
    assert len(fake.connections) == 2
    fake.connections[1].alive = 0
    fake.refuses = True
    assert await reason_of(machines) == "libvirt: fault 38 of libvirt"
    assert [connection for connection, _ in fake.closed] == fake.connections
    fake.refuses = False
    assert len(await machines.machines()) == 2


async def test_a_fault_of_another_kind_keeps_the_connection() -> None:
    fake = FakeLibvirt()
    machines = inventory(fake)
    await machines.machines()

    def fail() -> None:
        raise LibvirtError(1)

    fake.before_each = fail
    assert await reason_of(machines) == "libvirt: fault 1 of libvirt"
    fake.before_each = lambda: None
    await machines.machines()
    assert len(fake.connections) == 1


async def test_a_libvirt_that_does_not_answer_takes_no_more_than_the_deadline() -> None:
    fake = FakeLibvirt()
    machines = inventory(fake, deadline_s=0.02)
    await machines.machines()
    answers = threading.Event()
    fake.before_each = lambda: (answers.wait(20), None)[1]
    try:
        unanswered: list[int] = []
        while (
            unanswered.count(libvirt_inventory.MAX_CALLS) < 2
        ):  # on a busy machine a thread may start too late to count
            words = re.fullmatch(
                rf"libvirt did not answer within 0.02 s; (\d+) of {libvirt_inventory.MAX_CALLS} calls are unanswered",
                await reason_of(machines),
            )
            assert words is not None
            unanswered.append(int(words[1]))
            assert len(unanswered) < 200
        assert unanswered == sorted(unanswered)
    finally:
        answers.set()


async def test_some_calls_that_never_return_leave_room_for_others() -> None:
    fake = FakeLibvirt()
    machines = inventory(fake, deadline_s=0.05)
    await machines.machines()
    answers = threading.Event()
    fake.before_each = lambda: (answers.wait(20), None)[1]
    try:
        for _ in range(4):
            await reason_of(machines)
        fake.before_each = lambda: None
        assert len(await machines.machines()) == 2
    finally:
        answers.set()


@pytest.mark.parametrize("broken", [False, True])
async def test_what_comes_too_late_is_dealt_with_in_its_own_thread(
    broken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing a connection asks libvirt, and so does forgetting one (``virConnect.__del__``): it may take its time."""
    forgotten: list[threading.Thread] = []
    may_open, closed = threading.Event(), threading.Event()

    class Forgettable(Connection):
        def close(self) -> int:
            closed.set()
            return 0

        def __del__(self) -> None:
            forgotten.append(threading.current_thread())

    def open_late(uri: str) -> Connection:
        may_open.wait(20)
        connection = Forgettable(fake)
        connection.alive = not broken
        return connection

    fake = FakeLibvirt()
    monkeypatch.setattr(fake, "open", open_late)
    machines = inventory(fake, deadline_s=0.05)
    assert (await reason_of(machines)).startswith("libvirt did not answer")
    may_open.set()
    while machines._limiter.borrowed_tokens:
        await trio.lowlevel.checkpoint()
    assert closed.is_set() is broken
    assert len(forgotten) == broken
    assert threading.main_thread() not in forgotten
    assert len(machines._idle) == (not broken)


async def test_a_connection_that_breaks_too_late_is_not_opened_again() -> None:
    """Opening another one might wait for ever."""
    fake = FakeLibvirt()
    machines = inventory(fake, deadline_s=0.05)
    await machines.machines()
    may_break = threading.Event()

    def break_late() -> None:
        may_break.wait(20)
        fake.connections[0].alive = 0

    fake.before_each = break_late
    await reason_of(machines)
    may_break.set()
    while machines._limiter.borrowed_tokens:
        await trio.lowlevel.checkpoint()
    assert len(fake.connections) == len(fake.closed) == 1


async def test_no_more_than_a_few_connections_are_kept() -> None:
    fake = FakeLibvirt()
    machines = inventory(fake)
    together = threading.Barrier(libvirt_inventory.MAX_KEPT + 2)
    fake.before_each = lambda: (together.wait(20), None)[1]
    async with trio.open_nursery() as nursery:
        for _ in range(together.parties):
            nursery.start_soon(machines.machines)
    assert len(fake.connections) == together.parties
    assert len(fake.closed) >= 1
    assert threading.main_thread() not in [thread for _, thread in fake.closed]


async def test_what_is_raised_holds_nothing_of_libvirts() -> None:
    """Trio's thread would have to free it."""
    fake = FakeLibvirt()
    fake.before_each = lambda: (_ for _ in ()).throw(LibvirtError(1))
    with pytest.raises(ConsoleError) as caught:
        await inventory(fake).machines()
    exc: BaseException | None = caught.value
    while exc is not None:
        frames = [frame.f_locals.values() for frame, _ in traceback.walk_tb(exc.__traceback__)]
        assert not any(isinstance(value, Connection | Domain) for values in frames for value in values)
        exc = exc.__context__


def test_a_uri_that_is_none_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(BadConfiguration, match=r"access\.inventory = 'libvirt:qemu\+tcp://\[bad/system': Invalid"):
        inventory(FakeLibvirt(), "qemu+tcp://[bad/system")


def test_a_missing_module_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "libvirt", None)
    with pytest.raises(BadConfiguration, match=r"needs libvirt-python: pip install 'trio-cpvm\[libvirt\]'"):
        LibvirtInventory("qemu:///system")
