"""The proxy ends the console itself: the page, the close frame and the log all name the same reason."""

from __future__ import annotations

import signal

import pytest

from .browser import ConsolePage
from .conftest import OpenTab, StartDaemon, StartQemu
from .daemon import command
from .reasons import assert_ended

pytestmark = [pytest.mark.real, pytest.mark.browser]


def test_idle(start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon(session={"idle_timeout_s": 1})
    tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
    tab.wait_for_state("connected")
    assert_ended(tab, daemon, "idle-timeout", 4408)


def test_lifetime(start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon(session={"lifetime_s": 1})
    tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
    assert_ended(tab, daemon, "lifetime-reached", 4410)


def test_a_second_viewer_replaces_the_first(
    start_qemu: StartQemu, start_daemon: StartDaemon, open_tab: OpenTab, password: str
) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon(session={"second_viewer": "replace"})
    first, second = open_tab(), open_tab()
    first.open(daemon.mint(qemu.host, qemu.port, password=password, options=["--vm-id", "one"]).url)
    first.wait_for_state("connected")
    bobs = ["--vm-id", "one", "--user", "bob"]
    second.open(daemon.mint(qemu.host, qemu.port, password=password, options=bobs).url)
    second.wait_for_state("connected")
    assert "'bob' from 127.0.0.1" in str(assert_ended(first, daemon, "replaced", 4409)["detail"])
    assert "By: bob" in first.visible_text()
    second.wait_for_picture(qemu.screendump)


def test_an_operator_ends_it(start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
    tab.wait_for_state("connected")
    (session,) = daemon.sessions()
    command("sessions", "--admin", daemon.admin_address, "kill", str(session["id"]))
    assert_ended(tab, daemon, "killed", 4411)


def test_stopping_the_daemon(start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str) -> None:
    """Consoles may go on for ``drain_timeout_s``, then they are ended; the daemon's own end is no fault."""
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
    tab.wait_for_state("connected")
    daemon.process.send(signal.SIGTERM)
    assert daemon.process.wait_until_ended() == 0
    assert_ended(tab, daemon, "draining", 4412)
