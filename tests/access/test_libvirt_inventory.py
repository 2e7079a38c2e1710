"""libvirt as an inventory, on a double of its module: broken connections, slow answers, unknown machines.

The real one is in ``tests/real/test_libvirt.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType
from typing import cast

import pytest

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

    def isAlive(self) -> int:  # noqa: N802
        return self.alive

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
        self.before_each: Callable[[], None] = lambda: None
        self.refuses = False

    def open(self, uri: str) -> Connection:
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


async def test_one_connection_is_kept_and_opened_again_once_broken() -> None:
    fake = FakeLibvirt()
    machines = inventory(fake)
    await machines.machines()
    await machines.machines()
    assert len(fake.connections) == 1
    fake.connections[0].alive = 0
    assert len(await machines.machines()) == 2
    assert len(fake.connections) == 2
    fake.connections[1].alive = 0
    fake.refuses = True
    assert await reason_of(machines) == "libvirt: fault 38 of libvirt"
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
    machines = inventory(fake, deadline_s=0.05)
    await machines.machines()
    answers = threading.Event()
    fake.before_each = lambda: (answers.wait(20), None)[1]
    try:
        for _ in range(libvirt_inventory.MAX_CALLS + 2):
            assert await reason_of(machines) == "libvirt did not answer within 0.05 s"
    finally:
        answers.set()


def test_a_missing_module_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "libvirt", None)
    with pytest.raises(BadConfiguration, match=r"needs libvirt-python: pip install 'trio-cpvm\[libvirt\]'"):
        LibvirtInventory("qemu:///system")
