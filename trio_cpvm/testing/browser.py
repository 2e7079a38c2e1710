"""The browser double: HTTP requests and WebSocket upgrades over any stream, with h11 and wsproto directly.

Each function does one thing on a stream that the caller has opened and will close: nothing is retried, followed or
kept. A refusal is told with everything that came with it.

This file must not know which paths a proxy has, nor what a token is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import h11
import trio
import wsproto
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request

from .streams import StreamEnded
from .websocket import WebSocketDouble, next_upgrade_event, opened, readable

#: The longest body accepted from a server, in bytes.
MAX_BODY_BYTES = 16 * 1024 * 1024

#: The host that requests name unless told otherwise.
HOST = "console.test"

_CHUNK_BYTES = 64 * 1024

Headers = Iterable[tuple[str, str]]


@attrs.frozen
class HttpAnswer:
    """What a server answered; header names are in lower case, in the order in which they came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = attrs.field(repr=False)

    def header(self, name: str) -> str | None:
        """The value of the first header of that name, in any spelling."""
        return next((value for known, value in self.headers if known == name.lower()), None)

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode("utf-8", "replace")


class UpgradeRefused(Exception):
    """The server answered a WebSocket upgrade with something else than 101.

    Args:
        answer: all of the answer.
    """

    def __init__(self, answer: HttpAnswer) -> None:
        super().__init__(answer)
        self.answer = answer

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return self.answer.headers

    @property
    def body(self) -> bytes:
        return self.answer.body

    def __str__(self) -> str:
        return f"HTTP {self.status} instead of 101: {self.answer.text[:200]}"


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def open_websocket(
    stream: trio.abc.Stream,
    target: str = "/websockify",
    *,
    host: str = HOST,
    origin: str | None = None,
    subprotocols: Sequence[str] = ("binary",),
    extra_headers: Headers = (),
) -> WebSocketDouble:
    """Upgrade a connection to a WebSocket, as a browser does.

    Args:
        stream: belongs to the WebSocket afterwards; left open when this fails.
        target: path and query, as they are to stand in the request line; ASCII.
        host: the Host header.
        origin: the Origin header, which a browser always sends; none by default.
        subprotocols: those offered.
        extra_headers: added as they are.

    Raises:
        UpgradeRefused: the server answered, but not with 101.
        StreamEnded: the server closed instead of answering.
        trio.BrokenResourceError: the connection broke, or the answer is no HTTP.
    """
    headers = [*([("Origin", origin)] if origin is not None else []), *extra_headers]
    protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    request = Request(host, target, extra_headers=_encoded(headers), subprotocols=list(subprotocols))
    await stream.send_all(protocol.send(request))
    event = await next_upgrade_event(stream, protocol)
    if isinstance(event, AcceptConnection):
        return opened(stream, protocol, event, target)
    if not isinstance(event, RejectConnection):
        raise trio.BrokenResourceError(f"no answer to an upgrade: {event}")
    body = await _read_refusal(stream, protocol) if event.has_body else b""
    raise UpgradeRefused(HttpAnswer(event.status_code, readable(event.headers), body))


async def _read_refusal(stream: trio.abc.Stream, protocol: wsproto.WSConnection) -> bytes:
    body = bytearray()
    while True:
        event = await next_upgrade_event(stream, protocol)
        if not isinstance(event, RejectData):
            raise trio.BrokenResourceError(f"no body of a refusal: {event}")
        body += event.data
        if len(body) > MAX_BODY_BYTES:
            raise trio.BrokenResourceError(f"a body of more than {MAX_BODY_BYTES} bytes")
        if event.body_finished:
            return bytes(body)


async def http_get(
    stream: trio.abc.Stream,
    target: str,
    *,
    host: str = HOST,
    headers: Headers = (),
    method: str = "GET",
    body: bytes = b"",
) -> HttpAnswer:
    """Send one request and read the answer to it; the stream can be used again if the server keeps it open.

    Args:
        stream: left open.
        target: path and query, as they are to stand in the request line; ASCII.
        host: the Host header.
        headers: added as they are.
        method: another one than GET, if need be.
        body: what a POST sends; its length is announced if there is one.

    Raises:
        StreamEnded: the server closed before the end of its answer.
        trio.BrokenResourceError: the connection broke, or the answer is no HTTP, or too long.
    """
    connection = h11.Connection(h11.CLIENT)
    length = [("Content-Length", str(len(body)))] if body else []
    request = h11.Request(method=method, target=target, headers=_encoded([("Host", host), *length, *headers]))
    head = connection.send(request) or b""
    await stream.send_all(
        head + (connection.send(h11.Data(body)) or b"") + (connection.send(h11.EndOfMessage()) or b"")
    )
    answer: h11.Response | None = None
    content = bytearray()
    while True:
        event = await _next_http_event(stream, connection)
        if isinstance(event, h11.Response):
            answer = event
        elif isinstance(event, h11.Data):
            content += event.data
            if len(content) > MAX_BODY_BYTES:
                raise trio.BrokenResourceError(f"a body of more than {MAX_BODY_BYTES} bytes")
        elif isinstance(event, h11.EndOfMessage) and answer is not None:
            return HttpAnswer(answer.status_code, readable(answer.headers), bytes(content))
        elif isinstance(event, h11.ConnectionClosed):
            raise StreamEnded(1, bytes(content))


async def _next_http_event(stream: trio.abc.Stream, connection: h11.Connection) -> h11.Event:
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as exc:
            if connection.trailing_data[1]:
                raise StreamEnded(1, b"") from exc
            raise trio.BrokenResourceError(f"no HTTP answer: {exc}") from exc
        if isinstance(event, h11.Event):
            return event
        if event is h11.PAUSED:
            raise trio.BrokenResourceError("the server switched to another protocol")
        connection.receive_data(bytes(await stream.receive_some(_CHUNK_BYTES)))
