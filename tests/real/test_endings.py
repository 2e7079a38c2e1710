"""The VNC host is at fault: the page, the close frame and the log all name the same reason."""

from __future__ import annotations

import time

import pytest

from .browser import ConsolePage
from .conftest import StartDaemon, StartQemu, StartXvnc
from .daemon import HANDSHAKE_TIMEOUT_S, SLACK_S
from .processes import answering_with, free_port
from .reasons import assert_ended
from .rfb_client import Refused, rfb_client

pytestmark = [pytest.mark.real, pytest.mark.browser]


def test_wrong_password_qemu(start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str) -> None:
    qemu = start_qemu(password="another")
    daemon = start_daemon()
    tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
    assert_ended(tab, daemon, "upstream-auth-failed", 4401)
    assert "It said: Authentication failed" in tab.visible_text()


def test_expired_password_qemu(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    qemu = start_qemu(password=password)
    qemu.expire_password()
    daemon = start_daemon()
    tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
    assert_ended(tab, daemon, "upstream-auth-failed", 4401)


def test_wrong_password_xvnc(start_xvnc: StartXvnc, start_daemon: StartDaemon, tab: ConsolePage, password: str) -> None:
    xvnc = start_xvnc(password="another")
    daemon = start_daemon()
    tab.open(daemon.mint(xvnc.host, xvnc.port, password=password).url)
    assert_ended(tab, daemon, "upstream-auth-failed", 4401)
    assert "It said: Authentication failure" in tab.visible_text()


def test_too_many_wrong_passwords_xvnc(
    start_xvnc: StartXvnc, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    """TigerVNC locks an address out after five failures; all of this proxy's users share one."""
    xvnc = start_xvnc(password=password)
    daemon = start_daemon()
    wrong = daemon.mint(xvnc.host, xvnc.port, password="wrong-one", options=["--reusable"])
    for _ in range(5):
        with rfb_client(wrong.websocket_url) as client:
            with pytest.raises(Refused):
                client.handshake()
            assert client.closed()[0] == 4401
    tab.open(daemon.mint(xvnc.host, xvnc.port, password=password).url)
    assert_ended(tab, daemon, "upstream-auth-blocked", 4429)
    assert "It said: Too many security failures" in tab.visible_text()


def test_host_without_the_password_it_should_have(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    """A host that asks for no password although the token carries one may be the wrong host."""
    qemu = start_qemu(password=None)
    daemon = start_daemon()
    tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
    assert_ended(tab, daemon, "upstream-protocol", 4500)


def test_stopped_host(start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str) -> None:
    """Its kernel still takes connections, but nobody answers."""
    qemu = start_qemu(password=password)
    qemu.process.pause()
    daemon = start_daemon()
    console = daemon.mint(qemu.host, qemu.port, password=password)
    began = time.monotonic()
    tab.open(console.url)
    assert_ended(tab, daemon, "upstream-timeout", 4504)
    assert HANDSHAKE_TIMEOUT_S <= time.monotonic() - began <= HANDSHAKE_TIMEOUT_S + SLACK_S


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "shut down"])
def test_qemu_ends(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str, killed: bool
) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
    tab.wait_for_state("connected")
    if killed:
        qemu.process.kill()
    else:
        qemu.shut_down()
    assert_ended(tab, daemon, "closed-by-guest", 1000)


def test_xvnc_is_killed(start_xvnc: StartXvnc, start_daemon: StartDaemon, tab: ConsolePage, password: str) -> None:
    xvnc = start_xvnc(password=password)
    daemon = start_daemon()
    tab.open(daemon.mint(xvnc.host, xvnc.port, password=password).url)
    tab.wait_for_state("connected")
    xvnc.process.kill()
    assert_ended(tab, daemon, "closed-by-guest", 1000)


def test_closed_port(start_daemon: StartDaemon, tab: ConsolePage) -> None:
    daemon = start_daemon()
    tab.open(daemon.mint("127.0.0.1", free_port()).url)
    assert_ended(tab, daemon, "upstream-unreachable", 4502)


def test_forbidden_network(start_daemon: StartDaemon, tab: ConsolePage) -> None:
    daemon = start_daemon(upstream={"allowed_networks": ["192.0.2.0/24"]})
    tab.open(daemon.mint("127.0.0.1", free_port()).url)
    assert_ended(tab, daemon, "upstream-forbidden", 4403)


@pytest.mark.parametrize(
    "banner",
    [b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"],
    ids=["ssh", "http"],
)
def test_another_protocol(start_daemon: StartDaemon, tab: ConsolePage, banner: bytes) -> None:
    daemon = start_daemon()
    with answering_with(banner) as port:
        tab.open(daemon.mint("127.0.0.1", port).url)
        assert_ended(tab, daemon, "upstream-protocol", 4500)


def test_a_host_that_says_nothing(start_daemon: StartDaemon, tab: ConsolePage) -> None:
    """As a web server does until it is asked."""
    daemon = start_daemon()
    with answering_with(b"") as port:
        tab.open(daemon.mint("127.0.0.1", port).url)
        assert_ended(tab, daemon, "upstream-timeout", 4504)
