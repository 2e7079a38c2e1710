"""HTTP on streams in memory: every hostile head is answered or dropped in time, and the next browser is served.

The whole front door with the real site stands behind each test, on a clock that jumps.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import HEAD_TIMEOUT_S, make_front, parse_answers, read_to_end, url, within
from trio_cpvm import errors
from trio_cpvm.errors import ConsoleError
from trio_cpvm.front import Front
from trio_cpvm.http import Request, Response
from trio_cpvm.http_io import LINGER_S, SEND_BYTES, SEND_TIMEOUT_S, TakeOver, serve_http
from trio_cpvm.testing import HttpAnswer, RfbClient, RfbRefused, connected, http_get, open_websocket, read_exactly

timely = within(600)

STATUS = b"GET /novnc/status HTTP/1.1\r\nHost: console.test\r\n\r\n"


@pytest.fixture(autouse=True)
def _no_internal_error(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing a peer sends may end up as an internal error."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@attrs.frozen
class Ending:
    """What a peer got until the connection was closed, and when that was."""

    raw: bytes
    after_s: float

    @property
    def answer(self) -> HttpAnswer:
        (answer,) = parse_answers(self.raw)
        return answer


async def talk(front: Front, raw: bytes, *, chunk: int = 1 << 20, pause_s: float = 0) -> Ending:
    """Send this, keep the connection open, and read until the other side has closed it."""
    started = trio.current_time()
    async with connected(front.handle) as stream, trio.open_nursery() as nursery:

        async def send() -> None:
            try:
                for start in range(0, len(raw), chunk):
                    await stream.send_all(raw[start : start + chunk])
                    await trio.sleep(pause_s)
            except trio.BrokenResourceError:
                pass  # it has heard enough

        nursery.start_soon(send)
        got = await read_to_end(stream)
        ending = Ending(got, trio.current_time() - started)
        nursery.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    return ending


async def assert_next_browser_is_served(front: Front) -> None:
    assert front.connections == 0
    async with connected(front.handle) as stream:
        assert (await http_get(stream, "/novnc/status")).status == 200


def get(*lines: bytes, method: bytes = b"GET", host: bytes = b"Host: console.test", body: bytes = b"") -> bytes:
    """A request for the status, with more header lines."""
    return b"\r\n".join([method + b" /novnc/status HTTP/1.1", *([host] if host else []), *lines, b"", body])


OPENING = {
    b"Host": b"console.test",
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Version": b"13",
    b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Protocol": b"binary",
}


def opening(name: bytes = b"X", value: bytes = b"", *, behind: bytes = b"") -> bytes:
    """A WebSocket opening handshake with a good token and one header changed or added."""
    lines = [b"%s: %s" % line for line in {**OPENING, name: value}.items()]
    return b"\r\n".join([f"GET {url('/websockify')} HTTP/1.1".encode(), *lines, b"", behind])


HOSTILE = {
    **{f"byte over 0x7f in {name.decode()}": (opening(name, value + b"\xff"), 400) for name, value in OPENING.items()},
    "UTF-8 in Host": (opening(b"Host", "käse.test".encode()), 400),
    "byte over 0x7f in Sec-WebSocket-Extensions": (opening(b"Sec-WebSocket-Extensions", b"\xe9"), 400),
    "byte over 0x7f in Origin": (opening(b"Origin", b"http://\xe9.test"), 400),
    "byte over 0x7f in Cookie": (get(b"Cookie: \x80"), 400),
    "byte over 0x7f in a name": (get(b"\xc3\xa9: x"), 400),
    "byte over 0x7f in the target": (b"GET /\xe9 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "missing Host": (get(host=b""), 400),
    "doubled Host": (get(b"Host: console.test"), 400),
    "doubled Host at an upgrade": (opening(b"host", b"console.test"), 400),
    "doubled Sec-WebSocket-Key": (opening(b"sec-websocket-key", OPENING[b"Sec-WebSocket-Key"]), 400),
    "short Sec-WebSocket-Key": (opening(b"Sec-WebSocket-Key", b"AAAA"), 400),
    "another WebSocket version": (opening(b"Sec-WebSocket-Version", b"8"), 426),
    "no upgrade": (opening(b"Upgrade", b"h2c"), 426),
    "foreign origin": (opening(b"Origin", b"http://evil.test"), 403),
    "body on GET": (get(b"Content-Length: 5", body=b"hello"), 400),
    "body on GET that never comes": (get(b"Content-Length: 5"), 400),
    "body on HEAD": (get(b"Content-Length: 5", method=b"HEAD", body=b"hello"), 400),
    "body on an upgrade": (opening(b"Content-Length", b"5", behind=b"hello"), 400),
    "chunked body on GET": (get(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"), 400),
    "CL.TE": (
        get(b"Content-Length: 4", b"Transfer-Encoding: chunked", method=b"POST", body=b"0\r\n\r\n" + STATUS),
        400,
    ),
    "TE.CL": (
        get(b"Transfer-Encoding: chunked", b"Content-Length: 0", method=b"POST", body=b"0\r\n\r\n" + STATUS),
        400,
    ),
    "hidden Transfer-Encoding": (get(b"Transfer-Encoding:\tchunked", b"Transfer-encoding: identity"), 400),
    "conflicting Content-Length": (get(b"Content-Length: 0", b"Content-Length: 30", body=STATUS), 400),
    "list of Content-Length": (get(b"Content-Length: 0, 30", body=STATUS), 400),
    "bare LF": (get(b"A: b\nTransfer-Encoding: chunked"), 400),
    "bare LF for everything": (STATUS.replace(b"\r", b""), 400),
    "bare CR": (get(b"A: b\rHost: other"), 400),
    "obs-fold": (get(b"A: b\r\n c"), 400),
    "obs-fold of Transfer-Encoding": (get(b"Transfer-Encoding:\r\n chunked"), 400),
    "space before a colon": (get(b"Content-Length : 30", body=STATUS), 400),
    "NUL": (get(b"A: b\0c"), 400),
    "NUL first": (b"\0" + STATUS, 400),
    "64 KiB of one header": (get(b"Cookie: " + b"a" * 65536), 431),
    "64 KiB of headers": (get(*[b"A%d: b" % number for number in range(8000)]), 431),
    "64 KiB of target": (b"GET /" + b"a" * 65536, 431),
    "64 KiB of nothing": (b" " * 65536, 431),
    "an address for a target": (b"GET http://other.test/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "CONNECT": (b"CONNECT other.test:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (bytes.fromhex("160301020001000001fc0303") + bytes(range(256)), 400),
    "a head cut off": (STATUS[:-2], 408),
}


@timely
@pytest.mark.parametrize("chunk", [1 << 20, 1000, 1])
@pytest.mark.parametrize(("raw", "status"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_head_is_answered_in_time_and_the_next_browser_is_served(
    raw: bytes, status: int, chunk: int, autojump_clock: MockClock
) -> None:
    front = make_front()
    chunk = max(chunk, len(raw) // 1000)  # long ones need not come byte by byte
    ending = await talk(front, raw, chunk=chunk)
    method = "HEAD" if raw.startswith(b"HEAD") else "GET"
    (answer,) = parse_answers(ending.raw, method)
    assert answer.status == status
    assert ending.after_s <= HEAD_TIMEOUT_S
    await assert_next_browser_is_served(front)


@timely
@pytest.mark.parametrize("behind", [b"\x82", b"\x82\x80abcd", STATUS, b"\r\n"])
async def test_bytes_behind_the_upgrade_head_are_refused(behind: bytes, autojump_clock: MockClock) -> None:
    front = make_front()
    ending = await talk(front, opening(behind=behind))
    assert ending.answer.status == 400
    assert ending.after_s == 0
    await assert_next_browser_is_served(front)


@timely
async def test_a_peer_that_says_nothing_is_dropped_without_a_word(autojump_clock: MockClock) -> None:
    front = make_front()
    ending = await talk(front, b"")
    assert ending == Ending(b"", HEAD_TIMEOUT_S)
    await assert_next_browser_is_served(front)


@timely
async def test_one_byte_a_second_is_not_enough(autojump_clock: MockClock) -> None:
    front = make_front()
    ending = await talk(front, get(b"Cookie: " + b"a" * 1000), chunk=1, pause_s=1)
    assert ending.answer.status == 408
    assert ending.answer.text.startswith("request-timeout: ")
    assert ending.after_s == pytest.approx(HEAD_TIMEOUT_S)
    await assert_next_browser_is_served(front)


@timely
async def test_a_slow_head_that_is_whole_in_time_is_served(autojump_clock: MockClock) -> None:
    assert len(STATUS) < 100
    ending = await talk(make_front(), STATUS, chunk=10, pause_s=1)
    assert ending.answer.status == 200


@timely
@pytest.mark.parametrize("said", [b"", b"GET", STATUS[:-1]])
async def test_a_peer_that_goes_within_a_head_is_let_go(said: bytes, autojump_clock: MockClock) -> None:
    front = make_front()
    async with connected(front.handle) as stream:
        await stream.send_all(said)
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert front.connections == 0


@timely
async def test_a_peer_that_says_it_is_done_gets_its_answer_first(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(STATUS)
    await ours.send_eof()
    await make_front().handle(theirs)
    (answer,) = parse_answers(await read_to_end(ours))
    assert answer.status == 200


@timely
async def test_requests_in_a_row_are_answered_in_their_order(autojump_clock: MockClock) -> None:
    paths = [b"/novnc/status", b"/nowhere", b"/novnc", b"/novnc/assets/licences.txt"] * 5
    raw = b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths)
    for chunk in (1, 50, len(raw)):
        ending = await talk(make_front(), raw, chunk=chunk)
        answers = parse_answers(ending.raw, *["GET"] * len(paths))
        assert [answer.status for answer in answers] == [200, 404, 400, 200] * 5


@timely
async def test_what_is_ahead_of_a_bad_request_is_still_answered(autojump_clock: MockClock) -> None:
    ending = await talk(make_front(), STATUS + STATUS + b"\0" + STATUS)
    assert [answer.status for answer in parse_answers(ending.raw, "GET", "GET", "GET")] == [200, 200, 400]


@timely
async def test_a_connection_is_used_again_and_dropped_when_it_is_not(autojump_clock: MockClock) -> None:
    front = make_front()
    async with connected(front.handle) as stream:
        for _ in range(5):
            assert (await http_get(stream, "/novnc/status")).status == 200
            await trio.sleep(HEAD_TIMEOUT_S - 1)
        assert front.connections == 1
        assert await read_to_end(stream) == b""
    assert trio.current_time() == pytest.approx(5 * (HEAD_TIMEOUT_S - 1) + 1, abs=0.1)


@timely
async def test_a_page_and_then_its_websocket_on_one_connection(autojump_clock: MockClock) -> None:
    async with connected(make_front().handle) as stream:
        assert (await http_get(stream, url("/novnc"))).status == 200
        websocket = await open_websocket(stream, url("/websockify"))
        assert websocket.subprotocol == "binary"
        assert (await websocket.receive_some())[:3] == b"RFB"


@timely
async def test_head_gets_the_head_of_the_answer(autojump_clock: MockClock) -> None:
    front = make_front()
    for path in ("/novnc/status", "/nowhere", url("/novnc"), "/novnc/assets/licences.txt"):
        async with connected(front.handle) as stream:
            full = await http_get(stream, path)
            head = await http_get(stream, path, method="HEAD")
            assert (head.status, head.body) == (full.status, b"")
            assert int(head.header("content-length") or 0) == len(full.body) > 0


@timely
@pytest.mark.parametrize("lines", [b"", b"Host: console.test\r\n", b"Connection: keep-alive\r\n"])
async def test_http_1_0_is_answered_and_closed(lines: bytes, autojump_clock: MockClock) -> None:
    ending = await talk(make_front(), b"GET /novnc/status HTTP/1.0\r\n" + lines + b"\r\n")
    assert ending.answer.status == 200
    assert ending.answer.header("connection") == "close"
    assert ending.after_s == 0


@timely
async def test_connection_close_is_obeyed(autojump_clock: MockClock) -> None:
    ending = await talk(make_front(), get(b"Connection: close") + STATUS)
    assert ending.answer.status == 200
    assert ending.after_s == 0


@timely
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW", "get"])
@pytest.mark.parametrize("path", ["/novnc/status", "/novnc", "/nowhere"])
async def test_other_methods_are_refused_and_the_connection_stays(
    method: str, path: str, autojump_clock: MockClock
) -> None:
    async with connected(make_front().handle) as stream:
        await stream.send_all(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + STATUS)
        raw = b""
        while raw.count(b"HTTP/1.1 ") < 2:
            raw += await stream.receive_some()
    refused, served = parse_answers(raw, "GET", "GET")
    assert (refused.status, refused.header("allow"), served.status) == (405, "GET, HEAD", 200)


# -- peers that do not read --------------------------------------------------------------------------------------------


@timely
async def test_a_peer_that_never_reads_its_answer_is_dropped(autojump_clock: MockClock) -> None:
    front = make_front()
    async with connected(front.handle, make_pair=trio.testing.lockstep_stream_pair) as stream:
        await stream.send_all(STATUS)
        await trio.sleep(SEND_TIMEOUT_S - 1)
        assert front.connections == 1
        await trio.sleep(2)
        assert front.connections == 0


@timely
async def test_a_peer_that_reads_no_refusal_is_dropped(autojump_clock: MockClock) -> None:
    front = make_front()
    async with connected(front.handle, make_pair=trio.testing.lockstep_stream_pair) as stream:
        await stream.send_all(b"\0")
        await trio.sleep(SEND_TIMEOUT_S + LINGER_S + 1)
        assert front.connections == 0


class BigSite:
    """Answers everything with ten pieces."""

    async def answer(self, request: Request, client: str) -> Response:
        return Response(status=200, body=bytes(10 * SEND_BYTES))


@timely
async def test_a_peer_has_time_for_each_piece_of_an_answer(autojump_clock: MockClock) -> None:
    front = make_front(BigSite())
    async with connected(front.handle, make_pair=trio.testing.lockstep_stream_pair) as stream:
        await stream.send_all(STATUS)
        for _ in range(10):
            await trio.sleep(SEND_TIMEOUT_S - 1)
            await read_exactly(stream, SEND_BYTES)
            assert front.connections == 1
        await trio.sleep(SEND_TIMEOUT_S + 1)
        assert front.connections == 0


@timely
async def test_a_peer_that_goes_on_sending_after_a_refusal_is_not_listened_to_for_long(
    autojump_clock: MockClock,
) -> None:
    front = make_front()
    ending = await talk(front, b"\0" * (64 << 20), chunk=1 << 20)
    assert ending.answer.status == 400
    assert front.connections == 0
    assert trio.current_time() <= LINGER_S


# -- sites -------------------------------------------------------------------------------------------------------------


@timely
async def test_a_site_may_refuse_with_a_reason(autojump_clock: MockClock) -> None:
    async def site(request: Request) -> Response:
        raise ConsoleError(errors.DRAINING, "DETAIL")

    async def serve(stream: trio.abc.Stream) -> None:
        await serve_http(stream, site, head_timeout_s=1)

    async with connected(serve) as stream:
        for _ in range(2):
            answer = await http_get(stream, "/")
            assert answer.status == 503
            assert answer.text == f"draining: {errors.DRAINING.text}\n"


@timely
async def test_what_takes_over_gets_the_bare_connection(autojump_clock: MockClock) -> None:
    async def handler(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"you"

    async def site(request: Request) -> TakeOver:
        return TakeOver(handler)

    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve_http(theirs, site, head_timeout_s=1))
        await ours.send_all(STATUS)
        assert await ours.receive_some() == b"hello"
        await ours.send_all(b"you")
        await theirs.send_all(b"still open")


@timely
async def test_a_whole_console_behind_the_front_door(autojump_clock: MockClock) -> None:
    async with connected(make_front().handle) as stream:
        client = RfbClient(await open_websocket(stream, url("/websockify"), origin="http://console.test"))
        with pytest.raises(RfbRefused, match="host cannot be reached"):
            await client.handshake()
