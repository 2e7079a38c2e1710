"""View-only against real guests: a client by hand that obeys no rule, noVNC as it comes from npm, and the page."""

from __future__ import annotations

import struct
from contextlib import ExitStack

import pytest
from playwright.sync_api import Page

from .browser import ConsolePage
from .conftest import StartDaemon, StartQemu, StartXvnc
from .pictures import difference
from .processes import wait_for
from .recorder import Recorder
from .rfb_client import RfbClient, rfb_client
from .stock_novnc import StockSite

pytestmark = pytest.mark.real

VIEW_ONLY = ("--view-only", "--reusable")
SHARE: dict[str, object] = {"second_viewer": "share"}

#: gii, xvp, QEMU's keys and audio, extended mouse buttons, extended clipboard, one that nobody knows.
ODD = (-305, -309, -258, -259, -316, 0xC0A1E5CE - (1 << 32), -12345)
_FENCE = -312
EVERYTHING = {
    "key": struct.pack(">BBxxI", 4, 1, ord("k")) + struct.pack(">BBxxI", 4, 0, ord("k")),
    "pointer": struct.pack(">BBHH", 5, 1, 50, 50) + struct.pack(">BBHH", 5, 0, 50, 50),
    "eight buttons": struct.pack(">BBHH", 5, 0x80, 50, 50),
    "clipboard": b"\6\0\0\0" + struct.pack(">I", 6) + b"a text",
    "a long clipboard": b"\6\0\0\0" + struct.pack(">I", 300_000) + bytes(300_000),
    "QEMU key": struct.pack(">BBHII", 255, 0, 1, ord("q"), 16) + struct.pack(">BBHII", 255, 0, 0, ord("q"), 16),
    "QEMU audio": b"\xff\1\0\2\3\2\0\0\xbb\x80" + b"\xff\1\0\0",
    "xvp": b"\xfa\0\1\2",
    "SetDesktopSize": struct.pack(">BxHHBxIHHHHI", 251, 320, 200, 1, 1, 0, 0, 320, 200, 0),
    "gii": b"\xfd\x80\0\4" + bytes(4),
}


def try_everything(client: RfbClient) -> None:
    """All the input there is, then in pieces of one byte."""
    client.set_encodings(0, *ODD)
    client.type_line("not this")
    for message in EVERYTHING.values():
        client.send(message)
    for byte in EVERYTHING["key"] + EVERYTHING["pointer"] + EVERYTHING["clipboard"] + EVERYTHING["QEMU key"]:
        client.send(bytes([byte]))


def fenced(client: RfbClient, payload: bytes) -> bool:
    """Whether a fence that asks for an answer gets it, behind those of the server's own."""
    client.set_encodings(0, _FENCE)
    client.send(struct.pack(">B3xIB", 248, 1 << 31, len(payload)) + payload)
    for _ in range(3):
        kind, size = struct.unpack(">B7xB", client.read(9))
        if kind != 248:
            return False
        if client.read(size) == payload:
            return True
    return False


def test_qemu(start_qemu: StartQemu, start_daemon: StartDaemon, password: str) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon(session=SHARE)
    looking = daemon.mint(qemu.host, qemu.port, password=password, options=VIEW_ONLY)
    typing = daemon.mint(qemu.host, qemu.port, password=password)
    with rfb_client(looking.websocket_url) as viewer, rfb_client(typing.websocket_url) as typist:
        viewer.handshake()
        before = qemu.screendump()
        try_everything(viewer)
        assert difference(viewer.picture(), before) == ""  # all that was sent before has been read by then
        typist.handshake()
        assert qemu.viewers() == 2
        typist.type_line("but this")
        qemu.wait_for_line("but this")
        wait_for(lambda: viewer.picture() == qemu.screendump(), "the viewer sees what others do")


def test_xvnc(start_xvnc: StartXvnc, start_daemon: StartDaemon, password: str) -> None:
    xvnc = start_xvnc(password=password)
    xvnc.set_clipboard("the guest's own")
    daemon = start_daemon(session=SHARE)
    looking = daemon.mint(xvnc.host, xvnc.port, password=password, options=VIEW_ONLY)
    typing = daemon.mint(xvnc.host, xvnc.port, password=password)
    with rfb_client(looking.websocket_url) as viewer, rfb_client(typing.websocket_url) as typist:
        viewer.handshake()
        size = (viewer.width, viewer.height)
        try_everything(viewer)
        picture = viewer.picture()  # no capabilities of a clipboard, no answer to odd encodings
        assert (picture.width, picture.height) == size
        assert fenced(viewer, b"a fence")
        typist.handshake()
        typist.type_line("but this")
        xvnc.wait_for_line("but this")
        assert xvnc.typed() == "but this\n"
        assert xvnc.clipboard() == "the guest's own"


