"""The host's side of the handshake up to its SecurityResult: version, security type, authentication.

Written straight down the page as generators over a ``ByteReader``. What a host says no to, or what this proxy will not
do, is a ``ConsoleError``; a host that closes is ``EndOfData``.

Sources: RFC 6143 sections 7.1 and 7.2, rfbproto "Security Types", "VeNCrypt", "Tight Security Type"; where they differ
from what servers do, what QEMU and TigerVNC do.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Generator
from typing import TypeAlias, TypeVar

import attrs

from .. import errors
from ..errors import ConsoleError, sanitise_text
from . import security
from .commands import Command, Reconnect, SendToServer, StartTls
from .reader import ByteReader, EndOfData, Read
from .security import SecurityPolicy, type_name, type_names
from .versions import VERSION_BYTES, VERSION_PREFIX, Version, understood_as
from .vncauth import CHALLENGE_BYTES, vnc_auth_response

#: How much of a reason text is read; the rest is not waited for.
MAX_REASON_BYTES = 1024
#: Tight capabilities are 16 bytes each; servers send a dozen.
MAX_CAPABILITIES = 256

_LOCKED_OUT = re.compile(r"too many|blacklist|blocked|locked", re.IGNORECASE)
_VENCRYPT_VERSION = b"\0\2"
_CAPABILITY_BYTES = 16

_T = TypeVar("_T")
Steps: TypeAlias = Generator[Command | ByteReader, None, _T]


@attrs.frozen(kw_only=True)
class HostAgreement:
    """What was agreed on with a host.

    Attributes:
        version: the RFB version spoken.
        security: how it was authenticated to, in words.
        tight: Tight's ServerInit follows, with its capabilities.
    """

    version: Version
    security: str
    tight: bool = False


def authenticate(server: ByteReader, version: Version, policy: SecurityPolicy) -> Steps[HostAgreement]:
    """Authenticate to a host as the policy allows.

    Args:
        server: the host's bytes, at its security types.
        version: what ``agree_on_version`` gave.
        policy: what may be chosen.

    Raises:
        ConsoleError: it cannot be done.
        EndOfData: the host closed.
    """
    acceptable = policy.types()
    if version is Version.V3_3:  # its hosts decide by themselves, and know no other types
        acceptable = tuple(n for n in acceptable if n in (security.NONE, security.VNC_AUTH))
    offered = yield from _offered_types(server, version)
    chosen = security.choose_type(offered, acceptable)
    if chosen == security.VENCRYPT:
        others = tuple(n for n in acceptable if n != security.VENCRYPT)
        vencrypt = yield from _vencrypt(server, policy, or_else=security.choose_type(offered, others))
        if vencrypt is not None:
            return HostAgreement(version=version, security=vencrypt)
        # It has only sub-types that we may not take. What else it offers is worth a second connection: the choice of
        # VeNCrypt cannot be taken back on this one.
        yield Reconnect()
        version = yield from agree_on_version(server)
        acceptable, offered = others, (yield from _offered_types(server, version))
        chosen = security.choose_type(offered, acceptable)
    if chosen is None:
        raise _nothing_in_common(offered, acceptable, policy)
    if version is not Version.V3_3:
        yield SendToServer(bytes([chosen]), f"security type {type_name(chosen)}")
    if chosen == security.TIGHT:
        inner = yield from _tight(server, policy)
        if inner == security.VNC_AUTH or version is Version.V3_8:
            yield from _security_result(server, version)
        return HostAgreement(version=version, security=f"Tight {type_name(inner)}", tight=True)
    if chosen == security.VNC_AUTH:
        yield from _answer_challenge(server, policy)
    if chosen == security.VNC_AUTH or version is Version.V3_8:
        yield from _security_result(server, version)
    return HostAgreement(version=version, security=type_name(chosen))


def agree_on_version(server: ByteReader) -> Steps[Version]:
    """Read the host's version and answer with the one to be spoken. Raises as ``authenticate``."""
    what = "the server's version"
    raw = yield from server.read(len(VERSION_PREFIX), what)
    if raw == VERSION_PREFIX:  # otherwise do not wait for more: a greeting of another protocol may be short
        raw += yield from server.read(VERSION_BYTES - len(raw), what)
    version = understood_as(raw)
    if version is None:
        raise ConsoleError(errors.UPSTREAM_PROTOCOL, f"not RFB: the server began with {sanitise_text(raw)!r}")
    yield SendToServer(version.wire, "version")
    return version


