"""A network was cut and is back: everybody's browser asks for its console again in the same moment."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from .conftest import StartDaemon
from .crowd import Crowd, Hosts
from .daemon import Daemon
from .lean_browser import LeanBrowser, upgrade_request
from .processes import PATIENCE_S
from .usage import gauges, in_thread, said

pytestmark = pytest.mark.real

USERS = 1000
#: The limits that nobody may come near, in seconds: the product's defaults.
HEAD_TIMEOUT_S, CONNECT_TIMEOUT_S, HANDSHAKE_TIMEOUT_S = 10, 10, 15
#: How much of a limit may be used up. This machine also runs the browsers and the hosts, and perhaps other tests.
NEAR = 0.5
SETTINGS: dict[str, dict[str, object]] = {
    "server": {"head_timeout_s": HEAD_TIMEOUT_S, "max_connections_per_client": 0},
    "session": {
        "connect_timeout_s": CONNECT_TIMEOUT_S,
        "handshake_timeout_s": HANDSHAKE_TIMEOUT_S,
        "max_sessions": USERS,
        "max_sessions_per_client": 0,
    },
    "log": {"level": "info"},
}


@pytest.fixture
def hosts(tmp_path: Path, password: str) -> Iterator[Hosts]:
    with Hosts(tmp_path, password=password) as running:
        yield running


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """This process, the hosts and the daemon may open as many files as the system lets them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3 * USERS:
        pytest.fail(f"this needs {3 * USERS} open files, and the hard limit is {hard}", pytrace=False)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@attrs.frozen
class Arrival:
    """A user whose request is on its way to a daemon that stands still."""

    browser: LeanBrowser
    host: str
    token: str


async def queue_up(crowd: Crowd) -> list[Arrival]:
    """Every user's connection and request, all of them still in the kernel's hands."""
    host, port = crowd.address
    found = []
    for _ in range(USERS):
        browser = LeanBrowser(await crowd.connect())
        token = crowd.token()
        await browser.stream.send_all(upgrade_request(f"{host}:{port}", token))
        found.append(Arrival(browser, f"{host}:{port}", token))
    return found


async def test_a_thousand_users_at_once(start_daemon: StartDaemon, key: Path, hosts: Hosts) -> None:
    """All of them get their consoles, and none comes near a limit."""
    daemon = start_daemon(**SETTINGS)
    async with trio.open_nursery() as nursery:
        crowd = Crowd(daemon, key, hosts, nursery)
        try:
            daemon.process.pause()
            arrivals = await queue_up(crowd)
            took_s: list[float] = []
            daemon.process.send(signal.SIGCONT)
            began = trio.current_time()
            with trio.fail_after(PATIENCE_S):
                async with trio.open_nursery() as opening:
                    for one in arrivals:
                        opening.start_soon(see_console, one.browser, began, took_s)
            assert len(took_s) == USERS
            assert gauges(daemon)["trio_cpvm_sessions"] == USERS
            async with trio.open_nursery() as closing:
                for one in arrivals:
                    closing.start_soon(one.browser.close)
        finally:
            await crowd.hang_up()
    report(took_s, await in_thread(partial(records, daemon)))


async def see_console(browser: LeanBrowser, began: float, took_s: list[float]) -> None:
    await browser.finish_upgrade()
    await browser.handshake()
    took_s.append(trio.current_time() - began)
    await browser.round_trip()


def records(daemon: Daemon) -> list[float]:
    """How long each session's handshake took, as the daemon itself says."""

    def all_ended() -> list[float] | None:
        found = [one["opened_after_s"] for one in daemon.log() if one.get("event") == "session ended"]
        return [float(str(one)) for one in found] if len(found) == USERS else None

    return daemon.process.wait_for(all_ended, "all sessions have ended")


def report(took_s: list[float], handshakes_s: list[float]) -> None:
    took_s.sort()
    handshakes_s.sort()
    said(
        f"{USERS} users at once: consoles after {took_s[0]:.2f} to {took_s[-1]:.2f} s, half of them within "
        f"{took_s[USERS // 2]:.2f} s\n  handshakes: median {handshakes_s[USERS // 2]:.2f} s, "
        f"slowest {handshakes_s[-1]:.2f} s of {HANDSHAKE_TIMEOUT_S} s"
    )
    assert handshakes_s[-1] < NEAR * HANDSHAKE_TIMEOUT_S
    assert took_s[-1] < NEAR * (HEAD_TIMEOUT_S + HANDSHAKE_TIMEOUT_S)
