"""Behind Debian's nginx and HAProxy, with the samples that operators are given: who is asking, and what is logged."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote, urlsplit

import pytest
from websockets.exceptions import InvalidStatus

from .browser import ConsolePage
from .certificates import Authority
from .conftest import StartDaemon, StartQemu
from .daemon import Console, Daemon
from .processes import PATIENCE_S, free_port, wait_for
from .reverse_proxies import (
    BROWSER_ADDRESS,
    OTHER_ADDRESS,
    PROXY_ADDRESS,
    ReverseProxy,
    start_haproxy,
    start_nginx,
)
from .rfb_client import rfb_client

pytestmark = [pytest.mark.real, pytest.mark.browser]

#: What a client may say of itself, in every form and in several lines.
SPOOFS = (
    ("X-Forwarded-For", BROWSER_ADDRESS),
    ("X-Forwarded-For", f"{BROWSER_ADDRESS}, {PROXY_ADDRESS}"),
    ("Forwarded", f"for={BROWSER_ADDRESS}"),
    ("X-Real-IP", BROWSER_ADDRESS),
    ("X-Forwarded-Proto", "https"),
)

StartProxy: TypeAlias = Callable[[Path, Daemon, Authority], ReverseProxy]


def _haproxy_v2(folder: Path, daemon: Daemon, authority: Authority) -> ReverseProxy:
    return start_haproxy(folder, daemon, authority, sample="haproxy-proxy-protocol.cfg")


def _haproxy_v1(folder: Path, daemon: Daemon, authority: Authority) -> ReverseProxy:
    changes = {"send-proxy-v2 check": "send-proxy check"}
    return start_haproxy(folder, daemon, authority, sample="haproxy-proxy-protocol.cfg", changes=changes)


HEADERS: dict[str, StartProxy] = {"nginx": start_nginx, "haproxy": start_haproxy}
PROXY_PROTOCOL: dict[str, StartProxy] = {"haproxy, PROXY v2": _haproxy_v2, "haproxy, PROXY v1": _haproxy_v1}
ALL = {**HEADERS, **PROXY_PROTOCOL}


@pytest.fixture
def running(start_daemon: StartDaemon) -> Iterator[ExitStack]:
    """Ends reverse proxies before the daemon is looked at."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=ALL)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def settings(kind: str, tmp_path: Path, authority: Authority) -> dict[str, dict[str, object]]:
    """The daemon's, as the samples' first lines say them."""
    believes: dict[str, object] = {"trusted_proxies": [PROXY_ADDRESS]}
    session: dict[str, object] = {"check_source_ip": True}
    if kind in HEADERS:
        return {"server": believes, "session": session}
    pair = authority.issue(tmp_path / "daemon", "server", "127.0.0.1")
    return {
        "server": {**believes, "listen": [], "listen_tls": ["127.0.0.1:0"], "proxy_protocol": True},
        "tls": {"certificate": str(pair.certificate), "private_key": str(pair.key)},
        "session": session,
    }


def assert_no_token(proxy: ReverseProxy, *consoles: Console) -> None:
    said = proxy.logs()
    for console in consoles:
        for spelled in (console.token, quote(console.token, safe=""), quote(console.token)):
            assert spelled[:24] not in said


def test_console(
    kind: str,
    start_qemu: StartQemu,
    start_daemon: StartDaemon,
    running: ExitStack,
    tab: ConsolePage,
    tmp_path: Path,
    authority: Authority,
    password: str,
) -> None:
    """Opened from the right address, it works, and the log knows from where; from another one it does not open."""
    qemu = start_qemu(password=password)
    daemon = start_daemon(**settings(kind, tmp_path, authority))
    proxy = ALL[kind](tmp_path / "proxy", daemon, authority)
    running.callback(proxy.process.stop)

    def mint(source: str) -> Console:
        minted = daemon.mint(qemu.host, qemu.port, password=password, options=["--source-ip", source])
        return proxy.through(minted)

    # from the wrong address, whatever else is said
    console = mint(BROWSER_ADDRESS)
    refused = proxy.get(console.url, source=OTHER_ADDRESS)
    assert refused.status == 403
    assert b"source-ip-mismatch" in refused.body
    assert proxy.get(console.url, source=OTHER_ADDRESS, headers=SPOOFS).status == 403
    for spoof in SPOOFS:
        assert proxy.get(console.url, source=OTHER_ADDRESS, headers=[spoof]).status == 403
    assert {record["client"] for record in daemon.log() if record.get("event") == "page refused"} == {OTHER_ADDRESS}
    # whoever lies about the address has the own one all the same
    others = mint(OTHER_ADDRESS)
    assert proxy.get(others.url, source=OTHER_ADDRESS, headers=SPOOFS).status == 200
    with pytest.raises(InvalidStatus) as caught, rfb_client(others.websocket_url, trust=proxy.trust):
        pass
    assert caught.value.response.status_code == 403

    # from the right one, in an IPv4-mapped spelling for once
    console = mint(f"::ffff:{BROWSER_ADDRESS}")
    tab.open(console.url)
    tab.wait_for_state("connected")
    tab.click()
    tab.wait_for_picture(qemu.screendump)
    tab.type_line("behind a proxy")
    qemu.wait_for_line("behind a proxy")
    assert [session["client"] for session in daemon.sessions()] == [BROWSER_ADDRESS]
    tab.page.close()
    daemon.wait_for_event("session ended")
    assert [r["client"] for r in daemon.log() if r.get("event") == "session started"] == [BROWSER_ADDRESS]

    if kind in HEADERS:
        said = proxy.process.wait_for(
            lambda: proxy.logs() if "/websockify" in proxy.logs() else None, "the proxy's log has the console"
        )
        assert " /novnc" in said
        assert BROWSER_ADDRESS in said
    assert_no_token(proxy, console, others)
    # not even HAProxy's health checks
    assert [record for record in daemon.log() if record.get("event") == "connection refused"] == []


