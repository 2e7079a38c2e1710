"""The page's keys: what each button and each key on the user's keyboard sends to the recorder."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from .browser import ConsolePage
from .conftest import StartDaemon
from .processes import wait_for
from .recorder import CutText, Key, Pointer, Recorder

pytestmark = [pytest.mark.real, pytest.mark.browser]

CTRL, ALT, SHIFT, DELETE, TAB, ESCAPE, F3 = 0xFFE3, 0xFFE9, 0xFFE1, 0xFFFF, 0xFF09, 0xFF1B, 0xFFC0


@pytest.fixture
def page(tab: ConsolePage, recorder: Recorder, start_daemon: StartDaemon) -> Page:
    """A console of the recording host, with the keyboard on the screen."""
    open_console(tab, recorder, start_daemon)
    return tab.page


def open_console(tab: ConsolePage, recorder: Recorder, start_daemon: StartDaemon, query: str = "") -> None:
    tab.open(start_daemon().mint(recorder.host, recorder.port).url + query)
    tab.wait_for_state("connected")
    wait_for(tab.picture, "the screen is painted")  # with it comes what the host offers
    tab.click()
    wait_for(lambda: recorder.pointer()[-1:] == [Pointer(0, 100, 100)], "the click has come whole")
    recorder.forget()


def pressed(*keysyms: int) -> list[Key]:
    """Pressed one after the other, released in reverse."""
    return [Key(keysym, True) for keysym in keysyms] + [Key(keysym, False) for keysym in reversed(keysyms)]


def test_ctrl_alt_del(page: Page, recorder: Recorder) -> None:
    page.click("#ctrl-alt-del")
    recorder.wait_for_keys(pressed(CTRL, ALT, DELETE))


def test_a_function_key_and_a_combination(page: Page, recorder: Recorder) -> None:
    page.click("#keys-button")
    page.click("#function-keys >> text=F3")
    page.click("#combinations >> text=Alt-Tab")
    page.click("#single-keys >> text=Esc")
    recorder.wait_for_keys(pressed(CTRL, ALT, F3) + pressed(ALT, TAB) + pressed(ESCAPE))


def test_a_held_modifier_stays_down_until_it_is_let_go_of(page: Page, recorder: Recorder) -> None:
    hold = page.locator("#modifiers >> text=Ctrl")
    page.click("#keys-button")
    hold.click()
    assert hold.get_attribute("aria-pressed") == "true"
    page.keyboard.press("Escape")
    page.locator("#screen canvas").click()
    page.keyboard.press("c")
    page.click("#keys-button")
    hold.click()
    assert hold.get_attribute("aria-pressed") == "false"
    recorder.wait_for_keys([Key(CTRL, True), *pressed(ord("c")), Key(CTRL, False)])


def test_a_combination_leaves_held_modifiers_down(page: Page, recorder: Recorder) -> None:
    page.click("#keys-button")
    page.click("#modifiers >> text=Ctrl")
    page.click("#combinations >> text=Ctrl-Esc")
    recorder.wait_for_keys([Key(CTRL, True), *pressed(ESCAPE)])


def test_view_only_lets_nothing_through_and_takes_the_tools_away(page: Page, recorder: Recorder) -> None:
    page.click("#keys-button")
    page.click("#modifiers >> text=Shift")
    page.keyboard.press("Escape")
    page.click("#view-button")
    page.check("#view-only")
    recorder.wait_for_keys([Key(SHIFT, True), Key(SHIFT, False)])  # not left down
    page.keyboard.press("Escape")
    page.locator("#screen canvas").click()
    page.keyboard.press("x")
    assert page.locator("#ctrl-alt-del").is_hidden()
    assert page.locator("#keys-button").is_hidden()
    assert "view only" in page.inner_text("#state")
    recorder.forget()
    page.click("#view-button")
    page.uncheck("#view-only")
    page.keyboard.press("Escape")
    page.locator("#screen canvas").click()
    page.keyboard.press("y")
    recorder.wait_for_keys(pressed(ord("y")))


def test_a_host_with_extended_keys_gets_places(tab: ConsolePage, start_daemon: StartDaemon) -> None:
    with Recorder(extended_keys=True) as recorder:
        open_console(tab, recorder, start_daemon)
        tab.page.keyboard.press("a")
        recorder.wait_for_keys([Key(ord("a"), True, 0x1E), Key(ord("a"), False, 0x1E)])


def type_on_a_german_keyboard(page: Page, key: str, code: str, *, shift: bool = False) -> None:
    """A key as a browser reports it where the user's keyboard is German."""
    devtools = page.context.new_cdp_session(page)
    modifiers = 8 if shift else 0
    for kind in ("keyDown", "keyUp"):
        devtools.send("Input.dispatchKeyEvent", {"type": kind, "key": key, "code": code, "modifiers": modifiers})


