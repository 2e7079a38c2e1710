"""Faults while a hundred consoles run: none of the others is lost or stands still, and everything is freed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from .conftest import StartDaemon
from .crowd import SETTINGS, Crowd, Hosts, crowd_at, settled_usage, wait_until_freed
from .daemon import Daemon, merged

pytestmark = pytest.mark.real

CROWD = 100


@pytest.fixture
def hosts(tmp_path: Path, password: str) -> Iterator[Hosts]:
    with Hosts(tmp_path, password=password) as running:
        yield running


async def test_a_crowd(start_daemon: StartDaemon, key: Path, hosts: Hosts) -> None:
    daemon = start_daemon(**SETTINGS)
    before = await settled_usage(daemon)
    async with crowd_at(daemon, key, hosts, CROWD) as crowd:
        print(await settled_usage(daemon))
        async with crowd.undisturbed("nothing"):
            await trio.sleep(3)
    await wait_until_freed(daemon, before)