@pytest.mark.parametrize("kind", HEADERS)
def test_reverse_proxies_that_add_to_what_the_client_says(
    kind: str, start_daemon: StartDaemon, running: ExitStack, tmp_path: Path, authority: Authority
) -> None:
    """As most are set up. They also pass on the header that they do not write, which then makes the client nobody."""
    daemon = start_daemon(**settings(kind, tmp_path, authority))
    if kind == "nginx":
        changes = {
            "X-Forwarded-For $remote_addr;": "X-Forwarded-For $proxy_add_x_forwarded_for;",
            'proxy_set_header Forwarded "";': "",
        }
        proxy = start_nginx(tmp_path / "proxy", daemon, authority, changes=changes)
    else:
        changes = {
            "http-request set-header X-Forwarded-For %[src]": "option forwardfor",
            "http-request del-header Forwarded": "",
        }
        proxy = start_haproxy(tmp_path / "proxy", daemon, authority, changes=changes)
    running.callback(proxy.process.stop)
    console = proxy.through(daemon.mint("127.0.0.1", free_port(), options=["--source-ip", BROWSER_ADDRESS]))
    assert proxy.get(console.url, source=BROWSER_ADDRESS).status == 200
    for spoof in SPOOFS:
        assert proxy.get(console.url, source=OTHER_ADDRESS, headers=[spoof]).status == 403
    seen = [record["client"] for record in daemon.log() if record.get("event") == "page refused"]
    assert seen == [PROXY_ADDRESS if name == "Forwarded" else OTHER_ADDRESS for name, _ in SPOOFS]


