"""Who sends a request: a signature, a bearer key, or a name and a bearer key by HTTP Basic. Sans-I/O.

Sources: ``signature`` for CloudStack's way; RFC 6750 section 2.1 (Bearer); RFC 7617 (Basic, the one way a browser logs
in without JavaScript). Only what Basic sends is ambient: a browser repeats it whoever made it ask.
"""

from __future__ import annotations

import base64
import binascii
import enum

import attrs

from ..http import Request
from . import signature
from .callers import Caller, Callers, same_name
from .parameters import Parameters
from .signature import SignatureRefused, Signed

#: What a browser sends along with requests that another web site has caused (Fetch Metadata, ``Sec-Fetch-Site``).
_FOREIGN_SITES = frozenset({"cross-site", "same-site"})

#: How a request may log in (RFC 9110 section 11.6.1). Browsers know the first one and ask for a name and a key.
CHALLENGES = (
    ("WWW-Authenticate", 'Basic realm="Consoles", charset="UTF-8"'),
    ("WWW-Authenticate", 'Bearer realm="Consoles"'),
)


#: Why a good signature is not enough.
USED_SIGNATURE = "the signature has been used already"
TOO_MANY_SIGNATURES = "too many signatures that have not expired yet"


class How(enum.StrEnum):
    """In which way a caller has shown who it is."""

    SIGNED = "signed"
    BEARER = "bearer"
    BASIC = "basic"


@attrs.frozen
class Identity:
    """A caller that has shown who it is.

    Attributes:
        caller: the caller.
        how: in which way.
        signed: what its request is signed with, which has to be used up; ``None`` where it is not.
    """

    caller: Caller
    how: How
    signed: Signed | None = None


class NotAuthenticated(Exception):
    """The request does not show who sends it.

    Args:
        why: for the log; holds nothing that was sent.
        how: what it tried; ``None``: nothing at all, as browsers do at first.
        claimed: whom it claimed to be, if there is such a caller.
        is_guess: whether it showed something wrong. Not so what any web site can make a visitor's browser send.
    """

    def __init__(
        self, why: str, how: How | None = None, claimed: Caller | None = None, *, is_guess: bool = False
    ) -> None:
        super().__init__(why)
        self.how = how
        self.claimed = claimed
        self.is_guess = is_guess


def authenticate(request: Request, parameters: Parameters, callers: Callers, *, now: float) -> Identity:
    """Find out who sends a request. Whether a signature was seen before is not looked at.

    A request that means to be signed has to be signed well; what else it carries is not looked at.

    Args:
        request: its ``Authorization`` header.
        parameters: its query.
        callers: who there is.
        now: seconds since the epoch.

    Raises:
        NotAuthenticated: it does not show that.
    """
    if signature.is_signed(parameters):
        return _signed(parameters, callers, now)
    scheme, _, rest = (request.header("authorization") or "").partition(" ")
    credentials = rest.strip(" ")
    match scheme.lower():
        case "bearer":
            caller = callers.with_bearer_key(credentials)
            if caller is None:
                raise NotAuthenticated("nobody has that bearer key", How.BEARER, is_guess=True)
            return Identity(caller, How.BEARER)
        case "basic":
            return _basic(credentials, callers)
        case "":
            raise NotAuthenticated("no credentials")
        case _:
            raise NotAuthenticated("another scheme than Basic and Bearer")


def asked_by_another_site(request: Request) -> bool:
    """Whether a browser says that another web site has caused this request."""
    return (request.header("sec-fetch-site") or "").lower() in _FOREIGN_SITES


def _signed(parameters: Parameters, callers: Callers, now: float) -> Identity:
    caller = callers.with_api_key(parameters.get("apikey"))
    if caller is None:
        raise NotAuthenticated("nobody has that apiKey", How.SIGNED)
    try:
        signed = signature.verify(parameters, caller.secret_key, now=now)
    except SignatureRefused as exc:
        raise NotAuthenticated(str(exc), How.SIGNED, caller, is_guess=True) from None
    return Identity(caller, How.SIGNED, signed)


def _basic(credentials: str, callers: Callers) -> Identity:
    try:
        name, _, key = base64.b64decode(credentials, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        raise NotAuthenticated("Basic credentials that cannot be decoded", How.BASIC, is_guess=True) from None
    claimed, owner = callers.named(name), callers.with_bearer_key(key)
    if owner is None or not same_name(owner.name, name):
        raise NotAuthenticated("that name does not go with that key", How.BASIC, claimed, is_guess=True)
    return Identity(owner, How.BASIC)
