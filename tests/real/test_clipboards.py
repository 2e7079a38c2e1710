"""The clipboards that tests look at: the browsers' own, and Xvnc's through noVNC as it comes from npm."""

from __future__ import annotations

import pytest

from .browsers import AnyTab
from .conftest import StartDaemon, StartXvnc
from .processes import free_port, wait_for
from .stock_novnc import StockSite

pytestmark = [pytest.mark.real, pytest.mark.browser]

#: Signs of one to four bytes in UTF-8.
TEXT = "@{}\\|~ßéñ€ 日本語 🖥"
ANOTHER = "Grüße\nвторая строка"


def test_of_the_browser(start_daemon: StartDaemon, any_tab: AnyTab) -> None:
    any_tab.open(start_daemon().mint("127.0.0.1", free_port()).url)
    for text in (TEXT, ANOTHER):
        any_tab.set_clipboard(text)
        assert any_tab.clipboard() == text


def test_of_xvnc(
    start_xvnc: StartXvnc, start_daemon: StartDaemon, any_tab: AnyTab, stock: StockSite, password: str
) -> None:
    xvnc = start_xvnc(password=password)
    daemon = start_daemon(server={"allowed_origins": [stock.origin]})
    any_tab.open(stock.page(daemon.mint(xvnc.host, xvnc.port, password=password).websocket_url))
    any_tab.wait_for_state("connected")
    xvnc.set_clipboard(TEXT)
    wait_for(lambda: any_tab.data().get("clipboard") == TEXT, "the viewer is told of the guest's clipboard")
    any_tab.evaluate(f"globalThis.rfb.clipboardPasteFrom({ANOTHER!r})")
    xvnc.wait_for_clipboard(ANOTHER)
