"""A request and a response as values. Nothing in here knows how they are spelled on the wire."""

from __future__ import annotations

from urllib.parse import unquote

import attrs


@attrs.frozen(kw_only=True)
class Request:
    """A request head that has passed the door; there is never a body.

    Attributes:
        method: in capitals.
        path: the path as it was sent, not decoded.
        query: what follows the question mark, not decoded; may hold a token, so it is not part of ``repr``.
        headers: names in lower case, in the order they came.
        http_version: ``1.1`` or ``1.0``.
        scheme: how the client came in, ``http`` or ``https``; where TLS ends in front of this proxy, as a trusted
            reverse proxy says.
    """

    method: str
    path: str
    query: str = attrs.field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    http_version: str = "1.1"
    scheme: str = "http"

    def header(self, name: str) -> str | None:
        """One header; several lines of it are joined by commas (RFC 9110 section 5.3)."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None

    def header_items(self, name: str) -> list[str]:
        """The items of a comma-separated header, without the empty ones."""
        items = (item.strip(" \t") for item in (self.header(name) or "").split(","))
        return [item for item in items if item]

    def raw_parameter(self, name: str) -> str | None:
        """A query parameter exactly as it was sent; the first of that name counts."""
        for pair in self.query.split("&"):
            key, _, value = pair.partition("=")
            if key == name:
                return value
        return None

    def parameter(self, name: str) -> str | None:
        """A query parameter, percent-decoded; a plus sign stays one."""
        raw = self.raw_parameter(name)
        return None if raw is None else unquote(raw, errors="replace")


@attrs.frozen(kw_only=True)
class Response:
    """An answer with a body of known size.

    Attributes:
        status: the code.
        body: what is sent, except to HEAD.
        content_type: of the body; empty for none.
        headers: further ones.
        close: end the connection after it.
    """

    status: int
    body: bytes = attrs.field(default=b"", repr=False)
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False
