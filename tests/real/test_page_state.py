"""What the page says about its console: how far it is, how it does, when it will end, and getting it back."""

from __future__ import annotations

import re
import signal
from urllib.parse import quote

import pytest
from playwright.sync_api import WebSocketRoute

from trio_cpvm.http import Request
from trio_cpvm.static import ConsoleSetup, PageFiles

from .browser import ConsolePage
from .conftest import OpenTab, StartDaemon, StartQemu
from .daemon import HANDSHAKE_TIMEOUT_S
from .processes import answering_with, wait_for
from .recorder import Key, Recorder
from .rfb_client import rfb_client

pytestmark = [pytest.mark.real, pytest.mark.browser]

IDLE_S = 6.0

#: The page as the proxy would give it for a token that can be used.
CONSOLE = PageFiles().console_page(Request(method="GET", path="/novnc"), ConsoleSetup())


def test_the_steps_while_it_connects(start_daemon: StartDaemon, tab: ConsolePage) -> None:
    """A host that takes connections and says nothing."""
    daemon = start_daemon()
    with answering_with(b"") as port:
        tab.open(daemon.mint("127.0.0.1", port, options=["--name", "Silent machine"]).url)
        wait_for(
            lambda: tab.data().get("step") == "step-login", "the host is connected to", within_s=HANDSHAKE_TIMEOUT_S
        )
        assert "checks the proxy's login" in tab.visible_text()
        assert "Silent machine" in tab.visible_text()
        assert tab.page.title() == "Silent machine – Connecting"
        tab.wait_for_state("ended")


