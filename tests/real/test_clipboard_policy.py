"""Clipboard rules against Xvnc: plain texts with a client by hand, extended ones with noVNC as it comes from npm."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from .browser import ConsolePage
from .certificates import Authority
from .conftest import StartDaemon, StartQemu, StartXtightvnc, StartXvnc
from .processes import wait_for
from .rfb_client import RfbClient, rfb_client
from .stock_novnc import StockSite
from .wayvnc import Wayvnc
from .works import TLS_1_3, assert_works

pytestmark = pytest.mark.real

WAYS = ("both", "to-guest", "from-guest", "none")
SHARE: dict[str, object] = {"second_viewer": "share"}
#: Signs that Latin-1 does not have: they come through extended messages only.
WIDE = "Grüße 日本語 🖥"


@pytest.mark.parametrize("way", WAYS)
def test_plain(start_xvnc: StartXvnc, start_daemon: StartDaemon, password: str, way: str) -> None:
    xvnc = start_xvnc(password=password)
    xvnc.set_clipboard("first")
    daemon = start_daemon(session=SHARE)
    bound = daemon.mint(xvnc.host, xvnc.port, password=password, options=("--clipboard", way))
    free = daemon.mint(xvnc.host, xvnc.port, password=password)
    with rfb_client(bound.websocket_url) as client, rfb_client(free.websocket_url) as other:
        client.handshake()
        other.handshake()
        client.picture()
        other.picture()
        client.cut_text("to the guest")
        client.type_line("typed")  # comes behind the text
        xvnc.wait_for_line("typed")
        assert xvnc.clipboard() == ("to the guest" if way in ("both", "to-guest") else "first")
        xvnc.set_clipboard("from the guest")
        while other.read_cut_text() != "from the guest":
            pass
        if way in ("both", "from-guest"):
            assert client.read_cut_text() == "from the guest"
        client.picture()  # what comes next is an update


def test_the_limit(start_xvnc: StartXvnc, start_daemon: StartDaemon, password: str) -> None:
    xvnc = start_xvnc(password=password)
    daemon = start_daemon(session={"clipboard_max_bytes": 8})
    with rfb_client(daemon.mint(xvnc.host, xvnc.port, password=password).websocket_url) as client:
        client.handshake()
        client.picture()
        client.cut_text("12345678")
        xvnc.wait_for_clipboard("12345678")
        client.cut_text("123456789")
        client.type_line("typed")
        xvnc.wait_for_line("typed")
        assert xvnc.clipboard() == "12345678"
        xvnc.set_clipboard("too long for it")
        xvnc.wait_for_clipboard("too long for it")
        xvnc.set_clipboard("short")
        assert client.read_cut_text() == "short"


@pytest.mark.browser
@pytest.mark.parametrize("way", [*WAYS, "limit"])
def test_extended(
    start_xvnc: StartXvnc, start_daemon: StartDaemon, tab: ConsolePage, stock: StockSite, password: str, way: str
) -> None:
    """noVNC asks for all it knows; the picture is right whatever is left of that."""
    xvnc = start_xvnc(password=password)
    xvnc.set_clipboard("first")
    daemon = start_daemon(session=SHARE, server={"allowed_origins": [stock.origin]})
    options = ("--clipboard-max-bytes", "8") if way == "limit" else ("--clipboard", way)
    bound = daemon.mint(xvnc.host, xvnc.port, password=password, options=options)
    free = daemon.mint(xvnc.host, xvnc.port, password=password)
    tab.open(stock.page(bound.websocket_url))
    tab.wait_for_state("connected")
    tab.click()  # Xvnc draws the pointer into the picture until the viewer has moved its own
    tab.wait_for_picture(xvnc.picture)
    tab.evaluate(f"globalThis.rfb.clipboardPasteFrom({json.dumps(WIDE)})")
    for line in ("typed", "and on"):  # by the second one a text that is asked for would have come
        tab.type_line(line)
        xvnc.wait_for_line(line)
    if way in ("both", "to-guest"):
        xvnc.wait_for_clipboard(WIDE)
    else:  # a text that is too long has been announced, and then is empty
        assert xvnc.clipboard() == ("" if way == "limit" else "first")
    with rfb_client(free.websocket_url) as other:
        other.handshake()
        other.picture()
        xvnc.set_clipboard(WIDE[::-1])
        wait_for_cut_text(other)
    if way in ("both", "from-guest"):
        wait_for(lambda: tab.data().get("clipboard") == WIDE[::-1], "the viewer is told")
    tab.type_line("the end")
    xvnc.wait_for_line("the end")
    tab.wait_for_picture(xvnc.picture)
    if way == "limit":
        xvnc.set_clipboard("日本")
        wait_for(lambda: tab.data().get("clipboard") == "日本", "a short text comes")
        tab.evaluate("globalThis.rfb.clipboardPasteFrom('本日')")
        xvnc.wait_for_clipboard("本日")
    elif way not in ("both", "from-guest"):
        assert "clipboard" not in tab.data()


def wait_for_cut_text(client: RfbClient) -> None:
    kind, length = struct.unpack(">B3xI", client.read(8))
    assert kind == 3
    client.read(length)


@pytest.mark.browser
def test_much_is_drawn_while_every_update_is_followed(
    start_xvnc: StartXvnc, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    xvnc = start_xvnc(password=password)
    daemon = start_daemon(session={"clipboard": "to-guest"})
    tab.open(daemon.mint(xvnc.host, xvnc.port, password=password).url)
    tab.wait_for_state("connected")
    tab.click()
    for number in range(30):
        tab.type_line(f"line {number} " + "x" * number)
    xvnc.wait_for_line("line 29 " + "x" * 29)
    tab.wait_for_picture(xvnc.picture)
    assert len(daemon.sessions()) == 1


@pytest.mark.browser
def test_qemu_is_followed(start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str) -> None:
    """Its lights, its keys and its Tight pictures, in a console that is up for a while."""
    qemu = start_qemu(password=password)
    daemon = start_daemon(session={"clipboard": "none"})
    tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
    tab.wait_for_state("connected")
    tab.wait_for_picture(qemu.screendump)
    tab.click()
    for text in ("hello", "there", "1+1=2"):
        tab.type_line(text)
        qemu.wait_for_line(text)
    tab.press("CapsLock")
    tab.press("CapsLock")
    tab.wait_for_picture(qemu.screendump)
    assert len(daemon.sessions()) == 1


@pytest.mark.browser
def test_tightvncserver_is_followed(
    start_xtightvnc: StartXtightvnc, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    """The oldest Tight there is."""
    host = start_xtightvnc(password=password)
    daemon = start_daemon(session={"clipboard": "none"})
    console = daemon.mint(host.host, host.port, password=password)
    assert_works(tab, daemon, console, host, security="VncAuth(2)", transport="no TLS")


@pytest.mark.browser
def test_wayvnc_is_followed(
    tmp_path: Path, authority: Authority, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    pair = authority.issue(tmp_path / "host", "server", "127.0.0.1", rsa=True)
    with Wayvnc(tmp_path / "wayvnc", pair, username="bob", password=password) as host:
        daemon = start_daemon(session={"clipboard": "none"}, upstream={"ca_file": str(authority.ca_file)})
        console = daemon.mint(host.host, host.port, password=password, options=("--username", "bob"))
        assert_works(tab, daemon, console, host, security="VeNCrypt X509Plain(262)", transport=TLS_1_3)
        daemon.wait_until_idle()
