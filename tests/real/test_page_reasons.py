"""Every reason is told on the screen: a sentence, what to do next, and the slug that the log has as well.

Most reasons are caused for real in the other files of this folder. Here the page is told each of them, in each of the
ways it can be: as the answer to the page's own request, by the status answer, and by the WebSocket's close frame.
"""

from __future__ import annotations

from functools import partial

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute

from trio_cpvm.errors import REASONS, ConsoleError, Reason, close_reason
from trio_cpvm.http import Request
from trio_cpvm.languages import read_languages
from trio_cpvm.static import PageFiles

from .browser import ConsolePage
from .conftest import StartDaemon
from .daemon import Console, Daemon
from .recorder import Recorder

pytestmark = [pytest.mark.real, pytest.mark.browser]

CLOSES = [reason for reason in REASONS.values() if reason.close_code is not None]
ANSWERS = [reason for reason in REASONS.values() if reason.http_status is not None]

#: Nothing answers the page's WebSocket.
REFUSED = "globalThis.WebSocket = class extends WebSocket { constructor() { super('/nothing-here'); } };"


@pytest.fixture
def daemon(start_daemon: StartDaemon) -> Daemon:
    return start_daemon()


@pytest.fixture
def console(daemon: Daemon, recorder: Recorder) -> Console:
    return daemon.mint(recorder.host, recorder.port, options=["--reusable"])


def assert_told(tab: ConsolePage, reason: Reason, language: str = "en") -> None:
    words = read_languages()[language]
    assert tab.wait_for_state("ended")["slug"] == reason.slug
    assert tab.page.inner_text("#panel-text") == words.text(reason)
    assert tab.page.inner_text("#panel-advice") == words.advice(reason)
    assert tab.page.inner_text("#panel-slug") == reason.slug


def answer_with(answer: dict[str, object], route: Route) -> None:
    route.fulfill(json=answer)


def answer_status(page: Page, reason: Reason) -> None:
    """Have the proxy say that the token opens nothing now."""
    answer = {
        "usable": False,
        "slug": reason.slug,
        "text": reason.text,
        "advice": reason.advice,
        "retryable": reason.retryable,
    }
    page.route("**/novnc/status*", lambda route: route.fulfill(json=answer))


def test_every_reason_for_a_close(tab: ConsolePage, console: Console) -> None:
    for reason in CLOSES:

        def close(socket: WebSocketRoute, reason: Reason = reason) -> None:
            said = close_reason(f"{reason.slug}: {reason.text}")
            socket.on_message(lambda _: socket.close(code=reason.close_code, reason=said))

        tab.page.unroute_all()
        tab.page.route_web_socket("**/websockify*", close)
        usable: dict[str, object] = {"usable": True, "slug": None, "text": "", "advice": "", "retryable": False}
        tab.page.route("**/novnc/status*", partial(answer_with, usable))
        tab.open(console.url)
        assert_told(tab, reason)


@pytest.mark.parametrize("language", read_languages())
def test_every_reason_for_a_refused_websocket(tab: ConsolePage, console: Console, language: str) -> None:
    """The page is not told why a WebSocket is refused, so it asks."""
    tab.page.add_init_script(REFUSED)
    for reason in ANSWERS if language == "en" else ANSWERS[-2:]:
        tab.page.unroute_all()
        answer_status(tab.page, reason)
        tab.open(f"{console.url}&lang={language}")
        assert_told(tab, reason, language)


@pytest.mark.parametrize("language", read_languages())
def test_every_reason_in_place_of_the_page(tab: ConsolePage, console: Console, language: str) -> None:
    pages = PageFiles()

    def refuse(reason: Reason, route: Route) -> None:
        request = Request(method="GET", path="/novnc", query=f"lang={language}")
        answer = pages.error_page(ConsoleError(reason), request)
        headers = {**dict(answer.headers), "Content-Type": answer.content_type}
        route.fulfill(status=answer.status, headers=headers, body=answer.body)

    for reason in ANSWERS if language == "en" else ANSWERS[-2:]:
        tab.page.unroute_all()
        tab.page.route("**/novnc?*", partial(refuse, reason))
        assert tab.open(console.url).status == reason.http_status
        assert_told(tab, reason, language)
        assert tab.page.title().endswith(f" – {read_languages()[language].text(reason)}")


def test_the_page_s_own_reasons(tab: ConsolePage, console: Console) -> None:
    """What only the page can notice."""
    tab.page.route_web_socket("**/websockify*", lambda socket: socket.on_message(lambda _: socket.close()))
    tab.open(console.url)
    assert tab.wait_for_state("ended")["slug"] == "connection-lost"
    assert tab.page.inner_text("#panel-text") == "The connection to the console proxy was lost."

    tab.page.add_init_script(REFUSED)
    tab.open(console.url)
    assert tab.wait_for_state("ended")["slug"] == "websocket-blocked"
    assert "could not be opened" in tab.page.inner_text("#panel-text")

    tab.page.route("**/novnc/status*", lambda route: route.abort())
    tab.open(console.url)
    assert tab.wait_for_state("ended")["slug"] == "proxy-unreachable"
    assert "cannot be reached" in tab.page.inner_text("#panel-text")