def test_the_same_client_without_the_rule(start_xvnc: StartXvnc, start_daemon: StartDaemon, password: str) -> None:
    """What is tried above does arrive, and the host does answer to odd encodings."""
    xvnc = start_xvnc(password=password)
    with rfb_client(start_daemon().mint(xvnc.host, xvnc.port, password=password).websocket_url) as client:
        client.handshake()
        client.type_line("not this")
        client.cut_text("a text")
        xvnc.wait_for_line("not this")
        xvnc.wait_for_clipboard("a text")
        client.set_encodings(0, *ODD)
        kind, length = struct.unpack(">B3xi", client.read(8))
        assert kind == 3
        assert length < 0, "the capabilities of its clipboard"


@pytest.mark.parametrize(
    "message",
    [b"\x07" + bytes(8), b"\xfc", b"\xff\5", struct.pack(">BxH", 2, 65535) + bytes(65535 * 4)],
    ids=["file transfer", "vendor", "QEMU", "65,535 encodings"],
)
def test_messages_that_nobody_knows_end_it(start_daemon: StartDaemon, recorder: Recorder, message: bytes) -> None:
    daemon = start_daemon()
    with rfb_client(daemon.mint(recorder.host, recorder.port, options=VIEW_ONLY).websocket_url) as client:
        client.handshake()
        client.send(message)
        code, reason = client.closed()
    assert code == 1002
    assert reason.startswith("client-protocol: ")
    daemon.wait_for_reason("client-protocol")
    assert recorder.events == []


@pytest.mark.browser
def test_stock_novnc(start_daemon: StartDaemon, tab: ConsolePage, recorder: Recorder, stock: StockSite) -> None:
    """It knows of no rule, and sends what its user does."""
    daemon = start_daemon(server={"allowed_origins": [stock.origin]})
    tab.open(stock.page(daemon.mint(recorder.host, recorder.port, options=VIEW_ONLY).websocket_url))
    tab.wait_for_state("connected")
    wait_for(tab.picture, "the screen is painted")
    tab.click()
    tab.type_line("hello")
    tab.evaluate("globalThis.rfb.clipboardPasteFrom('a text')")
    tab.page.goto("about:blank")  # the same page with another fragment would not be loaded anew
    tab.open(stock.page(daemon.mint(recorder.host, recorder.port).websocket_url))
    tab.wait_for_state("connected")
    wait_for(tab.picture, "the screen is painted")
    asked_later = recorder.encodings
    tab.click()
    wait_for(recorder.pointer, "the click has come")
    assert not recorder.key_events()
    assert {-258, -309, -316, 0xC0A1E5CE - (1 << 32)} <= set(asked_later)


@pytest.mark.browser
def test_the_page(start_daemon: StartDaemon, tab: ConsolePage, start_qemu: StartQemu, password: str) -> None:
    qemu = start_qemu(password=password)
    before = qemu.screen_text()
    tab.open(start_daemon().mint(qemu.host, qemu.port, password=password, options=VIEW_ONLY).url)
    tab.wait_for_state("connected")
    tab.wait_for_picture(qemu.screendump)
    page: Page = tab.page
    tab.click()
    tab.type_line("hello")
    assert "view only" in page.inner_text("#state")
    for hidden in ("#ctrl-alt-del", "#keys-button"):
        assert page.locator(hidden).is_hidden(), hidden
    page.click("#view-button")
    assert page.locator("#view-only").is_checked()
    assert page.locator("#view-only").is_disabled()
    qemu.send_keys("a")
    wait_for(lambda: qemu.screen_text() != before, "a key of the machine's own arrives")
    assert "hello" not in "".join(qemu.screen_text())
    tab.wait_for_picture(qemu.screendump)


def test_the_first_of_two_viewers_types(start_xvnc: StartXvnc, start_daemon: StartDaemon, password: str) -> None:
    xvnc = start_xvnc(password=password)
    daemon = start_daemon(session={**SHARE, "shared_input": "first"})
    urls = [daemon.mint(xvnc.host, xvnc.port, password=password).websocket_url for _ in range(2)]
    with ExitStack() as stack:
        with rfb_client(urls[0]) as first:
            first.handshake()
            second = stack.enter_context(rfb_client(urls[1]))
            second.handshake()
            second.type_line("not this")
            second.picture()
            first.type_line("one")
            xvnc.wait_for_line("one")
        wait_for(lambda: len(daemon.sessions()) == 1, "the first one has left")
        second.type_line("two")
        xvnc.wait_for_line("two")
        assert xvnc.typed() == "one\ntwo\n"
