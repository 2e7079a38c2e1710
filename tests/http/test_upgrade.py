"""WebSocket opening handshakes: which pass, what the library is given for them, and how the others are answered."""

from __future__ import annotations

import pytest
import wsproto
import wsproto.events

from trio_cpvm import errors
from trio_cpvm.errors import ConsoleError, Reason
from trio_cpvm.http import Request, websocket_upgrade
from trio_cpvm.http.upgrade import error_response

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    "host": "console.test",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": KEY,
}


def opening(changes: dict[str, str | None], *, method: str = "GET", http_version: str = "1.1") -> Request:
    """A good handshake with some headers changed, and those that are ``None`` left out."""
    headers = tuple((name, value) for name, value in {**GOOD, **changes}.items() if value is not None)
    return Request(method=method, path="/websockify", headers=headers, http_version=http_version)


@pytest.mark.parametrize(
    ("changes", "subprotocol"),
    [
        ({}, None),
        ({"upgrade": "WebSocket"}, None),
        ({"upgrade": "h2c, websocket"}, None),
        ({"connection": "keep-alive, Upgrade"}, None),
        ({"connection": "UPGRADE"}, None),
        ({"sec-websocket-protocol": "binary"}, "binary"),
        ({"sec-websocket-protocol": "base64, binary"}, "binary"),
        ({"sec-websocket-protocol": "base64"}, None),
        ({"sec-websocket-protocol": "BINARY"}, None),
        ({"sec-websocket-extensions": "permessage-deflate; client_max_window_bits"}, None),
        ({"cookie": "x", "authorization": "y", "origin": "http://console.test"}, None),
    ],
)
def test_the_library_gets_a_canonical_head(changes: dict[str, str | None], subprotocol: str | None) -> None:
    upgrade = websocket_upgrade(opening(changes))
    assert upgrade.subprotocol == subprotocol
    assert upgrade.head.decode("ascii").split("\r\n") == [
        "GET / HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
        *(["Sec-WebSocket-Protocol: binary"] if subprotocol else []),
        "",
        "",
    ]
    library = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    library.receive_data(upgrade.head)
    (request,) = library.events()
    assert isinstance(request, wsproto.events.Request)
    assert request.extensions == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"upgrade": None}, errors.UPGRADE_REQUIRED),
        ({"upgrade": "h2c"}, errors.UPGRADE_REQUIRED),
        ({"connection": None}, errors.UPGRADE_REQUIRED),
        ({"connection": "keep-alive"}, errors.UPGRADE_REQUIRED),
        ({"sec-websocket-version": None}, errors.UPGRADE_REQUIRED),
        ({"sec-websocket-version": "8"}, errors.UPGRADE_REQUIRED),
        ({"sec-websocket-version": "13, 13"}, errors.UPGRADE_REQUIRED),
        ({"sec-websocket-key": None}, errors.BAD_REQUEST),
        ({"sec-websocket-key": ""}, errors.BAD_REQUEST),
        ({"sec-websocket-key": "c2hvcnQ="}, errors.BAD_REQUEST),
        ({"sec-websocket-key": KEY + "AAAA"}, errors.BAD_REQUEST),
        ({"sec-websocket-key": f"{KEY}, {KEY}"}, errors.BAD_REQUEST),
        ({"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQAA"}, errors.BAD_REQUEST),
        ({"sec-websocket-key": "!" + KEY[1:]}, errors.BAD_REQUEST),
    ],
)
def test_handshakes_that_are_none_say_why(changes: dict[str, str | None], reason: Reason) -> None:
    with pytest.raises(ConsoleError) as caught:
        websocket_upgrade(opening(changes))
    assert caught.value.reason is reason


@pytest.mark.parametrize(("method", "http_version"), [("POST", "1.1"), ("HEAD", "1.1"), ("GET", "1.0")])
def test_only_get_of_http_1_1_upgrades(method: str, http_version: str) -> None:
    with pytest.raises(ConsoleError) as caught:
        websocket_upgrade(opening({}, method=method, http_version=http_version))
    assert caught.value.reason is errors.BAD_REQUEST


@pytest.mark.parametrize(
    ("reason", "status", "headers"),
    [
        (errors.BAD_REQUEST, 400, ()),
        (errors.TOKEN_INVALID, 403, ()),
        (errors.METHOD_NOT_ALLOWED, 405, (("Allow", "GET, HEAD"),)),
        (errors.UPGRADE_REQUIRED, 426, (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))),
        (errors.DRAINING, 503, (("Retry-After", "30"),)),
        (errors.TOO_MANY_SESSIONS, 503, (("Retry-After", "30"),)),
        (errors.UPSTREAM_PROTOCOL, 500, ()),
    ],
)
def test_plain_answers_have_the_status_and_what_it_asks_for(
    reason: Reason, status: int, headers: tuple[tuple[str, str], ...]
) -> None:
    answer = error_response(ConsoleError(reason, "DETAIL", server_text="SERVER"))
    assert (answer.status, answer.headers, answer.close) == (status, headers, False)
    assert answer.body.decode() == f"{reason.slug}: {reason.text}\n"
    assert error_response(ConsoleError(reason), close=True).close
