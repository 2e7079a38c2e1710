"""Every way to a console: TCP, TLS, tunnel, WebSocket, unix socket; and every way that is none."""

from __future__ import annotations

import base64
import errno
import hashlib
import ipaddress
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
import trustme
from trio.testing import MockClock, memory_stream_pair

from tests.upstream.bounds import bounded
from tests.upstream.networks import AUTHORITY, Network, inside_tls, is_closed, server_context
from trio_cpvm import errors
from trio_cpvm.config import Config, SessionConfig, UpstreamConfig
from trio_cpvm.config_values import parse_host_pattern
from trio_cpvm.errors import ConsoleError, Reason
from trio_cpvm.limits import Limit
from trio_cpvm.models import ConsoleTarget, Secret
from trio_cpvm.testing import (
    Close,
    EchoForever,
    RfbClient,
    ScriptedVncServer,
    Send,
    SendForever,
    SendSlowly,
    Stall,
    WebSocketDouble,
    accept_websocket,
    behind_websocket,
    listening,
    read_exactly,
)
from trio_cpvm.testing.streams import Serve
from trio_cpvm.upstream import Dialler, secured_by, tcp
from trio_cpvm.websocket import HostSocket, websocket_nursery

HOST = "192.0.2.5"
TARGET = ConsoleTarget(host=HOST, port=5900)
TUNNEL = ConsoleTarget(
    host="", port=0, tunnel_url=f"http://{HOST}/console?ref=OpaqueRef%3A1", tunnel_session=Secret("OpaqueRef:99")
)
CONNECT = b"CONNECT /console?ref=OpaqueRef:1 HTTP/1.0\r\nHost: 192.0.2.5\r\nCookie: session_id=OpaqueRef:99\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n"
GREETING = b"RFB 003.003\n"
WEBSOCKET = ConsoleTarget(host="", port=0, websocket_url=f"ws://{HOST}/ticket/abc?x=1")
TIMEOUT_S = 10


