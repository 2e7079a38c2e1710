"""What signs requests in these tests: CloudStack's rule in its own words, kept apart from the product's."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

#: Java's ``URLEncoder``, then a space as ``%20``.
_KEPT = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-*_")


def java_encoded(text: str) -> str:
    return "".join(c if c in _KEPT else "".join(f"%{byte:02X}" for byte in c.encode()) for c in text)


def signature(parameters: Mapping[str, str], secret: str) -> str:
    message = "&".join(f"{name}={java_encoded(parameters[name])}" for name in sorted(parameters)).lower()
    return base64.b64encode(hmac.new(secret.encode(), message.encode(), hashlib.sha1).digest()).decode()


def expires(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S%z")


def signed_query(parameters: Mapping[str, str], *, api_key: str, secret: str, until: float) -> str:
    """A signed query, good until ``until``."""
    every = {"apiKey": api_key, "signatureVersion": "3", "expires": expires(until), **parameters}
    return urlencode({**every, "signature": signature(every, secret)}, quote_via=quote)
