"""Who is behind a reverse proxy, as its headers say: ``Forwarded`` (RFC 7239), ``X-Forwarded-For`` and ``-Proto``.

Each proxy adds the address of its own peer on the right. So the list is read from there, and only as far as proxies
wrote it that are trusted: what stands further left may have been made up by anybody. Whether the peer itself is to be
believed the caller has decided before; this file must not know connections.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import attrs

from ..addresses import normal_address
from .messages import Request

#: How many proxies may stand in a row; one or two do.
MAX_PROXIES = 16

_OWS = r"[ \t]*+"  # possessive, as what a client wrote must not make the search run back and forth
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"  # noqa: S105 -- RFC 9110 section 5.6.2, nothing secret
#: A pair of RFC 7239 section 4 and what follows it. Spaces round a semicolon are against the letter, and common.
_PAIR = re.compile(rf'{_OWS}(?:({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*+"))?{_OWS}([;,]|$)')
#: RFC 7239 section 6, and the bare IPv6 addresses of ``X-Forwarded-For``.
_NODE = re.compile(
    r"(?:\[(?P<bracketed>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
    r"|(?P<bare>[0-9A-Fa-f:.]+)"
)
_SCHEMES = ("http", "https")


class ForwardedInvalid(ValueError):
    """The headers do not tell who is asking."""


@attrs.frozen
class Forwarded:
    """What the headers say.

    Attributes:
        client: the address of who is asking, as ``normal_address`` writes it; empty without such a header.
        scheme: how the client came to its proxy, ``http`` or ``https``; empty if not said.
    """

    client: str = ""
    scheme: str = ""


@attrs.frozen
class _Hop:
    """What one proxy says of its peer; the texts are as they came."""

    node: str
    scheme: str


def read_forwarded(request: Request, trusted: Callable[[str], bool]) -> Forwarded:
    """Read the headers of a request that came from a trusted proxy.

    The client is the right-most address that is no trusted proxy's; where all are trusted, the left-most.

    Args:
        request: the request.
        trusted: whether a proxy with that address is believed in turn.

    Raises:
        ForwardedInvalid: an address that counts is missing, hidden (``unknown``, ``_name``) or none at all; or there
            are both kinds of header, and they disagree. A proxy that writes one of them lets the other pass as the
            client made it up, and nobody can tell which.
    """
    by_standard = _client(_standard_hops(request.header("forwarded")), trusted)
    by_custom = _client(_custom_hops(request), trusted)
    if by_standard.client and by_custom.client and by_standard.client != by_custom.client:
        raise ForwardedInvalid("Forwarded and X-Forwarded-For disagree")
    return Forwarded(by_custom.client or by_standard.client, by_custom.scheme or by_standard.scheme)


def _client(hops: Sequence[_Hop], trusted: Callable[[str], bool]) -> Forwarded:
    client = Forwarded()
    for count, hop in enumerate(reversed(hops)):
        if count == MAX_PROXIES:
            raise ForwardedInvalid(f"more than {MAX_PROXIES} proxies in a row")
        client = Forwarded(_node_address(hop.node), hop.scheme if hop.scheme in _SCHEMES else "")
        if not trusted(client.client):
            break
    return client


def _standard_hops(header: str | None) -> list[_Hop]:
    """``Forwarded``: ``for=192.0.2.43;proto=https, for="[2001:db8::17]:4711"``."""
    hops: list[_Hop] = []
    pairs: dict[str, str] = {}
    at = 0
    while header:
        match = _PAIR.match(header, at)
        if match is None:
            raise ForwardedInvalid("Forwarded is malformed")
        name, value, separator = match.groups()
        if name:
            if name.lower() in pairs:
                raise ForwardedInvalid(f"Forwarded says {name.lower()[:16]} twice")
            pairs[name.lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        if separator != ";":
            if pairs:  # an empty element is none (RFC 9110 section 5.6.1)
                hops.append(_Hop(pairs.get("for", ""), pairs.get("proto", "").lower()))
            pairs = {}
        at = match.end()
        if not separator:
            break
    return hops


def _custom_hops(request: Request) -> list[_Hop]:
    """``X-Forwarded-For``; ``X-Forwarded-Proto`` says a scheme for each, or one for all."""
    nodes = request.header_items("x-forwarded-for")
    schemes = [scheme.lower() for scheme in request.header_items("x-forwarded-proto")]
    if len(set(schemes)) == 1:
        schemes = schemes[:1] * len(nodes)
    elif len(schemes) != len(nodes):
        schemes = [""] * len(nodes)
    return [_Hop(node, scheme) for node, scheme in zip(nodes, schemes, strict=True)]


def _node_address(node: str) -> str:
    match = _NODE.fullmatch(node)
    if match is None:
        raise ForwardedInvalid("an address that counts is missing, hidden or none")
    try:
        return normal_address(match["bracketed"] or match["four"] or match["bare"])
    except ValueError:
        raise ForwardedInvalid("an address that counts is none") from None
