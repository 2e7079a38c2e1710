"""The clipboard panel in Chromium: what the browser allows and what not, and sharing without buttons."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser, Page

from .browser import ConsolePage
from .conftest import StartDaemon
from .processes import wait_for
from .recorder import CutText, Recorder

pytestmark = [pytest.mark.real, pytest.mark.browser]


@pytest.fixture
def asked_tab(chromium: Browser, start_daemon: StartDaemon) -> Iterator[ConsolePage]:
    """A tab whose user says no to whatever the browser asks."""
    with closing(chromium.new_context()) as context:
        yield ConsolePage(context.new_page())


def open_console(tab: ConsolePage, recorder: Recorder, start_daemon: StartDaemon) -> Page:
    tab.open(start_daemon().mint(recorder.host, recorder.port).url)
    tab.wait_for_state("connected")
    wait_for(tab.picture, "the screen is painted")
    return tab.page


def test_it_is_shared_in_both_directions_once_the_user_wants_that(
    tab: ConsolePage, recorder: Recorder, start_daemon: StartDaemon
) -> None:
    page = open_console(tab, recorder, start_daemon)
    tab.set_clipboard("from here")
    tab.click()
    page.click("#clipboard-button")
    page.check("#clipboard-auto")
    recorder.wait_for(CutText("from here"))
    page.keyboard.press("Escape")
    recorder.cut_text("from the machine")
    wait_for(lambda: tab.clipboard() == "from the machine", "it is on the browser's clipboard")
    assert page.locator("#news").is_hidden()  # nothing to do for the user
    tab.set_clipboard("and back")
    page.click("#view-button")
    page.keyboard.press("Escape")
    tab.click()
    recorder.wait_for(CutText("and back"))
    assert [event for event in recorder.events if isinstance(event, CutText)] == [
        CutText("from here"),
        CutText("and back"),
    ]


def test_nothing_is_shared_unless_the_user_wants_that(
    tab: ConsolePage, recorder: Recorder, start_daemon: StartDaemon
) -> None:
    page = open_console(tab, recorder, start_daemon)
    tab.set_clipboard("mine")
    tab.click()
    recorder.cut_text("the machine's")
    page.wait_for_selector("#news", state="visible")
    assert tab.clipboard() == "mine"
    page.click("#news-act")
    wait_for(lambda: tab.clipboard() == "the machine's", "one click copies it")
    assert not [event for event in recorder.events if isinstance(event, CutText)]


def test_a_user_who_says_no(asked_tab: ConsolePage, recorder: Recorder, start_daemon: StartDaemon) -> None:
    """The page says what to do instead, and does not pretend to share."""
    page = open_console(asked_tab, recorder, start_daemon)
    page.click("#clipboard-button")
    page.click("#clipboard-read")
    page.wait_for_selector("#clipboard-note", state="visible")
    assert "press Ctrl+V instead" in page.inner_text("#clipboard-note")
    page.click("#clipboard-auto")
    wait_for(lambda: "does not allow it" in page.inner_text("#clipboard-note"), "the page says so")
    assert not page.is_checked("#clipboard-auto")


def test_an_empty_clipboard_of_the_machine_s_takes_nothing_away(
    tab: ConsolePage, recorder: Recorder, start_daemon: StartDaemon
) -> None:
    page = open_console(tab, recorder, start_daemon)
    tab.set_clipboard("mine")
    tab.click()
    page.click("#clipboard-button")
    page.check("#clipboard-auto")
    recorder.wait_for(CutText("mine"))
    recorder.cut_text("")
    recorder.cut_text("later")  # comes after it
    wait_for(lambda: tab.clipboard() != "mine", "the later text is here")
    assert tab.clipboard() == "later"


def test_what_the_machine_cannot_hold_is_not_sent_by_itself(
    tab: ConsolePage, recorder: Recorder, start_daemon: StartDaemon
) -> None:
    page = open_console(tab, recorder, start_daemon)
    tab.set_clipboard("日本 fünf")
    tab.click()
    page.click("#clipboard-button")
    page.check("#clipboard-auto")
    page.wait_for_selector("#news", state="visible")
    assert "question marks" in page.inner_text("#news-text")
    assert not [event for event in recorder.events if isinstance(event, CutText)]


def test_a_text_that_the_browser_did_not_take_is_not_overwritten(
    tab: ConsolePage, recorder: Recorder, start_daemon: StartDaemon
) -> None:
    """The machine copies while the page may not write: its text comes first when the page may."""
    page = open_console(tab, recorder, start_daemon)
    tab.set_clipboard("old")
    tab.click()
    page.click("#clipboard-button")
    page.check("#clipboard-auto")
    recorder.wait_for(CutText("old"))
    page.keyboard.press("Escape")
    page.evaluate(
        "() => { const { clipboard } = navigator; globalThis.write = clipboard.writeText.bind(clipboard);"
        " clipboard.writeText = () => Promise.reject(new Error('no focus')); }"
    )
    recorder.cut_text("new")
    wait_for(lambda: page.input_value("#clipboard-text") == "new", "it has come")
    page.evaluate("() => { navigator.clipboard.writeText = globalThis.write; }")
    page.click("#view-button")
    page.keyboard.press("Escape")
    tab.click()
    wait_for(lambda: tab.clipboard() == "new", "it is here once the page may write")
    assert [event for event in recorder.events if isinstance(event, CutText)] == [CutText("old")]


def test_what_the_user_writes_is_not_overwritten(
    tab: ConsolePage, recorder: Recorder, start_daemon: StartDaemon
) -> None:
    page = open_console(tab, recorder, start_daemon)
    page.click("#clipboard-button")
    page.locator("#clipboard-text").press_sequentially("my long script")
    recorder.cut_text("the machine's")
    page.wait_for_selector("#news", state="visible")
    assert page.input_value("#clipboard-text") == "my long script"
    page.click("#news-act")
    wait_for(lambda: tab.clipboard() == "the machine's", "it can be had all the same")
    assert page.input_value("#clipboard-text") == "my long script"


def test_a_browser_that_would_ask_each_time_is_not_asked(
    tab: ConsolePage, recorder: Recorder, start_daemon: StartDaemon
) -> None:
    """Firefox and Safari know no lasting permission to read."""
    tab.page.add_init_script(
        "globalThis.readText = navigator.clipboard.readText.bind(navigator.clipboard);"
        "navigator.permissions.query = () => Promise.reject(new TypeError('no such permission'));"
        "navigator.clipboard.readText = () => { globalThis.asked = true; return Promise.reject(new Error('asked')); };"
    )
    page = open_console(tab, recorder, start_daemon)
    page.click("#clipboard-button")
    page.check("#clipboard-auto")
    wait_for(lambda: "asks each time" in page.inner_text("#clipboard-note"), "the page says what it can do")
    page.keyboard.press("Escape")
    tab.click()
    recorder.cut_text("from the machine")
    read = "() => globalThis.readText()"
    wait_for(lambda: page.evaluate(read) == "from the machine", "the other direction is shared")
    assert page.evaluate("() => globalThis.asked === undefined")


@pytest.mark.parametrize("way", ["to-guest", "from-guest", "none"])
def test_what_the_proxy_would_drop_is_not_offered(
    tab: ConsolePage, recorder: Recorder, start_daemon: StartDaemon, way: str
) -> None:
    daemon = start_daemon(session={"clipboard": way})
    tab.open(daemon.mint(recorder.host, recorder.port).url)
    tab.wait_for_state("connected")
    wait_for(tab.picture, "the screen is painted")
    page = tab.page
    page.click("#clipboard-button")
    assert page.is_visible("#clipboard-send") is (way == "to-guest")
    assert page.is_visible("#clipboard-auto") is (way != "none")
    assert page.is_visible("#type")  # keys are no clipboard
