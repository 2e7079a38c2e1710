"""The URL a user opens: public address and minted token put together."""

from __future__ import annotations

from urllib.parse import quote

from .config import Config
from .config_values import TcpAddress
from .errors import BadConfiguration
from .models import format_address

#: Listening there says nothing about where to connect; what a browser on this machine can use instead.
ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- compared with, not listened on


def base_url(config: Config) -> str:
    """What minted URLs start with: ``server.public_url``, or the first TCP listener.

    Raises:
        BadConfiguration: neither says where the proxy can be reached.
    """
    if config.server.public_url:
        return config.server.public_url.rstrip("/")
    for scheme, listeners in (("http", config.server.listen), ("https", config.server.listen_tls)):
        for address in listeners:
            if isinstance(address, TcpAddress) and address.port:
                return f"{scheme}://{format_address(ANY_ADDRESS.get(address.host, address.host), address.port)}"
    raise BadConfiguration("server.public_url is needed: no listener has a fixed TCP port")


def reachable_url(bound: str) -> str:
    """A listener's own URL, with an address that a browser on this machine can use in place of "any"."""
    scheme, _, rest = bound.partition("://")
    host, _, port = rest.rpartition(":")
    bare = host.strip("[]")
    return f"{scheme}://{format_address(ANY_ADDRESS.get(bare, bare), int(port))}"


def console_url(base: str, token: str, extra: str = "") -> str:
    """The URL of a console page; token and extra token are percent-encoded."""
    url = f"{base}/novnc?token={quote(token, safe='')}"
    return f"{url}&extra={quote(extra, safe='')}" if extra else url