def test_name_round_trip_and_rate(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    tab.open(daemon.mint(qemu.host, qemu.port, password=password, options=["--name", "Web <b>1</b>"]).url)
    tab.wait_for_state("connected")
    assert tab.page.inner_text("#machine") == "Web <b>1</b>"
    assert tab.page.title() == "Web <b>1</b>"
    tab.page.wait_for_selector("#meter", state="visible")
    assert re.fullmatch(r"[\d.]+ ms · [\d.]+ (k|M)?B/s", tab.page.inner_text("#meter"))
    hint = tab.page.get_attribute("#meter", "title") or ""
    assert re.fullmatch(
        r"Round trip: [\d.]+ ms to the proxy, [\d.]+ ms from there to the machine's host\. Received: [\d.]+ kB\.", hint
    )


def test_the_page_warns_before_the_idle_limit_and_a_button_keeps_the_console(
    start_daemon: StartDaemon, tab: ConsolePage
) -> None:
    with Recorder() as host:
        daemon = start_daemon(session={"idle_timeout_s": IDLE_S})
        tab.open(daemon.mint(host.host, host.port).url)
        tab.wait_for_state("connected")
        tab.page.wait_for_selector("#ending", state="visible")
        assert re.search(r"closes in 0:0[123] because it is not used", tab.page.inner_text("#ending-text"))
        assert "is not used" in tab.page.inner_text("#said")  # read out, once
        tab.page.click("#stay")
        assert tab.page.locator("#ending").is_hidden()
        sent = len(host.events)
        tab.page.wait_for_selector("#ending", state="visible")  # half of a whole limit later, not of what was left
        assert len(host.events) == sent  # staying sends the machine nothing
        tab.wait_for_state("ended")
        assert tab.data()["slug"] == "idle-timeout"
        record = daemon.wait_for_reason("idle-timeout")
        assert isinstance(record["duration_s"], float)
        assert record["duration_s"] > IDLE_S * 1.4
        assert tab.page.locator("#again").is_hidden()  # a console that nobody used does not come back by itself


def test_the_page_warns_before_the_lifetime_limit(start_daemon: StartDaemon, tab: ConsolePage) -> None:
    with Recorder() as host:
        daemon = start_daemon(session={"lifetime_s": 6})
        tab.open(daemon.mint(host.host, host.port).url)
        tab.wait_for_state("connected")
        tab.page.wait_for_selector("#ending", state="visible")
        assert "time limit in 0:0" in tab.page.inner_text("#ending-text")
        tab.wait_for_state("ended")
        assert tab.data()["slug"] == "lifetime-reached"


def test_the_page_tells_that_the_proxy_is_about_to_stop(start_daemon: StartDaemon, tab: ConsolePage) -> None:
    with Recorder() as host:
        daemon = start_daemon(server={"drain_timeout_s": 15})
        tab.open(daemon.mint(host.host, host.port).url)
        tab.wait_for_state("connected")
        daemon.process.send(signal.SIGTERM)
        tab.page.wait_for_selector("#ending", state="visible")
        assert re.search(
            r"about to restart: this console closes in 0:(0\d|1[0-5])\.", tab.page.inner_text("#ending-text")
        )
        tab.page.click("#stay")
        assert tab.page.locator("#ending").is_hidden()
        tab.page.keyboard.press("a")  # it can be used to the end
        wait_for(lambda: [event for event in host.events if isinstance(event, Key)], "the key is at the host")
        tab.wait_for_state("ended")
        assert tab.page.locator("#ending").is_hidden()
        assert tab.data()["slug"] == "draining"
        assert daemon.process.wait_until_ended() == 0


def test_the_page_says_who_has_keyboard_and_mouse(
    start_daemon: StartDaemon, open_tab: OpenTab, tab: ConsolePage
) -> None:
    with Recorder() as host:
        daemon = start_daemon(session={"second_viewer": "share", "shared_input": "first"})
        options = ["--vm-id", "one"]
        first, second = tab, open_tab()
        for page in (first, second):
            page.open(daemon.mint(host.host, host.port, options=options).url)
            page.wait_for_state("connected")
        second.page.wait_for_selector("text=Somebody else has this machine's keyboard and mouse.")
        assert second.page.inner_text("#state") == "Connected, looking on"
        assert first.page.inner_text("#state") == "Connected"
        first.page.close()
        second.page.wait_for_selector("text=Keyboard and mouse are yours now.")
        assert second.page.inner_text("#state") == "Connected"


def test_a_console_that_breaks_off_comes_back_by_itself(start_daemon: StartDaemon, tab: ConsolePage) -> None:
    with Recorder() as host:
        daemon = start_daemon()
        tab.open(daemon.mint(host.host, host.port, options=["--reusable"]).url)
        tab.wait_for_state("connected")
        host.hang_up()
        tab.wait_for_state("ended")
        assert tab.data()["slug"] == "closed-by-guest"
        tab.page.wait_for_selector("#again", state="visible")
        assert re.search(r"Trying again in \d s", tab.page.inner_text("#again"))
        wait_for(lambda: tab.data().get("state") == "connected", "the console is back")
        assert host.viewers == 2


def test_the_countdown_can_be_stopped_and_cut_short(start_daemon: StartDaemon, tab: ConsolePage) -> None:
    with Recorder() as host:
        daemon = start_daemon()
        tab.open(daemon.mint(host.host, host.port, options=["--reusable"]).url)
        tab.wait_for_state("connected")
        host.hang_up()
        tab.page.wait_for_selector("#again", state="visible")
        tab.page.click("#again-stop")
        assert tab.page.locator("#again").is_hidden()
        assert tab.page.evaluate("() => document.activeElement.id") == "retry"
        tab.page.keyboard.press("Enter")
        wait_for(lambda: tab.data().get("state") == "connected", "the console is back")
        assert host.viewers == 2


def test_a_used_token_is_not_tried_again(start_daemon: StartDaemon, tab: ConsolePage) -> None:
    with Recorder() as host:
        daemon = start_daemon()
        tab.open(daemon.mint(host.host, host.port).url)
        tab.wait_for_state("connected")
        with tab.page.expect_response("**/novnc/status*") as status:
            host.hang_up()
        assert status.value.json()["slug"] == "token-used"
        tab.wait_for_state("ended")
        assert tab.page.locator("#again").is_hidden()
        assert tab.page.locator("#retry").is_hidden()
        assert "Open the console again" in tab.visible_text()


@pytest.mark.parametrize("second_viewer", ["replace", "refuse"])
def test_a_used_token_is_good_again_for_a_while_after_a_break(
    start_daemon: StartDaemon, tab: ConsolePage, recorder: Recorder, second_viewer: str
) -> None:
    daemon = start_daemon(session={"reconnect_window_s": 30, "second_viewer": second_viewer})
    console = daemon.mint(recorder.host, recorder.port)
    tab.open(console.url)
    tab.wait_for_state("connected")
    recorder.hang_up()
    tab.wait_for_state("ended")
    wait_for(lambda: tab.data().get("state") == "connected", "the console is back")
    assert recorder.viewers == 2
    tab.page.close()
    daemon.wait_for_reason("closed-by-user")
    wait_for(lambda: not daemon.sessions(), "the session is over")
    status = daemon.get(f"/novnc/status?token={quote(console.token)}").json()
    assert status["slug"] == "token-used"  # a user who leaves does not come back


def test_a_proxy_that_does_not_answer_any_more_is_gone(
    start_daemon: StartDaemon, tab: ConsolePage, recorder: Recorder
) -> None:
    """A lost network tells the browser nothing for minutes; here everything stops coming through."""
    lost = False

    def through(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        socket.on_message(lambda message: None if lost else server.send(message))
        server.on_message(lambda message: None if lost else socket.send(message))

    tab.page.route_web_socket("**/websockify*", through)
    daemon = start_daemon()
    tab.open(daemon.mint(recorder.host, recorder.port, options=["--reusable"]).url)
    tab.wait_for_state("connected")
    lost = True
    data = tab.wait_for_state("ended", within_s=30)
    assert data["slug"] == "connection-lost"
    lost = False
    wait_for(lambda: tab.data().get("state") == "connected", "the console is back")


def test_what_a_used_token_makes_of_a_lost_connection(
    start_daemon: StartDaemon, tab: ConsolePage, recorder: Recorder
) -> None:
    """The page says what has to be done before another try."""
    tab.page.route_web_socket("**/websockify*", lambda socket: socket.on_message(lambda _: socket.close()))
    daemon = start_daemon()
    console = daemon.mint(recorder.host, recorder.port)
    with rfb_client(console.websocket_url):
        pass  # the token is used
    wait_for(lambda: not daemon.sessions(), "the session is over")
    tab.page.route("**/novnc?*", lambda route: route.fulfill(body=CONSOLE.body, content_type=CONSOLE.content_type))
    tab.open(console.url)
    tab.wait_for_state("ended")
    wait_for(lambda: "Each token opens one console" in tab.visible_text(), "what can be done")
    assert tab.page.locator("#retry").is_hidden()
