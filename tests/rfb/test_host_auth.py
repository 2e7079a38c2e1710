"""VeNCrypt and Tight, and which of a host's offers is taken: tables of what is said until the host's SecurityResult.

Bytes come one at a time and only when asked for; TLS shows as a mark in what is sent.
"""

from __future__ import annotations

import itertools
import struct

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm import errors
from trio_cpvm.errors import ConsoleError, Reason
from trio_cpvm.models import Secret
from trio_cpvm.rfb.commands import Command, Reconnect, SendToServer, StartTls
from trio_cpvm.rfb.host_auth import HostAgreement, Steps, agree_on_version, authenticate
from trio_cpvm.rfb.reader import ByteReader, EndOfData
from trio_cpvm.rfb.security import SecurityPolicy
from trio_cpvm.rfb.versions import Version
from trio_cpvm.rfb.vncauth import vnc_auth_response

V37, V38 = b"RFB 003.007\n", b"RFB 003.008\n"
CHALLENGE = bytes(range(16))
RESPONSE = vnc_auth_response(b"secret12", CHALLENGE)
OK, FAILED = b"\0\0\0\0", b"\0\0\0\1"
REASON = b"\0\0\0\2no"
TLS, ANONYMOUS_TLS, RECONNECT = b"<TLS>", b"<anonymous TLS>", b"<reconnect>"

POLICY = SecurityPolicy(password=Secret("secret12"))
NO_PASSWORD = SecurityPolicy()
NAMED = SecurityPolicy(password=Secret("secret12"), username="bob")
PLAIN = b"\0\0\0\3\0\0\0\x08bobsecret12"


