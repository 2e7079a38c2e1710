"""Typing and the clipboard with the page's own tools, in each of the three browser engines and in real guests."""

from __future__ import annotations

import json

import pytest

from .browsers import AnyTab
from .conftest import StartDaemon, StartLinuxGuest, StartXvnc
from .linux_guest import Keymap
from .processes import wait_for

pytestmark = [pytest.mark.real, pytest.mark.browser]

TEXT = r"Grüße @{}\|~ßéñ€ [z] 'y' \"q\" <a> #1 ^ ` end"

#: Which characters of the text are not on the layout; they are shown before anything is typed.
MISSING = {"us": "üßéñ€", "de": "ñ", "fr": "ñ"}


def put_into_box(tab: AnyTab, text: str) -> None:
    """As a user does where the page may not read the clipboard: click into the box and paste."""
    tab.click_on("#clipboard-button")
    tab.set_clipboard(text)
    tab.click_on("#clipboard-text")
    tab.press("Control", "a")
    tab.press("Control", "v")
    wait_for(lambda: tab.evaluate("document.querySelector('#clipboard-text').value") == text, "the text is in the box")


def shown(tab: AnyTab, selector: str) -> bool:
    found = tab.evaluate(f"document.querySelector({json.dumps(selector)}).checkVisibility()")
    return found is True


def test_a_text_is_typed_on_the_guest_s_keyboard(
    start_linux_guest: StartLinuxGuest, start_daemon: StartDaemon, any_tab: AnyTab
) -> None:
    guest = start_linux_guest()
    daemon = start_daemon()
    for locale, missing in MISSING.items():
        guest.load(Keymap(locale))
        any_tab.open(daemon.mint(guest.host, guest.port, options=["--locale", locale]).url)
        any_tab.wait_for_state("connected")
        wait_for(any_tab.picture, "the screen is painted")
        put_into_box(any_tab, f"{TEXT}\n")
        assert any_tab.evaluate("document.querySelector('#layout').value") == locale
        any_tab.click_on("#type")
        wait_for(lambda: shown(any_tab, "#untypable"), "what cannot be typed is shown")
        said = any_tab.evaluate("document.querySelector('#untypable-text').textContent")
        assert said == f"This keyboard cannot type: {' '.join(missing)}"
        assert guest.typed() == ""
        any_tab.click_on("#type-rest")
        typed = "".join(character for character in TEXT if character not in missing)
        assert guest.wait_for_typed(1) == f"{typed}\n"
    assert list(any_tab.faults) == []


def test_a_text_is_typed_into_xvnc_whatever_its_layout(
    start_xvnc: StartXvnc, start_daemon: StartDaemon, any_tab: AnyTab
) -> None:
    xvnc = start_xvnc(password=None)
    daemon = start_daemon()
    any_tab.open(daemon.mint(xvnc.host, xvnc.port).url)
    any_tab.wait_for_state("connected")
    for layout in ("us", "de", "fr"):
        xvnc.set_layout(layout)
        put_into_box(any_tab, f"{layout} {TEXT}\n")
        any_tab.click_on("#type")
        xvnc.wait_for_line(f"{layout} {TEXT}")
    assert list(any_tab.faults) == []


def test_the_clipboard_both_ways(start_xvnc: StartXvnc, start_daemon: StartDaemon, any_tab: AnyTab) -> None:
    xvnc = start_xvnc(password=None)
    daemon = start_daemon()
    any_tab.open(daemon.mint(xvnc.host, xvnc.port).url)
    any_tab.wait_for_state("connected")
    xvnc.set_clipboard("from the machine: ßéñ€ 日本語 🖥")
    wait_for(lambda: shown(any_tab, "#news"), "the page says that there is something")
    any_tab.click_on("#clipboard-button")
    any_tab.click_on("#clipboard-copy")
    wait_for(lambda: any_tab.clipboard() == "from the machine: ßéñ€ 日本語 🖥", "it is on the browser's clipboard")
    any_tab.press("Escape")
    put_into_box(any_tab, "from here: Grüße, вторая строка\n2")
    any_tab.click_on("#clipboard-send")
    xvnc.wait_for_clipboard("from here: Grüße, вторая строка\n2")
    assert list(any_tab.faults) == []
