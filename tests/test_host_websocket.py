"""Sessions whose host is a WebSocket: the proxy authenticates, and the host sees a proper close on every way out."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair

from tests.consoles import PASSWORD, Console, console
from tests.upstream.bounds import bounded
from tests.upstream.networks import AUTHORITY, Network, inside_tls, server_context
from trio_cpvm import errors
from trio_cpvm.config import Config, SessionConfig, UpstreamConfig
from trio_cpvm.errors import Reason
from trio_cpvm.models import ConsoleTarget, Secret
from trio_cpvm.testing import (
    Abort,
    Close,
    EchoForever,
    Expect,
    InteractiveVncServer,
    RfbClient,
    RfbRefused,
    ScriptedVncServer,
    Security,
    SendForever,
    Stall,
    Step,
    StreamEnded,
    Version,
    WebSocketDouble,
    accept_websocket,
)
from trio_cpvm.testing.steps import Conversation
from trio_cpvm.testing.streams import Serve
from trio_cpvm.upstream import Dialler, tcp

HOST = "192.0.2.5"
TARGET = ConsoleTarget(
    host="", port=0, websocket_url=f"ws://{HOST}/ticket/abc", password=Secret(PASSWORD), vm_id="vm-1", name="Web 1"
)
KEY = b"\4\1\0\0\0\0\0a"


@pytest.fixture
def network(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> Network:
    found = Network(nursery)
    monkeypatch.setattr(tcp, "connect_to", found.open)
    return found


@attrs.define(eq=False)
class Host:
    """A VNC server behind WebSockets.

    Attributes:
        websockets: the ends of the host, one for each connection.
    """

    serve_vnc: Serve
    websockets: list[WebSocketDouble] = attrs.field(factory=list)

    async def serve(self, stream: trio.abc.Stream) -> None:
        websocket = await accept_websocket(stream)
        self.websockets.append(websocket)
        await self.serve_vnc(websocket)

    @property
    def close_codes(self) -> list[int | None]:
        return [websocket.close_code for websocket in self.websockets]


@contextlib.asynccontextmanager
async def session(
    network: Network,
    host: Host,
    *,
    config: SessionConfig | None = None,
    upstream: UpstreamConfig | None = None,
    tls: bool = False,
) -> AsyncIterator[Console]:
    """A console at that host; after the block, nothing of ours may be open."""
    config, upstream = config or SessionConfig(idle_timeout_s=0), upstream or UpstreamConfig()
    target = attrs.evolve(TARGET, websocket_url=TARGET.websocket_url.replace("ws:", "wss:" if tls else "ws:"))
    dialler = Dialler(Config(session=config, upstream=upstream))
    network.listen(HOST, 443 if tls else 80, inside_tls(host.serve, server_context(HOST)) if tls else host.serve)

    async def secure(stream: trio.abc.Stream, anonymous: bool) -> trio.abc.Stream:
        return await dialler.start_tls(stream, target, anonymous=anonymous)

    async with console(
        partial(dialler.dial, target), dials=True, target=target, config=config, upstream=upstream, secure=secure
    ) as c:
        yield c
        await c.wait_end()
        assert await network.nothing_is_open()


def scripted(*then: Step, password: str = PASSWORD) -> ScriptedVncServer:
    return ScriptedVncServer(password=password, then=then or (EchoForever(),))


async def opened(c: Console) -> None:
    await RfbClient(c.browser).handshake()


# -- consoles that work --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
@bounded(60)
async def test_typing_and_looking(network: Network, tmp_path: Path, tls: bool, autojump_clock: MockClock) -> None:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    upstream = UpstreamConfig(ca_file=str(tmp_path / "ca.pem"), allow_plaintext=not tls)
    async with InteractiveVncServer(name="guest", password=PASSWORD).running() as machine:
        host = Host(machine.serve)
        async with session(network, host, upstream=upstream, tls=tls) as c:
            client = RfbClient(c.browser)
            init = await client.handshake()
            assert client.offered_security == (1,)
            assert init.name == "Web 1"
            await client.type_text("hello")
            await machine.until(lambda: machine.text == "hello")
            assert (await client.refresh()).width == init.width
            assert c.session.established is not None
            assert c.session.established.security == "VncAuth(2)"
            assert c.session.transport.startswith("TLSv1.3 ") is tls
            await c.browser.close()
            assert (await c.wait_end()).reason is errors.CLOSED_BY_USER
    assert host.close_codes == [1000]
    assert host.websockets[0].target == "/ticket/abc"


@bounded(60)
async def test_the_password_never_reaches_the_browser(network: Network, autojump_clock: MockClock) -> None:
    server = scripted()
    async with session(network, Host(server.serve)) as c:
        await c.browser.send_all(b"RFB 003.008\n\1\1" + KEY)
        data = b""
        while KEY not in data:
            data += await c.browser.receive_some()
        assert data.startswith(b"RFB 003.008\n\1\1\0\0\0\0")
        assert PASSWORD.encode() not in data
        assert "challenge ok" in server.events
        await c.browser.close()


@bounded(60)
async def test_the_host_may_cut_its_messages_as_it_likes_and_ping(network: Network, autojump_clock: MockClock) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        assert isinstance(stream, WebSocketDouble)
        await stream.ping(b"there?")
        for byte in b"RFB 003.008\n":
            await stream.send_all(bytes([byte]))
        await stream.ping(b"still?")
        await ScriptedVncServer.playing(Expect(b"RFB 003.008\n"), Close()).serve(stream)

    host = Host(serve)
    async with session(network, host) as c:
        with pytest.raises((RfbRefused, StreamEnded, trio.BrokenResourceError)):
            await opened(c)
        await c.drain()
    assert host.websockets[0].pongs == [b"there?", b"still?"]


# -- every way out -------------------------------------------------------------------------------------------------


@bounded(60)
async def test_the_browser_closes(network: Network, autojump_clock: MockClock) -> None:
    host = Host(scripted().serve)
    async with session(network, host) as c:
        await opened(c)
        await c.browser.close()
        assert (await c.wait_end()).reason is errors.CLOSED_BY_USER
    assert host.close_codes == [1000]


@bounded(60)
async def test_the_browser_vanishes(network: Network, autojump_clock: MockClock) -> None:
    host = Host(scripted().serve)
    async with session(network, host) as c:
        await opened(c)
        await c.browser.vanish()
        assert (await c.wait_end()).reason is errors.CLOSED_BY_USER
    assert host.close_codes == [1000]


@bounded(60)
async def test_the_browser_breaks_the_protocol(network: Network, autojump_clock: MockClock) -> None:
    host = Host(scripted().serve)
    async with session(network, host) as c:
        await opened(c)
        await c.browser.send_raw(b"\xff\xff\xff\xff")
        await c.drain()
        assert (await c.wait_end()).reason is errors.CLIENT_PROTOCOL
    assert host.close_codes == [1000]


@bounded(60)
async def test_killed(network: Network, autojump_clock: MockClock) -> None:
    host = Host(scripted().serve)
    async with session(network, host) as c:
        await opened(c)
        c.session.end(errors.KILLED)
        await c.drain()
        assert (await c.wait_end()).reason is errors.KILLED
        assert c.browser.close_code == 4411
    assert host.close_codes == [1000]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (SessionConfig(idle_timeout_s=30), errors.IDLE_TIMEOUT),
        (SessionConfig(idle_timeout_s=0, lifetime_s=40), errors.LIFETIME_REACHED),
    ],
)
@bounded(600)
async def test_time_is_up(network: Network, config: SessionConfig, reason: Reason, autojump_clock: MockClock) -> None:
    host = Host(scripted().serve)
    async with session(network, host, config=config) as c:
        await opened(c)
        await c.drain()
        assert (await c.wait_end()).reason is reason
    assert host.close_codes == [1000]


@bounded(60)
async def test_killed_in_the_middle_of_the_handshake(network: Network, autojump_clock: MockClock) -> None:
    host = Host(ScriptedVncServer.playing(Version(), Stall()).serve)
    async with session(network, host) as c:
        await trio.sleep(1)
        c.session.end(errors.KILLED)
        await c.drain()
        assert (await c.wait_end()).reason is errors.KILLED
    assert host.close_codes == [1000]


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (scripted(password="another"), errors.UPSTREAM_AUTH_FAILED),
        (ScriptedVncServer(refuse_with="Too many security failures"), errors.UPSTREAM_AUTH_BLOCKED),
        (ScriptedVncServer.playing(Version(), Security((30,)), Stall()), errors.UPSTREAM_PROTOCOL),
        (ScriptedVncServer.playing(Stall()), errors.UPSTREAM_TIMEOUT),
        (ScriptedVncServer.playing(Version(b"SSH-2.0-OpenSSH\r\n")), errors.UPSTREAM_PROTOCOL),
        (ScriptedVncServer(security_types=(1,)), errors.UPSTREAM_PROTOCOL),
    ],
)
@bounded(120)
async def test_the_handshake_fails(
    network: Network, server: ScriptedVncServer, reason: Reason, autojump_clock: MockClock
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await server.serve(Unclosing(stream))
        with contextlib.suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass

    host = Host(serve)
    async with session(network, host) as c:
        with pytest.raises((RfbRefused, StreamEnded, trio.BrokenResourceError)):
            await opened(c)
        await c.drain()
        assert (await c.wait_end()).reason is reason
        assert c.browser.close_code == reason.close_code
    assert host.close_codes == [1000]


class Unclosing(trio.abc.Stream):
    """Leaves the closing to the proxy, so that its close frame can be seen."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("step", [Close(), Abort()])
