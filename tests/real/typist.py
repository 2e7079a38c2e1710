"""A web site with a page that does nothing but type: noVNC, and the console page's own modules for typing."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeAlias

from .. import node
from .browser import ConsolePage
from .daemon import Daemon
from .stock_novnc import StockSite

_PAGE = """\
<!doctype html>
<html lang="en" data-state="connecting">
  <meta charset="utf-8">
  <title>typing</title>
  <div id="screen" style="width: 1000px; height: 700px"></div>
  <script type="module" src="typing-page.mjs"></script>
</html>
"""

#: How texts are typed: ``Way`` in static/src/typing/strokes.ts.
Way: TypeAlias = Mapping[str, str]

CHARACTERS: Way = {"kind": "characters"}


def on_layout(name: str, system: str = "other") -> Way:
    return {"kind": "layout", "id": name, "system": system}


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def typing_site(folder: Path) -> Iterator[StockSite]:
    """The site, served for the length of a ``with`` block.

    Args:
        folder: where its files go.
    """
    node.bundle(folder, "typing-page.ts")
    (folder / "index.html").write_text(_PAGE, "utf-8")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="typing site")
        thread.start()
        try:
            yield StockSite(server.server_port)
        finally:
            server.shutdown()
            thread.join()


class TypingTab:
    """The page, with a console open.

    Args:
        tab: where to open it.
        site: the site.
        daemon: the proxy; it has to allow the site's origin.
        host: the machine's VNC server; likewise the port.
    """

    def __init__(self, tab: ConsolePage, site: StockSite, daemon: Daemon, host: str, port: int) -> None:
        self._page = tab.page
        tab.open(site.page(daemon.mint(host, port).websocket_url))
        tab.wait_for_state("connected")

    def type(self, text: str, way: Way, event_ms: float | None = None) -> list[str]:
        """Type a text; which of its characters could not be typed.

        Args:
            event_ms: milliseconds to wait for each key event; ``None``: what the page takes.
        """
        untypable: list[str] = self._page.evaluate("(all) => typeText(...all)", [text, way, event_ms])
        return untypable

    def typable(self, layout: str) -> str:
        """Every character that the page knows how to type on a layout."""
        found: list[str] = self._page.evaluate("(id) => typable(id, 'other')", layout)
        return "".join(found)