def test_cloudstack_says_the_host_reads_keys_by_their_us_meaning(
    tab: ConsolePage, recorder: Recorder, start_daemon: StartDaemon
) -> None:
    """CloudStack adds ``language`` for VMware hosts only; those take every keysym for a key of a US keyboard."""
    open_console(tab, recorder, start_daemon, "&language=de")
    type_on_a_german_keyboard(tab.page, "z", "KeyY")
    type_on_a_german_keyboard(tab.page, "ö", "Semicolon")
    recorder.wait_for_keys(pressed(ord("y")) + pressed(ord(";")))


def test_without_that_the_key_is_sent_as_it_is(page: Page, recorder: Recorder) -> None:
    type_on_a_german_keyboard(page, "z", "KeyY")
    type_on_a_german_keyboard(page, "ö", "Semicolon")
    recorder.wait_for_keys(pressed(ord("z")) + pressed(ord("ö")))


def test_typing_for_such_a_host(tab: ConsolePage, recorder: Recorder, start_daemon: StartDaemon) -> None:
    """On a German layout z is where y is on a US keyboard, and @ is AltGr and q."""
    open_console(tab, recorder, start_daemon, "&language=de")
    tab.page.click("#clipboard-button")
    assert tab.page.input_value("#layout") == "de"
    tab.page.fill("#clipboard-text", "z@")
    tab.page.click("#type")
    recorder.wait_for_keys(pressed(ord("y")) + pressed(0xFFEA, ord("q")))


def test_typing_keeps_the_hands_away_and_escape_stops_it(page: Page, recorder: Recorder) -> None:
    page.click("#clipboard-button")
    page.fill("#clipboard-text", "abc" * 200)
    page.click("#type")
    page.wait_for_selector("#typing", state="visible")
    page.keyboard.press("x")
    page.keyboard.press("Escape")
    page.wait_for_selector("#typing", state="hidden")
    assert "stopped after" in page.inner_text("#news-text")
    typed = [key.keysym for key in recorder.key_events() if key.down]
    assert 0 < len(typed) < 600
    assert bytes(typed) == (b"abc" * 200)[: len(typed)]
    assert all(key.keysym in b"abc" for key in recorder.key_events())  # no release of a key that never went down
    recorder.forget()
    page.keyboard.press("y")
    recorder.wait_for_keys(pressed(ord("y")))


def test_what_cannot_be_typed_is_shown_before_anything_is(tab: ConsolePage, start_daemon: StartDaemon) -> None:
    with Recorder(extended_keys=True) as recorder:
        open_console(tab, recorder, start_daemon)
        page = tab.page
        page.click("#clipboard-button")
        assert page.input_value("#layout") == "us"
        page.fill("#clipboard-text", "a€b\u200b")
        page.click("#type")
        page.wait_for_selector("#untypable", state="visible")
        assert page.inner_text("#untypable-text").endswith("€ U+200B")
        assert recorder.key_events() == []
        page.click("#type-rest")
        recorder.wait_for_keys(
            [Key(ord(c), down, place) for c, place in (("a", 0x1E), ("b", 0x30)) for down in (True, False)]
        )


def test_a_host_without_extended_keys_finds_them_by_their_characters(page: Page, recorder: Recorder) -> None:
    page.click("#clipboard-button")
    assert page.input_value("#layout") == "characters"
    page.fill("#clipboard-text", "é€")
    page.click("#type")
    recorder.wait_for_keys(pressed(0xE9) + pressed(0x20AC))


def test_the_way_with_the_keyboard_alone(page: Page, recorder: Recorder) -> None:
    """Ctrl+Alt+Shift leads to the tools, Tab along them, Enter opens one, Escape leads back to the screen."""
    for key in ("Control", "Alt", "Shift"):
        page.keyboard.down(key)
    for key in ("Shift", "Alt", "Control"):
        page.keyboard.up(key)
    page.wait_for_function("() => document.activeElement.id === 'keys-button'")  # Enter must not be Ctrl-Alt-Del
    page.keyboard.press("Enter")
    page.wait_for_selector("#keys", state="visible")
    page.keyboard.press("Escape")
    page.wait_for_selector("#keys", state="hidden")
    assert page.evaluate("() => document.activeElement.id") == "keys-button"
    recorder.forget()
    page.keyboard.press("Escape")
    page.keyboard.press("q")
    recorder.wait_for_keys(pressed(ord("q")))


def test_the_bar_hides_and_comes_back(page: Page, recorder: Recorder) -> None:
    page.click("#hide-bar")
    assert page.locator("#bar").is_hidden()
    page.keyboard.press("k")
    recorder.wait_for_keys(pressed(ord("k")))
    page.click("#show-bar")
    assert page.locator("#bar").is_visible()


