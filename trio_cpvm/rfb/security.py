"""Security types: which this proxy speaks, in its own order of preference, and names for the rest.

Numbers stay data: a type nobody has heard of is shown as ``unknown(129)`` and otherwise left alone.
Source: rfbproto "Security Types".
"""

from __future__ import annotations

from collections.abc import Iterable

INVALID = 0
NONE = 1
VNC_AUTH = 2

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
}


def type_name(number: int) -> str:
    """A security type for people: ``VncAuth(2)``, ``unknown(77)``."""
    return f"{_NAMES.get(number, 'unknown')}({number})"


def type_names(numbers: Iterable[int]) -> str:
    """Several security types for people."""
    return ", ".join(type_name(n) for n in numbers) or "nothing"


def acceptable_types(*, has_password: bool, allow_no_authentication: bool) -> tuple[int, ...]:
    """What this proxy may choose, strongest first.

    A server that asks for nothing although there is a password is not the server the password belongs to, or has
    lost it (CVE-2015-3252): only an operator can allow that.
    """
    if not has_password:
        return (NONE,)
    return (VNC_AUTH, NONE) if allow_no_authentication else (VNC_AUTH,)


def choose_type(offered: Iterable[int], acceptable: Iterable[int]) -> int | None:
    """The first acceptable type that is offered; the server's order does not count."""
    offered = set(offered)
    return next((n for n in acceptable if n in offered), None)