@pytest.mark.parametrize("kind", ["nginx", "haproxy, PROXY v2"])
def test_past_the_reverse_proxy(kind: str, start_daemon: StartDaemon, tmp_path: Path, authority: Authority) -> None:
    """Who connects to the daemon itself, from an address that is not trusted, cannot say who they are."""
    daemon = start_daemon(**settings(kind, tmp_path, authority))
    address = urlsplit(daemon.url)
    assert address.hostname is not None
    assert address.port is not None
    console = daemon.mint("127.0.0.1", free_port(), options=["--source-ip", BROWSER_ADDRESS])
    with socket.create_connection((address.hostname, address.port), PATIENCE_S, (OTHER_ADDRESS, 0)) as stream:
        if kind in PROXY_PROTOCOL:
            with suppress(ConnectionResetError):  # what was sent has not been looked at
                stream.sendall(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n")
                assert stream.recv(1) == b""
            refused = daemon.wait_for_event("connection refused")
            assert refused["client"] == OTHER_ADDRESS
            return
        connection = http.client.HTTPConnection(address.netloc)
        connection.sock = stream
        parts = urlsplit(console.url)
        connection.request("GET", f"{parts.path}?{parts.query}", headers=dict(SPOOFS))
        assert connection.getresponse().status == 403
        connection.close()
    assert daemon.wait_for_reason("source-ip-mismatch")["client"] == OTHER_ADDRESS


def test_through_a_unix_socket(
    start_daemon: StartDaemon, running: ExitStack, tmp_path: Path, authority: Authority
) -> None:
    """nginx connects to a unix socket, where everybody is a trusted proxy if the word is in the list."""
    path = tmp_path / "console.sock"
    daemon = start_daemon(
        server={"listen": [f"unix:{path}", "127.0.0.1:0"], "trusted_proxies": ["unix"]},
        session={"check_source_ip": True},
    )
    proxy = start_nginx(tmp_path / "proxy", daemon, authority, unix=str(path))
    running.callback(proxy.process.stop)
    minted = daemon.mint("127.0.0.1", free_port(), options=["--source-ip", BROWSER_ADDRESS])
    console = proxy.through(minted)
    assert proxy.get(console.url, source=BROWSER_ADDRESS).status == 200
    assert proxy.get(console.url, source=OTHER_ADDRESS, headers=SPOOFS).status == 403
    assert daemon.wait_for_reason("source-ip-mismatch")["client"] == OTHER_ADDRESS
    # the other listener's peers are none of them
    query = minted.url.removeprefix(daemon.url)
    assert daemon.get(query, headers={"X-Forwarded-For": OTHER_ADDRESS}).status == 200


#: What the time-outs are where the samples say nothing; on a loaded machine the answer to the upgrade takes a second
#: or two, and has to come within them.
SHORT_S = 4


def _nginx_idle(folder: Path, daemon: Daemon, authority: Authority, *, without: bool) -> ReverseProxy:
    changes = {"proxy_read_timeout 1d;": "", "proxy_send_timeout 1d;": ""} if without else {}
    defaults = f"proxy_read_timeout {SHORT_S}s; proxy_send_timeout {SHORT_S}s;"
    return start_nginx(folder, daemon, authority, defaults=defaults, changes=changes)


def _haproxy_idle(folder: Path, daemon: Daemon, authority: Authority, *, without: bool) -> ReverseProxy:
    changes = {
        "timeout client 30s": f"timeout client {SHORT_S}s",
        "timeout server 30s": f"timeout server {SHORT_S}s",
        **({"timeout tunnel 1d": ""} if without else {}),
    }
    return start_haproxy(folder, daemon, authority, changes=changes)


@pytest.mark.parametrize("without", [False, True], ids=["as the sample says", "without the sample's time-out"])
@pytest.mark.parametrize("start", [_nginx_idle, _haproxy_idle], ids=["nginx", "haproxy"])
def test_a_still_console_stays_open(
    start: Callable[..., ReverseProxy],
    without: bool,
    start_qemu: StartQemu,
    start_daemon: StartDaemon,
    running: ExitStack,
    tmp_path: Path,
    authority: Authority,
) -> None:
    """Longer than the reverse proxy would let it by default: that it cuts without the sample's line is the proof."""
    qemu = start_qemu(password=None)
    daemon = start_daemon(server={"trusted_proxies": [PROXY_ADDRESS]})
    proxy = start(tmp_path / "proxy", daemon, authority, without=without)
    running.callback(proxy.process.stop)
    console = proxy.through(daemon.mint(qemu.host, qemu.port))
    with rfb_client(console.websocket_url, trust=proxy.trust) as client:
        client.handshake()
        if without:
            client.wait_until_broken(within_s=PATIENCE_S)
        else:
            client.wait_in_silence(SHORT_S + 2)
            client.ask_for_corner()
            client.read_corner()


@pytest.mark.parametrize("kind", HEADERS)
def test_failures_put_no_token_into_the_logs(
    kind: str,
    start_daemon: StartDaemon,
    running: ExitStack,
    tmp_path: Path,
    authority: Authority,
) -> None:
    """Reverse proxies like to quote a request that went wrong: nobody behind, no HTTP, too long a line."""
    daemon = start_daemon(**settings(kind, tmp_path, authority))
    if kind == "nginx":
        proxy = start_nginx(tmp_path / "proxy", daemon, authority)
    else:  # it would try again three times, a second each
        changes = {"timeout connect 5s": "timeout connect 5s\n    retries 0"}
        proxy = start_haproxy(tmp_path / "proxy", daemon, authority, changes=changes)
    running.callback(proxy.process.stop)
    console = proxy.through(daemon.mint("127.0.0.1", free_port()))
    token = quote(console.token, safe="")
    daemon.process.stop()

    answer = proxy.get(console.url, source=BROWSER_ADDRESS)
    assert answer.status in (502, 503)
    for sent in (
        f"GET /novnc/?token={token} HTTP/1.1\r\n\r\n",
        f"GET /novnc/?token={token} HTTP/9.9\r\nHost: x\r\n\r\n",
        f"GET /novnc/?token={token} and more HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET /novnc/?token={token} HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n",
        f"GET /novnc/?token={token}{'x' * 40000} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"POST /novnc/?token={token} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n",
        f"GET /novnc/?token={token} HTTP/1.1\r\nHost: x\r\nReferer: {console.url}\r\nConnection: close\r\n\r\n",
    ):
        with (
            socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S) as plain,
            proxy.trust.wrap_socket(plain, server_hostname="127.0.0.1") as stream,
        ):
            try:
                stream.sendall(sent.encode())
                assert stream.recv(16).startswith((b"HTTP/1.1 4", b"HTTP/1.1 5", b"HTTP/1.0 4")), sent[:200]
            except OSError:
                assert len(sent) > 40000
    wait_for(lambda: proxy.logs().count("/novnc/") >= 2, "the failures are in the log")
    assert_no_token(proxy, console)