@pytest.fixture
def network(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> Network:
    found = Network(nursery)
    monkeypatch.setattr(tcp, "connect_to", found.open)
    return found


@pytest.fixture
def upstream(tmp_path: Path) -> UpstreamConfig:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    return UpstreamConfig(ca_file=str(tmp_path / "ca.pem"))


def dialler(upstream: UpstreamConfig | None = None) -> Dialler:
    session = SessionConfig(connect_timeout_s=TIMEOUT_S)
    return Dialler(Config(upstream=upstream or UpstreamConfig(), session=session))


async def dial(target: ConsoleTarget, nursery: trio.Nursery, upstream: UpstreamConfig | None = None) -> trio.abc.Stream:
    return await dialler(upstream).dial(target, nursery)


async def refusal(target: ConsoleTarget, upstream: UpstreamConfig | None = None) -> tuple[Reason, str]:
    async with websocket_nursery() as nursery:
        with pytest.raises(ConsoleError) as caught:
            await dial(target, nursery, upstream)
    return caught.value.reason, caught.value.detail


# -- TCP and TLS ---------------------------------------------------------------------------------------------------


@bounded(10)
async def test_plain_tcp_on_loopback(nursery: trio.Nursery) -> None:
    server = ScriptedVncServer(password="secret", name="web-01")
    async with listening(server.serve) as (host, port):
        async with await dial(ConsoleTarget(host=host, port=port), nursery) as stream:
            assert secured_by(stream) == ""
            assert (await RfbClient(stream).handshake("secret")).name == "web-01"


@pytest.mark.parametrize(
    ("pattern", "marked"),
    [
        ("192.0.2.5", True),
        ("192.0.2.5:5900", True),
        ("192.0.2.5:5901", False),
        ("192.0.2.0/24", True),
        ("198.51.100.0/24", False),
        ("::/0", False),
        ("192.0.2.6", False),
    ],
)
@bounded(10)
async def test_marked_hosts_get_tls_from_the_first_byte(
    network: Network, nursery: trio.Nursery, upstream: UpstreamConfig, pattern: str, marked: bool
) -> None:
    server = ScriptedVncServer(password="secret", name="web-01")
    network.listen(HOST, 5900, inside_tls(server.serve, server_context(HOST)) if marked else server.serve)
    config = attrs.evolve(upstream, tls_hosts=(parse_host_pattern("other.test"), parse_host_pattern(pattern)))
    stream = await dial(TARGET, nursery, config)
    assert bool(secured_by(stream)) is marked
    assert (await RfbClient(stream).handshake("secret")).name == "web-01"


@bounded(10)
async def test_a_marked_name_is_verified_as_that_name(nursery: trio.Nursery, upstream: UpstreamConfig) -> None:
    config = attrs.evolve(upstream, tls_hosts=(parse_host_pattern("LocalHost"),))
    server = ScriptedVncServer(password="secret")
    async with listening(inside_tls(server.serve, server_context("localhost")), host="localhost") as (_, port):
        stream = await dial(ConsoleTarget(host="localhost", port=port), nursery, config)
        assert secured_by(stream)
        await trio.aclose_forcefully(stream)


@bounded(10)
async def test_a_marked_host_that_speaks_plain_rfb_is_refused(network: Network, upstream: UpstreamConfig) -> None:
    server = ScriptedVncServer(password="secret")
    network.listen(HOST, 5900, server.serve)
    config = attrs.evolve(upstream, tls_hosts=(parse_host_pattern(HOST),))
    reason, detail = await refusal(TARGET, config)
    assert reason is errors.UPSTREAM_TLS_FAILED
    assert detail.startswith("TLS with 192.0.2.5: ")
    assert await network.nothing_is_open()


@bounded(60)
async def test_a_marked_host_that_stalls_in_tls(
    network: Network, upstream: UpstreamConfig, autojump_clock: MockClock
) -> None:
    network.listen(HOST, 5900, ScriptedVncServer.playing(Stall()).serve)
    config = attrs.evolve(upstream, tls_hosts=(parse_host_pattern(HOST),))
    reason, detail = await refusal(TARGET, config)
    assert (reason, detail) == (errors.UPSTREAM_TIMEOUT, "no connection to 192.0.2.5:5900 within 10 s")
    assert await network.nothing_is_open()


@bounded(10)
async def test_tls_in_the_middle_of_rfb_is_verified_for_the_targets_host(upstream: UpstreamConfig) -> None:
    for target, name in [
        (ConsoleTarget(host="vm.test", port=5900), "vm.test"),
        (attrs.evolve(TUNNEL, tunnel_url="https://xen.test/c"), "xen.test"),
        (attrs.evolve(WEBSOCKET, websocket_url="wss://esx.test/c"), "esx.test"),
    ]:
        for certified, good in ((name, True), ("another.test", False)):
            ours, theirs = memory_stream_pair()
            async with trio.open_nursery() as nursery:
                serve = inside_tls(ScriptedVncServer.playing(EchoForever()).serve, server_context(certified))
                nursery.start_soon(serve, theirs)
                if good:
                    stream = await dialler(upstream).start_tls(ours, target, anonymous=False)
                    assert secured_by(stream)
                    await trio.aclose_forcefully(stream)
                else:
                    with pytest.raises(ConsoleError, match="mismatch"):
                        await dialler(upstream).start_tls(ours, target, anonymous=False)


# -- the tunnel ----------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class XenServer:
    """Reads a request, answers in pieces, and hands over.

    Attributes:
        requests: what was asked.
    """

    answers: tuple[bytes, ...] = (ANSWER,)
    then: Serve = ScriptedVncServer(version=GREETING, security_types=(1,)).serve
    requests: list[bytes] = attrs.field(factory=list)

    async def serve(self, stream: trio.abc.Stream) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await read_exactly(stream, 1)
        self.requests.append(head)
        for answer in self.answers:
            await stream.send_all(answer)
            await trio.testing.wait_all_tasks_blocked()
        await self.then(stream)


@pytest.mark.parametrize("tls", [False, True])
@bounded(10)
async def test_a_tunnel_carries_rfb(
    network: Network, nursery: trio.Nursery, upstream: UpstreamConfig, tls: bool
) -> None:
    host = XenServer()
    if tls:
        network.listen(HOST, 443, inside_tls(host.serve, server_context(HOST)))
    else:
        network.listen(HOST, 80, host.serve)
    target = attrs.evolve(TUNNEL, tunnel_url=TUNNEL.tunnel_url.replace("http", "https" if tls else "http"))
    stream = await dial(target, nursery, upstream)
    assert host.requests == [CONNECT]
    assert bool(secured_by(stream)) is tls
    client = RfbClient(stream)
    assert (await client.handshake()).name == "scripted"


@pytest.mark.parametrize("at", range(len(ANSWER + GREETING) + 1))
@bounded(10)
async def test_an_answer_cut_anywhere(network: Network, nursery: trio.Nursery, at: int) -> None:
    whole = ANSWER + GREETING
    host = XenServer(answers=(whole[:at], whole[at:]), then=ScriptedVncServer.playing(EchoForever()).serve)
    network.listen(HOST, 80, host.serve)
    stream = await dial(TUNNEL, nursery)
    assert await read_exactly(stream, len(GREETING)) == GREETING
    await stream.send_all(b"x")
    assert await stream.receive_some() == b"x"


@bounded(10)
async def test_a_tunnel_to_an_ipv6_host_and_another_port(network: Network, nursery: trio.Nursery) -> None:
    host = XenServer()
    network.listen("2001:db8::5", 8080, host.serve)
    await dial(attrs.evolve(TUNNEL, tunnel_url="http://[2001:DB8::5]:8080/console"), nursery)
    assert host.requests == [
        b"CONNECT /console HTTP/1.0\r\nHost: [2001:db8::5]\r\nCookie: session_id=OpaqueRef:99\r\n\r\n"
    ]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ((b"HTTP/1.1 403 Forbidden\r\n\r\n",), "the tunnel was refused: 403 Forbidden"),
        ((b"HTTP/1.1 500 Internal", b" Server Error\r\n\r\n"), "the tunnel was refused: 500 Internal Server Error"),
        ((b"SSH-2.0-OpenSSH\r\n",), "the tunnel answered with no HTTP: 'SSH-2.0-OpenSSH'"),
        ((GREETING,), "the tunnel answered with no HTTP: 'RFB 003.003'"),
        ((b"",), "the tunnel was closed instead of answered"),
        ((ANSWER[:-1],), "the tunnel was closed instead of answered"),
        ((b"HTTP/1.1 200 OK\r\nX: " + b"y" * 30000,), "the tunnel answered with no HTTP: 'HTTP/1.1 200 OK X: yyy"),
    ],
)
@bounded(10)
async def test_a_tunnel_that_is_none(network: Network, answers: tuple[bytes, ...], words: str) -> None:
    network.listen(HOST, 80, XenServer(answers=answers, then=ScriptedVncServer.playing(Close()).serve).serve)
    reason, detail = await refusal(TUNNEL)
    assert reason is errors.UPSTREAM_PROTOCOL
    assert detail.startswith(words)
    assert "OpaqueRef" not in detail
    assert await network.nothing_is_open()


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (Stall(), errors.UPSTREAM_TIMEOUT),
        (SendSlowly(ANSWER, pause_s=1), errors.UPSTREAM_TIMEOUT),
        (SendForever(b"HTTP/1.1 200 OK\r\n"), errors.UPSTREAM_PROTOCOL),
    ],
    ids=["stall", "slow", "endless"],
)
@bounded(60)
async def test_a_tunnel_that_never_opens(
    network: Network, step: Stall | SendSlowly | SendForever, reason: Reason, autojump_clock: MockClock
) -> None:
    network.listen(HOST, 80, XenServer(answers=(), then=ScriptedVncServer.playing(step).serve).serve)
    started = trio.current_time()
    assert (await refusal(TUNNEL))[0] is reason
    assert trio.current_time() - started <= TIMEOUT_S
    assert await network.nothing_is_open()


