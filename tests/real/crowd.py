"""A crowd: many consoles at one daemon that all go on for as long as a test lasts, and what they cost it.

Every member presses a key, waits for its answer and checks it, again and again. ``Crowd.undisturbed`` holds that a
fault elsewhere takes none of them away and stops none of them for longer than ``WORST_S``.
"""

from __future__ import annotations

import json
import os
import ssl
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self, TypeAlias
from urllib.parse import quote, urlsplit

import attrs
import trio

from trio_cpvm.models import ConsoleTarget, Secret
from trio_cpvm.token import mint_token, new_session_uuid, read_key_file

from .daemon import Daemon
from .lean_browser import LeanBrowser
from .processes import PATIENCE_S, Process
from .usage import said
from .vnc_hosts import BEHAVIOURS

#: A round trip of a member may never take longer, whatever happens to others, in seconds. The usual is milliseconds.
WORST_S = 2.0
#: Between a member's round trips, in seconds.
PAUSE_S = 0.3
#: How many consoles are opened at once.
OPENING = 16
Connect: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]

#: What the daemon needs for a crowd from one address; and time, as this machine may have more to do.
SETTINGS: dict[str, dict[str, object]] = {
    "server": {"head_timeout_s": 15},
    "session": {
        "max_sessions_per_client": 0,
        "idle_timeout_s": 60,
        "connect_timeout_s": 15,
        "handshake_timeout_s": 15,
    },
}


class Hosts:
    """VNC hosts in a process of their own; see ``vnc_hosts``.

    Args:
        folder: where its output goes.
        password: what they ask for.
        address: where they listen.
        before: a command that runs the rest of its command line somewhere else.
    """

    def __init__(
        self,
        folder: Path,
        *,
        password: str,
        address: str = "127.0.0.1",
        before: Sequence[str] = (),
        name: str = "hosts",
    ) -> None:
        self.address = address
        self.password = password
        self.process = Process(
            name,
            [*before, sys.executable, "-P", str(Path(__file__).with_name("vnc_hosts.py")), address],
            folder,
            env={**os.environ, "VNC_PASSWORD": password},
        )
        try:
            self.ports = self.process.wait_for(self._said_ports, "the hosts listen")
        except BaseException:
            self.process.stop()
            raise

    def _said_ports(self) -> Mapping[str, int] | None:
        line, end, _ = self.process.output().partition("\n")
        ports: dict[str, int] = json.loads(line) if end else {}
        assert not end or set(ports) == set(BEHAVIOURS), line
        return ports or None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()


async def until(condition: Callable[[], object]) -> None:
    """Wait until something about the crowd is true.

    Raises:
        trio.TooSlowError: not in ``PATIENCE_S`` seconds.
    """
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 -- an event would be set all the time
            await trio.sleep(PAUSE_S / 3)


@attrs.define(eq=False)
class Member:
    """One console of the crowd.

    Attributes:
        browser: its browser.
        name: what its machine is called.
        since: when the round trip that is under way began; ``None`` in between.
        trips: when each round trip began, and how long it took.
        fault: how it ended, if it did.
        leaving: it makes no more round trips.
        over: set once it does not.
    """

    browser: LeanBrowser
    name: str
    since: float | None = None
    trips: list[tuple[float, float]] = attrs.field(factory=list)
    fault: BaseException | None = None
    leaving: bool = False
    over: trio.Event = attrs.field(factory=trio.Event)


@attrs.frozen
class Figures:
    """Round trips in seconds."""

    number: int
    median_s: float
    p99_s: float
    worst_s: float

    def __str__(self) -> str:
        return (
            f"{self.number} round trips, median {self.median_s * 1000:.1f} ms, "
            f"99 % below {self.p99_s * 1000:.0f} ms, worst {self.worst_s * 1000:.0f} ms"
        )


