"""XenServer's way to a console: an HTTP CONNECT with a session cookie, then RFB on the same connection. Sans-I/O.

Source: CloudStack ``RawHTTP.java``. Path and query go out decoded, as XenServer reads them; one of our own is that a
URL without a query gets none (CloudStack sends the word ``null``).
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

import attrs

from .. import errors
from ..errors import ConsoleError, sanitise_text
from ..models import Secret

#: XenServer's answer has a status line and a few headers.
MAX_HEAD_BYTES = 16384

_END_OF_HEAD = b"\r\n\r\n"
_STATUS_LINE = re.compile(rb"HTTP/[0-9.]+ ([0-9]{3})(?: ([^\r\n]*))?\r\n")


@attrs.frozen(kw_only=True)
class Tunnel:
    """A tunnel's address.

    Attributes:
        host: to connect to.
        port: likewise; 443 or 80 where the URL names none.
        tls: the URL is https.
        request: the head to send; holds the session, so it is not part of ``repr``.
    """

    host: str
    port: int
    tls: bool
    request: bytes = attrs.field(repr=False)


def tunnel(url: str, session: Secret | None) -> Tunnel:
    """Take a tunnel URL apart.

    Raises:
        ConsoleError: ``upstream-protocol``: it is no http(s) URL, or would break the request apart.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConsoleError(errors.UPSTREAM_PROTOCOL, "the tunnel URL is none") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConsoleError(errors.UPSTREAM_PROTOCOL, "the tunnel URL is none")
    target = unquote(parts.path or "/") + (f"?{unquote(parts.query)}" if parts.query else "")
    cookie = session.reveal() if session is not None else ""
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if not re.fullmatch(r"[\x21-\x7e]*", target + name) or not re.fullmatch(r"[\x20-\x3a\x3c-\x7e]*", cookie):
        raise ConsoleError(
            errors.UPSTREAM_PROTOCOL, "the tunnel URL or session has characters that no request may have"
        )
    head = f"CONNECT {target} HTTP/1.0\r\nHost: {name}\r\nCookie: session_id={cookie}\r\n\r\n"
    tls = parts.scheme == "https"
    return Tunnel(host=parts.hostname, port=port or (443 if tls else 80), tls=tls, request=head.encode("ascii"))


class TunnelAnswer:
    """Reads the answer to a tunnel request, however it is cut.

    Attributes:
        rest: what came behind the answer's head; it belongs to RFB.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.rest = b""

    def receive(self, data: bytes | bytearray) -> bool:
        """Take bytes; true once the answer is complete and the tunnel open.

        Raises:
            ConsoleError: ``upstream-protocol``: refused, with the status for the log, or no HTTP.
        """
        self._buffer += data
        end = self._buffer.find(_END_OF_HEAD)
        if end < 0 and len(self._buffer) <= MAX_HEAD_BYTES:
            if not b"HTTP/".startswith(self._buffer[:5]):
                raise self._no_answer()
            return False
        match = _STATUS_LINE.match(self._buffer)
        if match is None or end < 0:
            raise self._no_answer()
        if match[1] != b"200":
            said = sanitise_text(bytes(match[2] or b""), 100)
            raise ConsoleError(errors.UPSTREAM_PROTOCOL, f"the tunnel was refused: {match[1].decode()} {said}")
        self.rest = bytes(self._buffer[end + len(_END_OF_HEAD) :])
        return True

    def _no_answer(self) -> ConsoleError:
        shown = sanitise_text(bytes(self._buffer[:40]))
        return ConsoleError(errors.UPSTREAM_PROTOCOL, f"the tunnel answered with no HTTP: {shown!r}")
