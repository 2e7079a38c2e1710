"""CloudStack's signed requests, version 3. Sans-I/O; the caller brings the time and the secret key.

Source: CloudStack ``ApiServer.verifyRequest``: every parameter but ``signature``, sorted by its name as it was sent;
``name=value`` with the value encoded as ``java.net.URLEncoder`` does (``%20`` for a space); all of it in lower case;
HMAC-SHA1 under the secret key; base64. ``expires`` is ``yyyy-MM-dd'T'HH:mm:ssZ``.

CloudStack also takes requests without ``signatureVersion``, for ever, and each of them any number of times; here that
is refused.
SHA-1 is the wire format's; its known weaknesses (collisions) do not touch HMAC.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from urllib.parse import quote

import attrs

from ..models import Secret
from .parameters import Parameters

SIGNATURE_VERSION = "3"
#: ``expires`` may not be further ahead than this, in seconds: signatures are remembered until then.
MAX_AHEAD_S = 86_400.0
MAX_EXPIRES_CHARS = 40


class SignatureRefused(Exception):
    """The request is not signed as it should be. The text is for the log and holds nothing of the request."""


@attrs.frozen(kw_only=True)
class Signed:
    """What a signature that fits says.

    Attributes:
        mark: tells it from every other one, however its base64 was spelled.
        until: when it ends, in seconds since the epoch.
    """

    mark: str = attrs.field(repr=False)
    until: float


def is_signed(parameters: Parameters) -> bool:
    """Whether a request means to be signed."""
    return parameters.has("signature") or parameters.has("apikey")


def verify(parameters: Parameters, secret_key: Secret, *, now: float) -> Signed:
    """Check a request's signature and its age. Whether it was seen before is the caller's to know.

    Args:
        parameters: the whole query.
        secret_key: of the caller whose ``apiKey`` is in there.
        now: seconds since the epoch.

    Raises:
        SignatureRefused: why not.
    """
    if any("&" in name or "=" in name for name, _ in parameters.pairs):
        raise SignatureRefused("a name with & or =")  # names are signed as they are, so it could stand for two
    try:
        given = base64.b64decode(parameters.get("signature"), validate=True)
    except (binascii.Error, ValueError):
        raise SignatureRefused("the signature is not base64") from None
    expected = sign(parameters, secret_key)
    as_clients_do = sign(parameters, secret_key, tilde="~")
    if not (hmac.compare_digest(given, expected) or hmac.compare_digest(given, as_clients_do)):
        raise SignatureRefused("the signature does not fit")
    if parameters.get("signatureversion") != SIGNATURE_VERSION:
        raise SignatureRefused("signatureVersion is not 3")
    until = _moment(parameters.get("expires"))
    if until < now:
        raise SignatureRefused(f"it expired {now - until:.0f} s ago")
    if until > now + MAX_AHEAD_S:
        raise SignatureRefused(f"expires is more than {MAX_AHEAD_S:g} s ahead")
    return Signed(mark=given.hex(), until=until)


def sign(parameters: Parameters, secret_key: Secret, *, tilde: str = "%7E") -> bytes:
    """The signature that a request should have, before base64.

    Args:
        parameters: the whole query.
        secret_key: the caller's.
        tilde: how ``~`` is encoded: Java's way, or left as it is, as RFC 3986 has it and clients in other languages do
            (PyPI's ``cs`` among them; CloudStack refuses those).
    """
    message = "&".join(
        f"{name}={_java_encoded(value).replace('~', tilde)}"
        for name, value in sorted(parameters.pairs, key=lambda pair: pair[0])
        if name.lower() != "signature"
    )
    return hmac.new(secret_key.reveal().encode(), message.lower().encode(), hashlib.sha1).digest()


def _java_encoded(value: str) -> str:
    """As ``URLEncoder.encode(value, UTF_8).replaceAll("\\+", "%20")``, but for ``~``."""
    return quote(value, safe="*")


def _moment(text: str) -> float:
    if not text:
        raise SignatureRefused("expires is missing")
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z") if len(text) <= MAX_EXPIRES_CHARS else None
    except ValueError:
        moment = None
    if moment is None:
        raise SignatureRefused("expires is no time such as 2026-01-31T12:00:00+0000")
    return moment.timestamp()