class Crowd:
    """Consoles at a daemon.

    Args:
        daemon: the daemon.
        key: its token key file.
        hosts: where the consoles are.
        nursery: for the members.
        tls: how to connect to a TLS listener; ``None``: without TLS.
    """

    def __init__(
        self, daemon: Daemon, key: Path, hosts: Hosts, nursery: trio.Nursery, tls: ssl.SSLContext | None = None
    ) -> None:
        self._daemon = daemon
        self._key = read_key_file(key)
        self._hosts = hosts
        self._nursery = nursery
        self._tls = tls
        self._numbers = 0
        self._streams: list[trio.abc.Stream] = []
        self.members: list[Member] = []
        daemon.keep_out_of_log(hosts.password)

    def token(
        self, hosts: Hosts | None = None, *, behaviour: str = "good", life_s: float = 300, now: float | None = None
    ) -> str:
        """A new single-use token for one of the hosts, percent-encoded."""
        hosts = hosts or self._hosts
        self._numbers += 1
        target = ConsoleTarget(
            host=hosts.address,
            port=hosts.ports[behaviour],
            password=Secret(hosts.password),
            vm_id=f"crowd-{self._numbers}",
            session_uuid=new_session_uuid(),
            not_after=(time.time() if now is None else now) + life_s,
        )
        return self.mint(target)

    def use_key(self, key: Path) -> None:
        """Make tokens with another key from now on."""
        self._key = read_key_file(key)

    def mint(self, target: ConsoleTarget) -> str:
        """A token for any target, percent-encoded."""
        return quote(mint_token(target, self._key), safe="")

    @property
    def address(self) -> tuple[str, int]:
        """Where the daemon listens."""
        parts = urlsplit(self._daemon.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    async def connect(self) -> trio.abc.Stream:
        """A connection to the daemon."""
        host, port = self.address
        stream = await trio.open_tcp_stream(host, port)
        self._streams.append(stream)
        if self._tls is None:
            return stream
        secured = trio.SSLStream(stream, self._tls, server_hostname=host, https_compatible=True)
        await secured.do_handshake()
        return secured

    async def browser(
        self, hosts: Hosts | None = None, *, behaviour: str = "good", connect: Connect | None = None, token: str = ""
    ) -> LeanBrowser:
        """Open one console that is not of the crowd.

        Raises:
            Refused, Ended: it was not to be.
        """
        browser = LeanBrowser(await (connect or self.connect)())
        self._streams.append(browser.stream)
        host, port = self.address
        try:
            await browser.open(f"{host}:{port}", token or self.token(hosts, behaviour=behaviour))
        except BaseException:
            await trio.aclose_forcefully(browser.stream)
            raise
        return browser

    async def open(self, number: int, hosts: Hosts | None = None, *, connect: Connect | None = None) -> list[Member]:
        """Open so many consoles and have them go on."""
        limit = trio.Semaphore(OPENING)
        opened: list[Member] = []

        async def open_one() -> None:
            async with limit:
                browser = await self.browser(hosts, connect=connect)
            member = Member(browser, f"crowd-{len(self.members)}")
            opened.append(member)
            self.members.append(member)
            self._nursery.start_soon(self._go_on, member)

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(number):
                nursery.start_soon(open_one)
        if number >= 50:
            said(f"  {number} consoles opened in {trio.current_time() - began:.1f} s")
        return opened

    async def _go_on(self, member: Member) -> None:
        try:
            while not member.leaving:
                member.since = trio.current_time()
                took_s = await member.browser.round_trip()
                member.trips.append((member.since, took_s))
                member.since = None
                await trio.sleep(PAUSE_S)
        except Exception as exc:
            member.fault = exc
            await trio.aclose_forcefully(member.browser.stream)
        finally:
            member.over.set()

    async def hang_up(self) -> None:
        """Close every connection that there ever was."""
        with trio.CancelScope(shield=True):
            while self._streams:
                await trio.aclose_forcefully(self._streams.pop())

    async def release(self, members: Sequence[Member]) -> None:
        """These are no longer of the crowd: their last round trips are over, and their consoles stay open."""
        for member in members:
            member.leaving = True
            self.members.remove(member)
        for member in members:
            await member.over.wait()
            assert member.fault is None, member.fault

    async def leave(self, members: Sequence[Member]) -> None:
        """Close these consoles as a user does."""
        await self.release(members)
        async with trio.open_nursery() as nursery:
            for member in members:
                nursery.start_soon(member.browser.close)

    def assert_all_live(self) -> None:
        """None has ended."""
        lost = [f"{member.name}: {member.fault!r}" for member in self.members if member.fault]
        assert not lost, f"{len(lost)} consoles were lost: {lost[:5]}"

    def figures(self, since: float) -> Figures:
        """Of the round trips since then, those that are still under way included."""
        now = trio.current_time()
        times = [took for member in self.members for began, took in member.trips if began + took >= since]
        waiting = [now - member.since for member in self.members if member.since is not None and member.fault is None]
        times = sorted(times + waiting)
        return Figures(len(times), statistics.median(times), times[int(len(times) * 0.99)], times[-1])

    async def _all_go_on(self, since: float) -> None:
        """Wait until every member has had two round trips that began since then."""

        def go_on() -> bool:
            return all(
                member.fault or sum(began >= since for began, _ in member.trips[-2:]) == 2 for member in self.members
            )

        try:
            await until(go_on)
        except trio.TooSlowError:
            raise AssertionError(f"not all go on: {self.figures(since)}") from None

    @asynccontextmanager
    async def undisturbed(self, fault: str, *, worst_s: float = WORST_S) -> AsyncIterator[None]:
        """What happens within the block is the crowd's business in no way: none ends, none stands still.

        Args:
            fault: what it is, for the figures.
            worst_s: how long a round trip may take, in seconds.

        Raises:
            AssertionError: it was.
        """
        since = trio.current_time()
        yield
        await self._all_go_on(trio.current_time())
        self.assert_all_live()
        figures = self.figures(since)
        said(f"{fault}: {trio.current_time() - since:.1f} s\n  {len(self.members)} others: {figures}")
        assert figures.worst_s <= worst_s, f"{fault}: {figures}"


@asynccontextmanager
async def crowd_at(
    daemon: Daemon, key: Path, hosts: Hosts, number: int, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Crowd]:
    """A crowd of so many; at the end all of them live and are closed."""
    async with trio.open_nursery() as nursery:
        crowd = Crowd(daemon, key, hosts, nursery, tls)
        try:
            await crowd.open(number)
            yield crowd
            crowd.assert_all_live()
            await crowd.leave([member for member in crowd.members if member.fault is None])
        finally:
            await crowd.hang_up()
            nursery.cancel_scope.cancel()