@bounded(10)
async def test_a_tunnel_that_resets_the_connection(nursery: trio.Nursery) -> None:
    async def reset(stream: trio.abc.Stream) -> None:
        assert isinstance(stream, trio.SocketStream)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await trio.aclose_forcefully(stream)

    async with listening(reset) as (host, port):
        target = attrs.evolve(TUNNEL, tunnel_url=f"http://{host}:{port}/c")
        assert (await refusal(target))[0] is errors.UPSTREAM_PROTOCOL


@bounded(10)
async def test_a_tunnel_over_tls_is_verified(network: Network, upstream: UpstreamConfig) -> None:
    host = XenServer()
    network.listen(HOST, 443, inside_tls(host.serve, server_context(HOST, authority=trustme.CA())))
    target = attrs.evolve(TUNNEL, tunnel_url=f"https://{HOST}/c")
    reason, detail = await refusal(target, upstream)
    assert reason is errors.UPSTREAM_TLS_FAILED
    assert "issuer" in detail
    assert host.requests == []
    assert await network.nothing_is_open()


@pytest.mark.parametrize(
    ("url", "session"),
    [
        (f"http://{HOST}/c", "a\r\nX: y"),
        (f"http://{HOST}/c", "a\0"),
        (f"http://{HOST}/c", "a\n"),
        (f"http://{HOST}/c%0d%0aX: y", "a"),
        (f"http://{HOST}/c%00", "a"),
        (f"http://{HOST}/c\0", "a"),
        (f"http://{HOST}/c?a=%0a", "a"),
        ("http://[", "a"),
        (f"ftp://{HOST}/", "a"),
        (f"http://{HOST}:99999/", "a"),
    ],
)
@bounded(10)
async def test_what_would_break_the_request_is_refused_before_anything_is_sent(
    network: Network, url: str, session: str
) -> None:
    reason, _ = await refusal(attrs.evolve(TUNNEL, tunnel_url=url, tunnel_session=Secret(session)))
    assert reason is errors.UPSTREAM_PROTOCOL
    assert network.asked == []


