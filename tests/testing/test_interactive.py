"""The interactive server: typing, drawing, pasting, several viewers, and clients that do what they should not."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest
import trio
import trio.testing
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from trio_cpvm.rfb.pixelformat import PixelFormat
from trio_cpvm.testing import (
    Image,
    InteractiveVncServer,
    MemoryDialer,
    Pointer,
    Rect,
    RfbClient,
    RfbRefused,
    TrickleStream,
    behind_websocket,
    connected,
    keysyms,
    listening,
    open_websocket,
    read_exactly,
)
from trio_cpvm.testing import interactive as interactive_module
from trio_cpvm.testing.rfbclient import CURSOR, RAW
from trio_cpvm.testing.viewer import MAX_CUT_TEXT_BYTES, MAX_PENDING_BELLS

from . import timely

VERSIONS = [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"]


def whole(stream: trio.abc.Stream) -> trio.abc.Stream:
    return stream


def shown(server: InteractiveVncServer) -> Image:
    return server.screen.framebuffer.image()


@timely
@pytest.mark.parametrize("feed", [whole, TrickleStream], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("password", [None, "secret"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_typing(
    version: bytes,
    password: str | None,
    feed: Callable[[trio.abc.Stream], trio.abc.Stream],
    autojump_clock: MockClock,
) -> None:
    server = InteractiveVncServer(width=320, height=200, name="web-01", password=password)
    async with server.connect() as stream:
        client = RfbClient(feed(stream))
        init = await client.handshake(password, version)
        assert (init.name, init.width, init.height) == ("web-01", 320, 200)
        await client.type_text("hi\nthere")
        await server.until(lambda: server.text == "hi\nthere")
        assert server.keys[:4] == [(True, 0x68), (False, 0x68), (True, 0x69), (False, 0x69)]
        assert server.clients == 1
        if feed is whole:
            assert await client.refresh() == shown(server)
        await client.aclose()
        await server.until(lambda: server.clients == 0)
    assert server.endings == ["the client closed"]


@timely
async def test_a_wrong_password_sees_nothing(autojump_clock: MockClock) -> None:
    server = InteractiveVncServer(password="secret")
    async with server.connect() as stream:
        with pytest.raises(RfbRefused):
            await RfbClient(stream).handshake("wrong")
    assert server.clients == 0
    assert server.endings == []


@timely
async def test_challenges_differ(autojump_clock: MockClock) -> None:
    server = InteractiveVncServer(password="secret")
    challenges = []
    for _ in range(2):
        async with server.connect() as stream:
            await stream.send_all(b"RFB 003.008\n\x02")
            challenges.append((await read_exactly(stream, 12 + 2 + 16))[-16:])
    assert challenges[0] != challenges[1]


@timely
async def test_editing_keys(autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    async with server.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        await client.type_text("ab\tc\nxäö")
        for key in (keysyms.BACKSPACE, keysyms.LEFT, keysyms.DELETE, keysyms.UP, keysyms.END, keysyms.KEYPAD_ENTER):
            await client.press(key)
        for key in (keysyms.DOWN, keysyms.HOME, keysyms.RIGHT, 0xFFBE, keysyms.SHIFT, 0, 0xFFFFFFFE):
            await client.press(key)
        await client.type_text("€!")
        await server.until(lambda: "!" in server.text)
        assert server.text == "ab\tc\n\nx€!"
        assert await client.refresh() == shown(server)
        await client.press(keysyms.ESCAPE)
        await server.until(lambda: not server.text)


@timely
async def test_modifiers_do_not_type(autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    async with server.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        await client.type_text("ab")
        await client.press(keysyms.CONTROL, ord("a"))
        await client.press(keysyms.ALT, ord("a"))
        await client.press(keysyms.SUPER, ord("a"))
        await client.press(keysyms.CONTROL, keysyms.ALT, keysyms.DELETE)
        # AltGr, as some keyboards say it.
        await client.press(keysyms.CONTROL, keysyms.ALT, ord("@"))
        await client.type_text("c")
        await server.until(lambda: server.text.endswith("c"))
    assert server.text == "ab@c"


@timely
async def test_a_key_held_by_one_viewer_does_not_bother_another(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = InteractiveVncServer()
    dialer = MemoryDialer(server.serve, nursery)
    one, other = RfbClient(await dialer.dial()), RfbClient(await dialer.dial())
    for client in (one, other):
        await client.handshake()
    await one.send_key(keysyms.CONTROL, down=True)
    await server.until(lambda: bool(server.keys))
    await other.type_text("x")
    await server.until(lambda: server.text == "x")
    await one.aclose()
    await other.aclose()


@timely
async def test_the_bell_and_the_clipboard(autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    async with server.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        await client.type_text("copy me")
        await client.press(keysyms.CONTROL, ord("c"))
        await client.read_message()
        await client.press(keysyms.CONTROL, ord("g"))
        await client.read_message()
        server.ring_bell()
        await client.read_message()
        server.offer_cut_text("never sent")
        server.offer_cut_text("sent €")
        await client.read_message()
        assert client.cut_texts == ["copy me", "sent ?"]
        assert client.bells == 2


@timely
async def test_pasting_types(autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    async with server.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        await client.send_cut_text("one\r\ntwo\0\x1b[31m")
        await server.until(lambda: bool(server.pasted))
        assert server.text == "one\ntwo[31m"
        assert server.pasted == ["one\r\ntwo\0\x1b[31m"]
        # As much as is allowed; the screen keeps the end of it.
        await client.send_cut_text("x" * (MAX_CUT_TEXT_BYTES - 1) + "y")
        await server.until(lambda: len(server.pasted) == 2)
        assert server.text.endswith("xy")
        assert len(server.text) == server.screen.pad.max_chars
        for _ in range(interactive_module.MAX_PASTED):
            await client.send_cut_text("z")
        await server.until(lambda: server.text.endswith("z" * interactive_module.MAX_PASTED))
        assert len(server.pasted) == interactive_module.MAX_PASTED


@timely
async def test_drawing(autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    area = server.screen.drawing
    x, y = area.x + 20, area.y + 20
    async with server.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        paper = (await client.refresh()).pixel(x, y)
        await client.pointer(x, y)
        await client.pointer(x, y, 1)
        await client.pointer(x + 40, y, 1)
        await client.pointer(x + 40, y, 0)
        await server.until(lambda: server.pointer == Pointer(x + 40, y, 0))
        picture = await client.refresh()
        ink = picture.pixel(x + 20, y)
        assert ink != paper
        assert picture.pixel(x, y) == picture.pixel(x + 40, y) == ink
        assert picture.pixel(x + 20, y + 5) == paper
        await client.pointer(x + 40, y, 2)
        assert (await client.refresh()).pixel(x + 40, y) not in (ink, paper)
        await client.pointer(x + 40, y, 0)
        await client.pointer(x + 20, y, 4)
        assert (await client.refresh()).pixel(x + 20, y) == paper
        # Outside of the paper and of the screen nothing is drawn.
        await client.pointer(0, 0, 1)
        await client.pointer(0xFFFF, 0xFFFF, 1)
        await server.until(lambda: server.pointer == Pointer(639, 399, 1))
        assert (await client.refresh()).pixel(3, 3) != ink


@timely
async def test_incremental_requests_wait_for_a_change(autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    async with server.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        await client.request_update()
        assert await client.read_update() == [Rect(0, 0, 640, 400)]
        await client.request_update()
        with trio.move_on_after(60) as scope:
            await stream.receive_some(0xFFFF)
        assert scope.cancelled_caught
        await client.type_text("x")
        drawn = await client.read_update()
        assert sum(rect.area for rect in drawn) < 640 * 400 / 4
        # What has changed outside of the requested area waits for a request that covers it.
        await client.request_update(area=Rect(0, 0, 640, 5))
        with trio.move_on_after(60) as scope:
            await stream.receive_some(0xFFFF)
        assert scope.cancelled_caught


@timely
async def test_a_pointers_shape_for_clients_that_want_one(autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    async with server.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        await client.refresh()
        await client.set_pixel_format(PixelFormat(16, 16, False, True, 31, 63, 31, 11, 5, 0))
        await client.set_encodings([CURSOR, RAW])
        # It comes with the next update, even if nothing else has changed.
        await client.request_update()
        assert await client.read_update() == []
        assert client.cursor is not None
        dark, light = client.cursor.pixel(0, 0), client.cursor.pixel(1, 3)
        assert sum(dark) < 128 < sum(light)
        await client.request_update(incremental=False, area=Rect(0, 0, 1, 1))
        assert await client.read_update() == [Rect(0, 0, 1, 1)]
    assert client.updates == 3


@timely
async def test_requests_of_nothing_are_not_answered(autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    async with server.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        await client.request_update(incremental=False, area=Rect(640, 400, 9, 9))
        await client.request_update(incremental=False, area=Rect(630, 390, 99, 99))
        assert await client.read_update() == [Rect(630, 390, 10, 10)]


@timely
async def test_every_viewer_sees_the_same(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    dialer = server.start(nursery)
    viewers = [RfbClient(await dialer.dial()) for _ in range(3)]
    for viewer in viewers:
        await viewer.handshake()
    assert server.clients == 3
    await viewers[0].type_text("from the first")
    await server.until(lambda: server.text == "from the first")
    for viewer in viewers:
        assert await viewer.refresh() == shown(server)
        await viewer.aclose()
    await server.until(lambda: server.clients == 0)


@timely
@pytest.mark.parametrize(
    "pixel_format",
    [
        PixelFormat(32, 24, True, True, 255, 255, 255, 16, 8, 0),
        PixelFormat(16, 16, False, True, 31, 63, 31, 11, 5, 0),
        PixelFormat(8, 8, False, True, 7, 7, 3, 0, 3, 6),
    ],
    ids=str,
)
async def test_pixel_formats(pixel_format: PixelFormat, autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    async with server.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        await client.set_pixel_format(pixel_format)
        await client.set_encodings([7, 0, -239])
        picture = await client.refresh()
        (viewer,) = server.viewers
        assert (viewer.pixel_format, viewer.encodings) == (pixel_format, (7, 0, -239))
    truth = shown(server)
    for x, y in [(0, 0), (20, 18), (60, 100), (620, 200), (639, 399)]:
        assert picture.pixel(x, y) == pixel_format.unpack(pixel_format.pack(*truth.pixel(x, y)))


@timely
async def test_the_clock_ticks_in_trios_time(autojump_clock: MockClock) -> None:
    async with InteractiveVncServer().running() as server, server.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        before = await client.refresh()
        for _ in range(3):
            await client.request_update()
            assert await client.read_update()
        assert trio.current_time() == pytest.approx(3)
        assert client.screenshot() == shown(server) != before


@timely
async def test_without_its_task_the_clock_stands(autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    before = shown(server)
    await trio.sleep(10)
    assert shown(server) == before
    with trio.move_on_after(90):
        await server.run()
    assert shown(server) != before


@timely
@pytest.mark.parametrize(
    ("message", "ending"),
    [
        (b"\x01", "unknown message 1"),
        (b"\xff\0\0\0", "unknown message 255"),
        (b"\0\0\0\0" + bytes(16), "pixel format: 0 bits per pixel"),
        (b"\0\0\0\0" + PixelFormat(true_colour=False).encode(), "pixel format: a colour map"),
        (b"\x06\0\0\0" + (MAX_CUT_TEXT_BYTES + 1).to_bytes(4, "big"), f"a clipboard of {MAX_CUT_TEXT_BYTES + 1} bytes"),
        (b"\x06\0\0\0\xff\xff\xff\xfc", f"a clipboard of {0xFFFFFFFC} bytes"),
    ],
)
async def test_what_ends_a_connection(message: bytes, ending: str, autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    async with server.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        await stream.send_all(message)
        assert await stream.receive_some() == b""
    assert server.endings == [ending]


@timely
async def test_a_client_that_leaves_within_a_message(autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    async with server.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        await stream.send_all(b"\x04\x01")
        await stream.aclose()
        await server.until(lambda: bool(server.endings))
    assert server.endings == ["the client closed within a message"]


@timely
async def test_a_client_that_breaks_the_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    client = RfbClient(await MemoryDialer(server.serve, nursery, make_pair=trio.testing.lockstep_stream_pair).dial())
    await client.handshake()
    await client.request_update()
    await trio.testing.wait_all_tasks_blocked()
    await client.aclose()
    await server.until(lambda: bool(server.endings))
    assert server.endings[0] in ("the connection broke", "the client closed")


@timely
async def test_a_client_that_does_not_read_costs_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    client = RfbClient(await MemoryDialer(server.serve, nursery, make_pair=trio.testing.lockstep_stream_pair).dial())
    await client.handshake()
    for _ in range(50):
        await client.request_update(incremental=False)
        server.ring_bell()
        server.offer_cut_text("x")
    with trio.move_on_after(60):
        await server.run()
    # One message was on its way; all the rest was folded into what is due now.
    with trio.move_on_after(60) as scope:
        while True:
            await client.read_message()
    assert scope.cancelled_caught
    assert 1 <= client.updates <= 2
    assert 1 <= len(client.cut_texts) <= 2
    assert 1 <= client.bells <= MAX_PENDING_BELLS + 1
    await client.aclose()


@timely
async def test_cancelled_from_outside(autojump_clock: MockClock) -> None:
    server = InteractiveVncServer()
    async with server.connect() as stream:
        await RfbClient(stream).handshake()
        await server.until(lambda: server.clients == 1)
    assert server.clients == 0
    assert len(server.endings) == 1


@timely
async def test_there_is_a_most_of_everything(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    monkeypatch.setattr(interactive_module, "MAX_CLIENTS", 1)
    monkeypatch.setattr(interactive_module, "MAX_REMEMBERED", 3)
    server = InteractiveVncServer()
    async with server.connect() as stream, server.connect() as too_many:
        client = RfbClient(stream)
        await client.handshake()
        await server.until(lambda: server.clients == 1)
        await client.type_text("abc")
        await server.until(lambda: server.keys[-1:] == [(False, 0x63)])
        assert server.keys == [(False, 0x62), (True, 0x63), (False, 0x63)]
        with pytest.raises(RfbRefused, match="too many clients"):
            await RfbClient(too_many).handshake()


@timely
async def test_inside_tls(autojump_clock: MockClock) -> None:
    authority = trustme.CA()
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("vnc.test").configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    authority.configure_trust(client_tls)
    server = InteractiveVncServer(tls=server_tls)
    async with server.connect() as plain:
        await plain.send_all(b"RFB 003.008\n\x13\0\x02\0\0\x01\x04")
        assert await read_exactly(plain, 12 + 2 + 2 + 1 + 5 + 1) == b"RFB 003.008\n\x01\x13\0\x02\0\x01\0\0\x01\x04\x01"
        stream = trio.SSLStream(plain, client_tls, server_hostname="vnc.test")
        await stream.send_all(b"\x01")
        assert (await read_exactly(stream, 4 + 28)).endswith(b"demo")
        await stream.send_all(b"\x04\x01\0\0\0\0\0a")
        await server.until(lambda: server.text == "a")
        await stream.aclose()
        await server.until(lambda: server.clients == 0)
    assert server.endings == ["the client closed"]


@timely
async def test_through_a_websocket(autojump_clock: MockClock) -> None:
    server = InteractiveVncServer(password="secret")
    async with connected(behind_websocket(server.serve)) as stream:
        client = RfbClient(await open_websocket(stream))
        await client.handshake("secret")
        await client.type_text("through a websocket")
        await server.until(lambda: server.text == "through a websocket")
        assert await client.refresh() == shown(server)
        await client.aclose()


async def test_on_a_port() -> None:
    with trio.fail_after(30):
        async with InteractiveVncServer().running() as server, listening(server.serve) as (host, port):
            async with RfbClient(await trio.open_tcp_stream(host, port)) as client:
                await client.handshake()
                await client.type_text("x")
                await server.until(lambda: server.text == "x")
                assert (await client.refresh()).width == 640
            await server.until(lambda: server.clients == 0)


MESSAGES = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda down, keysym: b"\x04" + bytes((down, 0, 0)) + keysym, st.integers(0, 255), st.binary(max_size=4)),
    st.builds(lambda rest: b"\x05" + rest, st.binary(min_size=5, max_size=5)),
    st.builds(lambda rest: b"\x03" + rest, st.binary(min_size=9, max_size=9)),
    st.builds(lambda rest: b"\x02\0\0\x02" + rest, st.binary(min_size=8, max_size=8)),
    st.builds(lambda rest: b"\x06\0\0\0\0\0\0" + bytes((len(rest),)) + rest, st.binary(max_size=30)),
    st.just(b"\0\0\0\0" + PixelFormat(16, 16, False, True, 31, 63, 31, 11, 5, 0).encode()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(MESSAGES, max_size=12))
def test_nothing_a_client_sends_raises(messages: list[bytes]) -> None:
    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        server = InteractiveVncServer(width=320, height=200)
        await ours.send_all(b"RFB 003.008\n\x01\x01" + b"".join(messages))
        await ours.send_eof()
        with trio.fail_after(60):
            await server.serve(theirs)
        assert len(server.endings) == 1
        assert server.clients == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))
