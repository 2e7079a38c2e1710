"""The values that the layers hand to each other: secrets, console targets, session ends.

Nothing in this file does I/O or knows how a value came about.
"""

from __future__ import annotations

import enum
import hmac
import ipaddress
from typing import final
from urllib.parse import urlsplit

import attrs

from .errors import Reason, sanitise_text
from .limits import Limit


@final
class Secret:
    """A text that does not print itself: password, ticket, tunnel session.

    ``repr``, ``str`` and ``format`` show three asterisks; only ``reveal`` gives the text. Comparing takes the same
    time wherever the texts differ. A secret is true when it is not empty.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Whoever calls this answers for where it goes."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, format_spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not pickled")


def without_path(url: str) -> str:
    """Scheme, host and port of a URL: its path and query may be a ticket."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a broken URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


#: The largest limit on clipboard texts, in bytes: one extended text may have to be kept whole to be weighed.
MAX_CLIPBOARD_BYTES = 16 * 1024 * 1024


#: The longest name of a user, in characters.
MAX_USER_CHARS = 64


def user_name(text: str) -> str:
    """A user's name as it is shown to other people: printable, on one line, at most ``MAX_USER_CHARS`` long."""
    return sanitise_text(text, MAX_USER_CHARS)


class Clipboard(enum.StrEnum):
    """Which way clipboard texts may go."""

    BOTH = "both"
    TO_GUEST = "to-guest"
    FROM_GUEST = "from-guest"
    NONE = "none"


@attrs.frozen(kw_only=True)
class ConsoleTarget:
    """What a token says to open.

    Attributes:
        host: name or address of the VNC server; ``unix:/path`` for a unix socket.
        port: its TCP port, 1 to 65535.
        username: goes with the password where the server asks for both.
        password: its VNC password; ``None`` where it asks for none.
        vm_id: the platform's id of the machine; empty if unknown.
        name: what the console is called on the page; empty: what the VNC server calls itself.
        locale: the guest's keyboard, as the platform names it; empty if unknown.
        ticket: CloudStack's proof for its management server.
        tunnel_url: XenServer's CONNECT address.
        tunnel_session: XenServer's session cookie.
        websocket_url: address of a host that speaks RFB over WebSocket.
        source_ip: the only browser address that may use the token; empty: any.
        session_uuid: makes the token single-use; empty: reusable.
        extra_token: what the URL's ``extra`` has to be; ``None``: nothing is asked.
        needs_new_viewer: CloudStack's ``sessionRequiresNewViewer``: viewers of one machine do not replace each other.
        not_after: end of the token's life in seconds since the epoch; ``None``: it has none.
        view_only: the user may look, and no more.
        clipboard: which way clipboard texts may go; ``None``: wherever the configuration lets them.
        clipboard_max_bytes: the longest clipboard text; 0: what the configuration says.
        user: who was given the token; shown to operators and to a viewer who has to make room. Empty if unknown.
    """

    host: str
    port: int
    username: str = ""
    password: Secret | None = None
    vm_id: str = ""
    name: str = ""
    locale: str = ""
    ticket: Secret | None = None
    tunnel_url: str = ""
    tunnel_session: Secret | None = None
    websocket_url: str = attrs.field(default="", repr=lambda url: repr(without_path(url)))
    source_ip: str = ""
    session_uuid: str = ""
    extra_token: Secret | None = None
    needs_new_viewer: bool = False
    not_after: float | None = None
    view_only: bool = False
    clipboard: Clipboard | None = None
    clipboard_max_bytes: int = 0
    user: str = attrs.field(default="", converter=user_name)

    @property
    def address(self) -> str:
        """``host:port``, an IPv6 address in brackets; what else the target says where there is no host."""
        if self.websocket_url or self.tunnel_url:
            return without_path(self.websocket_url or self.tunnel_url)
        if self.host.startswith("unix:/"):
            return self.host
        return format_address(self.host, self.port)

    @property
    def viewer_key(self) -> str:
        """What makes two sessions viewers of the same machine: its id, or failing that its address."""
        return self.vm_id or self.websocket_url or self.tunnel_url or self.address


@attrs.frozen(kw_only=True)
class SessionEnd:
    """How a session ended; one value, written once.

    Attributes:
        reason: the row of the table in ``errors``.
        detail: for the log only.
        bytes_up: payload bytes relayed from browser to host.
        bytes_down: payload bytes relayed from host to browser.
        duration_s: seconds from the accepted WebSocket to the end.
        broken: nobody meant it to end: a connection was lost, say.
        limit: the limit that ended it, where it was one.
    """

    reason: Reason
    detail: str = ""
    bytes_up: int = 0
    bytes_down: int = 0
    duration_s: float = 0.0
    broken: bool = False
    limit: Limit | None = None


def is_loopback(host: str) -> bool:
    """Whether a host's name or address leads to the machine that asks itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def format_address(host: str, port: int) -> str:
    """``host:port``, with brackets round an IPv6 address (RFC 3986 section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