# -- WebSocket -----------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Esx:
    """A host behind a WebSocket.

    Attributes:
        seen: the WebSockets that were opened.
    """

    server: ScriptedVncServer = attrs.field(factory=lambda: ScriptedVncServer(password="secret", name="web-01"))
    subprotocol: str | None = "binary"
    seen: list[WebSocketDouble] = attrs.field(factory=list)

    async def serve(self, stream: trio.abc.Stream) -> None:
        websocket = await accept_websocket(stream, subprotocol=self.subprotocol)
        self.seen.append(websocket)
        await self.server.serve(websocket)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("subprotocol", ["binary", None])
@bounded(10)
async def test_a_websocket_carries_rfb(
    network: Network, upstream: UpstreamConfig, tls: bool, subprotocol: str | None
) -> None:
    host = Esx(subprotocol=subprotocol)
    if tls:
        network.listen(HOST, 443, inside_tls(host.serve, server_context(HOST)))
    else:
        network.listen(HOST, 80, host.serve)
    url = WEBSOCKET.websocket_url.replace("ws:", "wss:" if tls else "ws:")
    async with websocket_nursery() as nursery:
        stream = await dial(attrs.evolve(WEBSOCKET, websocket_url=url), nursery, upstream)
        assert isinstance(stream, HostSocket)
        assert bool(secured_by(stream)) is tls
        assert (await RfbClient(stream).handshake("secret")).name == "web-01"
        (websocket,) = host.seen
        assert websocket.target == "/ticket/abc?x=1"
        assert websocket.subprotocol == subprotocol
        assert "sec-websocket-extensions" not in dict(websocket.headers)
        await stream.close(1000, "", within_s=1)
        assert websocket.close_code == 1000


@pytest.mark.parametrize(
    ("url", "address", "host", "path"),
    [
        ("ws://192.0.2.5:8080", ("192.0.2.5", 8080), "192.0.2.5:8080", "/"),
        ("ws://192.0.2.5?a=b", ("192.0.2.5", 80), "192.0.2.5", "/?a=b"),
        ("ws://[2001:DB8::5]:81/t", ("2001:db8::5", 81), "[2001:DB8::5]:81", "/t"),
        ("ws://user:pw@192.0.2.5/t%20x", ("192.0.2.5", 80), "192.0.2.5", "/t%20x"),
        ("WS://192.0.2.5/t#part", ("192.0.2.5", 80), "192.0.2.5", "/t"),
    ],
)
@bounded(10)
async def test_what_is_asked_of_a_websocket_host(
    network: Network, url: str, address: tuple[str, int], host: str, path: str
) -> None:
    asked: list[bytes] = []

    async def serve(stream: trio.abc.Stream) -> None:
        asked.append(bytes(await stream.receive_some()))
        await trio.aclose_forcefully(stream)

    network.listen(*address, serve)
    assert (await refusal(attrs.evolve(WEBSOCKET, websocket_url=url)))[0] is errors.UPSTREAM_PROTOCOL
    (head,) = asked
    lines = head.decode("ascii").split("\r\n")
    assert lines[0] == f"GET {path} HTTP/1.1"
    assert f"Host: {host}" in lines
    assert "Sec-WebSocket-Protocol: binary" in lines
    assert not [line for line in lines if line.lower().startswith(("authorization", "cookie", "origin"))]