@bounded(60)
async def test_the_host_ends(network: Network, step: Step, autojump_clock: MockClock) -> None:
    host = Host(scripted(step).serve)
    async with session(network, host) as c:
        await opened(c)
        await c.drain()
        assert (await c.wait_end()).reason is errors.CLOSED_BY_GUEST
        assert c.browser.close_code == 1000
    assert host.close_codes == [1000 if isinstance(step, Close) else None]


@attrs.frozen
class SayGoodbye:
    """Close the WebSocket with a code of the host's own."""

    code: int

    async def run(self, conversation: Conversation) -> None:
        assert isinstance(conversation.stream, WebSocketDouble)
        await conversation.stream.close(self.code, "bye")
        conversation.over = True


@pytest.mark.parametrize("code", [1001, 1011, 4000])
@bounded(60)
async def test_the_host_closes_with_a_code_of_its_own(network: Network, code: int, autojump_clock: MockClock) -> None:
    host = Host(scripted(SayGoodbye(code)).serve)
    async with session(network, host) as c:
        await opened(c)
        await c.drain()
        assert (await c.wait_end()).reason is errors.CLOSED_BY_GUEST
    assert host.close_codes == [code], "the answer to a close frame repeats its code"


@attrs.frozen
class SendText:
    """A text message, which no host of consoles sends."""

    async def run(self, conversation: Conversation) -> None:
        assert isinstance(conversation.stream, WebSocketDouble)
        await conversation.stream.send_text("hello")