def _offered_types(server: ByteReader, version: Version) -> Read[list[int]]:
    """All of the security types the host offers; an error where it refuses instead."""
    what = "the server's security types"
    if version is Version.V3_3:
        offered = [(yield from server.read_u32(what))]
        refused = offered == [security.INVALID]
    else:
        count = yield from server.read_u8(what)
        offered = list((yield from server.read(count, what)))
        refused = count == 0
    if refused:
        text = yield from _reason_text(server)
        reason = errors.UPSTREAM_AUTH_BLOCKED if _LOCKED_OUT.search(text) else errors.UPSTREAM_PROTOCOL
        raise ConsoleError(reason, f"the server offers no security type: {text!r}", server_text=text)
    return offered


def _answer_challenge(server: ByteReader, policy: SecurityPolicy) -> Steps[None]:
    challenge = yield from server.read(CHALLENGE_BYTES, "the VNC authentication challenge")
    response = vnc_auth_response(_password(policy), challenge)
    yield SendToServer(response, "VNC authentication response", secret=True)


def _send_plain(policy: SecurityPolicy) -> Steps[None]:
    """User name and password as they are (rfbproto "VeNCrypt", Plain): only ever inside TLS."""
    username, password = policy.username.encode("utf-8"), _password(policy)
    data = struct.pack(">II", len(username), len(password)) + username + password
    yield SendToServer(data, "user name and password", secret=True)


def _vencrypt(server: ByteReader, policy: SecurityPolicy, *, or_else: int | None) -> Steps[str | None]:
    """VeNCrypt 0.2 to its SecurityResult; ``None`` if no sub-type may be taken and there is another type to try."""
    yield SendToServer(bytes([security.VENCRYPT]), "security type VeNCrypt(19)")
    raw = yield from server.read(2, "VeNCrypt's version")
    if raw < _VENCRYPT_VERSION:
        raise ConsoleError(errors.UPSTREAM_PROTOCOL, f"VeNCrypt {raw[0]}.{raw[1]}: 0.2 is needed")
    yield SendToServer(_VENCRYPT_VERSION, "VeNCrypt version 0.2")
    if (yield from server.read_u8("VeNCrypt's answer to the version")) != 0:
        raise ConsoleError(errors.UPSTREAM_PROTOCOL, "VeNCrypt 0.2 was refused")
    count = yield from server.read_u8("VeNCrypt's sub-types")
    offered = list(struct.unpack(f">{count}I", (yield from server.read(4 * count, "VeNCrypt's sub-types"))))
    chosen = security.choose_type(offered, policy.vencrypt_types())
    if chosen is None:
        if or_else is not None:
            return None
        if security.X509_NONE in offered and not policy.may_skip_authentication:
            raise _no_password_asked(f"VeNCrypt {type_names(offered)}")
        reason = errors.UPSTREAM_PROTOCOL if policy.allow_plaintext else errors.UPSTREAM_TLS_FAILED
        raise ConsoleError(reason, f"the server offers VeNCrypt {type_names(offered)}, none of which may be taken")
    yield SendToServer(struct.pack(">I", chosen), f"VeNCrypt sub-type {type_name(chosen)}")
    if chosen != security.PLAIN:
        if (yield from server.read_u8("VeNCrypt's answer to the sub-type")) != 1:
            raise ConsoleError(errors.UPSTREAM_TLS_FAILED, f"VeNCrypt {type_name(chosen)} was refused")
        if server.unread:
            raise ConsoleError(errors.UPSTREAM_PROTOCOL, "bytes in front of the TLS handshake")
        yield StartTls(anonymous=chosen in (security.TLS_NONE, security.TLS_VNC, security.TLS_PLAIN))
    if chosen in (security.X509_VNC, security.TLS_VNC):
        yield from _answer_challenge(server, policy)
    elif chosen in (security.X509_PLAIN, security.TLS_PLAIN, security.PLAIN):
        yield from _send_plain(policy)
    # Whatever the version is, servers send a result here, and 3.8's reason behind it.
    yield from _security_result(server, Version.V3_8)
    return f"VeNCrypt {type_name(chosen)}"