def answering(data: bytes, then: Stall | Close | None = None) -> Serve:
    async def serve(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await ScriptedVncServer.playing(Send(data), then or Close()).serve(stream)

    return serve


SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "the WebSocket was refused: 404"),
        (b"HTTP/1.1 404 Not Found\r\n\r\nuntil the end", ""),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "the WebSocket was refused: 401"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "the WebSocket was refused: 200",
        ),
        (b"HTTP/1.1 302 Found\r\nLocation: ws://192.0.2.9/\r\nContent-Length: 0\r\n\r\n", "refused: 302"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\ntoo short", ""),
        (b"", "the WebSocket was closed instead of opened"),
        (b"HTTP/1.1 101 Switch", "the WebSocket was closed instead of opened"),
        (b"RFB 003.008\n", "the WebSocket was closed instead of opened"),
        (SWITCHING + b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", "closed instead of opened"),
        (SWITCHING + b"\r\n", "closed instead of opened"),
        (b"HTTP/1.1 101 x\r\nX: " + b"y" * 300_000, "closed instead of opened"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "refused: 103"),
        (b"\x15\x03\x01\0\2\2\x28", "closed instead of opened"),
    ],
)
@bounded(10)
async def test_a_websocket_host_that_is_none(network: Network, data: bytes, words: str) -> None:
    network.listen(HOST, 80, answering(data))
    reason, detail = await refusal(WEBSOCKET)
    assert reason is errors.UPSTREAM_PROTOCOL
    assert words in detail
    assert "abc" not in detail, "the ticket"
    assert network.asked == [(HOST, 80)]
    assert await network.nothing_is_open()


@bounded(10)
async def test_a_refusal_without_end_is_not_kept(network: Network) -> None:
    sent = 0

    async def serve(stream: trio.abc.Stream) -> None:
        nonlocal sent
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 1000000000000\r\n\r\n")
        try:
            while sent < 100_000_000:
                await stream.send_all(bytes(1 << 16))
                sent += 1 << 16
                await trio.testing.wait_all_tasks_blocked()
        except trio.BrokenResourceError:
            pass

    network.listen(HOST, 80, serve)
    assert (await refusal(WEBSOCKET))[0] is errors.UPSTREAM_PROTOCOL
    assert sent <= 3 << 20
    assert await network.nothing_is_open()


@pytest.mark.parametrize(
    "data",
    [b"", b"HTTP/1.1 101 Switching Protocols\r\n", b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n"],
)
@bounded(60)
async def test_a_websocket_host_that_stalls(network: Network, data: bytes, autojump_clock: MockClock) -> None:
    network.listen(HOST, 80, answering(data, Stall()))
    reason, detail = await refusal(WEBSOCKET)
    if reason is not errors.UPSTREAM_PROTOCOL:
        assert (reason, detail) == (errors.UPSTREAM_TIMEOUT, "no connection to ws://192.0.2.5 within 10 s")
    else:
        assert "404" in detail
    assert await network.nothing_is_open()


@bounded(10)
async def test_a_websocket_with_an_extension_or_subprotocol_of_the_hosts_own_is_refused(network: Network) -> None:
    for line in (b"Sec-WebSocket-Extensions: permessage-deflate\r\n", b"Sec-WebSocket-Protocol: base64\r\n"):

        async def serve(stream: trio.abc.Stream, line: bytes = line) -> None:
            head = (await stream.receive_some()).decode("ascii")
            key = next(x.partition(": ")[2] for x in head.split("\r\n") if x.startswith("Sec-WebSocket-Key"))
            accept = b"Sec-WebSocket-Accept: " + accept_token(key) + b"\r\n"
            await stream.send_all(SWITCHING + accept + line + b"\r\n")
            await stream.receive_some()

        network.listen(HOST, 80, serve)
        assert (await refusal(WEBSOCKET))[0] is errors.UPSTREAM_PROTOCOL
    assert await network.nothing_is_open()


def accept_token(key: str) -> bytes:
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
    return base64.b64encode(digest.digest())


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.5/",
        "192.0.2.5",
        "ws://",
        "ws:///t",
        "ws://[",
        "ws://192.0.2.5:99999/",
        "ws://192.0.2.5:x/",
        "ws://192.0.2.5/a b",
        "ws://192.0.2.5/\u00fc",
        "ws://192.0.2.5/\0",
        "ws://192.0.2.5/\x7f",
        "ws://192.0.2.5/?a=\x01",
        "ws://\u00fc.test/",
        "ws://192.0.2.5 /",
    ],
)
@bounded(10)
async def test_a_websocket_url_that_is_none(network: Network, url: str) -> None:
    network.listen(HOST, 80, behind_websocket(ScriptedVncServer().serve))
    assert (await refusal(attrs.evolve(WEBSOCKET, websocket_url=url)))[0] is errors.UPSTREAM_PROTOCOL
    assert network.asked == []


