"""How the page shows the screen: its size, moving it, the quality that is asked for, and the screenshot."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from .browser import ConsolePage
from .conftest import StartDaemon, StartQemu
from .pictures import difference, from_png
from .processes import wait_for
from .recorder import Pointer, Recorder, Resize

pytestmark = [pytest.mark.real, pytest.mark.browser]

#: The encodings that ask for them; each level is one more (rfbproto, "JPEG Quality Level", "Compression Level").
QUALITY_0, COMPRESSION_0 = -32, -256


def open_console(tab: ConsolePage, host: Recorder, start_daemon: StartDaemon) -> Page:
    tab.open(start_daemon().mint(host.host, host.port).url)
    tab.wait_for_state("connected")
    return tab.page


def choose(page: Page, selector: str) -> None:
    """Tick something in the view panel, as a user does, and close the panel."""
    page.click("#view-button")
    page.check(selector)
    page.keyboard.press("Escape")


def canvas_size(page: Page) -> tuple[int, int]:
    box = page.locator("#screen canvas").bounding_box()
    assert box is not None
    return round(box["width"]), round(box["height"])


def window_size(page: Page) -> tuple[int, int]:
    box = page.locator("#screen").bounding_box()
    assert box is not None
    return round(box["width"]), round(box["height"])


def test_a_large_screen_fits_and_a_small_one_is_not_blown_up(tab: ConsolePage, start_daemon: StartDaemon) -> None:
    with Recorder(size=(2000, 1000)) as host:
        page = open_console(tab, host, start_daemon)
        wait_for(lambda: canvas_size(page)[0] == window_size(page)[0], "as wide as the window")
        assert canvas_size(page)[1] <= window_size(page)[1]
    with Recorder(size=(320, 200)) as host:
        page = open_console(tab, host, start_daemon)
        wait_for(lambda: canvas_size(page) == (320, 200), "its own size")


def test_actual_pixels_and_moving_the_view(tab: ConsolePage, start_daemon: StartDaemon) -> None:
    with Recorder(size=(3000, 2000)) as host:
        page = open_console(tab, host, start_daemon)
        choose(page, "#size-actual")
        wait_for(lambda: canvas_size(page) == (3000, 2000), "its own pixels")
        choose(page, "#move")
        page.mouse.move(600, 500)
        page.mouse.down()
        page.mouse.move(400, 400, steps=4)
        page.mouse.up()
        left = page.evaluate("() => document.querySelector('#screen canvas').parentElement.scrollLeft")
        top = page.evaluate("() => document.querySelector('#screen canvas').parentElement.scrollTop")
        assert (left, top) == (200, 100)
        page.focus("#mover")
        page.keyboard.press("ArrowLeft")
        wait_for(
            lambda: page.evaluate("() => document.querySelector('#screen canvas').parentElement.scrollLeft") < 200,
            "an arrow key moves it",
        )
        assert not [pointer for pointer in host.pointer() if pointer.buttons]
        page.keyboard.press("Escape")
        wait_for(lambda: page.locator("#mover").is_hidden(), "Escape ends moving")
        page.locator("#screen").click(position={"x": 10, "y": 10})
        clicks = wait_for(lambda: [p for p in host.pointer() if p.buttons], "a click reaches the machine again")
        assert clicks[0] == Pointer(1, 10 + left - 64, 10 + top)


def test_the_machine_is_asked_for_a_screen_of_the_window_s_size(tab: ConsolePage, start_daemon: StartDaemon) -> None:
    with Recorder(resizable=True) as host:
        page = open_console(tab, host, start_daemon)
        choose(page, "#size-guest")
        host.wait_for(Resize(*window_size(page)))


def test_quality_and_compression_are_asked_for_and_remembered(tab: ConsolePage, start_daemon: StartDaemon) -> None:
    with Recorder() as host:
        page = open_console(tab, host, start_daemon)
        wait_for(lambda: QUALITY_0 + 6 in host.encodings and COMPRESSION_0 + 2 in host.encodings, "the defaults")
        page.click("#view-button")
        page.fill("#quality", "9")
        page.fill("#compression", "0")
        wait_for(lambda: QUALITY_0 + 9 in host.encodings and COMPRESSION_0 in host.encodings, "what was chosen")


def test_the_screenshot_is_what_the_guest_shows(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str, tmp_path: Path
) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    tab.open(daemon.mint(qemu.host, qemu.port, password=password, options=["--name", "Web server: 1/2"]).url)
    tab.wait_for_state("connected")
    tab.wait_for_picture(qemu.screendump)
    with tab.page.expect_download() as download:
        tab.page.click("#screenshot")
    assert download.value.suggested_filename.startswith("Web-server-1-2_20")
    assert download.value.suggested_filename.endswith(".png")
    file = tmp_path / "screenshot.png"
    download.value.save_as(file)
    assert difference(from_png(file.read_bytes()), qemu.screendump()) == ""
