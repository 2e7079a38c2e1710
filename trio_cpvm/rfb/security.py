"""Security types: which this proxy speaks, in its own order of preference, and names for the rest.

Numbers stay data: a type nobody has heard of is shown as ``unknown(129)`` and otherwise left alone.
Sources: rfbproto "Security Types" and "VeNCrypt"; where rfbproto and QEMU differ on VeNCrypt's 263 and 264, QEMU
(``ui/vnc.h``) is what is on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ..models import Secret

INVALID = 0
NONE = 1
VNC_AUTH = 2
TIGHT = 16
VENCRYPT = 19

_NAMES = {
    0: "Invalid",
    1: "None",
    2: "VncAuth",
    5: "RA2",
    6: "RA2ne",
    13: "RA2r",
    16: "Tight",
    17: "Ultra",
    18: "TLS",
    19: "VeNCrypt",
    20: "SASL",
    22: "xvp",
    30: "ARD",
    113: "MSLogonII",
    129: "RA2_256",
    130: "RA2ne_256",
    # VeNCrypt's sub-types share the number space for display; they are 32 bits wide
    256: "Plain",
    257: "TLSNone",
    258: "TLSVnc",
    259: "TLSPlain",
    260: "X509None",
    261: "X509Vnc",
    262: "X509Plain",
    263: "X509SASL",
    264: "TLSSASL",
}

PLAIN = 256
TLS_NONE, TLS_VNC, TLS_PLAIN = 257, 258, 259
X509_NONE, X509_VNC, X509_PLAIN = 260, 261, 262


def type_name(number: int) -> str:
    """A security type or VeNCrypt sub-type for people: ``VncAuth(2)``, ``unknown(77)``."""
    return f"{_NAMES.get(number, 'unknown')}({number})"


def type_names(numbers: Iterable[int]) -> str:
    """Several of them for people."""
    return ", ".join(type_name(n) for n in numbers) or "nothing"


@attrs.frozen(kw_only=True)
class SecurityPolicy:
    """What may be chosen of what a host offers.

    Attributes:
        password: what the host is to be given; ``None`` if it should ask for nothing.
        username: for the Plain sub-types, which want one.
        allow_no_authentication: go on where a host asks for nothing although there is a password. It is not the host
            the password belongs to, or it has lost it (CVE-2015-3252): only an operator can allow that.
        allow_plaintext: go on without TLS.
        allow_anonymous_tls: take VeNCrypt's sub-types without certificates, which anybody in between can read.
        secured: the connection is inside verified TLS already.
    """

    password: Secret | None = None
    username: str = ""
    allow_no_authentication: bool = False
    allow_plaintext: bool = True
    allow_anonymous_tls: bool = False
    secured: bool = False

    def types(self) -> tuple[int, ...]:
        """Security types, strongest first."""
        if not (self.allow_plaintext or self.secured):
            return (VENCRYPT,)
        if not self.password:
            return (VENCRYPT, NONE, TIGHT)
        return (VENCRYPT, VNC_AUTH, TIGHT, NONE) if self.allow_no_authentication else (VENCRYPT, VNC_AUTH, TIGHT)

    def vencrypt_types(self) -> tuple[int, ...]:
        """VeNCrypt sub-types, strongest first: certificates before none, a whole password before eight characters."""
        named = bool(self.username)
        anonymous = self.allow_anonymous_tls and (self.allow_plaintext or self.secured)
        wanted = [
            (X509_PLAIN, bool(self.password) and named),
            (X509_VNC, bool(self.password)),
            (X509_NONE, self.may_skip_authentication),
            (TLS_PLAIN, anonymous and bool(self.password) and named),
            (TLS_VNC, anonymous and bool(self.password)),
            (TLS_NONE, anonymous and self.may_skip_authentication),
            (PLAIN, self.secured and bool(self.password) and named),
        ]
        return tuple(number for number, ok in wanted if ok)

    @property
    def may_skip_authentication(self) -> bool:
        """Whether a host that asks for nothing is fine."""
        return not self.password or self.allow_no_authentication


def choose_type(offered: Iterable[int], acceptable: Iterable[int]) -> int | None:
    """The first acceptable type that is offered; the server's order does not count."""
    offered = set(offered)
    return next((n for n in acceptable if n in offered), None)
