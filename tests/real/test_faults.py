"""Faults while a hundred consoles run: none of the others is lost or stands still, and everything is freed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from .conftest import StartDaemon, StartQemu, StartXvnc
from .crowd import SETTINGS, Crowd, Hosts, crowd_at
from .daemon import Daemon, merged
from .lean_browser import ABNORMAL, Ended, LeanBrowser, key_event, reset, upgrade_request
from .lost_network import LostNetwork, lost_network
from .processes import PATIENCE_S
from .real_consoles import RealConsole
from .usage import gauges, in_thread, memory_kib, said, settled_usage, wait_until_freed
from .vnc_hosts import FLOOD, FLOOD_UPDATES, RESET, STALL, update

pytestmark = pytest.mark.real

CROWD = 100
#: How many are hit by a fault.
HIT = 10
#: What one console may keep in the daemon and has on its way through it, in KiB. What the kernel holds is not in it.
CONSOLE_KIB = 1024


@pytest.fixture
def hosts(tmp_path: Path, password: str) -> Iterator[Hosts]:
    with Hosts(tmp_path, password=password) as running:
        yield running


@pytest.fixture
def network() -> Iterator[LostNetwork]:
    with lost_network() as found:
        yield found


async def ended(browser: LeanBrowser) -> Ended:
    """Read until the console ends; how it did."""
    with trio.fail_after(PATIENCE_S):
        try:
            while True:
                await browser.read(1)
        except Ended as end:
            return end
        finally:
            await trio.aclose_forcefully(browser.stream)


async def test_hosts_killed(
    start_daemon: StartDaemon,
    start_qemu: StartQemu,
    start_xvnc: StartXvnc,
    key: Path,
    hosts: Hosts,
    tmp_path: Path,
    password: str,
) -> None:
    """A process with ten lean hosts, and a real QEMU; another QEMU and an Xvnc go on."""
    doomed_qemu, other_qemu = start_qemu(password=password), start_qemu(password=password)
    xvnc = start_xvnc(password=password)
    daemon = start_daemon(**SETTINGS)
    async with crowd_at(daemon, key, hosts, CROWD) as crowd:
        real = [await RealConsole.open(crowd, one.host, one.port, password) for one in (other_qemu, xvnc)]
        before = await settled_usage(daemon)
        with Hosts(tmp_path, password=password, name="doomed") as doomed:
            members = await crowd.open(HIT, doomed)
            await crowd.release(members)
            console = await RealConsole.open(crowd, doomed_qemu.host, doomed_qemu.port, password)
            async with crowd.undisturbed("hosts killed with -9"):
                doomed.process.kill()
                doomed_qemu.process.kill()
                for browser in [console.browser, *(member.browser for member in members)]:
                    assert (await ended(browser)).text.startswith("closed-by-guest")
                for one in real:
                    await one.look()
        await wait_until_freed(daemon, before)
        for one in real:
            await one.look()
            await one.browser.close()


async def test_hosts_that_stop_reading(
    start_daemon: StartDaemon, start_xvnc: StartXvnc, key: Path, hosts: Hosts, password: str
) -> None:
    """Their browsers go on typing until nothing more is taken. The idle limit ends them: no input gets through."""
    xvnc = start_xvnc(password=password)
    daemon = start_daemon(**merged(SETTINGS, {"session": {"idle_timeout_s": 4}}))
    async with crowd_at(daemon, key, hosts, CROWD) as crowd:
        before = await settled_usage(daemon)
        stalled = [await crowd.browser() for _ in range(HIT)]
        real = await RealConsole.open(crowd, xvnc.host, xvnc.port, password)
        async with crowd.undisturbed("hosts stop reading"):
            for browser in stalled:
                await browser.ask(STALL)
            xvnc.process.pause()
            full: list[int] = []
            async with trio.open_nursery() as nursery:
                for browser in [*stalled, real.browser]:
                    nursery.start_soon(type_until_full, browser, full)
            said(f"  typed until full: {min(full) / 1024:.0f} to {max(full) / 1024:.0f} KiB")
            grown_kib = memory_kib(daemon.process.pid) - before.rss_kib
            said(f"  the daemon's memory meanwhile: {grown_kib:+} KiB")
            assert grown_kib < (HIT + 1) * CONSOLE_KIB + 8192
            for browser in [*stalled, real.browser]:
                assert (await ended(browser)).code == 4408
        await wait_until_freed(daemon, before)


async def type_until_full(browser: LeanBrowser, full: list[int]) -> None:
    """Send keys until nothing more is taken for a second; note how many bytes were."""
    sent = 0
    keys = b"".join(key_event(ord("x")) for _ in range(1000))
    while True:
        with trio.move_on_after(1) as scope:
            await browser.send(keys)
        if scope.cancelled_caught:
            full.append(sent)
            return
        sent += len(keys)


async def test_browsers_that_stop_reading(start_daemon: StartDaemon, key: Path, hosts: Hosts) -> None:
    """Their hosts go on sending. What they find when they read again is all there and in order."""
    daemon = start_daemon(**SETTINGS)
    async with crowd_at(daemon, key, hosts, CROWD) as crowd:
        before = await settled_usage(daemon)
        slow = [await crowd.browser() for _ in range(HIT)]
        async with crowd.undisturbed("browsers stop reading"):
            for browser in slow:
                await browser.ask(FLOOD)
            relayed = await until_still(daemon)
            grown_kib = memory_kib(daemon.process.pid) - before.rss_kib
            said(f"  relayed until full: {relayed / 1024 / HIT:.0f} KiB each; the daemon's memory: {grown_kib:+} KiB")
            assert grown_kib < HIT * CONSOLE_KIB + 8192
            for browser in slow:
                for first in range(0, 50 * FLOOD_UPDATES, FLOOD_UPDATES):
                    expected = b"".join(update(first + n) for n in range(FLOOD_UPDATES))
                    assert await browser.read(len(expected)) == expected
            for browser in slow:
                browser.reset()
        await wait_until_freed(daemon, before)


async def until_still(daemon: Daemon) -> float:
    """Wait until nearly nothing more is relayed to browsers (the crowd's own is little); bytes so far."""
    last = -1e9
    with trio.fail_after(PATIENCE_S):
        while True:
            now = (await in_thread(lambda: gauges(daemon)))['trio_cpvm_relayed_bytes_total{direction="down"}']
            if now - last < 100_000:
                return now
            last = now
            await trio.sleep(0.5)


async def test_browsers_vanish(start_daemon: StartDaemon, key: Path, hosts: Hosts, network: LostNetwork) -> None:
    """Their packets are dropped from one moment on. Pings find that out."""
    settings = merged(SETTINGS, {"server": {"listen": [f"{network.here}:0", "127.0.0.1:0"]}})
    daemon = start_daemon(**merged(settings, {"session": {"ping_interval_s": 1}}))
    (there,) = (record for record in daemon.log() if network.here in str(record.get("url")))
    port = int(str(there["url"]).rpartition(":")[2])

    async def connect() -> trio.abc.Stream:
        found = await in_thread(lambda: network.connect((network.here, port)))
        return trio.SocketStream(trio.socket.from_stdlib_socket(found))

    async with crowd_at(daemon, key, hosts, CROWD) as crowd:
        before = await settled_usage(daemon)
        looking = [await crowd.browser(connect=connect) for _ in range(HIT)]
        typing = await crowd.open(HIT, connect=connect)
        flooded = [await crowd.browser(connect=connect) for _ in range(2)]
        await crowd.release(typing)
        for browser in flooded:
            await browser.ask(FLOOD)
            await browser.read(100_000)
        async with crowd.undisturbed("browsers vanish"):
            network.lose()
            began = trio.current_time()
            await wait_until_freed(daemon, before)
            said(f"  found after {trio.current_time() - began:.1f} s, with a ping every second")
        for browser in [*looking, *flooded, *(member.browser for member in typing)]:
            await trio.aclose_forcefully(browser.stream)


async def test_hosts_vanish(
    start_daemon: StartDaemon, key: Path, hosts: Hosts, network: LostNetwork, tmp_path: Path, password: str
) -> None:
    """The limit for hosts that say nothing finds it out; with browsers that type, and with some that only look."""
    daemon = start_daemon(**merged(SETTINGS, {"session": {"host_silence_timeout_s": 4, "connect_timeout_s": 4}}))
    with Hosts(tmp_path, password=password, address=network.there, before=network.inside, name="far") as far:
        async with crowd_at(daemon, key, hosts, CROWD) as crowd:
            before = await settled_usage(daemon)
            looking = [await crowd.browser(far) for _ in range(HIT)]
            typing = await crowd.open(HIT, far)
            await crowd.release(typing)
            async with crowd.undisturbed("hosts vanish"):
                network.lose()
                for member in typing:
                    await member.browser.ask(1)
                for browser in [*looking, *(member.browser for member in typing)]:
                    # a key that comes after the end, on a machine with more to do, resets the connection
                    assert (await ended(browser)).code in (4504, ABNORMAL)
                with pytest.raises(Ended) as refused:
                    await crowd.browser(far)
                assert refused.value.code == 4504
            assert sum(record.get("reason") == "upstream-timeout" for record in daemon.log()) == 2 * HIT + 1
            await wait_until_freed(daemon, before)


async def test_resets_of_browsers(start_daemon: StartDaemon, key: Path, hosts: Hosts) -> None:
    """In every phase of a browser's visit."""
    daemon = start_daemon(**SETTINGS)
    async with crowd_at(daemon, key, hosts, CROWD) as crowd:
        before = await settled_usage(daemon)
        async with crowd.undisturbed("browsers reset, in each phase"):
            for _ in range(HIT):
                async with trio.open_nursery() as nursery:
                    for phase in BROWSER_PHASES:
                        nursery.start_soon(reset_browser, crowd, phase)
        await wait_until_freed(daemon, before)


BROWSER_PHASES = (
    *("accepted", "within the head", "after the head", "after the page"),
    *(
        "after the upgrade",
        "after the version",
        "after the security type",
        "in the relay",
        "in a message",
        "in a flood",
    ),
)


async def reset_browser(crowd: Crowd, phase: str) -> None:
    """Come as far as that, then be gone."""
    stream = await crowd.connect()
    host, port = crowd.address
    address = f"{host}:{port}"
    browser = LeanBrowser(stream)
    try:
        if phase == "within the head":
            await stream.send_all(upgrade_request(address, crowd.token())[:-20])
        elif phase == "after the head":
            await stream.send_all(upgrade_request(address, crowd.token()))
        elif phase == "after the page":
            await stream.send_all(f"GET /novnc?token={crowd.token()} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
            await stream.receive_some(1000)
        elif phase == "after the upgrade":
            await browser.upgrade(address, crowd.token())
        elif phase.startswith("after the"):
            await browser.upgrade(address, crowd.token())
            await browser.send(await browser.read(12))
            if phase == "after the security type":
                await browser.read(2)
                await browser.send(b"\x01")
        elif phase.startswith("in"):
            await browser.open(address, crowd.token())
            await browser.round_trip()
            if phase == "in a message":
                await stream.send_all(b"\x82\xfe\x10\x00\0\0\0\0" + key_event(2))
            elif phase == "in a flood":
                await browser.ask(FLOOD)
                await browser.read(100_000)
    finally:
        reset(stream)


async def test_resets_of_hosts(start_daemon: StartDaemon, key: Path, hosts: Hosts) -> None:
    """In every phase of the handshake, and in the relay. Their browsers are told why each time."""
    daemon = start_daemon(**SETTINGS)
    phases = ("accepted", "version", "security", "challenge", "result", "init")
    async with crowd_at(daemon, key, hosts, CROWD) as crowd:
        before = await settled_usage(daemon)

        async def open_at_bad_host(phase: str) -> None:
            with pytest.raises(Ended) as end:
                await crowd.browser(behaviour=phase)
            assert end.value.code in (4500, 4502), (phase, end.value)

        async def reset_in_relay() -> None:
            browser = await crowd.browser()
            await browser.round_trip()
            await browser.ask(RESET)
            assert (await ended(browser)).text.startswith("closed-by-guest")

        async with crowd.undisturbed("hosts reset, in each phase"):
            for _ in range(HIT):
                async with trio.open_nursery() as nursery:
                    for phase in phases:
                        nursery.start_soon(open_at_bad_host, phase)
                    nursery.start_soon(reset_in_relay)
        await wait_until_freed(daemon, before)
