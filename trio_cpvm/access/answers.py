"""What the access endpoint answers, as CloudStack's API words it. Sans-I/O.

Source: CloudStack ``CreateConsoleEndpointCmd``, ``CreateConsoleEndpointResponse``, ``ConsoleEndpointWebsocketResponse``
(``port`` is a text, ``extra`` is there only if an extra token is in use) and ``ApiServer.getSerializedApiError`` (an
error stands under the command's own response name, or under ``errorresponse`` where there is no such command).
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from ..errors import ConsoleError
from ..http import Response

COMMAND = "createConsoleEndpoint"
RESPONSE = COMMAND.lower() + "response"
ERROR_RESPONSE = "errorresponse"


def endpoint_answer(url: str, token: str = "", extra: str = "") -> Response:
    """A console's address.

    Args:
        url: for a browser.
        token: for other clients; empty: they cannot use it.
        extra: the extra security token, if one is in use.
    """
    endpoint: dict[str, object] = {"success": True, "url": url}
    if token:
        parts = urlsplit(url)
        websocket = {
            "host": parts.hostname or "",
            "port": str(parts.port or (443 if parts.scheme == "https" else 80)),
            "path": parts.path.removesuffix("novnc").lstrip("/") + "websockify",
            "token": token,
        }
        if extra:
            websocket["extra"] = extra
        endpoint["websocket"] = websocket
    return _json(200, {RESPONSE: {"consoleendpoint": endpoint}})


def error_answer(error: ConsoleError, name: str) -> Response:
    """Why there is none.

    Args:
        error: the reason.
        name: ``RESPONSE`` or ``ERROR_RESPONSE``.
    """
    status = error.reason.http_status or 500
    body = {"uuidList": [], "errorcode": status, "errortext": error.reason.text, "reason": error.reason.slug}
    return _json(status, {name: body})


def _json(status: int, body: object) -> Response:
    return Response(status=status, body=json.dumps(body).encode(), content_type="application/json")
