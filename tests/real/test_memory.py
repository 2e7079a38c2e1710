"""What a console costs at most where somebody reads nothing: docs/limits.rst names these bounds.

Each side in turn stops reading for good while the other sends as fast as it is let; the daemon's own memory is looked
at once nothing moves any more.
"""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import pytest
import trio

from tests.helpers import within
from trio_cpvm.testing import RfbClient, ScriptedVncServer, WebSocketDouble, behind_websocket, listening, open_websocket
from trio_cpvm.testing.steps import Conversation
from trio_cpvm.testing.streams import read_exactly

from .certificates import Authority
from .conftest import StartDaemon
from .daemon import Console, Daemon

pytestmark = pytest.mark.real

MIB = 1 << 20
SESSIONS = 4
#: Nothing has moved for so long: it never will.
STALLED_S = 0.5

#: FramebufferUpdateRequest, which every filter lets pass.
ASK = b"\3\1\0\0\0\0\0\x40\0\x30"
#: As many as one message may hold.
FROM_BROWSER = ASK * (MIB // len(ASK))
#: A FramebufferUpdate of one raw rectangle: the whole screen of the double.
_UPDATE = b"\0\0\0\1" + b"\0\0\0\0\0\x40\0\x30\0\0\0\0" + bytes(64 * 48 * 4)
FROM_HOST = _UPDATE * 20
#: The largest message of a host that speaks RFB over WebSocket.
FROM_WEBSOCKET_HOST = _UPDATE * (16 * MIB // len(_UPDATE))


async def flood(stream: trio.abc.Stream, data: bytes) -> None:
    """Send until nobody takes anything any more."""
    while True:
        with trio.move_on_after(STALLED_S) as scope:
            await stream.send_all(data)
        if scope.cancelled_caught:
            return


@attrs.define(eq=False)
class Host:
    """A host that never reads once its screen is open, or floods, until ``over``."""

    floods_with: bytes
    over: trio.Event = attrs.field(factory=trio.Event)
    #: One permit for each console of which nothing more is to come.
    stalled: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(0))

    async def run(self, conversation: Conversation) -> None:
        await read_exactly(conversation.stream, len(ASK))  # before that a host has nothing to say
        if self.floods_with:
            await flood(conversation.stream, self.floods_with)
        self.stalled.release()
        await self.over.wait()
        conversation.over = True


def memory_kib(daemon: Daemon) -> int:
    """The daemon's own memory, without that of files and libraries."""
    for line in Path(f"/proc/{daemon.process.pid}/status").read_text("ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise AssertionError("no RssAnon")


async def reach(daemon: Daemon, console: Console, trusted: ssl.SSLContext | None) -> WebSocketDouble:
    parts = urlsplit(console.websocket_url)
    assert parts.hostname is not None
    assert parts.port is not None
    stream: trio.abc.Stream = await trio.open_tcp_stream(parts.hostname, parts.port)
    if trusted is not None:
        stream = trio.SSLStream(stream, trusted, server_hostname=parts.hostname, https_compatible=True)
    return await open_websocket(stream, f"{parts.path}?{parts.query}")


#: The way, and what a session may cost on it, in MiB.
WAYS = {"plain": 8, "filters": 8, "TLS": 8, "host over WebSocket": 64}


@pytest.mark.parametrize("stalls", ["browser", "host"])
@pytest.mark.parametrize("way", WAYS)
@within(60)
async def test_a_console_that_nobody_reads(
    way: str, stalls: str, start_daemon: StartDaemon, authority: Authority, tmp_path: Path
) -> None:
    settings: dict[str, dict[str, object]] = {"session": {"second_viewer": "share", "ping_interval_s": 0}}
    trusted, host_tls, options = None, None, ["--reusable"]
    if way == "filters":
        settings["session"]["clipboard_max_bytes"] = 1000
        options.append("--view-only")
    if way == "TLS":
        pair = authority.issue(tmp_path / "tls", "server", "127.0.0.1")
        settings["server"] = {"listen": [], "listen_tls": ["127.0.0.1:0"]}
        settings["tls"] = {"certificate": str(pair.certificate), "private_key": str(pair.key)}
        settings["upstream"] = {"ca_file": str(authority.ca_file)}
        trusted = ssl.create_default_context(cafile=str(authority.ca_file))
        host_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        host_tls.load_cert_chain(pair.certificate, pair.key)
    daemon = start_daemon(**settings)
    from_host = FROM_WEBSOCKET_HOST if way == "host over WebSocket" else FROM_HOST
    host = Host(from_host if stalls == "browser" else b"")
    double = ScriptedVncServer(
        security_types=(19,) if host_tls else (1,), vencrypt_subtypes=(260,), tls=host_tls, then=[host]
    )
    serve = behind_websocket(double.serve) if way == "host over WebSocket" else double.serve
    async with listening(serve) as (address, port), AsyncExitStack() as stack:
        if way == "host over WebSocket":
            console = daemon.mint(options=[*options, "--websocket-url", f"ws://{address}:{port}/"])
        else:
            console = daemon.mint(address, port, options=options)

        async def open_one() -> WebSocketDouble:
            browser = await reach(daemon, console, trusted)
            stack.push_async_callback(trio.aclose_forcefully, browser.stream)
            await RfbClient(browser).handshake()
            await browser.send_all(ASK)
            return browser

        await open_one()  # what the first one loads is not its own
        await host.stalled.acquire()
        before = memory_kib(daemon)
        browsers = [await open_one() for _ in range(SESSIONS)]
        for _ in browsers:
            await host.stalled.acquire()
        if stalls == "host":
            async with trio.open_nursery() as nursery:
                for browser in browsers:
                    nursery.start_soon(flood, browser, FROM_BROWSER)
        grown = (memory_kib(daemon) - before) / 1024 / SESSIONS
        assert grown < WAYS[way], f"{grown:.1f} MiB each"
        sessions = await trio.to_thread.run_sync(daemon.sessions)
        assert len(sessions) == 1 + SESSIONS, "none of them has ended"
        host.over.set()
