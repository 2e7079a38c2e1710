"""Typing and the clipboard with the page's own tools, in each of the three browser engines and in real guests."""

from __future__ import annotations

import base64
import json

import pytest

from .browser import ConsolePage
from .browsers import AnyTab
from .conftest import StartDaemon, StartLinuxGuest, StartQemu, StartXvnc
from .linux_guest import Keymap
from .pictures import difference, from_png
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


#: Keeps what the page would save instead of saving it: the three browsers save files in ways of their own.
_KEEP_SAVED = """
void (globalThis.saved = null,
URL.createObjectURL = (blob) => {
  const reader = new FileReader();
  reader.onload = () => (globalThis.saved = reader.result);
  reader.readAsDataURL(blob);
  return "#";
},
HTMLAnchorElement.prototype.click = () => undefined)
"""


def test_the_screenshot(start_qemu: StartQemu, start_daemon: StartDaemon, any_tab: AnyTab, password: str) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    any_tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
    any_tab.wait_for_state("connected")
    any_tab.wait_for_picture(qemu.screendump)
    any_tab.evaluate(_KEEP_SAVED)
    any_tab.click_on("#screenshot")
    saved = str(wait_for(lambda: any_tab.evaluate("globalThis.saved"), "the screenshot is saved"))
    kind, _, data = saved.partition(",")
    assert kind == "data:image/png;base64"
    assert difference(from_png(base64.b64decode(data)), qemu.screendump()) == ""
    assert list(any_tab.faults) == []


#: What a browser says of keys on a German keyboard: the character, the place.
GERMAN_KEYS = [
    ("z", "KeyY"),
    ("y", "KeyZ"),
    ("ö", "Semicolon"),
    ("ß", "Minus"),
    ("#", "Backslash"),
    ("<", "IntlBackslash"),
]


def test_hands_on_a_german_keyboard(
    start_linux_guest: StartLinuxGuest, start_daemon: StartDaemon, tab: ConsolePage
) -> None:
    """The places of the keys reach the guest, so its own layout decides; with AltGr held as well."""
    guest = start_linux_guest(keymap=Keymap("de"))
    tab.open(start_daemon().mint(guest.host, guest.port).url)
    tab.wait_for_state("connected")
    wait_for(tab.picture, "the screen is painted")
    tab.click()
    devtools = tab.page.context.new_cdp_session(tab.page)

    def key(kind: str, character: str, code: str) -> None:
        devtools.send("Input.dispatchKeyEvent", {"type": kind, "key": character, "code": code})

    for character, code in GERMAN_KEYS:
        key("keyDown", character, code)
        key("keyUp", character, code)
    key("keyDown", "AltGraph", "AltRight")
    for character, code in (("@", "KeyQ"), ("{", "Digit7"), ("\\", "Minus")):
        key("keyDown", character, code)
        key("keyUp", character, code)
    key("keyUp", "AltGraph", "AltRight")
    tab.press("Enter")
    assert guest.wait_for_typed(1) == "zyöß#<@{\\\n"
