"""Signals while three hundred consoles run, half of them over TLS: a drain, a reload, a reload that must not be."""

from __future__ import annotations

import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from .certificates import Authority, Pair
from .conftest import StartDaemon
from .crowd import SETTINGS, Crowd, Hosts, crowd_at, until
from .daemon import Daemon, make_key, merged
from .lean_browser import Ended, Refused, upgrade_request
from .test_tls_browsers import pem, replace, trusting
from .usage import in_thread, said, settled_usage, wait_until_freed

pytestmark = pytest.mark.real

CROWD = 300
DRAIN_S = 6.0
#: So many consoles end by themselves while the daemon drains.
LEAVE = 50


@pytest.fixture
def hosts(tmp_path: Path, password: str) -> Iterator[Hosts]:
    with Hosts(tmp_path, password=password) as running:
        yield running


@pytest.fixture
def pair(authority: Authority, tmp_path: Path) -> Pair:
    return authority.issue(tmp_path / "proxy", "server", "127.0.0.1")


def both_listeners(pair: Pair) -> dict[str, dict[str, object]]:
    """With and without TLS."""
    return merged(
        SETTINGS,
        {
            "server": {"listen": ["127.0.0.1:0"], "listen_tls": ["127.0.0.1:0"], "drain_timeout_s": DRAIN_S},
            "tls": {"certificate": str(pair.certificate), "private_key": str(pair.key)},
            "log": {"level": "info"},
        },
    )


def ports(daemon: Daemon) -> tuple[int, int]:
    """Without and with TLS."""
    urls = [str(record["url"]) for record in daemon.log() if record.get("event") == "listening"]
    (plain,) = (url for url in urls if url.startswith("http:"))
    (tls,) = (url for url in urls if url.startswith("https:"))
    return int(plain.rpartition(":")[2]), int(tls.rpartition(":")[2])


class Ways:
    """Both ways to the daemon."""

    def __init__(self, daemon: Daemon, authority: Authority) -> None:
        self._plain, self._tls = ports(daemon)
        self._context = trusting(authority)

    async def plain(self) -> trio.abc.Stream:
        return await trio.open_tcp_stream("127.0.0.1", self._plain)

    async def secure(self) -> trio.SSLStream[trio.SocketStream]:
        stream = await trio.open_tcp_stream("127.0.0.1", self._tls)
        secured = trio.SSLStream(stream, self._context, server_hostname="127.0.0.1", https_compatible=True)
        await secured.do_handshake()
        return secured

    async def shown_certificate(self) -> str:
        """What a new connection is shown."""
        stream = await self.secure()
        found = stream.getpeercert(binary_form=True)
        await trio.aclose_forcefully(stream)
        assert isinstance(found, bytes)
        return ssl.DER_cert_to_PEM_cert(found)


@asynccontextmanager
async def mixed_crowd(daemon: Daemon, key: Path, hosts: Hosts, ways: Ways) -> AsyncIterator[Crowd]:
    async with crowd_at(daemon, key, hosts, 0) as crowd:
        await crowd.open(CROWD // 2, connect=ways.plain)
        await crowd.open(CROWD // 2, connect=ways.secure)
        yield crowd


async def test_drain(start_daemon: StartDaemon, key: Path, hosts: Hosts, authority: Authority, pair: Pair) -> None:
    """SIGTERM: none ends before its own end or the drain's, no new ones, the rest is told, and the exit is no fault."""
    daemon = start_daemon(**both_listeners(pair))
    ways = Ways(daemon, authority)
    async with mixed_crowd(daemon, key, hosts, ways) as crowd:
        early = await ways.plain()  # it has sent nothing yet
        began = trio.current_time()
        daemon.process.send(signal.SIGTERM)
        await in_thread(lambda: daemon.wait_for_event("draining"))
        async with crowd.undisturbed("drain"):
            await crowd.leave(crowd.members[::6][:LEAVE])
            await early.send_all(upgrade_request("127.0.0.1", crowd.token()))
            answer = await early.receive_some(4096)
            assert answer.startswith(b"HTTP/1.1 503 "), answer
            assert b"draining" in answer
            await trio.aclose_forcefully(early)
            for way in (ways.plain, ways.secure):
                with pytest.raises((OSError, Refused)) as refused:
                    await crowd.browser(connect=way)
                said(f"  a new one: {refused.value}")
                assert not isinstance(refused.value, Refused) or refused.value.status == 503
            await trio.sleep_until(began + DRAIN_S / 2)
        rest = list(crowd.members)
        assert len(rest) == CROWD - LEAVE
        await until(lambda: all(member.fault for member in rest))
        took_s = trio.current_time() - began
        ends = {(fault.code, fault.text.partition(":")[0]) for m in rest if isinstance(fault := m.fault, Ended)}
        assert ends == {(4412, "draining")}
        assert took_s >= DRAIN_S
        assert await in_thread(daemon.process.wait_until_ended) == 0
        exit_s = trio.current_time() - began
        said(f"  {len(rest)} told after {took_s:.1f} s of {DRAIN_S:g} s, exit 0 after {exit_s:.1f} s")
        crowd.members.clear()


async def assert_in_force(crowd: Crowd, ways: Ways, certificate: str, old_key_token: str) -> None:
    """New consoles get this certificate and need the crowd's key."""
    assert await ways.shown_certificate() == certificate
    for way in (ways.plain, ways.secure):
        browser = await crowd.browser(connect=way)
        await browser.round_trip()
        await browser.close()
    with pytest.raises(Refused) as refused:
        await crowd.browser(connect=ways.plain, token=old_key_token)
    assert refused.value.body.startswith("token-invalid")


async def test_reload(
    start_daemon: StartDaemon, key: Path, hosts: Hosts, authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    """SIGHUP: a new certificate and a new key for those who come; a bad configuration changes nothing."""
    daemon = start_daemon(**both_listeners(pair))
    ways = Ways(daemon, authority)
    first = pem(pair)
    start = await settled_usage(daemon)
    async with mixed_crowd(daemon, key, hosts, ways) as crowd:
        before = await settled_usage(daemon)
        async with crowd.undisturbed("reload"):
            assert await ways.shown_certificate() == first
            old_key_token = crowd.token()
            new_key = make_key(tmp_path / "new-key.json")
            daemon.config.write_text(daemon.config.read_text("utf-8").replace(str(key), str(new_key)), "utf-8")
            replace(pair, authority.issue(tmp_path / "next", "server", "127.0.0.1"))
            second = pem(pair)
            daemon.process.send(signal.SIGHUP)
            await in_thread(lambda: daemon.wait_for_event("configuration reloaded"))
            crowd.use_key(new_key)
            await assert_in_force(crowd, ways, second, old_key_token)
            good = daemon.config.read_text("utf-8")
            for number, bad in enumerate((good + "[nonsense]\n", good.replace(str(new_key), "/missing")), 1):
                daemon.config.write_text(bad, "utf-8")
                daemon.process.send(signal.SIGHUP)
                await in_thread(partial(daemon.wait_for_event, "configuration refused", number))
                await assert_in_force(crowd, ways, second, old_key_token)
        await wait_until_freed(daemon, before)
    # what Python had for the crowd it keeps for the next one
    await wait_until_freed(daemon, attrs.evolve(start, rss_kib=before.rss_kib))
