"""The page for people who cannot see, point or tell colours apart: each state, large and small, light and dark."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.sync_api import Browser

from .axe import violations
from .browser import ConsolePage
from .conftest import StartDaemon, StartQemu
from .daemon import Daemon
from .processes import answering_with, free_port, wait_for
from .recorder import Recorder

pytestmark = [pytest.mark.real, pytest.mark.browser]

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.fixture
def daemon(start_daemon: StartDaemon) -> Daemon:
    return start_daemon()


def assert_accessible(tab: ConsolePage) -> None:
    """As it is now, in each size and scheme."""
    for size in (DESKTOP, PHONE):
        tab.page.set_viewport_size({"width": size["width"], "height": size["height"]})
        for scheme in SCHEMES:
            tab.page.emulate_media(color_scheme=scheme)
            assert violations(tab) == [], (size, scheme)


def test_connected(start_qemu: StartQemu, daemon: Daemon, tab: ConsolePage, password: str) -> None:
    qemu = start_qemu(password=password)
    tab.open(daemon.mint(qemu.host, qemu.port, password=password, options=["--name", "web-01"]).url)
    tab.wait_for_state("connected")
    assert_accessible(tab)


@pytest.mark.parametrize("panel", ["keys", "clipboard", "view"])
def test_a_panel(daemon: Daemon, recorder: Recorder, tab: ConsolePage, panel: str) -> None:
    tab.open(daemon.mint(recorder.host, recorder.port).url)
    tab.wait_for_state("connected")
    tab.page.click(f"#{panel}-button")
    tab.page.wait_for_selector(f"#{panel}", state="visible")
    assert_accessible(tab)


def test_notices(start_daemon: StartDaemon, tab: ConsolePage) -> None:
    """What cannot be typed, the progress of what can, and the end that is near."""
    with Recorder(extended_keys=True) as recorder:
        daemon = start_daemon(session={"lifetime_s": 30})
        tab.open(daemon.mint(recorder.host, recorder.port).url)
        tab.wait_for_state("connected")
        wait_for(tab.picture, "the screen is painted")
        tab.page.click("#clipboard-button")
        tab.page.fill("#clipboard-text", "€" + "a" * 5000)
        tab.page.click("#type")
        tab.page.wait_for_selector("#untypable", state="visible")
        assert_accessible(tab)
        tab.page.click("#type-rest")
        tab.page.wait_for_selector("#typing", state="visible")
        tab.page.wait_for_selector("#ending", state="visible")
        assert_accessible(tab)


def test_an_end_with_a_countdown(daemon: Daemon, tab: ConsolePage) -> None:
    tab.open(daemon.mint("127.0.0.1", free_port(), options=["--reusable"]).url)
    for _ in range(4):  # each countdown is longer than the one before; the fifth leaves time to look
        tab.page.wait_for_selector("#again", state="visible")
        tab.page.click("#retry")
    tab.page.wait_for_selector("#again", state="visible")
    assert_accessible(tab)
    assert tab.page.locator("#again").is_visible()


def test_connecting(start_daemon: StartDaemon, tab: ConsolePage) -> None:
    """The host says nothing."""
    daemon = start_daemon(session={"handshake_timeout_s": 60})
    with answering_with(b"") as port:
        tab.open(daemon.mint("127.0.0.1", port).url)
        tab.wait_for_state("connecting")
        assert_accessible(tab)
        assert tab.data()["state"] == "connecting"
        tab.page.close()


def test_ended(daemon: Daemon, tab: ConsolePage) -> None:
    tab.open(daemon.mint("127.0.0.1", free_port(), options=["--reusable"]).url)
    tab.wait_for_state("ended")
    assert tab.page.locator("#panel").is_visible()
    assert_accessible(tab)


def test_refused_link(daemon: Daemon, tab: ConsolePage) -> None:
    """The error page."""
    tab.open(f"{daemon.url}/novnc?token=AAAA")
    assert tab.wait_for_state("ended")["slug"] == "token-invalid"
    assert_accessible(tab)


def test_what_is_wrong_is_found(chromium: Browser) -> None:
    """The harness itself."""
    context = chromium.new_context()
    try:
        page = context.new_page()
        page.set_content(
            "<!doctype html><html lang=en><title>x</title><main><h1>x</h1><button></button>"
            "<p style='background: #fff; color: #999'>pale</p></main>"
        )
        found = {violation.rule: violation for violation in violations(ConsolePage(page))}
        assert found.keys() == {"button-name", "color-contrast"}
        assert (found["button-name"].selector, found["button-name"].impact) == ("button", "critical")
        assert "insufficient color contrast" in found["color-contrast"].message
    finally:
        context.close()
