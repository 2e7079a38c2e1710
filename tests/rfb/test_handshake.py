"""The handshake as tables: what both peers send in all, and what they are sent. No streams, no clock.

Every case is fed whole, byte by byte in both orders, and cut at each byte.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm import errors
from trio_cpvm.errors import ConsoleError, Reason, Side
from trio_cpvm.models import Secret
from trio_cpvm.rfb.commands import Command, Established, Failed, SendToClient, SendToServer
from trio_cpvm.rfb.handshake import MAX_AHEAD_BYTES, MAX_NAME_BYTES, Handshake, HandshakeSettings
from trio_cpvm.rfb.security import SecurityPolicy
from trio_cpvm.rfb.vncauth import vnc_auth_response

V33, V37, V38 = b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"
CHALLENGE = bytes(range(16))
PASSWORD = HandshakeSettings(policy=SecurityPolicy(password=Secret("secret12")), name="Web 1")
NO_PASSWORD = HandshakeSettings(name="Web 1")
RESPONSE = vnc_auth_response(b"secret12", CHALLENGE)
FORMAT = bytes.fromhex("20180001 00ff00ff00ff 100800 000000")
OK = b"\0\0\0\0"


def with_policy(policy: SecurityPolicy) -> HandshakeSettings:
    return attrs.evolve(PASSWORD, policy=policy)


def server_init(name: bytes) -> bytes:
    return struct.pack(">HH", 800, 600) + FORMAT + struct.pack(">I", len(name)) + name


def reason(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


RENAMED = server_init(b"Web 1")
GUEST = server_init(b"QEMU (guest)")
NONE_OFFERED_38 = V38 + b"\1\1" + OK
CLIENT_38 = V38 + b"\1" + b"\1"


@attrs.frozen(kw_only=True)
class Case:
    server: bytes
    client: bytes = CLIENT_38
    to_server: bytes
    to_client: bytes = NONE_OFFERED_38 + RENAMED
    settings: HandshakeSettings = PASSWORD
    ends: Reason | None = None


GOOD = {
    "3.8 VncAuth": Case(
        server=V38 + b"\1\2" + CHALLENGE + OK + GUEST,
        to_server=V38 + b"\2" + RESPONSE + b"\1",
    ),
    "3.8 None": Case(
        settings=NO_PASSWORD,
        server=V38 + b"\1\1" + OK + GUEST,
        to_server=V38 + b"\1" + b"\1",
    ),
    "3.7 VncAuth": Case(
        server=V37 + b"\1\2" + CHALLENGE + OK + GUEST,
        to_server=V37 + b"\2" + RESPONSE + b"\1",
    ),
    "3.7 None: no result": Case(
        settings=NO_PASSWORD,
        server=V37 + b"\1\1" + GUEST,
        to_server=V37 + b"\1" + b"\1",
    ),
    "3.3 VncAuth: the server decides": Case(
        server=V33 + b"\0\0\0\2" + CHALLENGE + OK + GUEST,
        to_server=V33 + RESPONSE + b"\1",
    ),
    "3.3 None": Case(
        settings=NO_PASSWORD,
        server=V33 + b"\0\0\0\1" + GUEST,
        to_server=V33 + b"\1",
    ),
    "3.5 is spoken as 3.3": Case(
        server=b"RFB 003.005\n" + b"\0\0\0\2" + CHALLENGE + OK + GUEST,
        to_server=V33 + RESPONSE + b"\1",
    ),
    **{
        f"{odd[4:11].decode()} is spoken as 3.8": Case(
            server=odd + b"\1\2" + CHALLENGE + OK + GUEST,
            to_server=V38 + b"\2" + RESPONSE + b"\1",
        )
        for odd in (b"RFB 003.889\n", b"RFB 004.000\n", b"RFB 004.001\n", b"RFB 005.000\n")
    },
    "the whole list is read, ours is the choice": Case(
        server=V38 + b"\6\1\x1e\x81\2\x06\xff" + CHALLENGE + OK + GUEST,
        to_server=V38 + b"\2" + RESPONSE + b"\1",
    ),
    "None where the operator allows it": Case(
        settings=with_policy(attrs.evolve(PASSWORD.policy, allow_no_authentication=True)),
        server=V38 + b"\1\1" + OK + GUEST,
        to_server=V38 + b"\1" + b"\1",
    ),
    "an empty password is none": Case(
        settings=with_policy(SecurityPolicy(password=Secret(""))),
        server=V38 + b"\1\1" + OK + GUEST,
        to_server=V38 + b"\1" + b"\1",
    ),
    "no name of our own": Case(
        settings=HandshakeSettings(),
        server=V38 + b"\1\1" + OK + server_init("Größe\x1b[31m\0".encode()),
        to_server=V38 + b"\1" + b"\1",
        to_client=NONE_OFFERED_38 + server_init("Größe [31m".encode()),
    ),
    "exclusive": Case(
        server=V38 + b"\1\2" + CHALLENGE + OK + GUEST,
        client=V38 + b"\1\0",
        to_server=V38 + b"\2" + RESPONSE + b"\0",
    ),
    "browser 3.7: no result": Case(
        server=V38 + b"\1\2" + CHALLENGE + OK + GUEST,
        client=V37 + b"\1\1",
        to_server=V38 + b"\2" + RESPONSE + b"\1",
        to_client=V38 + b"\1\1" + RENAMED,
    ),
    "browser 3.3: we decide": Case(
        server=V38 + b"\1\2" + CHALLENGE + OK + GUEST,
        client=V33 + b"\1",
        to_server=V38 + b"\2" + RESPONSE + b"\1",
        to_client=V38 + b"\0\0\0\1" + RENAMED,
    ),
    "browser 3.5 is spoken as 3.3": Case(
        server=V38 + b"\1\2" + CHALLENGE + OK + GUEST,
        client=b"RFB 003.005\n" + b"\1",
        to_server=V38 + b"\2" + RESPONSE + b"\1",
        to_client=V38 + b"\0\0\0\1" + RENAMED,
    ),
}


def refusal(why: Reason, said: str = "") -> bytes:
    return b"\0" + reason(ConsoleError(why, server_text=said).public_text.encode())


BAD = {
    "another protocol": Case(
        server=b"SSH-2.0-OpenSSH_9.2\r\n",
        to_server=b"",
        to_client=V38 + refusal(errors.UPSTREAM_PROTOCOL),
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "another protocol, shorter than a version": Case(
        server=b"220 ",
        to_server=b"",
        to_client=V38 + refusal(errors.UPSTREAM_PROTOCOL),
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "a version before 3.3": Case(
        server=b"RFB 003.002\n",
        to_server=b"",
        to_client=V38 + refusal(errors.UPSTREAM_PROTOCOL),
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "wrong password": Case(
        server=V38 + b"\1\2" + CHALLENGE + b"\0\0\0\1" + reason(b"Authentication failed\0"),
        to_server=V38 + b"\2" + RESPONSE,
        to_client=V38 + refusal(errors.UPSTREAM_AUTH_FAILED, "Authentication failed"),
        ends=errors.UPSTREAM_AUTH_FAILED,
    ),
    "wrong password, 3.7 gives no reason": Case(
        server=V37 + b"\1\2" + CHALLENGE + b"\0\0\0\1",
        to_server=V37 + b"\2" + RESPONSE,
        to_client=V38 + refusal(errors.UPSTREAM_AUTH_FAILED),
        ends=errors.UPSTREAM_AUTH_FAILED,
    ),
    "wrong password, 3.3": Case(
        server=V33 + b"\0\0\0\2" + CHALLENGE + b"\0\0\0\1",
        to_server=V33 + RESPONSE,
        to_client=V38 + refusal(errors.UPSTREAM_AUTH_FAILED),
        ends=errors.UPSTREAM_AUTH_FAILED,
    ),
    "wrong password, told to a browser of 3.3": Case(
        server=V37 + b"\1\2" + CHALLENGE + b"\0\0\0\1",
        client=V33,
        to_server=V37 + b"\2" + RESPONSE,
        to_client=V38 + b"\0\0\0" + refusal(errors.UPSTREAM_AUTH_FAILED),
        ends=errors.UPSTREAM_AUTH_FAILED,
    ),
    "too many attempts": Case(
        server=V37 + b"\1\2" + CHALLENGE + b"\0\0\0\2",
        to_server=V37 + b"\2" + RESPONSE,
        to_client=V38 + refusal(errors.UPSTREAM_AUTH_BLOCKED),
        ends=errors.UPSTREAM_AUTH_BLOCKED,
    ),
    "TigerVNC's black list": Case(
        server=V38 + b"\0" + reason(b"Too many security failures"),
        to_server=V38,
        to_client=V38 + refusal(errors.UPSTREAM_AUTH_BLOCKED, "Too many security failures"),
        ends=errors.UPSTREAM_AUTH_BLOCKED,
    ),
    "refused in 3.3": Case(
        server=V33 + b"\0\0\0\0" + reason(b"No licence"),
        to_server=V33,
        to_client=V38 + refusal(errors.UPSTREAM_PROTOCOL, "No licence"),
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "an unknown security result": Case(
        server=V37 + b"\1\2" + CHALLENGE + b"\0\0\0\7",
        to_server=V37 + b"\2" + RESPONSE,
        to_client=V38 + refusal(errors.UPSTREAM_PROTOCOL),
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "nothing in common": Case(
        server=V38 + b"\3\x1e\x06\x81",
        to_server=V38,
        to_client=V38 + refusal(errors.UPSTREAM_PROTOCOL),
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "no downgrade to None": Case(
        server=V38 + b"\1\1",
        to_server=V38,
        to_client=V38 + refusal(errors.UPSTREAM_PROTOCOL),
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "no downgrade to None in 3.3": Case(
        server=V33 + b"\0\0\0\1",
        to_server=V33,
        to_client=V38 + refusal(errors.UPSTREAM_PROTOCOL),
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "a password is asked for and there is none": Case(
        settings=NO_PASSWORD,
        server=V38 + b"\1\2",
        to_server=V38,
        to_client=V38 + refusal(errors.UPSTREAM_AUTH_FAILED),
        ends=errors.UPSTREAM_AUTH_FAILED,
    ),
    "a name without end": Case(
        server=V38 + b"\1\2" + CHALLENGE + OK + GUEST[:20] + struct.pack(">I", MAX_NAME_BYTES + 1),
        to_server=V38 + b"\2" + RESPONSE + b"\1",
        to_client=NONE_OFFERED_38,
        ends=errors.UPSTREAM_PROTOCOL,
    ),
    "the browser is not RFB": Case(
        server=V38 + b"\1\2" + CHALLENGE + OK,
        client=b"GET / HTTP/1.1\r\n",
        to_server=V38 + b"\2" + RESPONSE,
        to_client=V38,
        ends=errors.CLIENT_PROTOCOL,
    ),
    "the browser chooses what was not offered (CVE-2006-2369)": Case(
        server=V38 + b"\1\2" + CHALLENGE + OK,
        client=V38 + b"\2",
        to_server=V38 + b"\2" + RESPONSE,
        to_client=V38 + b"\1\1" + b"\0\0\0\1" + reason(b"Only security type None is offered."),
        ends=errors.CLIENT_PROTOCOL,
    ),
}


@attrs.define
class Outcome:
    to_server: bytes = b""
    to_client: bytes = b""
    end: Established | Failed | None = None

    @property
    def over(self) -> bool:
        return self.end is not None

    def obey(self, commands: list[Command]) -> None:
        for command in commands:
            assert self.end is None, f"{command} after {self.end}"
            match command:
                case SendToServer(data):
                    self.to_server += data
                case SendToClient(data):
                    self.to_client += data
                case Established():
                    self.end = command
                case Failed(_, farewell):
                    self.to_client += farewell
                    self.end = command


def whole(case: Case, shake: Handshake, out: Outcome) -> None:
    out.obey(shake.receive_from_client(case.client))
    out.obey(shake.receive_from_server(case.server))


def server_first_bytewise(case: Case, shake: Handshake, out: Outcome) -> None:
    for byte in case.server:
        out.obey(shake.receive_from_server(bytes([byte])))
    for byte in case.client:
        out.obey(shake.receive_from_client(bytes([byte])))


def client_first_bytewise(case: Case, shake: Handshake, out: Outcome) -> None:
    for byte in case.client:
        out.obey(shake.receive_from_client(bytes([byte])))
    for byte in case.server:
        out.obey(shake.receive_from_server(bytes([byte])))


def as_asked(case: Case, shake: Handshake, out: Outcome) -> None:
    """Only what the handshake says it waits for: no peer ever sends ahead."""
    rest = {Side.UPSTREAM: case.server, Side.DOWNSTREAM: case.client}
    while not shake.done:
        side = shake.waiting_for
        assert side is not None
        byte, rest[side] = rest[side][:1], rest[side][1:]
        assert byte, f"waits for {shake.waiting_for_what} beyond the script"
        feed = shake.receive_from_server if side is Side.UPSTREAM else shake.receive_from_client
        out.obey(feed(byte))


FEEDS = [whole, server_first_bytewise, client_first_bytewise, as_asked]


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("case", (GOOD | BAD).values(), ids=(GOOD | BAD).keys())
def test_every_case(case: Case, feed: Callable[[Case, Handshake, Outcome], None]) -> None:
    shake, out = Handshake(case.settings), Outcome()
    out.obey(shake.start())
    feed(case, shake, out)
    assert out.to_server == case.to_server
    assert out.to_client == case.to_client
    if case.ends is None:
        assert isinstance(out.end, Established)
    else:
        assert isinstance(out.end, Failed)
        assert out.end.error.reason is case.ends
    assert shake.done
    assert shake.waiting_for is None


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD.keys())
def test_a_server_that_closes_at_any_byte(case: Case) -> None:
    for cut in range(len(case.server)):
        shake, out = Handshake(case.settings), Outcome()
        out.obey(shake.start())
        out.obey(shake.receive_from_client(case.client))
        out.obey(shake.receive_from_server(case.server[:cut]))
        out.obey(shake.server_closed())
        assert isinstance(out.end, Failed), cut
        assert out.end.error.reason is errors.UPSTREAM_PROTOCOL
        assert "closed" in out.end.error.detail
        assert case.to_server.startswith(out.to_server)


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD.keys())
def test_a_browser_that_closes_at_any_byte(case: Case) -> None:
    for cut in range(len(case.client)):
        shake, out = Handshake(case.settings), Outcome()
        out.obey(shake.start())
        out.obey(shake.receive_from_client(case.client[:cut]))
        out.obey(shake.receive_from_server(case.server))
        out.obey(shake.client_closed())
        assert isinstance(out.end, Failed), cut
        assert out.end.error.reason is errors.CLOSED_BY_USER


@pytest.mark.parametrize("cut", [0, 3, 12, 14, 30])
def test_a_browser_that_closes_while_the_server_is_waited_for(cut: int) -> None:
    shake, out = Handshake(PASSWORD), Outcome()
    out.obey(shake.start())
    out.obey(shake.receive_from_server(GOOD["3.8 VncAuth"].server[:cut]))
    out.obey(shake.client_closed())
    assert isinstance(out.end, Failed)
    assert out.end.error.reason is errors.CLOSED_BY_USER


def test_a_server_that_closes_while_the_browser_is_waited_for() -> None:
    for cut in range(len(CLIENT_38)):
        shake, out = Handshake(PASSWORD), Outcome()
        out.obey(shake.start())
        out.obey(shake.receive_from_server(V38 + b"\1\2" + CHALLENGE + OK))
        out.obey(shake.receive_from_client(CLIENT_38[:cut]))
        out.obey(shake.server_closed())
        assert isinstance(out.end, Failed)
        assert out.end.error.reason is errors.UPSTREAM_PROTOCOL


@pytest.mark.parametrize("rest", [b"", b"\0\0", b"\0\0\0\x16", b"\0\0\0\x16Authen"])
@pytest.mark.parametrize("closes", [True, False])
def test_a_refusal_counts_even_if_its_reason_never_comes(rest: bytes, closes: bool) -> None:
    shake, out = Handshake(PASSWORD), Outcome()
    out.obey(shake.start())
    out.obey(shake.receive_from_client(CLIENT_38))
    out.obey(shake.receive_from_server(V38 + b"\1\2" + CHALLENGE + b"\0\0\0\1" + rest))
    assert not out.over
    out.obey(shake.server_closed() if closes else shake.abort(ConsoleError(errors.UPSTREAM_TIMEOUT)))
    assert isinstance(out.end, Failed)
    assert out.end.error.reason is errors.UPSTREAM_AUTH_FAILED


def test_a_reason_of_four_gigabytes_is_read_as_far_as_it_is_useful() -> None:
    shake, out = Handshake(PASSWORD), Outcome()
    out.obey(shake.start())
    out.obey(shake.receive_from_client(CLIENT_38))
    out.obey(shake.receive_from_server(V38 + b"\0\xff\xff\xff\xff" + b"no " * 2000))
    assert isinstance(out.end, Failed)
    assert len(out.end.error.public_text) < 400


@pytest.mark.parametrize("started", [True, False])
def test_an_abort_from_outside_reaches_the_browser(started: bool) -> None:
    shake, out = Handshake(PASSWORD), Outcome()
    if started:
        out.obey(shake.start())
    out.obey(shake.abort(ConsoleError(errors.UPSTREAM_UNREACHABLE, "connection refused")))
    assert not out.over
    assert shake.waiting_for is Side.DOWNSTREAM
    out.obey(shake.receive_from_client(V38))
    assert out.to_client == V38 + refusal(errors.UPSTREAM_UNREACHABLE)
    assert isinstance(out.end, Failed)
    assert out.end.error.detail == "connection refused"


def test_an_abort_while_telling_the_browser_keeps_the_first_reason() -> None:
    shake, out = Handshake(PASSWORD), Outcome()
    out.obey(shake.abort(ConsoleError(errors.UPSTREAM_UNREACHABLE)))
    out.obey(shake.server_closed())
    assert not out.over
    out.obey(shake.abort(ConsoleError(errors.CLIENT_TIMEOUT)))
    assert isinstance(out.end, Failed)
    assert out.end.error.reason is errors.UPSTREAM_UNREACHABLE


def test_what_peers_send_ahead_is_handed_on() -> None:
    case = GOOD["3.8 VncAuth"]
    shake, out = Handshake(case.settings), Outcome()
    out.obey(shake.start())
    out.obey(shake.receive_from_client(case.client + b"SetPixelFormat"))
    out.obey(shake.receive_from_server(case.server + b"update"))
    assert isinstance(out.end, Established)
    shake.receive_from_client(b", SetEncodings")
    assert shake.take_leftovers() == (b"update", b"SetPixelFormat, SetEncodings")
    assert shake.take_leftovers() == (b"", b"")
    assert (out.end.width, out.end.height, out.end.pixel_format.bits_per_pixel) == (800, 600, 32)
    assert (out.end.server_version, out.end.client_version, out.end.security) == ("3.8", "3.8", "VncAuth(2)")


def test_peers_that_flood_are_stopped() -> None:
    for feed, why in (
        ("receive_from_client", errors.CLIENT_PROTOCOL),
        ("receive_from_server", errors.UPSTREAM_PROTOCOL),
    ):
        shake, out = Handshake(PASSWORD), Outcome()
        out.obey(shake.start())
        out.obey(shake.receive_from_server(V38 + b"\1\2" + CHALLENGE + OK))
        out.obey(shake.receive_from_client(V38))
        out.obey(getattr(shake, feed)(bytes(MAX_AHEAD_BYTES + 1)))
        assert isinstance(out.end, Failed)
        assert out.end.error.reason is why


def test_the_password_is_in_no_repr() -> None:
    shake = Handshake(PASSWORD)
    shake.start()
    shown = repr(shake.receive_from_server(V38 + b"\1\2" + CHALLENGE)) + repr(PASSWORD)
    assert "secret12" not in shown
    assert repr(RESPONSE) not in shown
    assert "16 bytes" in shown


@given(st.sampled_from(sorted(GOOD)), st.data(), st.binary(max_size=200), st.booleans())
def test_valid_prefix_and_noise_never_break_the_machine(name: str, data: st.DataObject, noise: bytes, up: bool) -> None:
    case = GOOD[name]
    peer = case.server if up else case.client
    cut = data.draw(st.integers(0, len(peer)))
    shake, out = Handshake(case.settings), Outcome()
    out.obey(shake.start())
    first, second = shake.receive_from_client, shake.receive_from_server
    if not up:
        first, second = second, first
    out.obey(first(case.client if up else case.server))
    out.obey(second(peer[:cut] + noise))
    if not shake.done:
        out.obey(shake.server_closed() if up else shake.client_closed())
    if not shake.done:
        out.obey(shake.client_closed())
    assert shake.done
    assert isinstance(out.end, Established | Failed)


@pytest.mark.parametrize("fault", ["closes", "floods", "fails"])
def test_a_host_that_goes_on_misbehaving_takes_no_word_from_the_refusal(fault: str) -> None:
    shake, out = Handshake(PASSWORD), Outcome()
    out.obey(shake.start())
    out.obey(shake.receive_from_server(V37 + b"\1\2" + CHALLENGE + b"\0\0\0\1"))
    assert shake.waiting_for is Side.DOWNSTREAM
    if fault == "closes":
        out.obey(shake.server_closed())
    elif fault == "floods":
        out.obey(shake.receive_from_server(bytes(MAX_AHEAD_BYTES + 1)))
    else:
        out.obey(shake.server_failed(ConsoleError(errors.UPSTREAM_TLS_FAILED, "TLS broke")))
    assert not out.over
    out.obey(shake.receive_from_client(V38))
    assert isinstance(out.end, Failed)
    assert out.end.error.reason is errors.UPSTREAM_AUTH_FAILED
    assert out.to_client == V38 + refusal(errors.UPSTREAM_AUTH_FAILED)
