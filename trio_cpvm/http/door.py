"""The door: requests of one connection, with everything refused that a console's browser would never send.

h11 reads and writes the messages; this file decides what may reach it. A head has to be plain ASCII with CR LF line
ends, small, and without a body behind it: then there is nothing that another HTTP reader could understand differently
(request smuggling), and nothing that the WebSocket library could stumble over.
"""

from __future__ import annotations

import ipaddress
import re

import h11

from .. import errors
from ..errors import ConsoleError
from .messages import Request, Response

#: RFC 9112 gives no limit; a token is at most 8 KiB and some cookies have to fit beside it.
MAX_HEAD_BYTES = 16384
#: What may wait unread behind a request: the next ones of a client that does not wait for answers.
MAX_AHEAD_BYTES = 65536

_END_OF_HEAD = b"\r\n\r\n"
_FOREIGN = re.compile(rb"[^\t\r\n\x20-\x7e]|\r(?!\n)|(?<!\r)\n|\n[\t ]")  # the last one: a header line that goes on
_HOST = re.compile(
    r"(?:[A-Za-z0-9._~-]+|\[(?P<six>[0-9A-Fa-f:.]+)(?:%25[A-Za-z0-9._~-]+)?\])(?::(?P<port>[0-9]{1,5}))?"
)

#: The same for every answer: nothing here is to be guessed at, cached by accident or told to other sites.
_COMMON_HEADERS = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"))


class Door:
    """One connection's side of HTTP/1.1. Feed bytes, take requests, turn answers into bytes.

    After a refusal (``ConsoleError``) the connection can answer once more and is then finished.
    """

    def __init__(self) -> None:
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._buffer = bytearray()
        self._scanned = 0
        self._method = b""
        self._refused = False

    @property
    def idle(self) -> bool:
        """Whether no part of a request has come in yet."""
        return not self._buffer

    @property
    def ahead(self) -> bytes:
        """What came in behind the request taken last."""
        return bytes(self._buffer)

    @property
    def keeps_alive(self) -> bool:
        """Whether another request may follow the answer just given."""
        return not self._refused and self._http.our_state is h11.IDLE

    def receive(self, data: bytes | bytearray) -> None:
        """Take what the browser sent; ``next_request`` judges it."""
        self._buffer += data

    def next_request(self) -> Request | None:
        """The next request, or ``None`` if more bytes are needed.

        Raises:
            ConsoleError: ``request-too-large`` or ``bad-request``; answer it, then close.
        """
        end = self._buffer.find(_END_OF_HEAD, max(0, self._scanned - len(_END_OF_HEAD) + 1))
        head = self._buffer if end < 0 else self._buffer[: end + len(_END_OF_HEAD)]
        if len(head) > MAX_HEAD_BYTES or len(self._buffer) - len(head) > MAX_AHEAD_BYTES:
            raise self._refuse(errors.REQUEST_TOO_LARGE, f"more than {MAX_HEAD_BYTES} bytes of head")
        # a CR at the very end may still be followed by its LF
        foreign = _FOREIGN.search(head, max(0, self._scanned - 1), len(head) - (end < 0 and head.endswith(b"\r")))
        if foreign is not None:
            raise self._refuse(errors.BAD_REQUEST, f"byte {foreign[0]!r} in the head")
        self._scanned = len(head)
        if end < 0:
            return None
        del self._buffer[: len(head)]
        self._scanned = 0
        return self._read_head(bytes(head))

    def respond(self, response: Response, *, date: str) -> list[bytes]:
        """An answer to the request taken last, or to the one refused, in pieces; to HEAD, without the body.

        The body is not copied: many slow browsers may be sent the same one.

        Args:
            response: the answer.
            date: for the ``Date`` header (RFC 9110 section 6.6.1).
        """
        headers = [("Date", date), ("Content-Length", str(len(response.body)))]
        if response.content_type:
            headers.append(("Content-Type", response.content_type))
        headers += response.headers
        names = {name.lower() for name, _ in headers}
        headers += [h for h in _COMMON_HEADERS if h[0].lower() not in names]
        if "cache-control" not in names:
            headers.append(("Cache-Control", "no-store"))
        if response.close or self._refused:
            headers.append(("Connection", "close"))
        head = h11.Response(status_code=response.status, headers=headers, reason=_reason_phrase(response.status))
        body = b"" if self._method == b"HEAD" else response.body
        if self._http.our_state not in (h11.SEND_RESPONSE, h11.IDLE):
            return []  # h11 has given up on the connection
        if self._http.their_state is h11.SEND_BODY:
            self._http.next_event()  # EndOfMessage: there is no body, and an upgrade that is answered is refused
        parts = [self._http.send(head) or b""]
        if body:
            self._http.send_with_data_passthrough(h11.Data(data=body))
            parts.append(body)
        self._http.send(h11.EndOfMessage())  # with a Content-Length, it has no bytes of its own
        self._method = b""
        if self._http.states == {h11.SERVER: h11.DONE, h11.CLIENT: h11.DONE}:
            self._http.start_next_cycle()
        return parts

    def _read_head(self, head: bytes) -> Request:
        try:
            self._http.receive_data(head)
            event = self._http.next_event()
            if not isinstance(event, h11.Request):
                raise self._refuse(errors.BAD_REQUEST, "no request")
            self._method = event.method
            request = _request(event)
            _check(request)
        except h11.RemoteProtocolError as exc:
            # what follows a colon may be the request itself, token and all
            raise self._refuse(errors.BAD_REQUEST, str(exc).partition(":")[0]) from None
        except ConsoleError:
            self._refused = True
            raise
        return request

    def _refuse(self, reason: errors.Reason, detail: str) -> ConsoleError:
        self._refused = True
        return ConsoleError(reason, detail)


def _request(event: h11.Request) -> Request:
    path, _, query = event.target.decode("ascii").partition("?")
    return Request(
        method=event.method.decode("ascii"),
        path=path,
        query=query,
        headers=tuple((name.decode("ascii"), value.decode("ascii")) for name, value in event.headers),
        http_version=event.http_version.decode("ascii"),
    )


def _check(request: Request) -> None:
    """What h11 lets pass and no browser sends to a console."""
    if not request.path.startswith("/"):
        raise ConsoleError(errors.BAD_REQUEST, "the target is no path")
    host = request.header("host")
    if host is not None and not _is_host(host):
        raise ConsoleError(errors.BAD_REQUEST, "the Host header names no host")
    if request.header("transfer-encoding") is not None or request.header("content-length") not in (None, "0"):
        raise ConsoleError(errors.BAD_REQUEST, "a body")


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    if match is None or int(match["port"] or 0) > 65535:
        return False
    if match["six"]:
        try:
            ipaddress.IPv6Address(match["six"])
        except ValueError:
            return False
    return True


def _reason_phrase(status: int) -> str:
    return _PHRASES.get(status, "")


_PHRASES = {
    200: "OK",
    204: "No Content",
    302: "Found",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    426: "Upgrade Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
