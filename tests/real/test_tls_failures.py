"""Hosts that are not who they should be, or offer less than is asked: refused, and no secret leaves the proxy.

A forwarder between proxy and host keeps what the proxy sends.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .browser import ConsolePage
from .certificates import Authority
from .conftest import StartDaemon, StartQemu, StartXvnc
from .middle import Forwarder
from .processes import wait_for
from .reasons import assert_ended
from .rfb_client import Refused, rfb_client
from .test_tls_hosts import qemu_tls
from .tls_wire import ALERT, CHANGE_CIPHER_SPEC, CLIENT_HELLO, ENCRYPTED, HANDSHAKE, tls_records
from .wayvnc import Wayvnc

pytestmark = [pytest.mark.real, pytest.mark.browser]

#: What the proxy says to a VeNCrypt host until TLS begins: version, type 19, version 0.2, sub-type X509Vnc.
_UP_TO_TLS = b"RFB 003.008\n\x13\0\2\0\0\x01\x05"
#: The same for X509Plain.
_UP_TO_TLS_PLAIN = _UP_TO_TLS[:-1] + b"\x06"
#: An answer to a challenge, in a record of TLS 1.3: the bytes, their type, the tag.
_RESPONSE_RECORD_BYTES = 16 + 1 + 16
#: A level and a description (RFC 8446 section 6).
_ALERT_BYTES = 2


def assert_no_more_than_an_alert(sent: bytearray, after: bytes = _UP_TO_TLS) -> None:
    """TLS was begun, the host may have been told what is wrong with it, and nothing whatsoever followed."""
    assert sent.startswith(after)
    (kind, body), *others = tls_records(bytes(sent[len(after) :]))
    assert (kind, body[0]) == (HANDSHAKE, CLIENT_HELLO)
    told = [(kind, len(body)) for kind, body in others if kind != CHANGE_CIPHER_SPEC]
    assert told in ([], [(ALERT, _ALERT_BYTES)], [(ENCRYPTED, _ALERT_BYTES + 1 + 16)])


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("authority", "unable to get local issuer certificate"),
        ("expired", "certificate has expired"),
        ("address", "IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ("name", "Hostname mismatch, certificate is not valid for 'localhost'"),
    ],
)
def test_wrong_certificate(
    start_qemu: StartQemu,
    start_daemon: StartDaemon,
    tab: ConsolePage,
    authority: Authority,
    password: str,
    fault: str,
    words: str,
) -> None:
    folder = authority.ca_file.parent
    issuer = Authority(folder / "other-ca.pem") if fault == "authority" else authority
    names = {"address": ("192.0.2.1", "localhost"), "name": ("127.0.0.1", "another.test")}
    pair = issuer.issue(
        folder / "host", "server", *names.get(fault, ("127.0.0.1", "localhost")), expired=fault == "expired"
    )
    qemu = start_qemu(password=password, vnc=["tls-creds=tls"], options=qemu_tls(pair, sanity_check=False))
    daemon = start_daemon(upstream={"ca_file": str(authority.ca_file)})
    with Forwarder(qemu.port) as forwarder:
        host = "localhost" if fault == "name" else "127.0.0.1"
        tab.open(daemon.mint(host, forwarder.port, password=password).url)
        record = assert_ended(tab, daemon, "upstream-tls-failed", 4495)
    assert words in str(record["detail"])
    (sent,) = forwarder.sent
    assert_no_more_than_an_alert(sent)


def test_wrong_certificate_before_the_browser_has_spoken(
    start_qemu: StartQemu, start_daemon: StartDaemon, authority: Authority, password: str
) -> None:
    """The proxy has to wait for the browser's version before it can tell why."""
    pair = authority.issue(authority.ca_file.parent / "host", "server", "another.test")
    qemu = start_qemu(password=password, vnc=["tls-creds=tls"], options=qemu_tls(pair))
    daemon = start_daemon(upstream={"ca_file": str(authority.ca_file)})
    with Forwarder(qemu.port) as forwarder:
        console = daemon.mint(forwarder.host, forwarder.port, password=password)
        with rfb_client(console.websocket_url) as client:
            wait_for(lambda: forwarder.ended, "the proxy has hung up on the host")
            with pytest.raises(Refused, match="not secure"):
                client.handshake()
            assert client.closed()[0] == 4495
    (sent,) = forwarder.sent
    assert_no_more_than_an_alert(sent)


