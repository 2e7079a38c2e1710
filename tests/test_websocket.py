"""The browser's WebSocket as a stream: messages, ends, faults; against the browser double."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import wsproto
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from tests.consoles import serve_websocket
from trio_cpvm.browser_websocket import ANSWER_GRACE_S, MAX_MESSAGE_BYTES, BrowserSocket
from trio_cpvm.control import MAX_TEXT_CHARS
from trio_cpvm.http import Request, websocket_upgrade
from trio_cpvm.testing import Opcode, WebSocketDouble, open_websocket
from trio_cpvm.websocket import answer_upgrade


@contextlib.asynccontextmanager
async def pair(
    make_pair: Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]] = memory_stream_pair,
    subprotocols: tuple[str, ...] = ("binary",),
) -> AsyncIterator[tuple[WebSocketDouble, BrowserSocket]]:
    """Browser double and accepted WebSocket, connected."""
    ours, theirs = make_pair()
    accepted: list[BrowserSocket] = []
    done = trio.Event()

    async def handler(websocket: BrowserSocket) -> None:
        accepted.append(websocket)
        await done.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_websocket, theirs, handler)
        browser = await open_websocket(ours, subprotocols=subprotocols)
        await wait_all_tasks_blocked()
        yield browser, accepted[0]
        done.set()
        nursery.cancel_scope.cancel()


async def test_messages_are_bytes_in_both_directions() -> None:
    async with pair() as (browser, ours):
        await browser.send_all(b"hello")
        assert await ours.receive_some() == b"hello"
        await ours.send_all(memoryview(bytearray(b"world")))
        assert await browser.receive_some() == b"world"


async def test_a_message_may_be_read_in_pieces() -> None:
    async with pair() as (browser, ours):
        await browser.send_all(b"hello")
        assert await ours.receive_some(2) == b"he"
        assert await ours.receive_some(2) == b"ll"
        assert await ours.receive_some() == b"o"


async def test_fragments_and_pings_in_between_make_one_stream() -> None:
    async with pair() as (browser, ours):
        await browser.send_frame(Opcode.BINARY, b"he", fin=False)
        await browser.ping(b"are you there")
        await browser.send_frame(Opcode.CONTINUATION, b"", fin=False)
        await browser.send_frame(Opcode.CONTINUATION, b"llo")
        await browser.send_frame(Opcode.BINARY, b"")
        await browser.send_all(b"!")
        got = b""
        while len(got) < 6:
            got += await ours.receive_some()
        assert got == b"hello!"
        with trio.move_on_after(1):
            await ours.send_all(b"x")
            await browser.receive_some()
        assert browser.pongs == [b"are you there"]


@pytest.mark.parametrize("offered", [(), ("binary",)])
async def test_every_answer_is_what_the_library_would_write(offered: tuple[str, ...]) -> None:
    for number in range(8):  # the first of a kind is the library's own
        key = base64.b64encode(bytes([number]) * 16).decode()
        headers = [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-version", "13")]
        headers += [("sec-websocket-key", key), *(("sec-websocket-protocol", name) for name in offered)]
        upgrade = websocket_upgrade(Request(method="GET", path="/", headers=tuple(headers)))
        library = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        library.receive_data(upgrade.head)
        ours, theirs = memory_stream_pair()
        async with await answer_upgrade(theirs, upgrade, timeout_s=5):
            answer = await ours.receive_some()
        assert answer == library.send(wsproto.events.AcceptConnection(subprotocol=upgrade.subprotocol))
        assert b"HTTP/1.1 101" in answer


@pytest.mark.parametrize(
    ("offered", "chosen"), [((), None), (("binary",), "binary"), (("base64", "binary"), "binary"), (("base64",), None)]
)
async def test_binary_is_echoed_only_if_offered(offered: tuple[str, ...], chosen: str | None) -> None:
    async with pair(subprotocols=offered) as (browser, _):
        assert browser.subprotocol == chosen


async def test_no_extension_is_ever_agreed_on() -> None:
    ours, theirs = memory_stream_pair()

    async def handler(_: BrowserSocket) -> None:
        await ended.wait()

    ended = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_websocket, theirs, handler)
        offer = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]
        browser = await open_websocket(ours, extra_headers=offer)
        assert "sec-websocket-extensions" not in dict(browser.headers)
        nursery.cancel_scope.cancel()


async def test_the_browser_closes_properly() -> None:
    async with pair() as (browser, ours):
        await browser.send_all(b"last words")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(browser.close, 1001)
            assert await ours.receive_some() == b"last words"
            assert await ours.receive_some() == b""
            assert await ours.receive_some() == b""
        assert ours.ended_by == "closed with 1001"
        assert not ours.violation
        with pytest.raises(trio.BrokenResourceError):
            await ours.send_all(b"x")


async def test_the_browser_vanishes() -> None:
    async with pair() as (browser, ours):
        await browser.vanish()
        assert await ours.receive_some() == b""
        assert ours.ended_by == "connection lost"
        assert not ours.violation


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ((Opcode.TEXT, b"hello"), "sent a text message"),
        ((3, b""), "sent a frame of an unknown kind"),
        ((Opcode.PING, b"x" * 126), "sent a control frame that is too long or in pieces"),
        ((Opcode.TEXT, b"\xff\xfe"), "sent malformed text"),
        ((Opcode.BINARY, bytes(MAX_MESSAGE_BYTES + 1)), "sent too large a message"),
    ],
)
async def test_what_no_browser_sends_is_a_violation(frame: tuple[int, bytes], words: str) -> None:
    async with pair() as (browser, ours):
        await browser.send_frame(*frame)
        assert await ours.receive_some() == b""
        assert ours.ended_by == words
        assert ours.violation


async def texts(browser: WebSocketDouble) -> list[str]:
    """What the browser has been sent as text once all is quiet."""
    with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(0.1):
        await browser.receive_some()
    return browser.texts


async def test_texts_are_answered_and_no_part_of_the_stream(autojump_clock: MockClock) -> None:
    async with pair() as (browser, ours):
        ours.on_text = str.upper
        await browser.send_all(b"be")
        await browser.send_text("one")
        await browser.send_text("ä" * MAX_TEXT_CHARS)
        await browser.send_frame(Opcode.TEXT, b"in tw", fin=False)
        await browser.send_frame(Opcode.CONTINUATION, b"o parts")
        await browser.send_all(b"fore and after")
        assert await ours.receive_some() == b"be"
        assert await ours.receive_some() == b"fore and after"
        assert await texts(browser) == ["ONE", "Ä" * MAX_TEXT_CHARS, "IN TWO PARTS"]
        assert not ours.violation


async def test_a_text_from_before_anybody_asked_for_texts_is_answered(autojump_clock: MockClock) -> None:
    async with pair() as (browser, ours):
        await browser.send_text("early")
        await wait_all_tasks_blocked()
        ours.on_text = str.upper
        await browser.send_all(b"x")
        assert await ours.receive_some() == b"x"
        assert await texts(browser) == ["EARLY"]


@pytest.mark.parametrize("text", ["x" * (MAX_TEXT_CHARS + 1), "not understood"])
async def test_other_texts_are_a_violation(text: str) -> None:
    heard: list[str] = []
    async with pair() as (browser, ours):
        ours.on_text = heard.append  # which says None
        await browser.send_text(text)
        await browser.send_all(b"x")
        assert await ours.receive_some() == b""
        assert await ours.receive_some() == b""
        assert (ours.ended_by, ours.violation) == ("sent a text message", True)
        assert heard == [text][: len(text) <= MAX_TEXT_CHARS]


async def test_no_text_is_read_while_an_answer_is_under_way(autojump_clock: MockClock) -> None:
    heard: list[str] = []

    def answer(text: str) -> str:
        heard.append(text)
        return "answer"

    async with pair(lockstep_stream_pair) as (browser, ours), trio.open_nursery() as nursery:
        ours.on_text = answer
        nursery.start_soon(ours.receive_some)
        with trio.move_on_after(5):
            for _ in range(10):
                await browser.send_text("?")
        assert heard == ["?"]
        nursery.cancel_scope.cancel()


async def test_an_answer_is_sent_whole_although_nobody_waits_for_it(autojump_clock: MockClock) -> None:
    async with pair(lockstep_stream_pair) as (browser, ours), trio.open_nursery() as nursery:
        ours.on_text = str.upper
        with trio.CancelScope() as read:
            nursery.start_soon(browser.send_text, "one")

            async def give_up() -> None:
                await wait_all_tasks_blocked()
                read.cancel()
                await trio.sleep(ANSWER_GRACE_S / 2)
                nursery.start_soon(texts, browser)

            nursery.start_soon(give_up)
            await ours.receive_some()
        assert read.cancelled_caught
        await ours.send_all(b"still whole")
        assert browser.texts == ["ONE"]
        nursery.cancel_scope.cancel()


async def test_an_answer_that_nobody_takes_tears_the_websocket(autojump_clock: MockClock) -> None:
    async with pair(lockstep_stream_pair) as (browser, ours), trio.open_nursery() as nursery:
        ours.on_text = str.upper
        nursery.start_soon(browser.send_text, "one")
        started = trio.current_time()
        with trio.move_on_after(30) as read:
            await ours.receive_some()
        assert read.cancelled_caught
        assert trio.current_time() - started == pytest.approx(30 + ANSWER_GRACE_S, abs=0.1)
        with pytest.raises(trio.BrokenResourceError, match="torn"):
            await ours.send_all(b"x")
        nursery.cancel_scope.cancel()


async def test_an_answer_waits_for_the_message_before_it(autojump_clock: MockClock) -> None:
    async with pair(lockstep_stream_pair) as (browser, ours), trio.open_nursery() as nursery:
        ours.on_text = str.upper
        nursery.start_soon(ours.send_all, b"x" * 100_000)
        await wait_all_tasks_blocked()
        nursery.start_soon(ours.receive_some)
        await browser.send_text("one")
        got = b""
        while len(got) < 100_000:
            got += await browser.receive_some()
        assert await texts(browser) == ["ONE"]
        nursery.cancel_scope.cancel()


async def test_a_browser_that_goes_during_an_answer_has_closed(autojump_clock: MockClock) -> None:
    async with pair(lockstep_stream_pair) as (browser, ours), trio.open_nursery() as nursery:
        ours.on_text = str.upper

        async def ask_and_go() -> None:
            await browser.send_text("one")
            await wait_all_tasks_blocked()
            await browser.vanish()

        nursery.start_soon(ask_and_go)
        assert await ours.receive_some() == b""
        assert (ours.ended_by, ours.violation) == ("connection lost", False)


async def test_an_unmasked_frame_is_a_violation() -> None:
    async with pair() as (browser, ours):
        await browser.send_frame(Opcode.BINARY, b"x", masked=False)
        assert await ours.receive_some() == b""
        assert ours.violation


async def test_fragments_without_end_are_a_violation() -> None:
    async with pair() as (browser, ours), trio.open_nursery() as nursery:

        async def flood() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                await browser.send_frame(Opcode.BINARY, b"", fin=False)
                while True:
                    await browser.send_raw((bytes([Opcode.CONTINUATION, 0x80]) + bytes(4)) * 1000)

        nursery.start_soon(flood)
        assert await ours.receive_some() == b""
        assert ours.ended_by == "sent fragments without end"
        assert ours.violation
        await ours.aclose()
        nursery.cancel_scope.cancel()


async def drain(browser: WebSocketDouble) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        while await browser.receive_some():
            pass


async def test_closing_tells_code_and_reason_cut_to_size() -> None:
    async with pair() as (browser, ours), trio.open_nursery() as nursery:
        nursery.start_soon(drain, browser)
        await ours.close(4401, "ü" * 200, within_s=1)
        await wait_all_tasks_blocked()
        assert browser.close_code == 4401
        assert browser.close_reason == "ü" * 60 + "…"


async def test_the_last_message_and_the_close_frame_are_one_write() -> None:
    async with pair(lockstep_stream_pair) as (browser, ours), trio.open_nursery() as nursery:
        nursery.start_soon(lambda: ours.close(4401, "wrong password", within_s=1, farewell=b"last words"))
        raw = await browser.stream.receive_some()
        assert b"last words" in raw
        assert raw.endswith(b"wrong password")
        await browser.vanish()


async def test_closing_waits_no_longer_than_it_may(autojump_clock: MockClock) -> None:
    for make_pair in (memory_stream_pair, lockstep_stream_pair):
        async with pair(make_pair) as (_, ours):
            started = trio.current_time()
            await ours.close(1000, "", within_s=2)
            assert trio.current_time() - started == pytest.approx(2, abs=0.1)


async def test_a_torn_message_is_not_followed_by_a_close_frame(autojump_clock: MockClock) -> None:
    async with pair(lockstep_stream_pair) as (browser, ours):
        with trio.move_on_after(1) as scope:
            await ours.send_all(b"x" * 1000)
        assert scope.cancelled_caught
        started = trio.current_time()
        await ours.close(4411, "killed", within_s=2)
        assert trio.current_time() == started
        await drain(browser)
        assert browser.close_code == 1006


async def test_a_ping_behind_our_close_frame_harms_nobody(autojump_clock: MockClock) -> None:
    async with pair() as (browser, ours), trio.open_nursery() as nursery:
        nursery.start_soon(lambda: ours.close(1000, "", within_s=1))
        await wait_all_tasks_blocked()
        await browser.ping(b"still here")
        await trio.sleep(2)


async def test_aclose_says_nothing() -> None:
    async with pair() as (browser, ours):
        await ours.aclose()
        await drain(browser)
        assert browser.close_code == 1006


async def test_a_cancelled_read_loses_nothing() -> None:
    async with pair() as (browser, ours):
        for i in range(20):
            with trio.move_on_after(0):
                await ours.receive_some()
            await browser.send_all(bytes([i]))
            await wait_all_tasks_blocked()
        got = b""
        while len(got) < 20:
            got += await ours.receive_some()
        assert got == bytes(range(20))


async def test_faults_of_the_block_come_through() -> None:
    async def handler(_: BrowserSocket) -> None:
        raise ZeroDivisionError

    ours, theirs = memory_stream_pair()
    with pytest.RaisesGroup(ZeroDivisionError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_websocket, theirs, handler)
            await open_websocket(ours)
