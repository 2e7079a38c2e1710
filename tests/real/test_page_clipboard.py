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
