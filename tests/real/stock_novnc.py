"""A web site of its own that embeds noVNC as it comes from npm."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

_HERE = Path(__file__).parent
_PAGE = _HERE / "stock"
_PACKAGE = _HERE.parent.parent / "static" / "node_modules" / "@novnc" / "novnc"
_PREFIX = "/novnc/"


class _Handler(SimpleHTTPRequestHandler):
    """The page from ``stock/``, noVNC's files under ``/novnc/``."""

    def translate_path(self, path: str) -> str:
        if path.startswith(_PREFIX):
            self.directory = str(_PACKAGE)
            path = path.removeprefix(_PREFIX.rstrip("/"))
        else:
            self.directory = str(_PAGE)
        return super().translate_path(path)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    """Lets a browser ask for all modules at once: a connection that does not fit in comes again seconds later."""

    request_queue_size = 128


class StockSite:
    """Where the site is."""

    def __init__(self, port: int) -> None:
        self.origin = f"http://127.0.0.1:{port}"

    def page(self, websocket_url: str) -> str:
        """The page that opens this WebSocket."""
        return f"{self.origin}/index.html#{quote(websocket_url, safe='')}"


@contextmanager
def stock_site() -> Iterator[StockSite]:
    """The site, served for the length of a ``with`` block."""
    if not (_PACKAGE / "core" / "rfb.js").exists():
        pytest.fail(f"noVNC is missing in {_PACKAGE}: run `make page`", pytrace=False)
    with _Server(("127.0.0.1", 0), partial(_Handler, directory=str(_PAGE))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="stock site")
        thread.start()
        try:
            yield StockSite(server.server_port)
        finally:
            server.shutdown()
            thread.join()
