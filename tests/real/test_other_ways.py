"""Other ways to a host than its VNC port: WebSocket, XenServer's CONNECT, a unix socket, TLS from the first byte."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from .browser import ConsolePage
from .certificates import Authority, Pair
from .conftest import StartDaemon, StartQemu, StartXvnc
from .middle import TlsWrapper, XenServer
from .processes import wait_for
from .reasons import assert_ended
from .rfb_client import Refused, rfb_client
from .test_tls_hosts import qemu_tls
from .works import TLS_1_3, assert_works

pytestmark = [pytest.mark.real, pytest.mark.browser]

_SESSION = "OpaqueRef:3f9f0a6c-tunnel-session"


def as_server(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@pytest.mark.parametrize(
    ("scheme", "with_password"),
    [("ws", True), ("wss", True), ("wss", False)],
    ids=["plain", "TLS", "TLS, no password"],
)
def test_websocket(
    start_qemu: StartQemu,
    start_daemon: StartDaemon,
    tab: ConsolePage,
    authority: Authority,
    password: str,
    scheme: str,
    with_password: bool,
) -> None:
    """The proxy answers for the password; the browser is never asked."""
    secret = password if with_password else None
    pair = authority.issue(authority.ca_file.parent / "host", "server", "127.0.0.1")
    vnc, options = ["websocket=on"], qemu_tls(pair)
    qemu = start_qemu(password=secret, vnc=[*vnc, "tls-creds=tls"] if scheme == "wss" else vnc, options=options)
    daemon = start_daemon(upstream={"ca_file": str(authority.ca_file), "allow_plaintext": scheme == "ws"})
    url = f"{scheme}://127.0.0.1:{qemu.websocket_port()}/"
    console = daemon.mint(password=secret, options=["--websocket-url", url])
    transport = TLS_1_3 if scheme == "wss" else "no TLS"
    security = "VncAuth(2)" if with_password else "None(1)"
    assert_works(tab, daemon, console, qemu, security=security, transport=transport)
    wait_for(lambda: qemu.viewers() == 0, "QEMU has no viewer any more")


def test_websocket_of_another_authority(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, authority: Authority, password: str
) -> None:
    pair = Authority(authority.ca_file.parent / "other-ca.pem").issue(
        authority.ca_file.parent / "host", "server", "127.0.0.1"
    )
    qemu = start_qemu(password=password, vnc=["websocket=on", "tls-creds=tls"], options=qemu_tls(pair))
    daemon = start_daemon(upstream={"ca_file": str(authority.ca_file)})
    url = f"wss://127.0.0.1:{qemu.websocket_port()}/"
    tab.open(daemon.mint(password=password, options=["--websocket-url", url]).url)
    record = assert_ended(tab, daemon, "upstream-tls-failed", 4495)
    assert "unable to get local issuer certificate" in str(record["detail"])


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_tunnel(
    start_qemu: StartQemu,
    start_daemon: StartDaemon,
    tab: ConsolePage,
    authority: Authority,
    password: str,
    scheme: str,
) -> None:
    qemu = start_qemu(password=password)
    pair = authority.issue(authority.ca_file.parent / "host", "server", "127.0.0.1")
    daemon = start_daemon(upstream={"ca_file": str(authority.ca_file), "allow_plaintext": scheme == "http"})
    daemon.keep_out_of_log(_SESSION)
    with XenServer(qemu.port, tls=as_server(pair) if scheme == "https" else None) as xen:
        url = f"{scheme}://127.0.0.1:{xen.port}/console?uuid=7a%2Db"
        console = daemon.mint(password=password, options=["--tunnel-url", url, "--tunnel-session", _SESSION])
        transport = TLS_1_3 if scheme == "https" else "no TLS"
        assert_works(tab, daemon, console, qemu, security="VncAuth(2)", transport=transport)
    head = f"CONNECT /console?uuid=7a-b HTTP/1.0\r\nHost: 127.0.0.1\r\nCookie: session_id={_SESSION}\r\n\r\n"
    assert xen.requests == [head.encode("ascii")]


def test_tunnel_to_rfb_3_3(start_xvnc: StartXvnc, start_daemon: StartDaemon, tab: ConsolePage, password: str) -> None:
    """What XenServer's own VNC servers speak."""
    xvnc = start_xvnc(password=password, options=["-Protocol3.3"])
    daemon = start_daemon()
    with XenServer(xvnc.port) as xen:
        options = ["--tunnel-url", f"http://127.0.0.1:{xen.port}/console?uuid=7a", "--tunnel-session", _SESSION]
        console = daemon.mint(password=password, options=options)
        assert_works(tab, daemon, console, xvnc, security="VncAuth(2)", transport="no TLS")


