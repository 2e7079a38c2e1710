"""Why a console does not open, or ends: one table of reasons, one exception.

The tree:

* ``ConsoleError`` -- anything that ends a request or a session for a reason its user can be told.
* ``BadConfiguration`` -- the operator's files; never caused by a peer.

What went wrong is data, not a class: every ``ConsoleError`` holds one ``Reason`` out of ``REASONS``. Its slug
is the same in the log line, the metric label, the WebSocket close reason, the status answer and the page.

This file must not know how a reason is sent; it knows only what it is called and what it says.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from types import MappingProxyType
from typing import Self

import attrs

from .limits import Limit

#: RFC 6455 section 5.5: a control frame holds 125 bytes, two of which are the close code.
MAX_CLOSE_REASON_BYTES = 123

#: How much of a VNC server's own words a user is shown, in characters.
MAX_SERVER_TEXT_CHARS = 200


#: How many faults of one file are told.
MAX_FAULTS = 20


class Side(enum.StrEnum):
    """Whose doing it was."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    INTERNAL = "internal"


class Phase(enum.StrEnum):
    """How far a console had come."""

    REQUEST = "request"
    CONNECT = "connect"
    HANDSHAKE = "handshake"
    RELAY = "relay"


@attrs.frozen(repr=False)
class Reason:
    """One row of the table.

    Attributes:
        slug: the stable name.
        side: whose doing it was.
        phase: where it happens, as a rule.
        http_status: the answer while the browser still waits for one; ``None`` where there is none.
        close_code: the WebSocket close code once the browser is connected; ``None`` where there is none.
        retryable: whether doing the same again, unchanged, may help.
        text: one sentence for the user.
        advice: what the user can do next.
    """

    slug: str
    side: Side
    phase: Phase
    http_status: int | None
    close_code: int | None
    retryable: bool
    text: str
    advice: str

    def __str__(self) -> str:
        return self.slug

    def __repr__(self) -> str:
        return f"Reason({self.slug})"


def _load_texts() -> Mapping[str, Mapping[str, str]]:
    path = resources.files("trio_cpvm") / "messages" / "en.json"
    texts: dict[str, dict[str, str]] = json.loads(path.read_text("utf-8"))
    return texts


_TEXTS = _load_texts()
_rows: dict[str, Reason] = {}


def _reason(
    slug: str, side: Side, phase: Phase, *, http: int | None = None, close: int | None = None, retry: bool = False
) -> Reason:
    texts = _TEXTS[slug]
    row = Reason(slug, side, phase, http, close, retry, texts["text"], texts["advice"])
    _rows[slug] = row
    return row


_D, _U, _I = Side.DOWNSTREAM, Side.UPSTREAM, Side.INTERNAL

BAD_REQUEST = _reason("bad-request", _D, Phase.REQUEST, http=400)
NOT_FOUND = _reason("not-found", _D, Phase.REQUEST, http=404)
METHOD_NOT_ALLOWED = _reason("method-not-allowed", _D, Phase.REQUEST, http=405)
UPGRADE_REQUIRED = _reason("upgrade-required", _D, Phase.REQUEST, http=426)
REQUEST_TIMEOUT = _reason("request-timeout", _D, Phase.REQUEST, http=408, retry=True)
REQUEST_TOO_LARGE = _reason("request-too-large", _D, Phase.REQUEST, http=431)

TOKEN_MISSING = _reason("token-missing", _D, Phase.REQUEST, http=400)
TOKEN_INVALID = _reason("token-invalid", _D, Phase.REQUEST, http=403)
TOKEN_EXPIRED = _reason("token-expired", _D, Phase.REQUEST, http=403)
TOKEN_USED = _reason("token-used", _D, Phase.REQUEST, http=403)
SOURCE_IP_MISMATCH = _reason("source-ip-mismatch", _D, Phase.REQUEST, http=403)
EXTRA_TOKEN_MISMATCH = _reason("extra-token-mismatch", _D, Phase.REQUEST, http=403)
ORIGIN_REFUSED = _reason("origin-refused", _D, Phase.REQUEST, http=403)
TOO_MANY_SESSIONS = _reason("too-many-sessions", _I, Phase.REQUEST, http=503, retry=True)
DRAINING = _reason("draining", _I, Phase.RELAY, http=503, close=4412, retry=True)

ACCESS_UNAUTHORISED = _reason("access-unauthorised", _D, Phase.REQUEST, http=401)
MACHINE_NOT_FOUND = _reason("machine-not-found", _D, Phase.REQUEST, http=404)
MACHINE_NOT_RUNNING = _reason("machine-not-running", _U, Phase.REQUEST, http=409, retry=True)
MACHINE_WITHOUT_CONSOLE = _reason("machine-without-console", _U, Phase.REQUEST, http=409)
TOO_MANY_ATTEMPTS = _reason("too-many-attempts", _D, Phase.REQUEST, http=429, retry=True)
INVENTORY_FAILED = _reason("inventory-failed", _U, Phase.REQUEST, http=502, retry=True)

