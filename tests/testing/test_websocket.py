"""The WebSocket double: trio's conformance checks, trio-websocket as the peer, and everything a browser does badly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
import trio_websocket
from trio.testing import MockClock

from trio_cpvm.testing import (
    Opcode,
    ScriptedVncServer,
    Send,
    Stall,
    StreamEnded,
    TrickleStream,
    WebSocketDouble,
    accept_websocket,
    behind_websocket,
    connected,
    open_websocket,
    read_exactly,
)
from trio_cpvm.testing.streams import MakePair
from trio_cpvm.testing.websocket import MAX_TEXT_CHARS

from . import timely

Handler = Callable[[trio_websocket.WebSocketConnection], Awaitable[None]]


async def websocket_pair(
    make_pair: MakePair = trio.testing.memory_stream_pair,
) -> tuple[WebSocketDouble, WebSocketDouble]:
    ours, theirs = make_pair()
    accepted: list[WebSocketDouble] = []

    async def accept() -> None:
        accepted.append(await accept_websocket(theirs))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        client = await open_websocket(ours)
    return client, accepted[0]


def serving(handler: Handler, subprotocol: str | None = "binary") -> Callable[[trio.abc.Stream], Awaitable[None]]:
    """trio-websocket's server, as a server for ``connected``."""

    async def serve(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            async with await request.accept(subprotocol=subprotocol) as connection:
                await handler(connection)

    return serve


@timely
async def test_it_is_a_stream(autojump_clock: MockClock) -> None:
    async def make(make_pair: MakePair) -> tuple[WebSocketDouble, WebSocketDouble]:
        pair = await websocket_pair(make_pair)
        for websocket in pair:
            # The checks close one end while the other one does nothing but send.
            websocket.close_timeout_s = 0
        return pair

    await trio.testing.check_two_way_stream(
        lambda: make(trio.testing.memory_stream_pair), lambda: make(trio.testing.lockstep_stream_pair)
    )


@timely
async def test_against_trio_websocket(autojump_clock: MockClock) -> None:
    seen: list[str | bytes] = []

    async def handler(connection: trio_websocket.WebSocketConnection) -> None:
        seen.append(await connection.get_message())
        seen.append(await connection.get_message())
        await connection.send_message(b"ab")
        await connection.send_message(b"cd")
        await connection.send_message("text")
        await connection.aclose(4409, "replaced")

    async with connected(serving(handler)) as stream:
        websocket = await open_websocket(stream, "/websockify?token=T", origin="https://console.test")
        assert websocket.subprotocol == "binary"
        assert websocket.target == "/websockify?token=T"
        await websocket.send_all(b"one")
        await websocket.send_all(b"")
        await websocket.send_all(bytearray(b"two"))
        assert await read_exactly(websocket, 3) == b"abc"
        assert await read_exactly(websocket, 1) == b"d"
        assert await websocket.receive_some() == b""
        assert await websocket.receive_some() == b""
        assert (websocket.close_code, websocket.close_reason) == (4409, "replaced")
        with pytest.raises(trio.BrokenResourceError, match="4409"):
            await websocket.send_all(b"late")
        await websocket.aclose()
    assert seen == [b"one", b"two"]
    assert websocket.texts == ["text"]


@timely
async def test_byte_by_byte(autojump_clock: MockClock) -> None:
    async def handler(connection: trio_websocket.WebSocketConnection) -> None:
        message = await connection.get_message()
        await connection.send_message(message)

    async with connected(serving(handler)) as stream:
        websocket = await open_websocket(TrickleStream(stream))
        await websocket.send_all(b"x" * 300)
        assert await read_exactly(websocket, 300) == b"x" * 300


@timely
async def test_closing_is_a_farewell_of_both(autojump_clock: MockClock) -> None:
    reasons: list[trio_websocket.CloseReason | None] = []

    async def handler(connection: trio_websocket.WebSocketConnection) -> None:
        with pytest.raises(trio_websocket.ConnectionClosed):
            await connection.get_message()
        reasons.append(connection.closed)

    async with connected(serving(handler)) as stream:
        websocket = await open_websocket(stream, subprotocols=("other", "binary"))
        await websocket.close(4000, "done")
        assert websocket.close_code == 4000
        with pytest.raises(trio.ClosedResourceError):
            await websocket.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await websocket.send_all(b"")
    (reason,) = reasons
    assert reason is not None
    assert (reason.code, reason.reason) == (4000, "done")
    assert trio.current_time() == 0


@timely
async def test_closing_does_not_wait_forever(autojump_clock: MockClock) -> None:
    client, _server = await websocket_pair()
    await client.aclose()
    assert trio.current_time() == pytest.approx(5)
    assert client.close_code is None


@timely
async def test_closing_while_another_task_receives(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    client, server = await websocket_pair()
    closed = trio.Event()

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await client.receive_some()
        closed.set()

    nursery.start_soon(receive)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(server.receive_some)
    await client.aclose()
    await closed.wait()
    assert client.close_code == server.close_code == 1000
    assert trio.current_time() == 0


@timely
async def test_a_subprotocol_is_agreed_on_only_if_offered(autojump_clock: MockClock) -> None:
    async def handler(connection: trio_websocket.WebSocketConnection) -> None:
        await connection.send_message(b"x")

    async with connected(serving(handler, subprotocol=None)) as stream:
        websocket = await open_websocket(stream, subprotocols=())
        assert websocket.subprotocol is None
        assert await websocket.receive_some() == b"x"
        assert await websocket.receive_some() == b""
    client, server = await websocket_pair()
    assert client.subprotocol == server.subprotocol == "binary"
    assert server.target == "/websockify"
    assert ("sec-websocket-version", "13") in server.headers


@timely
async def test_vanishing_leaves_no_close_frame(autojump_clock: MockClock) -> None:
    client, server = await websocket_pair()
    await client.send_all(b"last words")
    await client.vanish()
    assert await server.receive_some() == b"last words"
    assert await server.receive_some() == b""
    assert server.close_code == 1006
    with pytest.raises(trio.ClosedResourceError):
        await client.receive_some()


@timely
async def test_pings(autojump_clock: MockClock) -> None:
    client, server = await websocket_pair()
    await client.ping(b"are you there")
    with trio.move_on_after(1):
        await server.receive_some()
    with trio.move_on_after(1):
        await client.receive_some()
    assert server.pings == client.pongs == [b"are you there"]


@timely
async def test_a_silent_browser_answers_nothing(autojump_clock: MockClock) -> None:
    client, server = await websocket_pair()
    client.go_silent()
    await server.ping()
    server_closed = False

    async def close_server() -> None:
        nonlocal server_closed
        await server.close(1001, "enough")
        server_closed = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(close_server)
        assert await client.receive_some() == b""
        assert not server_closed
    assert client.pings == [b""]
    assert server.pongs == []
    assert server.close_code is None
    assert (client.close_code, client.close_reason) == (1001, "enough")
    await client.aclose()


@timely
async def test_a_pong_does_not_break_into_a_message(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    accepted: list[WebSocketDouble] = []

    async def accept() -> None:
        accepted.append(await accept_websocket(theirs))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        # In pieces, so that a task switch can happen within a frame.
        client = await open_websocket(TrickleStream(ours, 3))
    (server,) = accepted
    await server.ping(b"p")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, b"m" * 200)
        with trio.move_on_after(1):
            await client.receive_some()
    assert await read_exactly(server, 200) == b"m" * 200
    with trio.move_on_after(1):
        await server.receive_some()
    assert server.pongs == [b"p"]


@timely
@pytest.mark.parametrize("length", [0, 125, 126, 0xFFFF, 0x10000])
async def test_frames_by_hand(length: int, autojump_clock: MockClock) -> None:
    client, server = await websocket_pair()
    for sender, receiver in [(client, server), (server, client)]:
        await sender.send_frame(Opcode.BINARY, b"x" * length, fin=False)
        await sender.send_frame(Opcode.CONTINUATION, b"end")
        assert await read_exactly(receiver, length + 3) == b"x" * length + b"end"


@timely
async def test_text_is_kept_apart(autojump_clock: MockClock) -> None:
    client, server = await websocket_pair()
    await client.send_frame(Opcode.TEXT, b"he", fin=False)
    await client.send_frame(Opcode.CONTINUATION, b"llo")
    await client.send_text("there")
    await client.send_all(b"x")
    assert await server.receive_some() == b"x"
    assert server.texts == ["hello", "there"]
    await client.send_text("x" * (MAX_TEXT_CHARS + 1))
    with pytest.raises(trio.BrokenResourceError, match="characters"):
        await server.receive_some()


@timely
@pytest.mark.parametrize(
    "frame",
    [
        b"\x83\x80\0\0\0\0",  # an opcode that does not exist
        b"\x82\x01x",  # not masked
        b"\xc2\x80\0\0\0\0",  # a reserved bit
        b"\x81\x81\0\0\0\0\xff",  # text that is no UTF-8
        b"\x09\x80\0\0\0\0",  # a ping in pieces
        b"\x88\x81\0\0\0\0x",  # half a close code
    ],
)
async def test_what_breaks_the_protocol_is_loud(frame: bytes, autojump_clock: MockClock) -> None:
    client, server = await websocket_pair()
    await client.send_raw(frame)
    with pytest.raises(trio.BrokenResourceError, match="protocol"):
        await server.receive_some()
    assert server.close_code == 1006


@timely
async def test_a_close_frame_without_a_code(autojump_clock: MockClock) -> None:
    client, server = await websocket_pair()
    await client.send_frame(Opcode.CLOSE, b"")
    assert await server.receive_some() == b""
    assert server.close_code == 1005


@timely
async def test_a_peer_that_is_gone_is_not_waited_for(autojump_clock: MockClock) -> None:
    client, server = await websocket_pair()
    await trio.aclose_forcefully(server.stream)
    await client.aclose()
    await client.aclose()
    assert trio.current_time() == 0


@timely
async def test_what_is_no_upgrade_is_not_accepted(autojump_clock: MockClock) -> None:
    for request, error in [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", trio.BrokenResourceError),
        (b"\x16\x03\x01", trio.BrokenResourceError),
        (b"GET / HT", StreamEnded),
    ]:
        ours, theirs = trio.testing.memory_stream_pair()
        await ours.send_all(request)
        await ours.send_eof()
        with pytest.raises(error):
            await accept_websocket(theirs)


@timely
async def test_a_server_behind_a_websocket(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer.playing(Send(b"hello"), Stall())
    async with connected(behind_websocket(server.serve)) as stream:
        websocket = await open_websocket(stream)
        assert await websocket.receive_some() == b"hello"
        await websocket.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert server.events == ["peer closed"]
    async with connected(behind_websocket(server.serve)) as stream:
        await stream.send_all(b"no HTTP\r\n\r\n")
        assert await stream.receive_some() == b""
