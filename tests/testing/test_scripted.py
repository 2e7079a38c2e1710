"""The scripted server: ordinary hosts against the RFB client, and every step that misbehaves."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable

import pytest
import trio
import trio.testing
import trustme
from trio.testing import MockClock

from trio_cpvm.rfb.pixelformat import PixelFormat
from trio_cpvm.rfb.vncauth import vnc_auth_response
from trio_cpvm.testing import (
    CHALLENGE,
    Abort,
    Close,
    Conversation,
    EchoForever,
    Expect,
    MemoryDialer,
    Pause,
    Read,
    RfbClient,
    RfbRefused,
    RfbViolation,
    ScriptedVncServer,
    ScriptMismatch,
    Send,
    SendForever,
    SendSlowly,
    ServerInit,
    Stall,
    StreamEnded,
    TrickleStream,
    Version,
    perform,
    read_exactly,
)

from . import timely

VERSIONS = [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"]
MINOR = dict(zip(VERSIONS, (3, 7, 8), strict=True))


def whole(stream: trio.abc.Stream) -> trio.abc.Stream:
    return stream


@timely
@pytest.mark.parametrize("feed", [whole, TrickleStream], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("password", [None, "secret"])
@pytest.mark.parametrize("client_version", VERSIONS)
@pytest.mark.parametrize("server_version", VERSIONS)
async def test_ordinary_hosts(
    server_version: bytes,
    client_version: bytes,
    password: str | None,
    feed: Callable[[trio.abc.Stream], trio.abc.Stream],
    autojump_clock: MockClock,
) -> None:
    server = ScriptedVncServer(version=server_version, password=password, name="wéb", width=7, height=5)
    async with server.connect() as stream:
        client = RfbClient(feed(stream))
        init = await client.handshake(password, client_version, shared=False)
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert init == ServerInit("wéb", 7, 5, PixelFormat())
    assert client.server_version == server_version
    assert client.offered_security == (1 if password is None else 2,)
    (conversation,) = server.conversations
    agreed = min(server_version, client_version)
    assert conversation.client_version == agreed
    assert conversation.minor == MINOR[agreed]
    assert conversation.shared is False
    assert conversation.accepted
    assert server.events == [
        "version",
        *(["security"] if MINOR[agreed] > 3 else []),
        *(["challenge ok"] if password else []),
        "client-init",
        "peer closed",
    ]
    assert conversation.received_count == len(server.received)


@timely
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_wrong_password(version: bytes, autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(version=version, password="secret", result_reason="go away")
    async with server.connect() as stream:
        with pytest.raises(RfbRefused) as info:
            await RfbClient(stream).handshake("wrong")
        assert await stream.receive_some() == b""
    assert info.value.stage == "result"
    assert info.value.reason_text == ("go away" if version == VERSIONS[-1] else "")
    assert server.events[-2:] == ["challenge failed", "result failed"]


@timely
@pytest.mark.parametrize("version", VERSIONS)
async def test_refusing_everybody(version: bytes, autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(version=version, password="secret", refuse_with=b"too many \xff")
    async with server.connect() as stream:
        client = RfbClient(stream)
        with pytest.raises(RfbRefused, match="too many \N{REPLACEMENT CHARACTER}") as info:
            await client.handshake("secret")
    assert info.value.stage == "security"
    assert client.offered_security == ()
    # Not a byte of an authentication was sent.
    assert server.received == version
    assert server.events == ["version", "refused"]


@timely
@pytest.mark.parametrize("version", VERSIONS)
async def test_no_security_types_at_all(version: bytes, autojump_clock: MockClock) -> None:
    async with ScriptedVncServer(version=version, security_types=()).connect() as stream:
        with pytest.raises(RfbRefused, match=r"^refused \(security\): $"):
            await RfbClient(stream).handshake()


@timely
async def test_strange_versions(autojump_clock: MockClock) -> None:
    for offer, reply in [(b"RFB 003.889\n", b"RFB 003.008\n"), (b"RFB 005.000\n", b"RFB 003.008\n")]:
        server = ScriptedVncServer(version=offer)
        async with server.connect() as stream:
            await RfbClient(stream).handshake()
        assert server.conversations[0].client_version == reply


@timely
@pytest.mark.parametrize(
    ("reply", "minor"), [(b"RFB 003.005\n", 3), (b"RFB 003.889\n", 8), (b"RFB 004.001\n", 8), (b"RFB 003.007\n", 7)]
)
async def test_the_clients_reply_is_followed(reply: bytes, minor: int, autojump_clock: MockClock) -> None:
    server = ScriptedVncServer()
    async with server.connect() as stream:
        await read_exactly(stream, 12)
        await stream.send_all(reply)
        await stream.receive_some()
    assert server.conversations[0].minor == minor


@timely
async def test_a_reply_that_is_no_version_ends_it(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer()
    async with server.connect() as stream:
        client = RfbClient(stream)
        with pytest.raises(StreamEnded):
            await client.handshake(version=b"GET / HTTP/1")
    assert server.events == ["version unreadable"]


@timely
@pytest.mark.parametrize("version", VERSIONS[1:])
@pytest.mark.parametrize("chosen", [1, 30])
async def test_choosing_what_was_not_offered(version: bytes, chosen: int, autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(version=version, security_types=(2, 16))
    async with server.connect() as stream:
        client = RfbClient(stream)
        with pytest.raises((RfbRefused, RfbViolation, StreamEnded, trio.BrokenResourceError)):
            await client.handshake(security_type=chosen)
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert server.conversations[0].security_type == chosen
    assert not server.conversations[0].accepted
    assert "security not offered" in server.events
    assert "client-init" not in server.events


@timely
async def test_security_types_without_an_authentication_end_the_script(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(security_types=(5, 113, 0, 255))
    async with server.connect() as stream:
        client = RfbClient(stream)
        with pytest.raises(RfbViolation, match="security type 113"):
            await client.handshake(security_type=113)
        assert await stream.receive_some() == b""
    assert client.offered_security == (5, 113, 0, 255)


@timely
async def test_a_password_asked_for_where_none_was_set_is_always_wrong(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(security_types=(2,))
    async with server.connect() as stream:
        with pytest.raises(RfbRefused):
            await RfbClient(stream).handshake("")


@timely
async def test_a_lying_result(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(result=2, result_reason=b"no\0")
    async with server.connect() as stream:
        with pytest.raises(RfbRefused, match="no"):
            await RfbClient(stream).handshake()
    async with ScriptedVncServer(password="secret", result=0).connect() as stream:
        await RfbClient(stream).handshake("wrong")


@timely
async def test_what_follows_the_handshake(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(after_init=b"\x02\x02", then=(Expect(b"ping"), Send(b"pong"), Close()))
    async with server.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        await client.read_message()
        await client.read_message()
        await stream.send_all(b"ping")
        assert await read_exactly(stream, 4) == b"pong"
        assert await stream.receive_some() == b""
    assert client.bells == 2


@timely
async def test_several_connections_are_told_apart(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(password="secret")
    dialer = server.start(nursery)
    for password in ("secret", "wrong"):
        async with RfbClient(await dialer.dial("host", 5900)) as client:
            with contextlib.suppress(RfbRefused):
                await client.handshake(password)
        await trio.testing.wait_all_tasks_blocked()
    assert [conversation.accepted for conversation in server.conversations] == [True, False]
    assert len(server.events) == sum(len(conversation.events) for conversation in server.conversations)


@timely
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("password", [b"secret", None])
async def test_a_client_that_leaves_at_any_byte(
    version: bytes, password: bytes | None, autojump_clock: MockClock
) -> None:
    kind = b"" if version == VERSIONS[0] else b"\x02" if password else b"\x01"
    sent = version + kind + (vnc_auth_response(password, CHALLENGE) if password else b"") + b"\x01"
    for cut in range(len(sent) + 1):
        server = ScriptedVncServer(version=version, password=password)
        async with server.connect() as stream:
            await stream.send_all(sent[:cut])
            await trio.testing.wait_all_tasks_blocked()
            await trio.aclose_forcefully(stream)
            await trio.testing.wait_all_tasks_blocked()
        assert server.events[-1] in ("peer closed", "peer broke")
        assert server.received == sent[:cut]
        assert ("client-init" in server.events) == (cut == len(sent))


# -- VeNCrypt ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("vnc.test").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def choose_vencrypt(stream: trio.abc.Stream, subtype: int) -> tuple[int, ...]:
    """The client's side of VeNCrypt up to its choice; the sub-types offered."""
    await read_exactly(stream, 12)
    await stream.send_all(b"RFB 003.008\n")
    assert await read_exactly(stream, 2) == b"\x01\x13"
    await stream.send_all(b"\x13")
    assert await read_exactly(stream, 2) == b"\0\x02"
    await stream.send_all(b"\0\x02")
    ack, count = await read_exactly(stream, 2)
    assert ack == 0
    offered = await read_exactly(stream, 4 * count)
    await stream.send_all(subtype.to_bytes(4, "big"))
    return tuple(int.from_bytes(offered[at : at + 4], "big") for at in range(0, len(offered), 4))


