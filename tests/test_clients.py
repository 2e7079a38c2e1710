"""Who is asking: through reverse proxies that are trusted, and through others, up to what the site is told."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
import trustme
from trio.testing import MockClock

from tests.helpers import HEAD_TIMEOUT_S, TARGET, make_site, url, within
from trio_cpvm import errors
from trio_cpvm.addresses import parse_trusted_proxy
from trio_cpvm.clients import Clients
from trio_cpvm.config import Config, SessionConfig
from trio_cpvm.front import AnswersClients, Front
from trio_cpvm.http import Request, Response
from trio_cpvm.http_io import TakeOver
from trio_cpvm.testing import connected, http_get

timely = within(30)

AUTHORITY = trustme.CA()
CLIENT = "192.0.2.9"
SPOOFED = "198.51.100.66"
LINE = f"PROXY TCP4 {CLIENT} 203.0.113.1 56324 443\r\n".encode()
BLOCK = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(
    ">BBH4s4sHH", 0x21, 0x11, 12, socket.inet_aton(CLIENT), socket.inet_aton("203.0.113.1"), 56324, 443
)
HEALTH_CHECK = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


@attrs.define(eq=False)
class Seen:
    """A site that answers with who is asking."""

    async def answer(self, request: Request, client: str) -> Response | TakeOver:
        return Response(status=200, body=f"{client} {request.scheme}".encode())


def make_front(
    *trusted: str, proxy_protocol: bool = False, site: AnswersClients | None = None, tls: ssl.SSLContext | None = None
) -> Front:
    return Front(
        site=site or Seen(),
        head_timeout_s=HEAD_TIMEOUT_S,
        max_connections=10,
        tls=None if tls is None else lambda: tls,
        clients=Clients(trusted_proxies=[parse_trusted_proxy(text) for text in trusted], proxy_protocol=proxy_protocol),
    )


async def asked(stream: trio.abc.Stream, *headers: tuple[str, str]) -> str:
    return (await http_get(stream, "/", headers=headers)).body.decode()


def lines(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, object]]:
    found = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [line for line in found if line["event"] == event]


# -- headers, in memory: such a peer is behind a unix socket as far as this can be seen -------------------------------


@timely
@pytest.mark.parametrize(
    ("trusted", "headers", "seen"),
    [
        (["unix"], [], "local http"),
        (["unix"], [("X-Forwarded-For", CLIENT)], f"{CLIENT} http"),
        (["unix"], [("X-Forwarded-For", f"{SPOOFED}, {CLIENT}")], f"{CLIENT} http"),
        (["unix"], [("X-Forwarded-For", SPOOFED), ("X-Forwarded-For", CLIENT)], f"{CLIENT} http"),
        (["unix"], [("X-Forwarded-For", CLIENT), ("X-Forwarded-Proto", "https")], f"{CLIENT} https"),
        (["unix"], [("Forwarded", f"for={SPOOFED};proto=http, for={CLIENT};proto=https")], f"{CLIENT} https"),
        (["unix", "10.0.0.0/8"], [("X-Forwarded-For", f"{SPOOFED}, {CLIENT}, 10.1.1.1")], f"{CLIENT} http"),
        (["unix"], [("X-Forwarded-For", f"{CLIENT}, 10.1.1.1")], "10.1.1.1 http"),
        (["10.0.0.0/8"], [("X-Forwarded-For", SPOOFED), ("X-Forwarded-Proto", "https")], "local http"),
        ([], [("Forwarded", f"for={SPOOFED};proto=https")], "local http"),
        (["0.0.0.0/0", "::/0"], [("X-Forwarded-For", SPOOFED)], "local http"),
        # who is hidden or malformed is as good as the proxy
        (["unix"], [("X-Forwarded-For", "unknown"), ("X-Forwarded-Proto", "https")], "local http"),
        (["unix"], [("Forwarded", "for=_hidden")], "local http"),
        (["unix"], [("Forwarded", f"for={SPOOFED}"), ("X-Forwarded-For", CLIENT)], "local http"),
    ],
)
async def test_whose_headers_are_believed(
    trusted: list[str], headers: list[tuple[str, str]], seen: str, autojump_clock: MockClock
) -> None:
    async with connected(make_front(*trusted).handle) as stream:
        assert await asked(stream, *headers) == seen


@timely
async def test_each_request_of_a_connection_is_its_own_clients(autojump_clock: MockClock) -> None:
    async with connected(make_front("unix").handle) as stream:
        for client in (CLIENT, "2001:db8::9", "192.0.2.10"):
            assert await asked(stream, ("X-Forwarded-For", client)) == f"{client} http"
        assert await asked(stream) == "local http"


@timely
async def test_a_proxy_that_is_trusted_no_more_is_not_believed_on_its_open_connections(
    autojump_clock: MockClock,
) -> None:
    front = make_front("unix")
    async with connected(front.handle) as stream:
        assert await asked(stream, ("X-Forwarded-For", CLIENT)) == f"{CLIENT} http"
        front.clients = Clients()
        assert await asked(stream, ("X-Forwarded-For", CLIENT)) == "local http"


@timely
async def test_headers_that_are_ignored_are_told_at_debug(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG)
    async with connected(make_front("unix").handle) as stream:
        await asked(stream, ("X-Forwarded-For", "token=secret"))
    assert all(record.levelno == logging.DEBUG for record in caplog.records)
    (line,) = lines(caplog, "forwarded headers ignored")
    assert line["proxy"] == "local"
    assert "secret" not in caplog.text


def from_client(address: str) -> tuple[str, str]:
    return ("X-Forwarded-For", address)


@timely
@pytest.mark.parametrize(
    ("source_ip", "forwarded", "right"),
    [
        (CLIENT, CLIENT, True),
        (f"::ffff:{CLIENT}", CLIENT, True),
        (CLIENT, f"::FFFF:{CLIENT}", True),
        (CLIENT, "[::ffff:c000:209]:4711, 10.0.0.1", True),
        ("2001:db8::9", "2001:DB8:0::9", True),
        (CLIENT, SPOOFED, False),
        (CLIENT, f"{CLIENT}, {SPOOFED}", False),
        (CLIENT, "unknown", False),
        ("", CLIENT, False),
    ],
)
async def test_the_source_address_check_looks_through_trusted_proxies(
    source_ip: str, forwarded: str, right: bool, autojump_clock: MockClock
) -> None:
    site = make_site(Config(session=SessionConfig(check_source_ip=True)))
    page = url("/novnc", attrs.evolve(TARGET, source_ip=source_ip))
    for trusted, passes in (("unix", right), ("192.0.2.0/24", False)):
        async with connected(make_front(trusted, "10.0.0.0/8", site=site).handle) as stream:
            answer = await http_get(stream, page, headers=[from_client(forwarded)])
            assert answer.status == (200 if passes else errors.SOURCE_IP_MISMATCH.http_status)


# -- the PROXY protocol, in memory ------------------------------------------------------------------------------------


def halves(data: bytes) -> Sequence[bytes]:
    return (data[: len(data) // 2], data[len(data) // 2 :])


@timely
@pytest.mark.parametrize("header", [LINE, BLOCK])
@pytest.mark.parametrize("tls", [False, True])
async def test_the_header_comes_before_everything(header: bytes, tls: bool, autojump_clock: MockClock) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("console.test").configure_cert(context)
    front = make_front("unix", proxy_protocol=True, tls=context)
    async with connected(front.handle_tls if tls else front.handle) as stream:
        for part in halves(header):
            await stream.send_all(part)
            await trio.testing.wait_all_tasks_blocked()
        if not tls:
            assert await asked(stream, from_client(SPOOFED)) == f"{CLIENT} http"
            return
        trust = ssl.create_default_context()
        AUTHORITY.configure_trust(trust)
        secure = trio.SSLStream(stream, trust, server_hostname="console.test", https_compatible=True)
        assert await asked(secure, from_client(SPOOFED)) == f"{CLIENT} https"


@timely
@pytest.mark.parametrize("header", [LINE, BLOCK])
async def test_header_and_request_may_come_in_one(header: bytes, autojump_clock: MockClock) -> None:
    async with connected(make_front("unix", proxy_protocol=True).handle) as stream:
        await stream.send_all(header + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := await stream.receive_some():
            answer += chunk
        assert answer.endswith(f"\r\n\r\n{CLIENT} http".encode())


@timely
async def test_a_proxy_named_in_the_header_is_believed_if_it_is_trusted_too(autojump_clock: MockClock) -> None:
    front = make_front("unix", "192.0.2.0/24", proxy_protocol=True)
    async with connected(front.handle) as stream:
        await stream.send_all(LINE)
        assert await asked(stream, from_client("203.0.113.7")) == "203.0.113.7 http"


@timely
@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", HEALTH_CHECK])
async def test_a_header_without_address_leaves_the_proxys_own_and_no_word_of_others(
    header: bytes, autojump_clock: MockClock
) -> None:
    async with connected(make_front("unix", proxy_protocol=True).handle) as stream:
        await stream.send_all(header)
        assert await asked(stream, from_client(SPOOFED)) == "local http"


@timely
@pytest.mark.parametrize(
    ("trusted", "sent", "why"),
    [
        ("unix", b"GET /novnc?token=secret HTTP/1.1\r\n\r\n", "no PROXY header"),
        ("unix", b"\x16\x03\x01", "no PROXY header"),
        ("unix", b"PROXY TCP4 secret 203.0.113.1 56324 443\r\n", "a line that is none"),
        ("10.0.0.0/8", LINE, "none of server.trusted_proxies"),
        ("10.0.0.0/8", b"", "none of server.trusted_proxies"),
    ],
)
async def test_connections_without_header_or_from_elsewhere_are_closed_at_once(
    trusted: str, sent: bytes, why: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG)
    front = make_front(trusted, proxy_protocol=True)
    async with connected(front.handle) as stream:
        if sent:
            await stream.send_all(sent)
        assert await stream.receive_some() == b""
    assert trio.current_time() == 0
    assert front.connections == 0
    (line,) = lines(caplog, "connection refused")
    assert line["client"] == "local"
    assert why in str(line["detail"])
    assert "secret" not in caplog.text


@timely
@pytest.mark.parametrize("sent", [b"", b"PROXY", LINE[:-1], BLOCK[:14], BLOCK[:-1]])
async def test_a_header_has_the_time_of_a_request_head(
    sent: bytes, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO)
    front = make_front("unix", proxy_protocol=True)
    async with connected(front.handle) as stream:
        if sent:
            await stream.send_all(sent)
        assert await stream.receive_some() == b""
        assert trio.current_time() == pytest.approx(HEAD_TIMEOUT_S)
    assert front.connections == 0
    assert caplog.records == []


@timely
@pytest.mark.parametrize("sent", [b"", b"PROXY TC"])
async def test_a_proxy_that_only_looks_whether_somebody_listens_is_no_fault(
    sent: bytes, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO)
    front = make_front("unix", proxy_protocol=True)
    async with connected(front.handle) as stream:
        if sent:
            await stream.send_all(sent)
        assert isinstance(stream, trio.abc.HalfCloseableStream)
        await stream.send_eof()
        assert await stream.receive_some() == b""
    assert trio.current_time() == 0
    assert caplog.records == []


# -- on real sockets ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(front: Front, listener: trio.SocketListener) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, front.handle, [listener])
        yield
        nursery.cancel_scope.cancel()


async def connect_from(source: str, port: int) -> trio.SocketStream:
    sock = trio.socket.socket()
    await sock.bind((source, 0))
    await sock.connect(("127.0.0.1", port))
    return trio.SocketStream(sock)


@within(20)
@pytest.mark.parametrize("proxy_protocol", [False, True])
@pytest.mark.parametrize("both", [False, True], ids=["IPv4", "IPv4-mapped"])
async def test_only_the_trusted_address_is_believed(proxy_protocol: bool, both: bool) -> None:
    """The listener of IPv6 sees IPv4 clients with IPv4-mapped addresses."""
    sock = trio.socket.socket(socket.AF_INET6 if both else socket.AF_INET)
    if both:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    await sock.bind(("::" if both else "127.0.0.1", 0))
    sock.listen()
    port = sock.getsockname()[1]
    front = make_front("127.0.0.2", proxy_protocol=proxy_protocol)
    async with serving(front, trio.SocketListener(sock)):
        async with await connect_from("127.0.0.2", port) as proxy:
            if proxy_protocol:
                await proxy.send_all(LINE)
                assert await asked(proxy) == f"{CLIENT} http"
            else:
                assert await asked(proxy, from_client(CLIENT)) == f"{CLIENT} http"
        async with await connect_from("127.0.0.3", port) as other:
            if proxy_protocol:
                assert await other.receive_some() == b""
            else:
                assert await asked(other, from_client(CLIENT)) == "127.0.0.3 http"


@within(20)
async def test_a_health_check_that_is_over_before_it_is_looked_at_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """HAProxy resets its own; then nobody can tell where they came from."""
    caplog.set_level(logging.INFO)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await connect_from("127.0.0.2", listener.socket.getsockname()[1])
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.aclose()
        await make_front("127.0.0.2", proxy_protocol=True).handle(await listener.accept())
    assert caplog.records == []


@within(20)
async def test_who_comes_through_a_unix_socket(tmp_path: Path) -> None:
    sock = trio.socket.socket(socket.AF_UNIX)
    await sock.bind(str(tmp_path / "s"))
    sock.listen()
    async with serving(make_front("unix"), trio.SocketListener(sock)):
        async with await trio.open_unix_socket(tmp_path / "s") as proxy:
            assert await asked(proxy, from_client(CLIENT)) == f"{CLIENT} http"