@bounded(10)
async def test_a_websocket_over_tls_is_verified(network: Network, upstream: UpstreamConfig) -> None:
    host = Esx()
    network.listen(HOST, 443, inside_tls(host.serve, server_context("another.test")))
    reason, detail = await refusal(attrs.evolve(WEBSOCKET, websocket_url=f"wss://{HOST}/t"), upstream)
    assert reason is errors.UPSTREAM_TLS_FAILED
    assert "mismatch" in detail
    assert host.seen == []
    assert await network.nothing_is_open()


@pytest.mark.parametrize(
    "target",
    [
        TARGET,
        TUNNEL,
        WEBSOCKET,
        attrs.evolve(TUNNEL, tunnel_url="https://[::ffff:192.0.2.5]/c"),
        attrs.evolve(WEBSOCKET, websocket_url="wss://[2001:db8::5]/c"),
    ],
)
@bounded(10)
async def test_networks_that_are_not_allowed_are_not_touched(network: Network, target: ConsoleTarget) -> None:
    config = UpstreamConfig(allowed_networks=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")))
    reason, detail = await refusal(target, config)
    assert reason is errors.UPSTREAM_FORBIDDEN
    assert "outside upstream.allowed_networks" in detail
    assert network.asked == []


@pytest.mark.parametrize("target", [TARGET, TUNNEL, WEBSOCKET])
@bounded(10)
async def test_nobody_there(network: Network, target: ConsoleTarget) -> None:
    reason, detail = await refusal(target)
    assert reason is errors.UPSTREAM_UNREACHABLE
    assert "Connection refused" in detail


@pytest.mark.parametrize("target", [TUNNEL, WEBSOCKET])
@bounded(60)
async def test_cancelled_on_the_way(network: Network, target: ConsoleTarget, autojump_clock: MockClock) -> None:
    network.listen(HOST, 80, ScriptedVncServer.playing(Stall()).serve)
    with trio.move_on_after(1) as scope:
        async with websocket_nursery() as nursery:
            await dial(target, nursery)
    assert scope.cancelled_caught
    assert len(network.opened) == 1
    assert await network.nothing_is_open()


# -- unix sockets --------------------------------------------------------------------------------------------------


@pytest.fixture
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders, the allowed one and another, with a listening socket in each."""
    folder = tmp_path_factory.mktemp("s")
    for name in ("ok", "ok/deep", "no", "okay"):
        (folder / name).mkdir()
    return folder


async def serve_unix(path: Path, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    with trio.socket.socket(socket.AF_UNIX) as listener:
        await listener.bind(os.fspath(path))
        listener.listen()
        echo = ScriptedVncServer.playing(EchoForever()).serve
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, echo, [trio.SocketListener(listener)]))
            task_status.started()


def unix(path: Path | str) -> ConsoleTarget:
    return ConsoleTarget(host=f"unix:{path}", port=0)


def below(folder: Path | str) -> UpstreamConfig:
    return UpstreamConfig(unix_socket_directory=str(folder))


@pytest.mark.parametrize("directory", ["ok", "ok/", "ok/../ok", "link", "ok/deep"])
@bounded(10)
async def test_a_unix_socket_below_the_directory(sockets: Path, nursery: trio.Nursery, directory: str) -> None:
    (sockets / "link").symlink_to(sockets / "ok")
    (sockets / "ok" / "inside").symlink_to("deep/s")
    await nursery.start(serve_unix, sockets / "ok/deep/s")
    for name in ("ok/deep/s", "link/deep/s", "ok/../ok/deep//s", "ok/inside"):
        stream = await dial(unix(sockets / name), nursery, below(sockets / directory))
        await stream.send_all(b"x")
        assert await stream.receive_some() == b"x"
        await trio.aclose_forcefully(stream)


@bounded(10)
async def test_no_way_out_of_the_directory(sockets: Path, nursery: trio.Nursery) -> None:
    await nursery.start(serve_unix, sockets / "no/s")
    await nursery.start(serve_unix, sockets / "okay/s")
    (sockets / "ok/link").symlink_to(sockets / "no/s")
    (sockets / "ok/folder").symlink_to(sockets / "no")
    for name in ("no/s", "ok/../no/s", "ok/link", "ok/folder/s", "ok/deep/../../no/s", "okay/s", "ok", ".", "/"):
        reason, detail = await refusal(unix(sockets / name), below(sockets / "ok"))
        assert reason is errors.UPSTREAM_FORBIDDEN
        assert detail.endswith("is not below upstream.unix_socket_directory")


@bounded(10)
async def test_without_a_directory_no_unix_socket_is_opened(sockets: Path, nursery: trio.Nursery) -> None:
    await nursery.start(serve_unix, sockets / "ok/s")
    reason, detail = await refusal(unix(sockets / "ok/s"))
    assert (reason, detail) == (errors.UPSTREAM_FORBIDDEN, "upstream.unix_socket_directory is not set")


def make_file(folder: Path) -> None:
    (folder / "s").write_text("x")


def make_pipe(folder: Path) -> None:
    os.mkfifo(folder / "s")


def make_loop(folder: Path) -> None:
    (folder / "s").symlink_to("s")


def make_dead(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.fspath(folder / "s"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_file, "is no socket"),
        (make_pipe, "is no socket"),
        (make_loop, ""),
        (make_dead, "Connection refused"),
        (lambda _: None, "No such file or directory"),
    ],
)
@bounded(10)
async def test_what_is_no_unix_socket(sockets: Path, make: Callable[[Path], None], words: str) -> None:
    make(sockets / "ok")
    reason, detail = await refusal(unix(sockets / "ok/s"), below(sockets / "ok"))
    assert reason is errors.UPSTREAM_UNREACHABLE
    assert words in detail


@pytest.mark.parametrize("path", ["", "\0", "x" * 300, "relative", "/" + "x/" * 3000])
@bounded(10)
async def test_paths_that_are_none(sockets: Path, path: str) -> None:
    reason, _ = await refusal(unix(path), below(sockets / "ok"))
    assert reason in (errors.UPSTREAM_UNREACHABLE, errors.UPSTREAM_FORBIDDEN)


@bounded(10)
async def test_a_directory_that_is_gone(sockets: Path, nursery: trio.Nursery) -> None:
    await nursery.start(serve_unix, sockets / "no/s")
    assert (await refusal(unix(sockets / "no/s"), below(sockets / "gone")))[0] is errors.UPSTREAM_UNREACHABLE


@bounded(10)
async def test_the_check_for_closed_connections_can_tell() -> None:
    ours, theirs = memory_stream_pair()
    assert not await is_closed(ours)
    await trio.aclose_forcefully(ours)
    assert await is_closed(ours)
    await trio.aclose_forcefully(theirs)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_no_descriptor_for_a_unix_socket_is_not_the_host_s_fault(
    number: int, sockets: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(path: str) -> trio.SocketStream:
        raise OSError(number, os.strerror(number))

    await nursery.start(serve_unix, sockets / "ok/s")
    monkeypatch.setattr(trio, "open_unix_socket", full)
    with pytest.raises(ConsoleError) as caught:
        await dial(unix(sockets / "ok/s"), nursery, below(sockets / "ok"))
    assert (caught.value.reason, caught.value.limit) == (errors.INTERNAL_ERROR, Limit.OPEN_FILES)
