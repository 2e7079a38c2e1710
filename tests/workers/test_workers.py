"""Several processes on the same listeners: what holds for all consoles holds across them; a dead one ends its own only."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from tests.helpers import PASSWORD, within
from tests.workers.daemon import Browser, Daemon, running
from trio_cpvm.testing import EchoForever, ScriptedVncServer, UpgradeRefused, listening

timely = within(60)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


@pytest.fixture
async def daemon(shared: Daemon) -> AsyncIterator[Daemon]:
    """Two workers, with nothing on them before and after."""
    shared.wait_up()
    yield shared
    with trio.fail_after(20):
        await shared.wait_idle()


@pytest.fixture
async def host() -> AsyncIterator[int]:
    """The port of a host whose screens echo."""
    async with listening(ScriptedVncServer(password=PASSWORD, then=[EchoForever()]).serve) as (_, port):
        yield port


@contextlib.asynccontextmanager
async def consoles(daemon: Daemon, host: int, count: int, **target: str) -> AsyncIterator[list[Browser]]:
    """Consoles, opened one after the other."""
    browsers: list[Browser] = []
    try:
        for _ in range(count):
            browsers.append(await daemon.open(daemon.path(host, **target)))
        yield browsers
    finally:
        for browser in browsers:
            await browser.aclose()


@timely
async def test_consoles_are_spread_evenly(daemon: Daemon, host: int) -> None:
    async with consoles(daemon, host, 8) as browsers:
        assert daemon.spread() == [4, 4]
        assert all([await browser.works() for browser in browsers])


@timely
async def test_a_token_opens_one_console_whoever_asks_at_the_same_time(daemon: Daemon, host: int) -> None:
    path, opened, refused = daemon.path(host, "once"), list[Browser](), list[int]()

    async def attempt() -> None:
        try:
            opened.append(await daemon.open(path))
        except UpgradeRefused as exc:
            refused.append(exc.answer.status)

    async with trio.open_nursery() as nursery:
        for _ in range(16):
            nursery.start_soon(attempt)
    assert (len(opened), refused) == (1, [403] * 15)
    assert await daemon.refusal(path) == (403, "token-used")
    await opened[0].aclose()