def test_tunnel_answer_cut_anywhere(start_qemu: StartQemu, start_daemon: StartDaemon, password: str) -> None:
    """Also where RFB's first bytes come along with the answer."""
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    with XenServer(qemu.port) as xen:
        options = ["--tunnel-url", f"http://127.0.0.1:{xen.port}/console?uuid=7a", "--tunnel-session", _SESSION]
        console = daemon.mint(password=password, options=[*options, "--reusable"])
        for cut in range(len(xen.answer) + 12):
            xen.cut = cut
            with rfb_client(console.websocket_url) as client:
                client.handshake()
                assert client.name.startswith("QEMU"), cut
        assert len(xen.requests) == len(xen.answer) + 12


def test_tunnel_answer_that_ends_anywhere(start_qemu: StartQemu, start_daemon: StartDaemon, password: str) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    with XenServer(qemu.port) as xen:
        xen.ends_at_cut = True
        options = ["--tunnel-url", f"http://127.0.0.1:{xen.port}/console?uuid=7a", "--tunnel-session", _SESSION]
        console = daemon.mint(password=password, options=[*options, "--reusable"])
        for cut in range(len(xen.answer)):
            xen.cut = cut
            with rfb_client(console.websocket_url) as client:
                with pytest.raises(Refused):
                    client.handshake()
                code, reason = client.closed()
                assert (code, reason.partition(":")[0]) == (4500, "upstream-protocol"), cut


@pytest.mark.parametrize("status", ["403 Forbidden", "500 Internal Server Error"])
def test_tunnel_refused(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str, status: str
) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    daemon.keep_out_of_log(_SESSION)
    with XenServer(qemu.port) as xen:
        xen.answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode("ascii")
        options = ["--tunnel-url", f"http://127.0.0.1:{xen.port}/console?uuid=7a", "--tunnel-session", _SESSION]
        tab.open(daemon.mint(password=password, options=options).url)
        record = assert_ended(tab, daemon, "upstream-protocol", 4500)
    assert status in str(record["detail"])


def test_tls_from_the_first_byte(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, authority: Authority, password: str
) -> None:
    """A host that is marked in the configuration: here a TLS wrapper in front of QEMU."""
    qemu = start_qemu(password=password)
    pair = authority.issue(authority.ca_file.parent / "host", "server", "127.0.0.1")
    with TlsWrapper(qemu.port, as_server(pair)) as wrapper:
        upstream = {"tls_hosts": [f"127.0.0.1:{wrapper.port}"], "allow_plaintext": False}
        daemon = start_daemon(upstream={"ca_file": str(authority.ca_file), **upstream})
        console = daemon.mint(wrapper.host, wrapper.port, password=password)
        assert_works(tab, daemon, console, qemu, security="VncAuth(2)", transport=TLS_1_3)


def test_unix_socket(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, tmp_path: Path, password: str
) -> None:
    qemu = start_qemu(password=password, unix=True)
    daemon = start_daemon(upstream={"unix_socket_directory": str(tmp_path)})
    console = daemon.mint(qemu.host, qemu.port, password=password)
    assert_works(tab, daemon, console, qemu, security="VncAuth(2)", transport="no TLS")


@pytest.mark.parametrize("directory", ["", "sockets"], ids=["not configured", "another directory"])
def test_unix_socket_outside(
    start_qemu: StartQemu,
    start_daemon: StartDaemon,
    tab: ConsolePage,
    tmp_path: Path,
    password: str,
    directory: str,
) -> None:
    """A link is no way out of the directory."""
    qemu = start_qemu(password=password, unix=True)
    sockets = tmp_path / "sockets"
    sockets.mkdir()
    link = sockets / "vnc"
    link.symlink_to(qemu.host.removeprefix("unix:"))
    daemon = start_daemon(upstream={"unix_socket_directory": str(sockets) if directory else ""})
    tab.open(daemon.mint(f"unix:{link}", qemu.port, password=password).url)
    assert_ended(tab, daemon, "upstream-forbidden", 4403)
    assert qemu.viewers() == 0
