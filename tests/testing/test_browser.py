"""The browser double: requests and refusals, against canned answers and against trio-websocket."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing
import trio_websocket
import wsproto
import wsproto.events
from trio.testing import MockClock

from trio_cpvm.testing import (
    Conversation,
    HttpAnswer,
    ReadForever,
    ScriptedVncServer,
    Send,
    StreamEnded,
    TrickleStream,
    UpgradeRefused,
    connected,
    http_get,
    open_websocket,
)
from trio_cpvm.testing import browser as browser_module
from trio_cpvm.testing.websocket import next_upgrade_event

from . import timely


@attrs.frozen
class ReadHead:
    """A step of our own: read a request up to its empty line."""

    async def run(self, conversation: Conversation) -> None:
        while b"\r\n\r\n" not in conversation.received:
            await conversation.read(1)


def answering(answer: bytes, *, keep_open: bool = False) -> ScriptedVncServer:
    """A server that says this, whatever it is asked."""
    return ScriptedVncServer.playing(ReadHead(), Send(answer), *([ReadForever()] if keep_open else []))


@timely
async def test_get(autojump_clock: MockClock) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One: 1\r\nx-one: 2\r\n\r\nh\xc3\xa4ll"
    server = answering(answer, keep_open=True)
    async with server.connect() as stream:
        got = await http_get(TrickleStream(stream), "/novnc/?token=T", headers=[("Accept", "*/*")])
        # The stream is as good as before.
        await stream.send_all(b"more")
        await trio.testing.wait_all_tasks_blocked()
    assert got == HttpAnswer(200, (("content-length", "5"), ("x-one", "1"), ("x-one", "2")), b"h\xc3\xa4ll")
    assert got.text == "häll"
    assert got.header("X-One") == "1"
    assert got.header("x-two") is None
    assert server.received == b"GET /novnc/?token=T HTTP/1.1\r\nHost: console.test\r\nAccept: */*\r\n\r\nmore"


@timely
async def test_other_methods(autojump_clock: MockClock) -> None:
    server = answering(b"HTTP/1.1 204 No Content\r\n\r\n", keep_open=True)
    async with server.connect() as stream:
        answer = await http_get(stream, "/x", host="h", method="POST", body=b"abc")
        await trio.testing.wait_all_tasks_blocked()
    assert answer.status == 204
    assert server.received == b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", keep_open=True).connect() as stream:
        assert (await http_get(stream, "/x", method="HEAD")).body == b""


@timely
@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x"),
    ],
)
async def test_bodies(answer: bytes, body: bytes, autojump_clock: MockClock) -> None:
    async with answering(answer).connect() as stream:
        assert (await http_get(stream, "/")).body == body


@timely
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", StreamEnded),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", StreamEnded),
        (b"RFB 003.008\n\r\n\r\n", trio.BrokenResourceError),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", trio.BrokenResourceError),
    ],
)
async def test_answers_that_are_none(answer: bytes, error: type[Exception], autojump_clock: MockClock) -> None:
    async with answering(answer, keep_open=bool(answer) and error is not StreamEnded).connect() as stream:
        with pytest.raises(error):
            await http_get(stream, "/")


@timely
async def test_bodies_are_bounded(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    monkeypatch.setattr(browser_module, "MAX_BODY_BYTES", 3)
    async with answering(b"HTTP/1.1 200 OK\r\n\r\nabcd", keep_open=True).connect() as stream:
        with pytest.raises(trio.BrokenResourceError, match="3 bytes"):
            await http_get(stream, "/")
    async with answering(b"HTTP/1.1 403 No\r\n\r\nabcd", keep_open=True).connect() as stream:
        with pytest.raises(trio.BrokenResourceError, match="3 bytes"):
            await open_websocket(stream)


@timely
@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403, b"no"),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\n\r\nuntil the end", 503, b"until the end"),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", 400, b""),
    ],
)
async def test_refused_upgrades(answer: bytes, status: int, body: bytes, autojump_clock: MockClock) -> None:
    async with answering(answer).connect() as stream:
        with pytest.raises(UpgradeRefused, match=f"HTTP {status}") as info:
            await open_websocket(TrickleStream(stream), "/websockify?token=T")
    assert info.value.status == status
    assert info.value.body == body
    assert info.value.headers == info.value.answer.headers != ()


@timely
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", StreamEnded),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n", trio.BrokenResourceError),
        (b"no HTTP\r\n\r\n", trio.BrokenResourceError),
    ],
)
async def test_upgrades_without_an_answer(answer: bytes, error: type[Exception], autojump_clock: MockClock) -> None:
    async with answering(answer).connect() as stream:
        with pytest.raises(error):
            await open_websocket(stream)


@timely
async def test_refused_by_trio_websocket(autojump_clock: MockClock) -> None:
    requests: list[trio_websocket.WebSocketRequest] = []

    async def refuse(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            requests.append(request)
            await request.reject(403, extra_headers=[(b"X-Reason", b"token-invalid")], body=b"go away")

    async with connected(refuse) as stream:
        with pytest.raises(UpgradeRefused) as info:
            await open_websocket(
                stream,
                "/websockify?token=%2B",
                host="console.test:8443",
                origin="https://evil.test",
                subprotocols=("binary", "base64"),
                extra_headers=[("X-Forwarded-For", "192.0.2.1")],
            )
    assert (info.value.status, info.value.body) == (403, b"go away")
    assert info.value.answer.header("x-reason") == "token-invalid"
    (request,) = requests
    assert request.path == "/websockify?token=%2B"
    assert request.proposed_subprotocols == ("binary", "base64")
    assert (b"origin", b"https://evil.test") in request.headers
    assert (b"x-forwarded-for", b"192.0.2.1") in request.headers


async def test_a_message_in_the_same_segment_as_the_101_is_not_left_behind() -> None:
    ours, theirs = trio.testing.memory_stream_pair()

    async def server() -> None:
        protocol = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        event = await next_upgrade_event(theirs, protocol)
        assert isinstance(event, wsproto.events.Request)
        accepted = protocol.send(wsproto.events.AcceptConnection(subprotocol="binary"))
        await theirs.send_all(accepted + protocol.send(wsproto.events.BytesMessage(b"hello")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        websocket = await open_websocket(ours)
        with trio.fail_after(1):
            assert await websocket.receive_some() == b"hello"
