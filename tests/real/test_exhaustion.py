"""What a daemon has little of runs out, or lies, while a hundred consoles run: connections, file descriptors, the time
of day, the operators' listener. None of the others is lost or stands still, and everything is freed."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio

from .conftest import StartDaemon
from .crowd import SETTINGS, Crowd, Hosts, crowd_at
from .daemon import Daemon, merged
from .lean_browser import Ended, Refused
from .processes import PATIENCE_S, open_files, program, wait_for
from .usage import gauges, in_thread, said, settled_usage, usage, wait_until_freed

pytestmark = pytest.mark.real

CROWD = 100
HALF_OPEN = 5000
DAY_S = 86400
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


class Connections:
    """So many connections that say this, and then nothing; open within the block."""

    def __init__(self, address: tuple[str, int], number: int, said_first: bytes = b"") -> None:
        self._opened: list[socket.socket] = []
        for _ in range(number):
            self._opened.append(socket.create_connection(address, PATIENCE_S))
            self._opened[-1].sendall(said_first)

    def __enter__(self) -> list[socket.socket]:
        return self._opened

    def __exit__(self, *_: object) -> None:
        for one in self._opened:
            one.close()


def public_connections(daemon: Daemon) -> int:
    return int(gauges(daemon)['trio_cpvm_connections{listener="public"}'])


async def test_half_open_connections(start_daemon: StartDaemon, key: Path, hosts: Hosts, many_files: None) -> None:
    """They are closed when the time for a request head is over. New consoles open meanwhile.

    Memory that Python once had is only partly given back to the system: the second time must not take more.
    """
    daemon = start_daemon(**merged(SETTINGS, {"server": {"head_timeout_s": 12}, "log": {"level": "info"}}))
    async with crowd_at(daemon, key, hosts, CROWD) as crowd:
        before = await settled_usage(daemon)
        for head in (b"", b"GET /novnc HTTP/1.1\r\nHost: half"):
            async with crowd.undisturbed(f"{HALF_OPEN} connections, each with {head!r}"):
                await come_and_wait(crowd, daemon, head)
            if not head:
                warm = await settled_usage(daemon)
                assert warm.files == before.files
                before = attrs.evolve(before, rss_kib=warm.rss_kib)
        await wait_until_freed(daemon, before)


async def come_and_wait(crowd: Crowd, daemon: Daemon, head: bytes) -> None:
    """So many connections say this, and then wait to be hung up on."""
    began = trio.current_time()
    with await in_thread(lambda: Connections(crowd.address, HALF_OPEN, head)) as opened:
        all_there, all_gone = HALF_OPEN + CROWD, CROWD
        await in_thread(lambda: wait_for(lambda: public_connections(daemon) == all_there, "all are accepted"))
        said(f"  accepted within {trio.current_time() - began:.1f} s; {usage(daemon)}")
        browser = await crowd.browser()
        await browser.round_trip()
        await browser.close()
        await in_thread(lambda: wait_for(lambda: public_connections(daemon) == all_gone, "they are closed"))
        assert await in_thread(lambda: {one.recv(12) for one in opened}) <= {b"", b"HTTP/1.1 408"}


async def test_file_descriptors_exhausted(start_daemon: StartDaemon, key: Path, hosts: Hosts) -> None:
    """Who comes then has to wait or is told; it is over as soon as there are some again."""
    daemon = start_daemon(**SETTINGS)
    async with crowd_at(daemon, key, hosts, CROWD) as crowd:
        before = await settled_usage(daemon)
        limits = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        left = 6
        highest = len(open_files(daemon.process.pid)) + left
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (highest, limits[1]))
        async with crowd.undisturbed("file descriptors exhausted"):
            with Connections(crowd.address, 3 * left):
                await in_thread(
                    lambda: wait_for(lambda: len(open_files(daemon.process.pid)) >= highest - 1, "all are used")
                )
                await trio.sleep(1)  # it goes on trying all the time
            await in_thread(lambda: wait_for(lambda: open_files(daemon.process.pid) == [*before.files], "all are back"))
            # one for the browser, and none for the host
            resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (highest - left + 1, limits[1]))
            with pytest.raises(Ended) as told:
                await crowd.browser()
            assert told.value.text.startswith("internal-error")
            resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, limits)
            browser = await crowd.browser()
            await browser.round_trip()
            await browser.close()
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
                with Connections(address, 300):
                    await trio.sleep(2)
                nursery.cancel_scope.cancel()
            said(f"  {answers} answers")
            assert answers
        await wait_until_freed(daemon, before)