def u32(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def vencrypt(*subtypes: int, version: bytes = V38) -> bytes:
    """A host up to its sub-types."""
    return version + b"\1\x13" + b"\0\2" + b"\0" + bytes([len(subtypes)]) + u32(*subtypes)


def chosen(subtype: int, version: bytes = V38) -> bytes:
    """Us up to ours."""
    return version + b"\x13" + b"\0\2" + u32(subtype)


def capabilities(*codes: int) -> bytes:
    return u32(len(codes)) + b"".join(u32(code) + b"VENDSIGNATUR" for code in codes)


@attrs.frozen(kw_only=True)
class Case:
    server: bytes
    sent: bytes
    policy: SecurityPolicy = POLICY
    says: str = ""
    ends: Reason | None = None


CASES = {
    "X509Vnc": Case(
        server=vencrypt(261) + b"\1" + CHALLENGE + OK,
        sent=chosen(261) + TLS + RESPONSE,
        says="VeNCrypt X509Vnc(261)",
    ),
    "X509None": Case(
        policy=NO_PASSWORD,
        server=vencrypt(260) + b"\1" + OK,
        sent=chosen(260) + TLS,
        says="VeNCrypt X509None(260)",
    ),
    "X509None in 3.7 has a result all the same": Case(
        policy=NO_PASSWORD,
        server=vencrypt(260, version=V37) + b"\1" + OK,
        sent=chosen(260, V37) + TLS,
        says="VeNCrypt X509None(260)",
    ),
    "X509Plain": Case(
        policy=NAMED,
        server=vencrypt(262) + b"\1" + OK,
        sent=chosen(262) + TLS + PLAIN,
        says="VeNCrypt X509Plain(262)",
    ),
    "ours is the order": Case(
        policy=NAMED,
        server=vencrypt(257, 258, 259, 260, 261, 262, 263) + b"\1" + OK,
        sent=chosen(262) + TLS + PLAIN,
        says="VeNCrypt X509Plain(262)",
    ),
    "VeNCrypt before VncAuth": Case(
        server=V38 + b"\3\2\1\x13" + b"\0\2\0\1" + u32(261) + b"\1" + CHALLENGE + OK,
        sent=chosen(261) + TLS + RESPONSE,
        says="VeNCrypt X509Vnc(261)",
    ),
    "TLSVnc where anonymous is allowed": Case(
        policy=attrs.evolve(POLICY, allow_anonymous_tls=True),
        server=vencrypt(258) + b"\1" + CHALLENGE + OK,
        sent=chosen(258) + ANONYMOUS_TLS + RESPONSE,
        says="VeNCrypt TLSVnc(258)",
    ),
    "TLSNone where anonymous is allowed": Case(
        policy=attrs.evolve(NO_PASSWORD, allow_anonymous_tls=True),
        server=vencrypt(257) + b"\1" + OK,
        sent=chosen(257) + ANONYMOUS_TLS,
        says="VeNCrypt TLSNone(257)",
    ),
    "TLSPlain where anonymous is allowed": Case(
        policy=attrs.evolve(NAMED, allow_anonymous_tls=True),
        server=vencrypt(259) + b"\1" + OK,
        sent=chosen(259) + ANONYMOUS_TLS + PLAIN,
        says="VeNCrypt TLSPlain(259)",
    ),
    "a certificate before none": Case(
        policy=attrs.evolve(POLICY, allow_anonymous_tls=True),
        server=vencrypt(258, 261) + b"\1" + CHALLENGE + OK,
        sent=chosen(261) + TLS + RESPONSE,
        says="VeNCrypt X509Vnc(261)",
    ),
    "Plain inside TLS": Case(
        policy=attrs.evolve(NAMED, secured=True),
        server=vencrypt(256) + OK,
        sent=chosen(256) + PLAIN,
        says="VeNCrypt Plain(256)",
    ),
    "Plain in the clear": Case(
        policy=NAMED,
        server=vencrypt(256),
        sent=V38 + b"\x13\0\2",
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "only anonymous, but VncAuth as well: a second connection": Case(
        server=V38 + b"\2\x13\2" + b"\0\2\0\1" + u32(258) + V38 + b"\2\x13\2" + CHALLENGE + OK,
        sent=V38 + b"\x13\0\2" + RECONNECT + V38 + b"\2" + RESPONSE,
        says="VncAuth(2)",
    ),
    "only anonymous": Case(
        server=vencrypt(258, 257),
        sent=V38 + b"\x13\0\2",
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "only anonymous, and plain text is not allowed": Case(
        policy=attrs.evolve(POLICY, allow_plaintext=False, allow_anonymous_tls=True),
        server=V38 + b"\2\x13\2" + b"\0\2\0\1" + u32(258),
        sent=V38 + b"\x13\0\2",
        ends=errors.UPSTREAM_TLS_FAILED,
    ),
    "plain text where TLS is demanded": Case(
        policy=attrs.evolve(POLICY, allow_plaintext=False),
        server=V38 + b"\2\2\1",
        sent=V38,
        ends=errors.UPSTREAM_TLS_FAILED,
    ),
    "plain text inside TLS is none": Case(
        policy=attrs.evolve(POLICY, allow_plaintext=False, secured=True),
        server=V38 + b"\1\2" + CHALLENGE + OK,
        sent=V38 + b"\2" + RESPONSE,
        says="VncAuth(2)",
    ),
    "no downgrade to X509None": Case(
        server=vencrypt(260),
        sent=V38 + b"\x13\0\2",
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "X509None where the operator allows it": Case(
        policy=attrs.evolve(POLICY, allow_no_authentication=True),
        server=vencrypt(260) + b"\1" + OK,
        sent=chosen(260) + TLS,
        says="VeNCrypt X509None(260)",
    ),
    "VeNCrypt 0.1": Case(
        server=V38 + b"\1\x13\0\1",
        sent=V38 + b"\x13",
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "0.2 refused": Case(
        server=V38 + b"\1\x13\0\2\xff",
        sent=V38 + b"\x13\0\2",
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "sub-type refused": Case(
        server=vencrypt(261) + b"\0",
        sent=chosen(261),
        ends=errors.UPSTREAM_TLS_FAILED,
    ),
    "no sub-types": Case(
        server=vencrypt(),
        sent=V38 + b"\x13\0\2",
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "wrong password inside TLS": Case(
        server=vencrypt(261) + b"\1" + CHALLENGE + FAILED + REASON,
        sent=chosen(261) + TLS + RESPONSE,
        ends=errors.UPSTREAM_AUTH_FAILED,
    ),
    "wrong user name": Case(
        policy=NAMED,
        server=vencrypt(262) + b"\1" + FAILED + REASON,
        sent=chosen(262) + TLS + PLAIN,
        ends=errors.UPSTREAM_AUTH_FAILED,
    ),
    "Tight with VncAuth": Case(
        server=V38 + b"\1\x10" + capabilities() + capabilities(1, 2) + CHALLENGE + OK,
        sent=V38 + b"\x10" + u32(2) + RESPONSE,
        says="Tight VncAuth(2)",
    ),
    "Tight with tunnels: none is taken": Case(
        server=V38 + b"\1\x10" + capabilities(0, 7) + capabilities(2) + CHALLENGE + OK,
        sent=V38 + b"\x10" + u32(0) + u32(2) + RESPONSE,
        says="Tight VncAuth(2)",
    ),
    "Tight without authentication": Case(
        policy=NO_PASSWORD,
        server=V38 + b"\1\x10" + capabilities() + capabilities() + OK,
        sent=V38 + b"\x10",
        says="Tight None(1)",
    ),
    "Tight with None": Case(
        policy=NO_PASSWORD,
        server=V38 + b"\1\x10" + capabilities() + capabilities(1) + OK,
        sent=V38 + b"\x10" + u32(1),
        says="Tight None(1)",
    ),
    "Tight with None in 3.7: no result": Case(
        policy=NO_PASSWORD,
        server=V37 + b"\1\x10" + capabilities() + capabilities(1),
        sent=V37 + b"\x10" + u32(1),
        says="Tight None(1)",
    ),
    "VncAuth before Tight": Case(
        server=V38 + b"\2\x10\2" + CHALLENGE + OK,
        sent=V38 + b"\2" + RESPONSE,
        says="VncAuth(2)",
    ),
    "no downgrade within Tight": Case(
        server=V38 + b"\1\x10" + capabilities() + capabilities(1),
        sent=V38 + b"\x10",
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "no downgrade to Tight without authentication": Case(
        server=V38 + b"\1\x10" + capabilities() + capabilities(),
        sent=V38 + b"\x10",
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "nothing in common within Tight": Case(
        server=V38 + b"\1\x10" + capabilities() + capabilities(129, 130),
        sent=V38 + b"\x10",
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "more capabilities than there are": Case(
        server=V38 + b"\1\x10" + u32(0xFFFFFFFF),
        sent=V38 + b"\x10",
        ends=errors.UPSTREAM_PROTOCOL,
    ),
}


def mark(command: Command) -> bytes:
    match command:
        case SendToServer(data):
            return data
        case StartTls(anonymous=anonymous):
            return ANONYMOUS_TLS if anonymous else TLS
        case Reconnect():
            return RECONNECT
    raise AssertionError(command)


def play(server: bytes, policy: SecurityPolicy, sent: list[bytes]) -> tuple[HostAgreement, bytes]:
    """Run to the end on these bytes and then the peer's close; what was agreed and what was left."""
    reader = ByteReader(65536)

    def steps() -> Steps[HostAgreement]:
        version = yield from agree_on_version(reader)
        return (yield from authenticate(reader, version, policy))

    running, rest = steps(), server
    try:
        while True:
            step = next(running)
            if not isinstance(step, ByteReader):
                sent.append(mark(step))
            elif rest:
                reader.feed(rest[:1])
                rest = rest[1:]
            else:
                reader.feed_eof()
    except StopIteration as stop:
        agreement: HostAgreement = stop.value
        return agreement, rest


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_case(case: Case) -> None:
    sent: list[bytes] = []
    if case.ends is None:
        agreement, rest = play(case.server, case.policy, sent)
        assert agreement.security == case.says
        assert rest == b""
    else:
        with pytest.raises(ConsoleError) as caught:
            play(case.server, case.policy, sent)
        assert caught.value.reason is case.ends
    assert b"".join(sent) == case.sent


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_host_that_closes_at_any_byte(case: Case) -> None:
    for cut in range(len(case.server)):
        sent: list[bytes] = []
        with pytest.raises((EndOfData, ConsoleError)):
            play(case.server[:cut], case.policy, sent)
        assert case.sent.startswith(b"".join(sent))


def test_a_password_never_goes_out_in_front_of_tls() -> None:
    for case in CASES.values():
        before, tls, after = case.sent.partition(TLS)
        if tls:
            assert RESPONSE not in before
            assert PLAIN not in before
            assert after in (b"", RESPONSE, PLAIN)


def test_bytes_in_front_of_the_tls_handshake_are_refused() -> None:
    reader = ByteReader(65536)
    reader.feed(vencrypt(261)[12:] + b"\1" + CHALLENGE)
    running = authenticate(reader, Version.V3_8, POLICY)
    with pytest.raises(ConsoleError, match="in front of the TLS"):
        for _ in running:
            pass


@pytest.mark.parametrize(
    ("password", "username", "no_auth", "plaintext", "anonymous", "secured"),
    list(itertools.product([None, Secret("p")], ["", "bob"], *[[False, True]] * 4)),
)
def test_the_policy_holds_for_every_combination(
    password: Secret | None, username: str, no_auth: bool, plaintext: bool, anonymous: bool, secured: bool
) -> None:
    policy = SecurityPolicy(
        password=password,
        username=username,
        allow_no_authentication=no_auth,
        allow_plaintext=plaintext,
        allow_anonymous_tls=anonymous,
        secured=secured,
    )
    types, subtypes = policy.types(), policy.vencrypt_types()
    assert types[0] == 19
    if not plaintext and not secured:
        assert types == (19,)
        assert set(subtypes) <= {260, 261, 262}
    if not anonymous:
        assert not {257, 258, 259} & set(subtypes)
    if not secured:
        assert 256 not in subtypes
    if password and not no_auth:
        assert not {1} & set(types)
        assert not {257, 260} & set(subtypes)
    if not password:
        assert not {2} & set(types)
        assert not {256, 258, 259, 261, 262} & set(subtypes)
    certified = [n for n in subtypes if n >= 260]
    assert list(subtypes[: len(certified)]) == certified


@given(st.sampled_from(sorted(CASES)), st.data(), st.binary(max_size=100))
def test_valid_prefix_and_noise_never_break_it(name: str, data: st.DataObject, noise: bytes) -> None:
    case = CASES[name]
    cut = data.draw(st.integers(0, len(case.server)))
    try:
        agreement, _ = play(case.server[:cut] + noise, case.policy, [])
    except (ConsoleError, EndOfData):
        return
    assert agreement.security
