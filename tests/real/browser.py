"""Chromium, and what the tests read off a console page.

The page says how it is doing in ``<html data-state data-slug>`` (connecting, connected, ended); the screen is the
canvas in ``#screen``. The page of ``stock/`` keeps to the same form, so one class reads both.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import attrs
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Response, sync_playwright

from .pictures import Picture, difference, from_rgbx
from .processes import PATIENCE_S, NotInTime, program, wait_for

PACKAGE = "chromium"

ARGUMENTS = (
    "--no-sandbox",  # the tests may be run by root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

_SHIFTED = frozenset('ABCDEFGHIJKLMNOPQRSTUVWXYZ~!@#$%^&*()_+{}|:"<>?')

#: Remembers how each WebSocket of a page was closed; a page's own scripts cannot be asked for that.
_WATCH_SOCKETS = """
globalThis.socketCloses = [];
globalThis.WebSocket = new Proxy(globalThis.WebSocket, {
  construct(target, all) {
    const socket = new target(...all);
    socket.addEventListener("close", (e) => globalThis.socketCloses.push([e.code, e.reason]));
    return socket;
  },
});
"""

#: The canvas' own pixels, whatever size it is drawn in.
_READ_CANVAS = """
() => {
  const canvas = document.querySelector("#screen canvas");
  if (canvas === null || canvas.width === 0 || canvas.height === 0) return null;
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let text = "";
  for (let at = 0; at < pixels.length; at += 0x8000) {
    text += String.fromCharCode(...pixels.subarray(at, at + 0x8000));
  }
  return { width: canvas.width, height: canvas.height, rgba: btoa(text) };
}
"""


@attrs.frozen
class SocketClose:
    """The close event of a WebSocket."""

    code: int
    reason: str


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    executable = program("chromium", PACKAGE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class ConsolePage:
    """A tab of the browser that shows a console, or the reason why not."""

    def __init__(self, page: Page) -> None:
        self.page = page
        #: What went wrong inside the page: uncaught exceptions, and what its content security policy blocked.
        self.faults: list[str] = []
        page.add_init_script(_WATCH_SOCKETS)
        page.on("pageerror", self._on_error)
        page.on("console", self._on_console)

    def _on_error(self, error: Error) -> None:
        self.faults.append(str(error))

    def _on_console(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.faults.append(message.text)

    def open(self, url: str) -> Response:
        """Go to ``url``; the answer for the page itself."""
        response = self.page.goto(url, wait_until="load")
        assert response is not None
        return response

    def data(self) -> Mapping[str, str]:
        """The ``data-`` attributes of ``<html>``."""
        found: dict[str, str] = self.page.evaluate("() => ({ ...document.documentElement.dataset })")
        return found

    def wait_for_state(self, state: str, within_s: float = PATIENCE_S) -> Mapping[str, str]:
        """Wait until the page says it is ``state``; all that it says then."""

        def reached() -> Mapping[str, str] | None:
            data = self.data()
            assert not self.faults
            if state != "ended" and data.get("state") == "ended":
                raise AssertionError(f"the page is not {state}, but: {data} {self.visible_text()!r}")
            return data if data.get("state") == state else None

        return wait_for(reached, f"{self.page.url} is {state}", within_s=within_s)

    def visible_text(self) -> str:
        """The text a user can see."""
        return self.page.inner_text("body")

    def socket_closes(self) -> list[SocketClose]:
        found: list[tuple[int, str]] = self.page.evaluate("() => globalThis.socketCloses")
        return [SocketClose(code, reason) for code, reason in found]

    def wait_for_socket_close(self) -> SocketClose:
        """How the page's one WebSocket was closed, once it is."""
        (close,) = wait_for(self.socket_closes, "the WebSocket is closed")
        return close

    def picture(self) -> Picture | None:
        """What the screen shows; ``None`` while it is not painted everywhere."""
        found = self.page.evaluate(_READ_CANVAS)
        if found is None:
            return None
        rgba = base64.b64decode(found["rgba"])
        opaque = rgba[3::4].count(255) == found["width"] * found["height"]
        return from_rgbx(found["width"], found["height"], rgba) if opaque else None

    def wait_for_picture(self, reference: Callable[[], Picture], within_s: float = PATIENCE_S) -> Picture:
        """Wait until the screen shows exactly the picture ``reference()`` gives, before and after the look at it."""
        last = "no picture, or not of the whole screen"

        def same() -> Picture | None:
            nonlocal last
            before = reference()
            shown = self.picture()
            if shown is None:
                return None
            last = difference(shown, before)
            return shown if not last and reference() == before else None

        try:
            return wait_for(same, "the browser shows the guest's screen, pixel for pixel", within_s=within_s)
        except NotInTime as late:
            late.add_note(last)
            raise

    def click(self, x: int = 100, y: int = 100) -> None:
        """Click on the screen, which gives it the keyboard."""
        self.page.locator("#screen canvas").click(position={"x": x, "y": y})

    def type_line(self, text: str) -> None:
        """Type ``text`` and Enter, as hands on a US keyboard do: the machine sees keys, so Shift has to be held."""
        for character in text:
            self.page.keyboard.press(f"Shift+{character}" if character in _SHIFTED else character)
        self.page.keyboard.press("Enter")
