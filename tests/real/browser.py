"""Chromium, driven by Playwright."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Playwright, Response

from .browsers import SCREEN, AnyTab
from .processes import program, wait_for

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

#: What a user would have said yes to; every page of the tests is a secure context.
PERMISSIONS = ("clipboard-read", "clipboard-write")

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


@attrs.frozen
class SocketClose:
    """The close event of a WebSocket."""

    code: int
    reason: str


@contextmanager
def chromium(playwright: Playwright, home: Path, *arguments: str) -> Iterator[Browser]:
    """A browser without a window.

    Args:
        home: where it may leave files.
        arguments: more for its command line.
    """
    browser = playwright.chromium.launch(
        executable_path=program("chromium", PACKAGE),
        args=[*ARGUMENTS, *arguments],
        env={**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home)},
    )
    try:
        yield browser
    finally:
        browser.close()


class ConsolePage(AnyTab):
    """A tab of Chromium."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._faults: list[str] = []
        page.add_init_script(_WATCH_SOCKETS)
        page.on("pageerror", self._on_error)
        page.on("console", self._on_console)

    def _on_error(self, error: Error) -> None:
        self._faults.append(str(error))

    def _on_console(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self._faults.append(message.text)

    @property
    def faults(self) -> Sequence[str]:
        if not self.page.is_closed():
            self.page.evaluate("null")  # Playwright hands on what happened only while it is asked something
        return self._faults

    @property
    def url(self) -> str:
        return self.page.url

    def open(self, url: str) -> Response:
        """Go to ``url``; the answer for the page itself."""
        response = self.page.goto(url, wait_until="load")
        assert response is not None
        return response

    def evaluate(self, expression: str) -> object:
        found: object = self.page.evaluate(expression)
        return found

    def socket_closes(self) -> list[SocketClose]:
        found: list[tuple[int, str]] = self.page.evaluate("() => globalThis.socketCloses")
        return [SocketClose(code, reason) for code, reason in found]

    def wait_for_socket_close(self) -> SocketClose:
        """How the page's one WebSocket was closed, once it is."""
        (close,) = wait_for(self.socket_closes, "the WebSocket is closed")
        return close

    def click(self, x: int = 100, y: int = 100) -> None:
        self.page.locator(SCREEN).click(position={"x": x, "y": y})

    def click_at(self, x: float, y: float) -> None:
        self.page.mouse.click(x, y)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.down(key)
        for key in reversed(keys):
            self.page.keyboard.up(key)

    def screenshot(self, path: Path) -> None:
        self.page.screenshot(path=path)

    def clipboard(self) -> str:
        self.page.bring_to_front()  # only the tab with the focus is let near it
        return str(self.evaluate("navigator.clipboard.readText()"))

    def set_clipboard(self, text: str) -> None:
        self.page.bring_to_front()
        self.page.evaluate("(text) => navigator.clipboard.writeText(text)", text)
