"""Hosts that ask for TLS, and tightvncserver: the console works, and the log says how it was secured."""

from __future__ import annotations

from pathlib import Path

import pytest

from .browser import ConsolePage
from .certificates import Authority, Pair
from .conftest import StartDaemon, StartQemu, StartXtightvnc, StartXvnc
from .middle import Forwarder, OffersOnly
from .tls_wire import offered_ciphers
from .wayvnc import Wayvnc
from .works import TLS_1_3, assert_works

pytestmark = [pytest.mark.real, pytest.mark.browser]

_TIGHT = 16
#: Cipher suites without certificates; the second does not encrypt at all.
_AECDH_AES_256, _AECDH_NULL = 0xC019, 0xC015


def qemu_tls(pair: Pair, *, verify_peer: bool = False, sanity_check: bool = True) -> tuple[str, ...]:
    """Options that make the pair usable as ``tls-creds=tls``."""
    words = {True: "on", False: "off"}
    value = f"tls-creds-x509,id=tls,endpoint=server,dir={pair.folder},verify-peer={words[verify_peer]}"
    return ("-object", f"{value},sanity-check={words[sanity_check]}")


@pytest.mark.parametrize("with_password", [True, False], ids=["password", "no password"])
@pytest.mark.parametrize("verify_peer", [False, True], ids=["any client", "client certificate"])
def test_qemu(
    start_qemu: StartQemu,
    start_daemon: StartDaemon,
    tab: ConsolePage,
    authority: Authority,
    password: str,
    with_password: bool,
    verify_peer: bool,
) -> None:
    secret = password if with_password else None
    pair = authority.issue(authority.ca_file.parent / "host", "server", "127.0.0.1")
    qemu = start_qemu(password=secret, vnc=["tls-creds=tls"], options=qemu_tls(pair, verify_peer=verify_peer))
    upstream: dict[str, object] = {"ca_file": str(authority.ca_file)}
    if verify_peer:
        client = authority.issue(authority.ca_file.parent / "proxy", "client", "proxy.test")
        upstream |= {"client_certificate": str(client.certificate), "client_key": str(client.key)}
    daemon = start_daemon(upstream=upstream)
    console = daemon.mint(qemu.host, qemu.port, password=secret)
    kind = "X509Vnc(261)" if with_password else "X509None(260)"
    assert_works(tab, daemon, console, qemu, security=f"VeNCrypt {kind}", transport=TLS_1_3)


def test_xvnc_with_a_certificate(
    start_xvnc: StartXvnc, start_daemon: StartDaemon, tab: ConsolePage, authority: Authority, password: str
) -> None:
    """It would take no TLS, too; the proxy does not."""
    pair = authority.issue(authority.ca_file.parent / "host", "server", "127.0.0.1")
    files = ("-X509Cert", str(pair.certificate), "-X509Key", str(pair.key))
    xvnc = start_xvnc(password=password, options=["-SecurityTypes", "VncAuth,TLSVnc,X509Vnc", *files])
    daemon = start_daemon(upstream={"ca_file": str(authority.ca_file), "allow_anonymous_tls": True})
    console = daemon.mint(xvnc.host, xvnc.port, password=password)
    assert_works(tab, daemon, console, xvnc, security="VeNCrypt X509Vnc(261)", transport=TLS_1_3)


def test_xvnc_with_anonymous_tls_that_is_not_allowed(
    start_xvnc: StartXvnc, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    """The choice of VeNCrypt cannot be taken back, so the proxy connects a second time."""
    xvnc = start_xvnc(password=password, options=["-SecurityTypes", "TLSVnc,VncAuth"])
    daemon = start_daemon()
    with Forwarder(xvnc.port) as forwarder:
        console = daemon.mint(forwarder.host, forwarder.port, password=password)
        assert_works(tab, daemon, console, xvnc, security="VncAuth(2)", transport="no TLS")
    first, second = forwarder.sent
    assert bytes(first) == b"RFB 003.008\n\x13\0\2"
    assert second.startswith(b"RFB 003.008\n\2")


def test_xvnc_with_anonymous_tls(
    start_xvnc: StartXvnc, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    xvnc = start_xvnc(password=password, options=["-SecurityTypes", "TLSVnc,VncAuth"])
    daemon = start_daemon(upstream={"allow_anonymous_tls": True})
    warning = daemon.wait_for_event("insecure configuration")
    assert "allow_anonymous_tls" in str(warning["detail"])
    with Forwarder(xvnc.port) as forwarder:
        console = daemon.mint(forwarder.host, forwarder.port, password=password)
        transport = "TLSv1.2 AECDH-AES256-SHA"
        assert_works(tab, daemon, console, xvnc, security="VeNCrypt TLSVnc(258)", transport=transport)
    (sent,) = forwarder.sent
    begun = b"RFB 003.008\n\x13\0\2\0\0\x01\x02"
    assert sent.startswith(begun)
    offered = offered_ciphers(bytes(sent[len(begun) :]))
    assert _AECDH_AES_256 in offered
    assert _AECDH_NULL not in offered


def test_tightvncserver(
    start_xtightvnc: StartXtightvnc, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    """It offers the plain type beside Tight, and the proxy takes that."""
    host = start_xtightvnc(password=password)
    daemon = start_daemon()
    console = daemon.mint(host.host, host.port, password=password)
    assert_works(tab, daemon, console, host, security="VncAuth(2)", transport="no TLS")


@pytest.mark.parametrize("with_password", [True, False], ids=["password", "no password"])
def test_tight_security(
    start_xtightvnc: StartXtightvnc, start_daemon: StartDaemon, tab: ConsolePage, password: str, with_password: bool
) -> None:
    """With nothing else on offer, Tight is spoken."""
    secret = password if with_password else None
    host = start_xtightvnc(password=secret)
    daemon = start_daemon()
    plain, name = (2, "VncAuth(2)") if with_password else (1, "None(1)")
    with OffersOnly(host.port, _TIGHT) as only_tight:
        console = daemon.mint(only_tight.host, only_tight.port, password=secret)
        assert_works(tab, daemon, console, host, security=f"Tight {name}", transport="no TLS")
    assert only_tight.offered == [[plain, _TIGHT]]


def test_wayvnc(
    start_daemon: StartDaemon, tab: ConsolePage, tmp_path: Path, authority: Authority, password: str
) -> None:
    """It asks for a user name as well, and for both inside TLS."""
    pair = authority.issue(tmp_path / "host", "server", "127.0.0.1", rsa=True)
    with Wayvnc(tmp_path / "wayvnc", pair, username="bob", password=password) as wayvnc:
        daemon = start_daemon(upstream={"ca_file": str(authority.ca_file), "allow_plaintext": False})
        console = daemon.mint(wayvnc.host, wayvnc.port, password=password, options=["--username", "bob"])
        assert_works(tab, daemon, console, wayvnc, security="VeNCrypt X509Plain(262)", transport=TLS_1_3)
        daemon.wait_until_idle()
