"""How a token is spelled in a URL: every form that browsers, platforms and proxies make of base64.

Source: CloudStack ``ConsoleProxyHttpHandlerHelper.java`` (the query is split, not decoded; padding is lost on the way)
and ``AeadBase64Encryptor.java`` (standard alphabet). This file knows nothing of what the bytes mean.
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

#: Longer than any real token: a target with every field filled is about 2,000 characters.
MAX_TOKEN_CHARS = 8192

_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_TO_STANDARD = str.maketrans("-_ ", "+/+")


def encode_base64url(raw: bytes) -> str:
    """URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode_base64(text: str) -> bytes:
    """Decode base64 in either alphabet, with or without padding, with spaces where a ``+`` was.

    Raises:
        ValueError: any other character, or an impossible length.
    """
    text = text.strip("\t\r\n").rstrip("=").translate(_TO_STANDARD)
    if not text.isascii():
        raise ValueError("not base64")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as exc:
        raise ValueError("not base64") from exc


def token_bytes(spelled: str) -> bytes:
    """The bytes behind a token as it stands in a URL: raw, or percent-encoded once or twice.

    Raises:
        ValueError: too long, or not base64 in any spelling.
    """
    if len(spelled) > MAX_TOKEN_CHARS:
        raise ValueError("longer than any token")
    for _ in range(2):  # some platforms encode the whole URL once more
        if not _PERCENT.search(spelled):
            break
        spelled = unquote_to_bytes(spelled).decode("latin-1")
    return decode_base64(spelled)