def _tight(server: ByteReader, policy: SecurityPolicy) -> Steps[int]:
    """Tight's tunnels (none is taken) and authentication, up to its SecurityResult; the type authenticated with."""
    tunnels = yield from _capabilities(server, "Tight's tunnels")
    if tunnels:
        yield SendToServer(struct.pack(">I", 0), "Tight: no tunnel")
    offered = yield from _capabilities(server, "Tight's authentication types")
    if not offered:
        if not policy.may_skip_authentication:
            raise _no_password_asked("Tight without authentication")
        return security.NONE
    acceptable = (security.VNC_AUTH, security.NONE) if policy.may_skip_authentication else (security.VNC_AUTH,)
    chosen = security.choose_type(offered, acceptable if policy.password else (security.NONE,))
    if chosen is None:
        raise _nothing_in_common(offered, acceptable, policy)
    yield SendToServer(struct.pack(">I", chosen), f"Tight authentication {type_name(chosen)}")
    if chosen == security.VNC_AUTH:
        yield from _answer_challenge(server, policy)
    return chosen


def _capabilities(server: ByteReader, what: str) -> Read[list[int]]:
    """Tight's list of 16-byte capabilities; their codes."""
    count = yield from server.read_u32(what)
    if count > MAX_CAPABILITIES:
        raise ConsoleError(errors.UPSTREAM_PROTOCOL, f"{what}: {count} of them")
    raw = yield from server.read(_CAPABILITY_BYTES * count, what)
    return [struct.unpack_from(">I", raw, _CAPABILITY_BYTES * i)[0] for i in range(count)]


def read_tight_init(server: ByteReader) -> Read[None]:
    """What Tight puts behind ServerInit (rfbproto "Tight Security Type"): its capabilities, which nobody needs here."""
    what = "Tight's capabilities"
    raw = yield from server.read(8, what)
    count = sum(struct.unpack(">HHH", raw[:6]))
    if count > MAX_CAPABILITIES:
        raise ConsoleError(errors.UPSTREAM_PROTOCOL, f"{what}: {count} of them")
    yield from server.read(_CAPABILITY_BYTES * count, what)


def _security_result(server: ByteReader, version: Version) -> Read[None]:
    result = yield from server.read_u32("the security result")
    if result == 0:
        return
    text = (yield from _reason_text(server)) if version is Version.V3_8 else ""
    if result == 2 or _LOCKED_OUT.search(text):
        reason = errors.UPSTREAM_AUTH_BLOCKED
    else:
        reason = errors.UPSTREAM_AUTH_FAILED if result == 1 else errors.UPSTREAM_PROTOCOL
    raise ConsoleError(reason, f"security result {result}: {text!r}", server_text=text)


def _reason_text(server: ByteReader) -> Read[str]:
    """What the host says about a refusal. It has refused already, so a text that never comes is no new fault."""
    try:
        size = yield from server.read_u32("the length of the reason")
        return sanitise_text((yield from server.read(min(size, MAX_REASON_BYTES), "the reason")))
    except (EndOfData, ConsoleError):
        return ""


def _password(policy: SecurityPolicy) -> bytes:
    return policy.password.reveal().encode("utf-8") if policy.password is not None else b""


def _no_password_asked(offer: str) -> ConsoleError:
    return ConsoleError(
        errors.UPSTREAM_PROTOCOL,
        f"the server offers {offer}, but the token carries a password: refused, since "
        "upstream.allow_no_authentication is off",
    )


def _nothing_in_common(offered: list[int], acceptable: tuple[int, ...], policy: SecurityPolicy) -> ConsoleError:
    names = type_names(offered)
    if not (policy.allow_plaintext or policy.secured):
        detail = f"the server offers {names}, but upstream.allow_plaintext is off"
        return ConsoleError(errors.UPSTREAM_TLS_FAILED, detail)
    if security.NONE in offered and security.NONE not in acceptable:
        return _no_password_asked(names)
    if security.VNC_AUTH in offered:
        return ConsoleError(errors.UPSTREAM_AUTH_FAILED, f"the server offers {names}, and the token has no password")
    return ConsoleError(errors.UPSTREAM_PROTOCOL, f"the server offers {names}, none of which this proxy speaks")
