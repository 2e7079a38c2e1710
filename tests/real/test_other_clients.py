"""Clients other than the page: one by hand over the ``websockets`` library, and noVNC as it comes from npm."""

from __future__ import annotations

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from trio_cpvm.errors import REASONS

from .browser import ConsolePage
from .conftest import StartDaemon, StartQemu
from .pictures import difference
from .processes import wait_for
from .rfb_client import Refused, rfb_client
from .stock_novnc import StockSite

pytestmark = pytest.mark.real


@pytest.mark.parametrize("version", ["003.003", "003.007", "003.008"])
def test_websockets(start_qemu: StartQemu, start_daemon: StartDaemon, password: str, version: str) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    console = daemon.mint(qemu.host, qemu.port, password=password)
    with rfb_client(console.websocket_url) as client:
        client.handshake(version)
        assert client.name == "QEMU"
        assert difference(client.picture(), qemu.screendump()) == ""
        client.type_line("hello there")
        qemu.wait_for_line("hello there")
        wait_for(lambda: client.picture() == qemu.screendump(), "the picture follows")
    wait_for(lambda: qemu.viewers() == 0, "QEMU has no viewer any more")
    daemon.wait_for_reason("closed-by-user")


@pytest.mark.parametrize("version", ["003.003", "003.007", "003.008"])
def test_websockets_wrong_password(
    start_qemu: StartQemu, start_daemon: StartDaemon, password: str, version: str
) -> None:
    qemu = start_qemu(password="another")
    daemon = start_daemon()
    console = daemon.mint(qemu.host, qemu.port, password=password)
    with rfb_client(console.websocket_url) as client:
        with pytest.raises(Refused) as refused:
            client.handshake(version)
        assert REASONS["upstream-auth-failed"].text in str(refused.value)
        code, reason = client.closed()
    assert code == 4401
    assert "upstream-auth-failed" in reason
    daemon.wait_for_reason("upstream-auth-failed")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [((), None), (("binary",), "binary"), (("base64", "binary"), "binary"), (("base64",), None)],
    ids=["none", "binary", "base64 and binary", "base64"],
)
def test_subprotocol(
    start_qemu: StartQemu, start_daemon: StartDaemon, password: str, offered: tuple[str, ...], chosen: str | None
) -> None:
    """``binary`` is agreed on where it is offered, and nothing else ever."""
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    console = daemon.mint(qemu.host, qemu.port, password=password)
    subprotocols = [Subprotocol(name) for name in offered]
    with connect(console.websocket_url, subprotocols=subprotocols or None, proxy=None) as websocket:
        assert websocket.subprotocol == chosen
        assert websocket.recv() == b"RFB 003.008\n"


def test_foreign_origin(start_qemu: StartQemu, start_daemon: StartDaemon, password: str) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    console = daemon.mint(qemu.host, qemu.port, password=password)
    with (
        pytest.raises(InvalidStatus) as refused,
        rfb_client(console.websocket_url, origin="https://elsewhere.example.com"),
    ):
        pass
    assert refused.value.response.status_code == 403
    daemon.wait_for_reason("origin-refused")
    with rfb_client(console.websocket_url, origin=console.origin) as client:  # the token is still good
        client.handshake()


@pytest.mark.browser
def test_stock_novnc(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, stock: StockSite, password: str
) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon(server={"allowed_origins": [stock.origin]})
    console = daemon.mint(qemu.host, qemu.port, password=password)
    tab.open(stock.page(console.websocket_url))
    assert "credentials" not in tab.wait_for_state("connected")
    tab.wait_for_picture(qemu.screendump)
    tab.click()
    tab.type_line("stock noVNC")
    qemu.wait_for_line("stock noVNC")
    tab.wait_for_picture(qemu.screendump)


@pytest.mark.browser
def test_stock_novnc_wrong_password(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, stock: StockSite, password: str
) -> None:
    qemu = start_qemu(password="another")
    daemon = start_daemon(server={"allowed_origins": [stock.origin]})
    console = daemon.mint(qemu.host, qemu.port, password=password)
    tab.open(stock.page(console.websocket_url))
    data = tab.wait_for_state("ended")
    assert REASONS["upstream-auth-failed"].text in data["refusal"]
    assert tab.wait_for_socket_close().code == 4401
    daemon.wait_for_reason("upstream-auth-failed")


@pytest.mark.browser
def test_stock_novnc_on_a_site_that_is_not_allowed(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, stock: StockSite, password: str
) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    tab.open(stock.page(daemon.mint(qemu.host, qemu.port, password=password).websocket_url))
    tab.wait_for_state("ended")
    assert qemu.viewers() == 0
    daemon.wait_for_reason("origin-refused")
