"""Which web pages may open a console: the Origin check (CVE-2015-0259 is what happens without one).

Source: RFC 6455 section 10.2, RFC 6454. Nothing is remembered between requests.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit


def origin_allowed(origin: str | None, host: str | None, allowed: Collection[str]) -> bool:
    """Judge a WebSocket request's ``Origin``.

    Args:
        origin: the header; ``None`` (no browser) passes, for the token is what authorises.
        host: the request's own ``Host`` header: the page's own origin passes, under either scheme, since TLS may end
            in front of this proxy.
        allowed: further origins, in the form of ``config.normalise_origin``.
    """
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query or parts.fragment:
        return False
    if parts.username is not None or parts.password is not None:
        return False
    default = 443 if parts.scheme == "https" else 80
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    bare = f"{name}:{port}" if port not in (None, default) else name
    if host is not None and bare == _without_default_port(host.lower(), default):
        return True
    return f"{parts.scheme}://{bare}" in allowed


def _without_default_port(host: str, default: int) -> str:
    return host.removesuffix(f":{default}")
