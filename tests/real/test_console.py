"""A console that works, seen from the browser: the screen pixel for pixel, and the keys in the guest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .browser import ConsolePage
from .conftest import OpenTab, StartDaemon, StartQemu, StartXvnc
from .daemon import Console
from .processes import wait_for

pytestmark = [pytest.mark.real, pytest.mark.browser]


@pytest.mark.parametrize("with_password", [True, False], ids=["password", "no password"])
def test_qemu(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str, with_password: bool
) -> None:
    secret = password if with_password else None
    qemu = start_qemu(password=secret)
    daemon = start_daemon()
    tab.open(daemon.mint(qemu.host, qemu.port, password=secret).url)
    tab.wait_for_state("connected")
    tab.wait_for_picture(qemu.screendump)
    tab.click()
    tab.type_line("Hello, World! 1+1=2")
    qemu.wait_for_line("Hello, World! 1+1=2")
    shown = tab.wait_for_picture(qemu.screendump)
    assert len(shown.colours()) == 16


@pytest.mark.parametrize(
    ("with_password", "options"),
    [(True, ()), (False, ()), (True, ("-SecurityTypes", "TLSVnc,VncAuth")), (True, ("-Protocol3.3",))],
    ids=["password", "no password", "TigerVNC's own choice", "RFB 3.3"],
)
def test_xvnc(
    start_xvnc: StartXvnc,
    start_daemon: StartDaemon,
    tab: ConsolePage,
    password: str,
    with_password: bool,
    options: tuple[str, ...],
) -> None:
    secret = password if with_password else None
    xvnc = start_xvnc(password=secret, options=options)
    daemon = start_daemon()
    tab.open(daemon.mint(xvnc.host, xvnc.port, password=secret).url)
    tab.wait_for_state("connected")
    tab.click()  # Xvnc draws the pointer into the picture until the viewer has moved its own
    tab.wait_for_picture(xvnc.picture)
    tab.type_line("Hello, World! 1+1=2")
    xvnc.wait_for_line("Hello, World! 1+1=2")
    shown = tab.wait_for_picture(xvnc.picture)
    assert len(shown.colours()) >= 6


def test_closing_the_tab_ends_the_session(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
    tab.wait_for_state("connected")
    assert qemu.viewers() == 1
    tab.page.close()
    wait_for(lambda: qemu.viewers() == 0, "QEMU has no viewer any more")
    daemon.wait_for_reason("closed-by-user")


def test_two_consoles_at_once(
    start_qemu: StartQemu, start_daemon: StartDaemon, open_tab: OpenTab, password: str
) -> None:
    daemon = start_daemon()
    guests = [start_qemu(password=password) for _ in range(2)]
    tabs = [open_tab() for _ in guests]
    for tab, qemu in zip(tabs, guests, strict=True):
        tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
    for number, (tab, qemu) in enumerate(zip(tabs, guests, strict=True)):
        tab.page.bring_to_front()
        tab.wait_for_state("connected")
        tab.click()
        tab.type_line(f"guest {number}")
        qemu.wait_for_line(f"guest {number}")
        tab.wait_for_picture(qemu.screendump)


def test_the_token_leaves_the_address_bar(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
    tab.wait_for_state("connected")
    assert "?" not in tab.page.url


def _as_cloudstack(console: Console) -> str:
    """The form CloudStack's management server hands out: the token is not percent-encoded."""
    query = f"autoconnect=true&show_dot=false&port=8080&token={console.token}"
    return f"{console.origin}/resource/noVNC/vnc.html?{query}"


def _without_padding(console: Console) -> str:
    return f"{console.origin}/novnc?token={console.token.rstrip('=')}"


def _url_safe(console: Console) -> str:
    token = console.token.replace("+", "-").replace("/", "_")
    return f"{console.origin}/novnc/?token={token}"


@pytest.mark.parametrize("spelled", [_as_cloudstack, _without_padding, _url_safe])
def test_other_spellings_of_the_url(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str, spelled: Callable[[Console], str]
) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    tab.open(spelled(daemon.mint(qemu.host, qemu.port, password=password)))
    tab.wait_for_state("connected")
    tab.wait_for_picture(qemu.screendump)
