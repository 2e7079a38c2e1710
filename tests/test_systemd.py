"""What systemd is told over a real notification socket, and the sockets it hands over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.helpers import within
from trio_cpvm.errors import BadConfiguration
from trio_cpvm.systemd import MAX_SOCKETS, STATUS_S, ServiceManager, inherited_sockets

timely = within(20)


class Listener:
    """The service manager's end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(address.replace("@", "\0"))

    def heard(self) -> list[list[str]]:
        """The messages so far, line by line."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@trio-cpvm-test-{os.getpid()}"
    found = Listener(name)
    yield found
    found.close()


@timely
async def test_each_step_is_told(listener: Listener) -> None:
    manager = ServiceManager(listener.address)
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    await manager.ready("sessions: 0")
    await manager.reloading()
    await manager.stopping("draining", within_s=70.5)
    ready, reloading, stopping = listener.heard()
    assert ready == ["READY=1", "STATUS=sessions: 0"]
    assert (reloading[0], reloading[2]) == ("RELOADING=1", "STATUS=reloading")
    name, _, at_us = reloading[1].partition("=")
    assert name == "MONOTONIC_USEC"
    assert before_us <= int(at_us) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert stopping == ["STOPPING=1", "STATUS=draining", "EXTEND_TIMEOUT_USEC=70500000"]


async def test_signs_of_life_come_twice_as_often_as_asked(listener: Listener, autojump_clock: MockClock) -> None:
    manager = ServiceManager(listener.address, watchdog_s=4)
    count = 0

    with trio.move_on_after(9):
        await manager.keep_informed(lambda: f"sessions: {count}")
    assert listener.heard() == [["STATUS=sessions: 0", "WATCHDOG=1"]] + 4 * [["WATCHDOG=1"]]


async def test_without_a_watchdog_only_a_new_status_is_told(listener: Listener, autojump_clock: MockClock) -> None:
    statuses = iter(["a", "a", "b", "b", "b"])
    with trio.move_on_after(4.5 * STATUS_S):
        await ServiceManager(listener.address).keep_informed(lambda: next(statuses))
    assert listener.heard() == [["STATUS=a"], ["STATUS=b"]]


async def test_nobody_is_told_where_there_is_no_manager() -> None:
    manager = ServiceManager()
    await manager.ready("")
    await manager.keep_informed(lambda: pytest.fail("asked"))


@timely
async def test_a_manager_that_is_gone_does_no_harm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await ServiceManager(str(tmp_path / "none")).ready("")
    assert "systemd cannot be told" in caplog.text


async def test_a_manager_that_hangs_is_not_waited_for(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener(str(tmp_path / "notify"))
    manager = ServiceManager(listener.address)
    while "cannot be told" not in caplog.text:  # its queue is full after a few
        await manager.ready("")
    assert len(listener.heard()) < 10_000
    listener.close()


# -- the environment ---------------------------------------------------------------------------------------------------


def test_the_environment_is_read_once() -> None:
    environment = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid()), "A": "b"}
    assert ServiceManager.from_environment(environment) == ServiceManager("/run/n", 1.5)
    assert environment == {"A": "b"}
    assert ServiceManager.from_environment(environment) == ServiceManager()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"NOTIFY_SOCKET": "@abstract", "WATCHDOG_USEC": "2000000"}, ServiceManager("@abstract", 2.0)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, ServiceManager("/n", None)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "0"}, ServiceManager("/n", None)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "soon"}, ServiceManager("/n", None)),
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, ServiceManager()),
        ({"NOTIFY_SOCKET": "relative"}, ServiceManager()),
    ],
)
def test_what_the_environment_may_say(environment: dict[str, str], expected: ServiceManager) -> None:
    assert ServiceManager.from_environment(environment) == expected


@pytest.mark.parametrize("pid", ["", "1", "none"])
def test_sockets_for_another_process_are_not_taken(pid: str) -> None:
    environment = {"LISTEN_PID": pid, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web", "A": "b"}
    assert inherited_sockets(environment) == []
    assert environment == {"A": "b"}


def test_more_sockets_than_anybody_hands_over_are_a_fault() -> None:
    with pytest.raises(BadConfiguration, match="LISTEN_FDS = 65"):
        inherited_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(MAX_SOCKETS + 1)})


HANDED_OVER = """
import os, sys
from trio_cpvm.errors import BadConfiguration
from trio_cpvm.systemd import inherited_sockets

os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=sys.argv[2])
try:
    for sock in inherited_sockets(os.environ):
        print(sock.fileno(), os.get_inheritable(sock.fileno()), sock.getsockname())
except BadConfiguration as fault:
    print(fault)
print([name for name in os.environ if name.startswith("LISTEN")])
"""


def handed_over(descriptor: int, count: int = 1) -> list[str]:
    """What a process sees that gets this descriptor as its number 3."""
    done = subprocess.run(
        [sys.executable, "-c", HANDED_OVER, str(descriptor), str(count)],
        pass_fds=[descriptor],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_socket_is_taken_and_not_handed_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert handed_over(sock.fileno()) == [f"3 False {sock.getsockname()}", "[]"]


def test_what_is_no_socket_is_a_fault() -> None:
    with Path(os.devnull).open("rb") as file:
        fault, left = handed_over(file.fileno())
    assert fault == "LISTEN_FDS = 1: file descriptor 3 is no socket: Socket operation on non-socket"
    assert left == "[]"