@bounded(60)
async def test_a_host_that_sends_text_is_let_go_properly(network: Network, autojump_clock: MockClock) -> None:
    host = Host(scripted(SendText(), EchoForever()).serve)
    async with session(network, host) as c:
        await opened(c)
        await c.drain()
        assert (await c.wait_end()).reason is errors.CLOSED_BY_GUEST
    assert host.close_codes == [1000]


@bounded(60)
async def test_a_host_that_does_not_answer_the_close_frame_is_not_waited_for_long(
    network: Network, autojump_clock: MockClock
) -> None:
    host = Host(scripted(Stall(reading=False)).serve)
    async with session(network, host) as c:
        await opened(c)
        started = trio.current_time()
        await c.browser.close()
        assert (await c.wait_end()).reason is errors.CLOSED_BY_USER
        assert trio.current_time() - started <= 5


@bounded(60)
async def test_a_host_that_floods_while_it_is_closed(network: Network, autojump_clock: MockClock) -> None:
    network.make_pair = lockstep_stream_pair
    host = Host(scripted(SendForever(bytes(1000))).serve)
    async with session(network, host) as c:
        await opened(c)
        await c.browser.receive_some()
        c.session.end(errors.KILLED)
        with trio.move_on_after(20) as scope:
            await c.wait_end()
        assert not scope.cancelled_caught


@bounded(60)
async def test_vencrypt_inside_the_websocket_is_closed_properly_too(
    network: Network, tmp_path: Path, autojump_clock: MockClock
) -> None:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = ScriptedVncServer(
        password=PASSWORD, security_types=(19,), tls=server_context(HOST), then=[Stall(reading=True)]
    )
    host = Host(server.serve)
    async with session(network, host, upstream=UpstreamConfig(ca_file=str(tmp_path / "ca.pem"))) as c:
        await opened(c)
        assert c.session.transport.startswith("TLSv1.3 ")
        await c.browser.close()
        assert (await c.wait_end()).reason is errors.CLOSED_BY_USER
    assert host.close_codes == [1000]


@bounded(60)
async def test_a_second_connection_frees_the_first_properly(network: Network, autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(
        password=PASSWORD, security_types=(19, 2), vencrypt_subtypes=(258,), then=[EchoForever()]
    )
    host = Host(server.serve)
    async with session(network, host) as c:
        await opened(c)
        await c.browser.close()
        assert (await c.wait_end()).reason is errors.CLOSED_BY_USER
    assert host.close_codes == [1000, 1000]