@timely
@pytest.mark.parametrize("subtype", [260, 261, 262])
async def test_vencrypt(
    subtype: int, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    server = ScriptedVncServer(
        security_types=(19,), vencrypt_subtypes=(260, 261, 262), tls=server_tls, password="secret", name="safe"
    )
    async with server.connect() as plain:
        assert await choose_vencrypt(plain, subtype) == (260, 261, 262)
        assert await read_exactly(plain, 1) == b"\x01"
        stream = trio.SSLStream(plain, client_tls, server_hostname="vnc.test")
        if subtype == 261:
            await stream.send_all(vnc_auth_response(b"secret", await read_exactly(stream, 16)))
        elif subtype == 262:
            await stream.send_all(b"\0\0\0\x02\0\0\0\x06mesecret")
        assert await read_exactly(stream, 4) == bytes(4)
        await stream.send_all(b"\x01")
        assert (await read_exactly(stream, 28)).endswith(b"safe")
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert server.conversations[0].subtype == subtype
    assert server.events[:4] == ["version", "security", "vencrypt", "tls"]
    assert server.events[-2:] == ["client-init", "peer closed"]


@timely
async def test_vencrypt_plain_without_tls(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(security_types=(19,), vencrypt_subtypes=(256,), password="secret")
    async with server.connect() as stream:
        await choose_vencrypt(stream, 256)
        await stream.send_all(b"\0\0\0\x02\0\0\0\x05mewrong")
        assert (await read_exactly(stream, 4))[-1] == 1
    assert "plain failed" in server.events


@timely
async def test_a_client_that_does_not_trust_the_certificate(
    server_tls: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    server = ScriptedVncServer(security_types=(19,), tls=server_tls, password="secret")
    async with server.connect() as plain:
        await choose_vencrypt(plain, 261)
        await read_exactly(plain, 1)
        stream = trio.SSLStream(plain, ssl.create_default_context(), server_hostname="vnc.test")
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.testing.wait_all_tasks_blocked()
    assert "challenge ok" not in server.events
    assert server.conversations[0].received_count == 12 + 1 + 2 + 4


@timely
@pytest.mark.parametrize(
    ("answer", "event"), [(b"\0\x01", "security"), (b"\0\x02\0\0\x01\x09", "security not offered")]
)
async def test_vencrypt_that_cannot_agree(answer: bytes, event: str, autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(security_types=(19,), password="secret")
    async with server.connect() as stream:
        await stream.send_all(b"RFB 003.008\n\x13" + answer)
        while await stream.receive_some():
            pass
    assert server.events[-1] == event


@timely
async def test_vencrypt_plain_lengths_are_bounded(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(security_types=(19,), vencrypt_subtypes=(256,), password="secret")
    async with server.connect() as stream:
        await stream.send_all(b"RFB 003.008\n\x13\0\x02\0\0\x01\0" + b"\xff" * 8)
        while await stream.receive_some():
            pass
    assert server.events[-1] == "vencrypt"


@timely
async def test_tls_without_a_certificate_is_a_mistake_of_the_test(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(security_types=(19,), password="secret")
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="tls=")):
        async with server.connect() as stream:
            await choose_vencrypt(stream, 261)
            await stream.receive_some()
            await trio.sleep(1)


# -- raw scripts -------------------------------------------------------------------------------------------------------


@timely
async def test_a_raw_script(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer.playing(Send(b"a"), Expect(b"bc"), Read(1), Pause(7), Send(b"e"))
    async with server.connect() as stream:
        assert await stream.receive_some() == b"a"
        await stream.send_all(b"bcd")
        assert await stream.receive_some() == b"e"
        assert await stream.receive_some() == b""
    assert trio.current_time() == pytest.approx(7)
    assert server.received == b"bcd"
    assert server.events == []


@timely
async def test_an_unmet_expectation_is_loud(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer.playing(Expect(b"bc"))
    with pytest.RaisesGroup(pytest.RaisesExc(ScriptMismatch, match="b'bx'")):
        async with server.connect() as stream:
            await stream.send_all(b"bx")
            await stream.receive_some()
            await trio.sleep(1)


@timely
async def test_the_steps_of_an_ordinary_host_can_be_mixed(autojump_clock: MockClock) -> None:
    ordinary = ScriptedVncServer(password="secret").script
    server = ScriptedVncServer.playing(*ordinary[:2], Send(b"\0" * 7), Stall())
    async with server.connect() as stream:
        with trio.move_on_after(60) as scope:
            await RfbClient(stream).handshake("secret")
        assert scope.cancelled_caught
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert server.events == ["version", "security", "peer closed"]


@timely
async def test_sending_slowly(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer.playing(SendSlowly(b"RFB 003.008\n", chunk=5, pause_s=10), Stall())
    async with server.connect() as stream:
        assert await read_exactly(stream, 12) == b"RFB 003.008\n"
    assert trio.current_time() == pytest.approx(20)


@timely
async def test_stalling_without_reading(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = ScriptedVncServer.playing(Stall(reading=False))
    dialer = MemoryDialer(server.serve, nursery, make_pair=trio.testing.lockstep_stream_pair)
    stream = await dialer.dial()
    with trio.move_on_after(5) as scope:
        await stream.send_all(b"x")
    assert scope.cancelled_caught
    assert server.received == b""


@timely
async def test_echoing(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer.playing(EchoForever())
    async with server.connect() as stream:
        await stream.send_all(b"abc")
        assert await read_exactly(stream, 3) == b"abc"
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert server.events == ["peer closed"]


@timely
async def test_flooding_waits_for_the_client(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = ScriptedVncServer.playing(SendForever(b"xyz"))
    dialer = MemoryDialer(server.serve, nursery, make_pair=trio.testing.lockstep_stream_pair)
    stream = await dialer.dial()
    assert await read_exactly(stream, 7) == b"xyzxyzx"
    await trio.aclose_forcefully(stream)
    await trio.testing.wait_all_tasks_blocked()
    assert server.events == ["peer broke"]


@timely
@pytest.mark.parametrize("farewell", [Close(), Abort()])
async def test_leaving_ends_the_script(farewell: Close | Abort, autojump_clock: MockClock) -> None:
    server = ScriptedVncServer.playing(Version(), farewell, Send(b"never"))
    async with server.connect() as stream:
        await stream.send_all(b"RFB 003.008\n")
        assert await read_exactly(stream, 12)
        assert await stream.receive_some() == b""


@timely
async def test_the_record_is_bounded_and_the_count_is_not(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    conversation = Conversation(theirs, record_limit=4)
    await ours.send_all(b"abcdef")
    await ours.send_eof()
    await perform((Read(3), Stall()), conversation)
    assert conversation.received == b"abcd"
    assert conversation.received_count == 6
    assert conversation.events == ["peer closed"]


@timely
async def test_a_cancelled_server_closes(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    with trio.move_on_after(1):
        await ScriptedVncServer.playing(Stall()).serve(theirs)
    assert await ours.receive_some() == b""