UPSTREAM_UNREACHABLE = _reason("upstream-unreachable", _U, Phase.CONNECT, close=4502, retry=True)
UPSTREAM_TIMEOUT = _reason("upstream-timeout", _U, Phase.HANDSHAKE, close=4504, retry=True)
UPSTREAM_FORBIDDEN = _reason("upstream-forbidden", _U, Phase.CONNECT, close=4403)
UPSTREAM_AUTH_FAILED = _reason("upstream-auth-failed", _U, Phase.HANDSHAKE, close=4401)
UPSTREAM_AUTH_BLOCKED = _reason("upstream-auth-blocked", _U, Phase.HANDSHAKE, close=4429)
UPSTREAM_TLS_FAILED = _reason("upstream-tls-failed", _U, Phase.HANDSHAKE, close=4495)
UPSTREAM_PROTOCOL = _reason("upstream-protocol", _U, Phase.HANDSHAKE, close=4500)
CLIENT_PROTOCOL = _reason("client-protocol", _D, Phase.HANDSHAKE, close=1002)
CLIENT_TIMEOUT = _reason("client-timeout", _D, Phase.HANDSHAKE, close=4408, retry=True)

IDLE_TIMEOUT = _reason("idle-timeout", _D, Phase.RELAY, close=4408)
LIFETIME_REACHED = _reason("lifetime-reached", _I, Phase.RELAY, close=4410)
REPLACED = _reason("replaced", _D, Phase.RELAY, close=4409)
KILLED = _reason("killed", _I, Phase.RELAY, close=4411)
CLOSED_BY_GUEST = _reason("closed-by-guest", _U, Phase.RELAY, close=1000, retry=True)
CLOSED_BY_USER = _reason("closed-by-user", _D, Phase.RELAY, close=1000)
INTERNAL_ERROR = _reason("internal-error", _I, Phase.RELAY, http=500, close=1011, retry=True)

#: Every reason by its slug.
REASONS: Mapping[str, Reason] = MappingProxyType(_rows)


class ConsoleError(Exception):
    """A request or session cannot go on, for a reason its user can be told.

    Args:
        reason: the row of the table.
        detail: what exactly happened, for the log only; it must hold no secret.
        server_text: the VNC server's own words, already sanitised (``sanitise_text``); shown to the user.
        by: the name of the user whose doing it was, sanitised likewise; shown as well.
        limit: the limit that was reached, where it is that.
        retry_after_s: whole seconds after which doing the same again may help; 0: unknown.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str = "",
        *,
        server_text: str = "",
        by: str = "",
        limit: Limit | None = None,
        retry_after_s: int = 0,
    ) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.server_text = server_text
        self.by = by
        self.limit = limit
        self.retry_after_s = retry_after_s

    @property
    def public_text(self) -> str:
        """The reason's sentence, followed by the VNC server's own words, or a user's name, where there are any."""
        if self.server_text:
            return f"{self.reason.text} It said: {self.server_text}"
        if self.by:
            return f"{self.reason.text} By: {self.by}"
        return self.reason.text

    def __str__(self) -> str:
        return f"{self.reason.slug}: {self.detail}" if self.detail else self.reason.slug


class BadConfiguration(Exception):
    """The configuration, or a file it names, cannot be used. The text names the file, the key path and the value."""

    @classmethod
    def with_faults(cls, source: object, faults: Sequence[str]) -> Self:
        """Several faults of one file, a line each; very many of them are counted only."""
        lines = [f"{source}: {fault}" for fault in faults[:MAX_FAULTS]]
        if len(faults) > MAX_FAULTS:
            lines.append(f"{source}: {len(faults) - MAX_FAULTS} more faults")
        return cls("\n".join(lines))


def sanitise_text(raw: bytes | str, limit: int = MAX_SERVER_TEXT_CHARS) -> str:
    """Make a peer's text fit to be shown and logged.

    Bytes are read as UTF-8, undecodable ones replaced. Control and format characters (NUL, escape sequences,
    bidirectional overrides) become spaces, runs of space become one, and the whole is cut to ``limit`` characters.
    """
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def close_reason(text: str) -> str:
    """Cut ``text`` to what fits into a WebSocket close frame, never within a character."""
    raw = text.encode("utf-8")
    if len(raw) <= MAX_CLOSE_REASON_BYTES:
        return text
    return raw[: MAX_CLOSE_REASON_BYTES - 3].decode("utf-8", "ignore") + "…"
