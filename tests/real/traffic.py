"""What a visit of a page moves over the network, as Chromium counts it (DevTools Protocol, domain Network).

Counted are the requests that went out, the WebSocket's handshake among them, and the bytes that came for them: head
and compressed body. What runs through the WebSocket afterwards is not, nor is TLS's own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Page

from .processes import wait_for

Event: TypeAlias = Mapping[str, object]


@attrs.frozen
class Request:
    """One request of a page.

    Attributes:
        path: where it went, without the query: that may hold a token.
        received: bytes that came over the network for it.
        sent: it went out; otherwise the cache had the answer.
    """

    path: str
    received: int
    sent: bool


class Traffic:
    """Counts from now on what a page asks for."""

    def __init__(self, page: Page) -> None:
        self._paths: dict[str, str] = {}
        self._sent: set[str] = set()
        self._received: dict[str, int] = {}
        self._page = page
        self._session = page.context.new_cdp_session(page)
        for event, react in (
            ("requestWillBeSent", self._on_request),
            ("requestWillBeSentExtraInfo", self._on_sent),
            ("loadingFinished", self._on_finished),
            ("loadingFailed", self._on_failed),
            ("webSocketCreated", self._on_websocket),
            ("webSocketHandshakeResponseReceived", self._on_handshake),
        ):
            self._session.on(f"Network.{event}", react)
        self._session.send("Network.enable")

    def _on_request(self, event: Event) -> None:
        request = event["request"]
        assert isinstance(request, dict)
        if not str(request["url"]).startswith(("data:", "blob:")):
            self._paths[str(event["requestId"])] = _path(str(request["url"]))

    def _on_sent(self, event: Event) -> None:
        """The head has gone out. What the cache answers has none, nor what waited for the cache and was given up."""
        self._sent.add(str(event["requestId"]))

    def _on_finished(self, event: Event) -> None:
        self._received[str(event["requestId"])] = int(str(event["encodedDataLength"]))

    def _on_failed(self, event: Event) -> None:
        self._received.setdefault(str(event["requestId"]), 0)

    def _on_websocket(self, event: Event) -> None:
        number = str(event["requestId"])
        self._paths[number] = _path(str(event["url"]))
        self._sent.add(number)

    def _on_handshake(self, event: Event) -> None:
        response = event["response"]
        assert isinstance(response, dict)
        head = str(response.get("headersText", ""))
        self._received[str(event["requestId"])] = len(head.encode("latin-1"))

    def wait_until_settled(self) -> None:
        """Wait until each request so far has come to its end, a WebSocket's handshake included."""

        def settled() -> bool:
            self._page.evaluate("null")  # Playwright hands on what happened only while it is asked something
            return self._paths.keys() <= self._received.keys()

        wait_for(settled, "all requests of the page are answered")

    def all(self) -> list[Request]:
        """All requests so far, in their order."""
        return [
            Request(path, self._received.get(number, 0) if number in self._sent else 0, number in self._sent)
            for number, path in self._paths.items()
        ]

    def sent(self) -> list[Request]:
        """Those that went over the network."""
        return [request for request in self.all() if request.sent]

    def received(self) -> int:
        """Bytes that came over the network for all of them."""
        return sum(request.received for request in self.sent())


def _path(url: str) -> str:
    return url.partition("?")[0].partition("://")[2].partition("/")[2]


def trust(certificate: Path) -> str:
    """An argument for Chromium that makes it take a certificate for good, as one of an authority it knows.

    It keeps nothing in its cache that came over a connection with a certificate error, even an ignored one.
    """
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    key = loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"--ignore-certificate-errors-spki-list={base64.b64encode(hashlib.sha256(key).digest()).decode('ascii')}"