def test_the_clipboard_of_a_plain_host_takes_latin_1(page: Page, recorder: Recorder) -> None:
    page.click("#clipboard-button")
    page.fill("#clipboard-text", "Grüße")
    page.click("#clipboard-send")
    recorder.wait_for(CutText("Grüße"))
    page.fill("#clipboard-text", "5 €")
    page.click("#clipboard-send")
    recorder.wait_for(CutText("5 ?"))
    assert "question marks" in page.inner_text("#clipboard-note")


def test_letting_go_of_a_key_does_not_let_go_of_what_the_page_holds(page: Page, recorder: Recorder) -> None:
    page.click("#keys-button")
    page.click("#modifiers >> text=Ctrl")
    page.keyboard.press("Escape")
    page.locator("#screen canvas").click()
    page.keyboard.press("Control")
    page.keyboard.press("c")
    recorder.wait_for_keys([Key(CTRL, True), Key(CTRL, True), *pressed(ord("c"))])


def test_keys_do_not_stay_down_when_the_hands_leave_the_screen(page: Page, recorder: Recorder) -> None:
    """Nobody would see them go up."""
    page.keyboard.down("Control")
    page.click("#view-button")
    page.keyboard.up("Control")
    recorder.wait_for_keys(pressed(CTRL))


def test_view_only_stops_typing_and_says_how_far_it_came(page: Page, recorder: Recorder) -> None:
    page.click("#clipboard-button")
    page.fill("#clipboard-text", "abc" * 200)
    page.click("#type")
    page.wait_for_selector("#typing", state="visible")
    page.click("#view-button")
    page.check("#view-only")
    page.wait_for_selector("#typing", state="hidden")
    assert "stopped after" in page.inner_text("#news-text")
    typed = len([key for key in recorder.key_events() if key.down])
    assert f"after {typed} of 600" in page.inner_text("#news-text")


def test_the_way_out_in_view_only(page: Page) -> None:
    page.click("#view-button")
    page.check("#view-only")
    page.keyboard.press("Escape")
    page.locator("#screen canvas").click()
    for key in ("Control", "Alt", "Shift"):
        page.keyboard.down(key)
    for key in ("Shift", "Alt", "Control"):
        page.keyboard.up(key)
    page.wait_for_function("() => document.activeElement.id === 'clipboard-button'")


def test_nothing_is_pressed_beside_a_text_that_is_typed(page: Page, recorder: Recorder) -> None:
    page.click("#clipboard-button")
    page.fill("#clipboard-text", "abc" * 200)
    page.click("#type")
    page.wait_for_selector("#typing", state="visible")
    assert page.is_disabled("#ctrl-alt-del")
    assert page.is_disabled("#modifiers button >> nth=0")
    page.keyboard.press("Escape")
    page.wait_for_selector("#typing", state="hidden")
    assert page.is_enabled("#ctrl-alt-del")


def test_a_warning_goes_with_the_text_it_was_about(page: Page, recorder: Recorder) -> None:
    page.click("#clipboard-button")
    page.select_option("#layout", "us")
    recorder.cut_text("\xe9")
    wait_for(lambda: page.input_value("#clipboard-text") == "é", "the machine's text is in the box")
    page.click("#type")
    page.wait_for_selector("#untypable", state="visible")
    recorder.cut_text("rm -rf x\xfc/y")
    wait_for(lambda: page.input_value("#clipboard-text") == "rm -rf x\xfc/y", "the box has another text")
    assert page.locator("#type-rest").is_hidden()


def test_the_keyboard_goes_back_to_the_screen_after_a_notice(page: Page, recorder: Recorder) -> None:
    recorder.cut_text("something")
    page.wait_for_selector("#news", state="visible")
    page.click("#news-close")
    page.keyboard.press("k")
    recorder.wait_for_keys(pressed(ord("k")))


def test_an_end_in_the_middle_of_a_text_says_how_far_it_came(
    tab: ConsolePage, recorder: Recorder, start_daemon: StartDaemon
) -> None:
    """And leaves the keys as they are without a console, until there is one again."""
    tab.open(start_daemon().mint(recorder.host, recorder.port, options=["--reusable"]).url)
    tab.wait_for_state("connected")
    wait_for(tab.picture, "the screen is painted")
    page = tab.page
    page.click("#clipboard-button")
    page.fill("#clipboard-text", "abc" * 200)
    page.click("#type")
    page.wait_for_selector("#typing", state="visible")
    wait_for(recorder.key_events, "it is being typed")
    recorder.hang_up()
    tab.wait_for_state("ended")
    assert "stopped after" in page.inner_text("#panel-more")
    assert page.is_disabled("#ctrl-alt-del")
    wait_for(lambda: tab.data().get("state") == "connected", "the console is back")
    assert page.is_enabled("#ctrl-alt-del")
    assert page.is_enabled("#modifiers button >> nth=0")
