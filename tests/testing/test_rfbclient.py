"""The RFB client against scripted bytes: every encoding it knows, and servers it must not follow."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_cpvm.rfb.pixelformat import PixelFormat
from trio_cpvm.testing import (
    Image,
    Rect,
    RfbClient,
    RfbRefused,
    RfbViolation,
    ScriptedVncServer,
    Send,
    Stall,
    StreamEnded,
    TrickleStream,
    keysyms,
)
from trio_cpvm.testing.rfbclient import COPY_RECT, CURSOR, DESKTOP_SIZE, LAST_RECT, MAX_TEXT_BYTES, RAW

from . import timely

RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)
HANDSHAKE_BYTES = 12 + 1 + 1


def pixels(*colours: tuple[int, int, int]) -> bytes:
    return b"".join(PixelFormat().pack(*colour) for colour in colours)


def rect(area: Rect, encoding: int, payload: bytes = b"") -> bytes:
    sides = (area.x, area.y, area.width, area.height)
    return b"".join(side.to_bytes(2, "big") for side in sides) + encoding.to_bytes(4, "big", signed=True) + payload


def update(*rects: bytes, count: int | None = None) -> bytes:
    return b"\0\0" + (len(rects) if count is None else count).to_bytes(2, "big") + b"".join(rects)


def showing(*messages: bytes, width: int = 3, height: int = 2) -> ScriptedVncServer:
    return ScriptedVncServer(width=width, height=height, after_init=b"".join(messages))


@timely
async def test_updates(autojump_clock: MockClock) -> None:
    server = showing(
        b"\x02",
        b"\x03\0\0\0" + b"\0\0\0\x02\xe4!",
        b"\x01\0\0\0\0\x01" + bytes(6),
        update(rect(Rect(0, 0, 2, 1), RAW, pixels(RED, GREEN)), rect(Rect(2, 1, 1, 1), RAW, pixels(BLUE))),
        update(rect(Rect(1, 0, 2, 1), COPY_RECT, b"\0\0\0\0"), rect(Rect(0, 0, 0, 0), LAST_RECT), count=0xFFFF),
        update(rect(Rect(0, 0, 1, 1), DESKTOP_SIZE)),
    )
    async with server.connect() as stream:
        client = RfbClient(TrickleStream(stream))
        await client.handshake()
        assert client.screenshot() == Image(3, 2, bytes(18))
        assert await client.read_update() == [Rect(0, 0, 2, 1), Rect(2, 1, 1, 1)]
        assert [client.pixel(x, 0) for x in range(3)] == [RED, GREEN, BLACK]
        assert client.pixel(2, 1) == BLUE
        assert (client.bells, client.cut_texts) == (1, ["ä!"])
        assert await client.read_update() == [Rect(1, 0, 2, 1)]
        assert [client.pixel(x, 0) for x in range(3)] == [RED, RED, GREEN]
        assert await client.read_update() == []
        assert client.screenshot() == Image(1, 1, bytes(3))
        assert client.updates == 3


@timely
async def test_what_a_user_does_on_the_wire(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer(width=640, height=400)
    async with server.connect() as stream:
        client = RfbClient(stream)
        await client.handshake(shared=True)
        await client.press(keysyms.CONTROL, ord("c"))
        await client.type_text("ä\n")
        await client.pointer(258, 3, 5)
        await client.send_cut_text("ü€")
        await client.set_encodings([RAW, DESKTOP_SIZE])
        await client.request_update()
        await client.request_update(incremental=False, area=Rect(1, 2, 3, 4))
        await client.set_pixel_format(PixelFormat(8, 8, False, True, 7, 7, 3, 0, 3, 6))
        await trio.testing.wait_all_tasks_blocked()
    assert server.received[HANDSHAKE_BYTES:] == bytes.fromhex(
        "04 01 0000 0000ffe3  04 01 0000 00000063  04 00 0000 00000063  04 00 0000 0000ffe3"
        "04 01 0000 000000e4  04 00 0000 000000e4  04 01 0000 0000ff0d  04 00 0000 0000ff0d"
        "05 05 0102 0003"
        "06 000000 00000002 fc3f"
        "02 00 0002 00000000 ffffff21"
        "03 01 0000 0000 0280 0190"
        "03 00 0001 0002 0003 0004"
        "00 000000 08 08 00 01 0007 0007 0003 00 03 06 000000"
    )


@timely
async def test_another_pixel_format(autojump_clock: MockClock) -> None:
    grey = PixelFormat(16, 15, True, True, 31, 31, 31, 10, 5, 0)
    server = showing(update(rect(Rect(0, 0, 1, 1), RAW, grey.pack(255, 0, 255))))
    async with server.connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        with pytest.raises(ValueError, match="colour map"):
            await client.set_pixel_format(PixelFormat(true_colour=False))
        await client.set_pixel_format(grey)
        await client.read_update()
        assert client.pixel(0, 0) == (255, 0, 255)


@timely
@pytest.mark.parametrize(
    ("messages", "why"),
    [
        (b"\x63", "message 99"),
        (b"\x03\0\0\0" + (MAX_TEXT_BYTES + 1).to_bytes(4, "big"), "a text of"),
        (update(rect(Rect(2, 0, 2, 1), RAW)), "outside"),
        (update(rect(Rect(0, 0, 2, 1), COPY_RECT, b"\0\x02\0\0")), "outside"),
        (update(rect(Rect(0, 0, 1, 1), 5)), "encoding 5"),
        (update(rect(Rect(0, 0, 0xFFFF, 0xFFFF), DESKTOP_SIZE)), "a screen of"),
        (update(rect(Rect(0, 0, 0xFFFF, 0xFFFF), CURSOR)), "a pointer of"),
    ],
)
async def test_messages_not_to_follow(messages: bytes, why: str, autojump_clock: MockClock) -> None:
    async with showing(messages).connect() as stream:
        client = RfbClient(stream)
        await client.handshake()
        with pytest.raises(RfbViolation, match=why):
            await client.read_update()


@timely
@pytest.mark.parametrize(
    ("server", "why"),
    [
        (ScriptedVncServer.playing(Send(b"SSH-2.0-what\n"), Stall()), "no RFB version"),
        (ScriptedVncServer(security_types=(16, 19)), "no common security type"),
        (ScriptedVncServer(version=b"RFB 003.003\n", security_types=(16,)), "security type 16"),
        (ScriptedVncServer(password="secret"), "asks for a password"),
        (ScriptedVncServer(width=0xFFFF, height=0xFFFF), "a screen of"),
        (ScriptedVncServer.playing(Send(b"RFB 003.003\n\0\0\0\0\xff\xff\xff\xff"), Stall()), "a text of"),
    ],
)
async def test_servers_not_to_follow(server: ScriptedVncServer, why: str, autojump_clock: MockClock) -> None:
    async with server.connect() as stream:
        with pytest.raises(RfbViolation, match=why):
            await RfbClient(stream).handshake()


@timely
async def test_a_server_that_leaves_at_any_byte(autojump_clock: MockClock) -> None:
    said = b"RFB 003.008\n\x01\x01\0\0\0\0" + ScriptedVncServer(name="x").script[4].encode()  # type: ignore[attr-defined]
    for cut in range(len(said)):
        async with ScriptedVncServer.playing(Send(said[:cut])).connect() as stream:
            with pytest.raises((StreamEnded, trio.BrokenResourceError)):
                await RfbClient(stream).handshake()


@timely
async def test_closing(autojump_clock: MockClock) -> None:
    server = ScriptedVncServer()
    async with server.connect() as stream:
        async with RfbClient(stream) as client:
            await client.handshake()
        with pytest.raises(trio.ClosedResourceError):
            await client.request_update()


def test_refusals_can_be_read() -> None:
    assert str(RfbRefused("too many", "security")) == "refused (security): too many"
