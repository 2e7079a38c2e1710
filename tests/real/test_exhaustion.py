"""What a daemon has little of runs out, or lies, while a hundred consoles run: connections, file descriptors, the time
of day, the operators' listener. None of the others is lost or stands still, and everything is freed."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

import attrs
import pytest
import trio

from .conftest import StartDaemon
from .crowd import SETTINGS, Crowd, Hosts, crowd_at
from .daemon import Daemon, merged
from .lean_browser import Refused
from .processes import PATIENCE_S, Process, program
from .usage import gauges, in_thread, said, settled_usage, usage, wait_until_freed

pytestmark = pytest.mark.real

CROWD = 100
HALF_OPEN = 5000
DAY_S = 86400
HEAD_TIMEOUT_S = 15
LONG_S = 3 * PATIENCE_S
#: Thousands that are refused at about the same time take up to a second of work in one go, on a machine that has the
#: time; nobody else's turn comes meanwhile.
WORST_S = 10.0
#: What this process and the daemon need for the half-open connections and the crowd.
FILES = HALF_OPEN + 1000


@pytest.fixture
def hosts(tmp_path: Path, password: str) -> Iterator[Hosts]:
    with Hosts(tmp_path, password=password) as running:
        yield running


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may open as many files as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < FILES:
        pytest.fail(f"this needs {FILES} open files, and the hard limit is {hard}: ulimit -Hn {FILES}", pytrace=False)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def connections(address: tuple[str, int], number: int) -> AsyncIterator[None]:
    """So many connections that say nothing."""
    async with AsyncExitStack() as opened:
        for _ in range(number):
            await opened.enter_async_context(await trio.open_tcp_stream(*address))
        yield


def public_connections(daemon: Daemon) -> int:
    return int(gauges(daemon)['trio_cpvm_connections{listener="public"}'])


async def test_half_open_connections(
    start_daemon: StartDaemon, key: Path, hosts: Hosts, many_files: None, tmp_path: Path
) -> None:
    """Half of them say nothing, half send half a request head. They are closed when the time for that is over.

    Memory that Python once had is only partly given back to the system, so the second time must not take more.
    """
    settings = merged(SETTINGS, {"server": {"head_timeout_s": HEAD_TIMEOUT_S}, "log": {"level": "info"}})
    daemon = start_daemon(**settings)
    async with crowd_at(daemon, key, hosts, CROWD) as crowd:
        before = await settled_usage(daemon)
        for name in ("first", "second"):
            async with crowd.undisturbed(f"{HALF_OPEN} half-open connections, {name} time", worst_s=WORST_S):
                await come_and_wait(crowd, daemon, tmp_path, name)
            after = await settled_usage(daemon)
            said(f"  {after}")
            assert (after.sessions, after.tasks) == (before.sessions, before.tasks)
            if name == "first":
                before = attrs.evolve(before, rss_kib=after.rss_kib)
        await wait_until_freed(daemon, before)


async def come_and_wait(crowd: Crowd, daemon: Daemon, folder: Path, name: str) -> None:
    """They come, a console is opened meanwhile, they are hung up on."""
    host, port = crowd.address
    script = Path(__file__).with_name("half_open.py")
    began = trio.current_time()
    process = Process(name, [sys.executable, "-P", str(script), host, str(port), str(HALF_OPEN)], folder)
    try:
        # on a machine with more to do, the first may be gone before the last comes
        many = CROWD + HALF_OPEN * 0.3
        await in_thread(
            lambda: process.wait_for(lambda: public_connections(daemon) > many, "they are there", within_s=LONG_S)
        )
        browser = await crowd.browser()
        await browser.round_trip()
        await browser.close()
        said(f"  after {trio.current_time() - began:.1f} s: {await in_thread(lambda: usage(daemon))}")
        assert await in_thread(lambda: process.wait_until_ended(LONG_S)) == 0
        answers = json.loads(process.output().removeprefix("open\n"))
        assert answers == {"": HALF_OPEN // 2, "HTTP/1.1 408": HALF_OPEN // 2}
    finally:
        process.stop()


def leave_descriptors(pid: int, number: int) -> None:
    """A process may have so many more files open from now on. The limit is on the number of the next one."""
    used = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    free = (descriptor for descriptor in count() if descriptor not in used)
    limit = [next(free) for _ in range(number)][-1] + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))


async def test_file_descriptors_exhausted(start_daemon: StartDaemon, key: Path, hosts: Hosts) -> None:
    """Who comes then has to wait, and is served as soon as there are some again. Operators get their answers."""
    daemon = start_daemon(**SETTINGS)
    pid = daemon.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    async with crowd_at(daemon, key, hosts, CROWD) as crowd:
        before = await settled_usage(daemon)
        served = trio.Event()

        async def come_late() -> None:
            browser = await crowd.browser()
            await browser.round_trip()
            await browser.close()
            served.set()

        async with crowd.undisturbed("file descriptors exhausted"), trio.open_nursery() as nursery:
            leave_descriptors(pid, 6)
            async with connections(crowd.address, 20):
                nursery.start_soon(come_late)
                for _ in range(3):
                    await in_thread(lambda: usage(daemon))
                    await trio.sleep(0.5)  # accepting is tried again and again meanwhile
                assert not served.is_set()
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
                with trio.fail_after(PATIENCE_S):
                    await served.wait()
        await wait_until_freed(daemon, before)


@pytest.fixture
def faketime() -> Path:
    """The library that lies about the time of day."""
    program("faketime", "faketime")
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    return library


async def test_clock_jumps(
    start_daemon: StartDaemon, key: Path, hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faketime: Path
) -> None:
    """One day forward and back. Time limits go by the other clock, which only runs; tokens by the time of day."""
    offset = tmp_path / "offset"

    def jump(seconds: int) -> None:
        written = offset.with_suffix(".new")
        written.write_text(f"{seconds:+d}\n", "ascii")
        written.replace(offset)

    jump(0)
    with monkeypatch.context() as patched:
        patched.setenv("LD_PRELOAD", str(faketime))
        patched.setenv("FAKETIME_TIMESTAMP_FILE", str(offset))
        patched.setenv("FAKETIME_NO_CACHE", "1")
        patched.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        daemon = start_daemon(**merged(SETTINGS, {"session": {"lifetime_s": 3600}}))
    async with crowd_at(daemon, key, hosts, CROWD) as crowd:
        before = await settled_usage(daemon)
        async with crowd.undisturbed("clock one day forward and back"):
            used = crowd.token()
            browser = await crowd.browser(token=used)
            await browser.close()
            for seconds in (DAY_S, -DAY_S, 0):
                jump(seconds)
                now = time.time() + seconds
                browser = await crowd.browser(token=crowd.token(now=now))
                await browser.round_trip()
                await browser.close()
                await refused(crowd, crowd.token(now=now - 400), "token-expired")
            await refused(crowd, used, "token-used")
        await wait_until_freed(daemon, before)


async def refused(crowd: Crowd, token: str, slug: str) -> None:
    with pytest.raises(Refused) as why:
        await crowd.browser(token=token)
    assert why.value.body.startswith(slug)


async def test_operators_listener_flooded(start_daemon: StartDaemon, key: Path, hosts: Hosts) -> None:
    """Hundreds of connections that say nothing, and clients that ask for everything without a pause."""
    daemon = start_daemon(**SETTINGS)
    host, _, port = daemon.admin_address.rpartition(":")
    address = (host, int(port))
    async with crowd_at(daemon, key, hosts, CROWD) as crowd:
        before = await settled_usage(daemon)
        answers = 0

        async def ask(path: str) -> None:
            nonlocal answers
            request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            while True:
                try:
                    async with await trio.open_tcp_stream(*address) as stream:
                        while True:
                            await stream.send_all(request)
                            if not await stream.receive_some(1 << 20):
                                break
                            answers += 1
                except (OSError, trio.BrokenResourceError):
                    await trio.sleep(0.01)

        async with crowd.undisturbed("operators' listener flooded"):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    for path in ("/metrics", "/sessions", "/cmd/getstatus", "/nowhere"):
                        nursery.start_soon(ask, path)
                await trio.sleep(2)
                async with connections(address, 300):
                    await trio.sleep(2)
                nursery.cancel_scope.cancel()
            said(f"  {answers} answers")
            assert answers
        await wait_until_freed(daemon, before)