@pytest.mark.parametrize("fault", ["none", "foreign"])
def test_client_certificate_that_qemu_does_not_take(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, authority: Authority, password: str, fault: str
) -> None:
    """With TLS 1.3 the proxy's handshake is over when the host looks at the certificate."""
    folder = authority.ca_file.parent
    pair = authority.issue(folder / "host", "server", "127.0.0.1")
    qemu = start_qemu(password=password, vnc=["tls-creds=tls"], options=qemu_tls(pair, verify_peer=True))
    upstream: dict[str, object] = {"ca_file": str(authority.ca_file)}
    if fault == "foreign":
        client = Authority(folder / "other-ca.pem").issue(folder / "proxy", "client", "proxy.test")
        upstream |= {"client_certificate": str(client.certificate), "client_key": str(client.key)}
    daemon = start_daemon(upstream=upstream)
    with Forwarder(qemu.port) as forwarder:
        tab.open(daemon.mint(forwarder.host, forwarder.port, password=password).url)
        assert_ended(tab, daemon, "upstream-tls-failed", 4495)
    (sent,) = forwarder.sent
    assert sent.startswith(_UP_TO_TLS)
    records = tls_records(bytes(sent[len(_UP_TO_TLS) :]))
    assert {kind for kind, _ in records[1:]} == {CHANGE_CIPHER_SPEC, ENCRYPTED}
    assert _RESPONSE_RECORD_BYTES not in [len(body) for _, body in records]
    # certificate, its proof (where there is one), end of the handshake
    assert len([kind for kind, _ in records if kind == ENCRYPTED]) <= (3 if fault == "foreign" else 2)


@pytest.mark.parametrize("with_password", [True, False], ids=["password", "no password"])
def test_plaintext_host_where_tls_is_demanded(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str, with_password: bool
) -> None:
    qemu = start_qemu(password=password if with_password else None)
    daemon = start_daemon(upstream={"allow_plaintext": False})
    with Forwarder(qemu.port) as forwarder:
        tab.open(daemon.mint(forwarder.host, forwarder.port, password=password if with_password else None).url)
        record = assert_ended(tab, daemon, "upstream-tls-failed", 4495)
    assert ("VncAuth(2)" if with_password else "None(1)") in str(record["detail"])
    assert [bytes(sent) for sent in forwarder.sent] == [b"RFB 003.008\n"]


def test_anonymous_tls_where_tls_is_demanded(
    start_xvnc: StartXvnc, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    xvnc = start_xvnc(password=password, options=["-SecurityTypes", "TLSVnc,VncAuth"])
    daemon = start_daemon(upstream={"allow_plaintext": False})
    with Forwarder(xvnc.port) as forwarder:
        tab.open(daemon.mint(forwarder.host, forwarder.port, password=password).url)
        record = assert_ended(tab, daemon, "upstream-tls-failed", 4495)
    assert "TLSVnc(258)" in str(record["detail"])
    assert [bytes(sent) for sent in forwarder.sent] == [b"RFB 003.008\n\x13\0\2"]


def test_tls_from_the_first_byte_where_the_host_has_none(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    """A host that is marked gets nothing but the beginning of TLS."""
    qemu = start_qemu(password=password)
    daemon = start_daemon(upstream={"tls_hosts": ["127.0.0.1"]})
    with Forwarder(qemu.port) as forwarder:
        tab.open(daemon.mint(forwarder.host, forwarder.port, password=password).url)
        assert_ended(tab, daemon, "upstream-tls-failed", 4495)
    (sent,) = forwarder.sent
    assert_no_more_than_an_alert(sent, after=b"")


def test_wrong_password_inside_tls(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, authority: Authority, password: str
) -> None:
    """It is tried once."""
    pair = authority.issue(authority.ca_file.parent / "host", "server", "127.0.0.1")
    qemu = start_qemu(password="another", vnc=["tls-creds=tls"], options=qemu_tls(pair))
    daemon = start_daemon(upstream={"ca_file": str(authority.ca_file)})
    with Forwarder(qemu.port) as forwarder:
        tab.open(daemon.mint(forwarder.host, forwarder.port, password=password).url)
        assert_ended(tab, daemon, "upstream-auth-failed", 4401)
        assert "It said: Authentication failed" in tab.visible_text()
        wait_for(lambda: qemu.viewers() == 0, "QEMU has no viewer any more")
    assert len(forwarder.sent) == 1


def test_wayvnc(
    start_daemon: StartDaemon, tab: ConsolePage, tmp_path: Path, authority: Authority, password: str
) -> None:
    """It takes user name and password as they are: they must not go to somebody else."""
    pair = Authority(tmp_path / "other-ca.pem").issue(tmp_path / "host", "server", "127.0.0.1", rsa=True)
    with Wayvnc(tmp_path / "wayvnc", pair, username="bob", password=password) as wayvnc:
        daemon = start_daemon(upstream={"ca_file": str(authority.ca_file)})
        with Forwarder(wayvnc.port) as forwarder:
            options = ["--username", "bob"]
            tab.open(daemon.mint(forwarder.host, forwarder.port, password=password, options=options).url)
            assert_ended(tab, daemon, "upstream-tls-failed", 4495)
        (sent,) = forwarder.sent
        assert_no_more_than_an_alert(sent, after=_UP_TO_TLS_PLAIN)
