"""Is this a WebSocket opening handshake, and if so, what is handed to the WebSocket library for it?

Source: RFC 6455 section 4.2.1. The library gets a head written anew from a few checked headers, never the browser's
own bytes: no extension is ever negotiated, and no header reaches it that it might read differently.
"""

from __future__ import annotations

import base64
import binascii

import attrs

from .. import errors
from ..errors import ConsoleError
from .messages import Request, Response

VERSION = "13"
SUBPROTOCOL = "binary"


@attrs.frozen(kw_only=True)
class Upgrade:
    """A checked opening handshake.

    Attributes:
        head: the canonical request head for the WebSocket library.
        key: the browser's ``Sec-WebSocket-Key``.
        subprotocol: ``binary`` if the browser offered it, else ``None``.
    """

    head: bytes = attrs.field(repr=False)
    key: bytes
    subprotocol: str | None


def websocket_upgrade(request: Request) -> Upgrade:
    """Check an opening handshake.

    Raises:
        ConsoleError: ``upgrade-required`` where no WebSocket of version 13 is asked for, ``bad-request`` where it is
            asked for wrongly.
    """
    wants = {item.lower() for item in request.header_items("upgrade")}
    connection = {item.lower() for item in request.header_items("connection")}
    if "websocket" not in wants or "upgrade" not in connection:
        raise ConsoleError(errors.UPGRADE_REQUIRED, "no Upgrade: websocket")
    if request.method != "GET" or request.http_version != "1.1":
        raise ConsoleError(errors.BAD_REQUEST, "an upgrade with another method or version than GET and HTTP/1.1")
    if request.header("sec-websocket-version") != VERSION:
        raise ConsoleError(errors.UPGRADE_REQUIRED, "another WebSocket version than 13")
    key = request.header("sec-websocket-key") or ""
    try:
        well_formed = len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        well_formed = False
    if not well_formed:
        raise ConsoleError(errors.BAD_REQUEST, "no Sec-WebSocket-Key of 16 bytes")
    offered = SUBPROTOCOL in request.header_items("sec-websocket-protocol")
    return canonical_upgrade(key, SUBPROTOCOL if offered else None)


def canonical_upgrade(key: str, subprotocol: str | None) -> Upgrade:
    """What is handed to the library for a browser with that key, which has been checked."""
    lines = [
        "GET / HTTP/1.1",
        "Host: localhost",  # the library wants one and does nothing with it but decode it, which can fail
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Version: {VERSION}",
        f"Sec-WebSocket-Key: {key}",
        *([f"Sec-WebSocket-Protocol: {subprotocol}"] if subprotocol else []),
    ]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
    return Upgrade(head=head, key=key.encode("ascii"), subprotocol=subprotocol)


def upgrade_headers() -> tuple[tuple[str, str], ...]:
    """What a 426 answer has to name (RFC 9110 section 15.5.22, RFC 6455 section 4.4)."""
    return (("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION))


def error_response(error: ConsoleError, *, close: bool = False) -> Response:
    """A plain answer for clients that are no page: the slug and its sentence."""
    reason = error.reason
    status = reason.http_status or 500
    extra: tuple[tuple[str, str], ...] = ()
    if status == 426:
        extra = upgrade_headers()
    elif error.retry_after_s or status == 503:
        extra = (("Retry-After", str(error.retry_after_s or 30)),)
    elif status == 405:
        extra = (("Allow", "GET, HEAD"),)
    return Response(status=status, body=f"{reason.slug}: {reason.text}\n".encode(), headers=extra, close=close)
