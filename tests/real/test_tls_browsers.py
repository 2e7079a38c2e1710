"""TLS towards browsers: the page and the console over it, certificates exchanged meanwhile, what is refused."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from .browser import ConsolePage
from .certificates import Authority, Pair
from .conftest import StartDaemon, StartQemu
from .daemon import Daemon
from .processes import PATIENCE_S, program
from .rfb_client import rfb_client
from .works import assert_works

pytestmark = [pytest.mark.real, pytest.mark.browser]

SESSIONS = 50


def tls_settings(pair: Pair) -> dict[str, dict[str, object]]:
    """The daemon listens with TLS only, with this certificate."""
    return {
        "server": {"listen": [], "listen_tls": ["127.0.0.1:0"]},
        "tls": {"certificate": str(pair.certificate), "private_key": str(pair.key)},
    }


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.ca_file))


def shown_certificate(daemon: Daemon, authority: Authority) -> str:
    """What a new connection is shown, once it is verified."""
    address = urlsplit(daemon.url)
    assert address.hostname is not None
    assert address.port is not None
    with (
        socket.create_connection((address.hostname, address.port), PATIENCE_S) as plain,
        trusting(authority).wrap_socket(plain, server_hostname=address.hostname) as secure,
    ):
        found = secure.getpeercert(binary_form=True)
        assert found is not None
        return ssl.DER_cert_to_PEM_cert(found)


def pem(pair: Pair) -> str:
    return pair.certificate.read_text("ascii")


def replace(old: Pair, new: Pair) -> None:
    """Put the new pair where the old one is, as an operator's tool does."""
    new.certificate.replace(old.certificate)
    new.key.replace(old.key)


def test_console(
    start_qemu: StartQemu,
    start_daemon: StartDaemon,
    tab: ConsolePage,
    tmp_path: Path,
    authority: Authority,
    password: str,
) -> None:
    pair = authority.issue(tmp_path / "proxy", "server", "127.0.0.1")
    qemu = start_qemu(password=password)
    daemon = start_daemon(**tls_settings(pair))
    console = daemon.mint(qemu.host, qemu.port, password=password)
    assert console.url.startswith("https://127.0.0.1:")
    assert console.websocket_url.startswith("wss://")
    assert_works(tab, daemon, console, qemu, security="VncAuth(2)", transport="no TLS")


def test_certificate_exchanged_under_running_sessions(
    start_qemu: StartQemu, start_daemon: StartDaemon, tmp_path: Path, authority: Authority, password: str
) -> None:
    pair = authority.issue(tmp_path / "proxy", "server", "127.0.0.1")
    first = pem(pair)
    qemu = start_qemu(password=password, vnc=[f"connections={SESSIONS}"])
    settings = tls_settings(pair)
    daemon = start_daemon(**settings, session={"second_viewer": "share", "max_sessions_per_machine": 0})
    console = daemon.mint(qemu.host, qemu.port, password=password, options=["--reusable"])
    with ExitStack() as open_consoles:
        clients = []
        for _ in range(SESSIONS):
            client = open_consoles.enter_context(rfb_client(console.websocket_url, trust=trusting(authority)))
            client.handshake()
            clients.append(client)
        assert len(daemon.sessions()) == SESSIONS
        assert shown_certificate(daemon, authority) == first

        new = authority.issue(tmp_path / "new", "server", "127.0.0.1")
        second = pem(new)
        replace(pair, new)
        daemon.process.send(signal.SIGHUP)
        assert daemon.wait_for_event("configuration reloaded")["changed"] == ["tls.certificate: another certificate"]
        assert shown_certificate(daemon, authority) == second != first

        broken = authority.issue(tmp_path / "broken", "server", "127.0.0.1")
        broken.key.write_bytes(authority.issue(tmp_path / "foreign", "server", "127.0.0.1").key.read_bytes())
        replace(pair, broken)
        daemon.process.send(signal.SIGHUP)
        refused = daemon.wait_for_event("configuration refused")
        assert "key values mismatch" in str(refused["detail"]).replace("_", " ").lower()
        assert shown_certificate(daemon, authority) == second

        pair.certificate.unlink()
        daemon.process.send(signal.SIGHUP)
        refused = daemon.wait_for_event("configuration refused", 2)
        assert "No such file" in str(refused["detail"])
        assert shown_certificate(daemon, authority) == second

        for client in clients:
            client.ask_for_corner()
        for client in clients:
            client.read_corner()
        assert len(daemon.sessions()) == SESSIONS


def test_certificate_exchanged_without_a_signal(
    start_daemon: StartDaemon, tmp_path: Path, authority: Authority
) -> None:
    """The files are looked at every few seconds."""
    pair = authority.issue(tmp_path / "proxy", "server", "127.0.0.1")
    daemon = start_daemon(**tls_settings(pair))
    new = authority.issue(tmp_path / "new", "server", "127.0.0.1")
    wanted = pem(new)
    replace(pair, new)
    daemon.wait_for_event("certificate loaded")
    assert shown_certificate(daemon, authority) == wanted


def s_client(daemon: Daemon, authority: Authority, *options: str) -> tuple[int, str]:
    """Connect with OpenSSL's own client; its exit code and what it said."""
    done = subprocess.run(
        [
            *(program("openssl", "openssl"), "s_client", "-connect", urlsplit(daemon.url).netloc),
            *("-CAfile", str(authority.ca_file), "-verify_return_error", *options),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture
def tls_daemon(start_daemon: StartDaemon, tmp_path: Path, authority: Authority) -> Daemon:
    """With an RSA key, which weak ciphers need."""
    return start_daemon(**tls_settings(authority.issue(tmp_path / "proxy", "server", "127.0.0.1", rsa=True)))


def assert_refused(daemon: Daemon, authority: Authority, *options: str) -> None:
    code, said = s_client(daemon, authority, *options)
    assert code != 0, (options, said)
    # the server has hung up, with an alert or without; the client itself had nothing against it
    assert "unexpected eof" in said or ":tlsv1 alert" in said or ":sslv3 alert" in said, (options, said)
    assert "Cipher is (NONE)" in said, (options, said)


def test_old_versions_are_refused(tls_daemon: Daemon, authority: Authority) -> None:
    for version in ("-tls1", "-tls1_1"):
        assert_refused(tls_daemon, authority, version, "-cipher", "ALL:@SECLEVEL=0")


def test_weak_ciphers_are_refused(tls_daemon: Daemon, authority: Authority) -> None:
    """No encryption, no certificate, no forward secrecy, no authenticated encryption."""
    for ciphers in ("eNULL", "aNULL", "kRSA", "kDHE", "ECDHE-RSA-AES256-SHA384", "ECDHE-RSA-AES128-SHA"):
        assert_refused(tls_daemon, authority, "-tls1_2", "-cipher", f"{ciphers}:@SECLEVEL=0")


def test_what_is_accepted(tls_daemon: Daemon, authority: Authority) -> None:
    for options in (
        ["-tls1_3"],
        ["-tls1_2"],
        ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
        ["-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"],
    ):
        code, said = s_client(tls_daemon, authority, *options)
        assert code == 0, said
        assert "Verify return code: 0 (ok)" in said
