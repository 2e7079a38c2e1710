"""Requests of browsers: the door, the WebSocket upgrade behind it, the query.

An input is one byte for the size of the pieces it is fed in (0: whole), then what the browser sends.
"""

from __future__ import annotations

from fuzz.checks import must, pieces
from trio_cpvm.errors import ConsoleError
from trio_cpvm.http import Door, Request, Response, websocket_upgrade
from trio_cpvm.http.door import MAX_AHEAD_BYTES, MAX_HEAD_BYTES

DATE = "Thu, 01 Jan 1970 00:00:00 GMT"


def check(data: bytes) -> None:
    """However it is cut, the same requests come through the same door."""
    size, sent = (data[0], data[1:]) if data else (0, b"")
    cut = requests_in(sent, size)
    if len(sent) <= MAX_HEAD_BYTES:
        must(cut == requests_in(sent, 0), "the cuts matter")


def requests_in(sent: bytes, size: int) -> list[Request | str]:
    """The requests of one connection, each answered at once; last, the slug of a refusal if there is one."""
    door, seen = Door(), list[Request | str]()
    for piece in pieces(sent, size):
        door.receive(piece)
        try:
            while (request := door.next_request()) is not None:
                seen.append(request)
                look_at(request)
                answered = b"".join(door.respond(Response(status=200, body=b"ok"), date=DATE))
                must(answered.startswith(b"HTTP/1.1 200 OK\r\n"), "no answer")
                if not door.keeps_alive:
                    return seen
        except ConsoleError as error:
            must(error.reason.http_status is not None, "a reason without a status")
            door.respond(Response(status=400), date=DATE)
            must(not door.keeps_alive, "goes on after a refusal")
            return [*seen, error.reason.slug]
        must(len(door.ahead) <= MAX_HEAD_BYTES + MAX_AHEAD_BYTES, "more is kept than may be")
    return seen


def look_at(request: Request) -> None:
    """What the site does with a request."""
    must(request.path.startswith("/") and request.path.isascii() and request.path.isprintable(), "a wild path")
    must(request.query.isascii() and " " not in request.query, "a wild query")
    for name, value in request.headers:
        must(name.isascii() and not set(value) & set("\0\r\n"), "a wild header")
    request.parameter("token")
    request.raw_parameter("extra")
    try:
        upgrade = websocket_upgrade(request)
    except ConsoleError:
        return
    lines = upgrade.head.decode("ascii").split("\r\n")
    must(lines[0] == "GET / HTTP/1.1" and lines[-2:] == ["", ""], "no canonical head")
    must(len(lines) == (9 if upgrade.subprotocol else 8), "a line too many")
