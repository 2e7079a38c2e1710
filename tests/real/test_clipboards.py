"""The clipboards that tests look at: the browsers' own, and Xvnc's through noVNC as it comes from npm."""

from __future__ import annotations

import json

import pytest

from .browsers import AnyTab
from .conftest import StartDaemon, StartXvnc
from .processes import wait_for
from .stock_novnc import StockSite

pytestmark = [pytest.mark.real, pytest.mark.browser]

#: Signs of one to four bytes in UTF-8.
TEXT = "@{}\\|~ßéñ€ 日本語 🖥"
ANOTHER = "Grüße\nвторая строка"


#: A place to paste into and to copy from.
_NOTES = """
document.body.append(Object.assign(document.createElement("textarea"), { id: "notes" }))
"""
_READ_NOTES = 'document.querySelector("#notes").value'


def test_of_the_browser(start_daemon: StartDaemon, any_tab: AnyTab) -> None:
    """It is the one that Ctrl-V and Ctrl-C in a page use."""
    any_tab.open(f"{start_daemon().url}/novnc?token=AAAA")
    any_tab.evaluate(f"void {_NOTES}")
    any_tab.click_on("#notes")
    any_tab.set_clipboard(TEXT)
    any_tab.press("Control", "v")
    wait_for(lambda: any_tab.evaluate(_READ_NOTES) == TEXT, "the text is pasted")
    any_tab.set_clipboard("something else")
    assert any_tab.clipboard() == "something else"
    any_tab.press("Control", "a")
    any_tab.press("Control", "c")
    wait_for(lambda: any_tab.clipboard() == TEXT, "the text is copied")


def test_of_xvnc(
    start_xvnc: StartXvnc, start_daemon: StartDaemon, any_tab: AnyTab, stock: StockSite, password: str
) -> None:
    xvnc = start_xvnc(password=password)
    daemon = start_daemon(server={"allowed_origins": [stock.origin]})
    any_tab.open(stock.page(daemon.mint(xvnc.host, xvnc.port, password=password).websocket_url))
    any_tab.wait_for_state("connected")
    xvnc.set_clipboard(TEXT)
    wait_for(lambda: any_tab.data().get("clipboard") == TEXT, "the viewer is told of the guest's clipboard")
    any_tab.evaluate(f"globalThis.rfb.clipboardPasteFrom({json.dumps(ANOTHER)})")
    xvnc.wait_for_clipboard(ANOTHER)
