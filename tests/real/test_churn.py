"""A week of visits in small: short sessions, several at once, one after the other, and memory stays flat.

``make soak`` runs 50,000 of them (``CHURN_SESSIONS``), the test suite fewer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from .conftest import StartDaemon
from .crowd import SETTINGS, Crowd, Hosts, crowd_at
from .daemon import merged
from .usage import gauges, in_thread, said, settled_usage, usage, wait_until_freed

pytestmark = pytest.mark.real

SESSIONS = int(os.environ.get("CHURN_SESSIONS", "3000"))
#: So many at once.
AT_ONCE = 16
#: Memory is compared with what it was after so many.
WARM = min(SESSIONS // 3, 10_000)
#: How much more it may be at the end, in KiB. A leak of 200 bytes a session would be more in 50,000.
SLACK_KIB = 6 * 1024
#: Used tokens are remembered until they expire, so that takes memory for the sessions of that time.
TOKEN_LIFE_S = 10
ROUND_TRIPS = 3
#: How often memory is looked at, and when that is shown.
STEP = 500
TOLD = (500, 1000, 2000, *range(5000, 1_000_000, 5000))


@pytest.fixture
def hosts(tmp_path: Path, password: str) -> Iterator[Hosts]:
    with Hosts(tmp_path, password=password) as running:
        yield running


async def visit(crowd: Crowd, number: int) -> None:
    """Open a console, use it, and leave: as a tab does, or without a word, or the host ends it."""
    browser = await crowd.browser(token=crowd.token(life_s=TOKEN_LIFE_S))
    for _ in range(ROUND_TRIPS):
        await browser.round_trip()
    if number % 10 == 0:
        browser.reset()
    else:
        await browser.close()


async def test_memory_stays_flat(start_daemon: StartDaemon, key: Path, hosts: Hosts) -> None:
    daemon = start_daemon(**merged(SETTINGS, {"log": {"level": "info"}}))
    start = await settled_usage(daemon)
    async with crowd_at(daemon, key, hosts, 0) as crowd:
        warm_kib, done, began = 0, 0, trio.current_time()
        numbers = iter(range(SESSIONS))

        async def visit_again_and_again(end: int) -> None:
            while done < end and (number := next(numbers, None)) is not None:
                await one(number)

        async def one(number: int) -> None:
            nonlocal done
            await visit(crowd, number)
            done += 1

        for end in range(STEP, SESSIONS + 1, STEP):
            async with trio.open_nursery() as nursery:
                for _ in range(AT_ONCE):
                    nursery.start_soon(visit_again_and_again, end)
            await crowd.hang_up()
            now = await in_thread(lambda: usage(daemon))
            if warm_kib == 0 and done >= WARM:
                warm_kib = now.rss_kib
            if end in TOLD or end == SESSIONS:
                said(f"  {done:>6} sessions, {done / (trio.current_time() - began):.0f} a second: {now}")
        end_kib = (await settled_usage(daemon)).rss_kib
        said(f"  {(end_kib - warm_kib) * 1024 / (SESSIONS - WARM):+.0f} bytes a session since the first {WARM}")
        assert end_kib <= warm_kib + SLACK_KIB
    assert await in_thread(lambda: gauges(daemon)["trio_cpvm_sessions_started_total"]) == SESSIONS
    await wait_until_freed(daemon, start)
