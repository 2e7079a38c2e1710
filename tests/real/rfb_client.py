"""A VNC client by hand, over the ``websockets`` library: nothing of the product's own is in it."""

from __future__ import annotations

import json
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from .pictures import Picture, from_bgrx
from .processes import PATIENCE_S

_NONE = 1
_RAW = 0


class Refused(Exception):
    """The handshake was refused in words."""


class RfbClient:
    """One connection; the messages are read as one stream, as they may be cut anywhere."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket
        self._received = bytearray()
        self.width = self.height = 0
        self.name = ""

    def read(self, count: int) -> bytes:
        """Exactly ``count`` bytes."""
        while len(self._received) < count:
            message = self._websocket.recv(PATIENCE_S)
            assert isinstance(message, bytes), f"a text message: {message!r}"
            self._received += message
        data = bytes(self._received[:count])
        del self._received[:count]
        return data

    def send(self, data: bytes) -> None:
        self._websocket.send(data)

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Within the block nothing that comes is looked at, pings least of all: the library's reader is stopped."""
        with self._websocket.protocol_mutex:
            yield

    def _read_text(self) -> str:
        return self.read(int.from_bytes(self.read(4), "big")).decode("utf-8")

    def handshake(self, version: str = "003.008") -> None:
        """From the version to ServerInit; the screen's size and name are known then.

        Raises:
            Refused: the server said no.
        """
        offered = self.read(12)
        assert offered == b"RFB 003.008\n", offered
        self.send(f"RFB {version}\n".encode("ascii"))
        if version == "003.003":
            kind = int.from_bytes(self.read(4), "big")
            if kind == 0:
                raise Refused(self._read_text())
            assert kind == _NONE, kind
        else:
            kinds = self.read(self.read(1)[0])
            if not kinds:
                raise Refused(self._read_text())
            assert kinds == bytes([_NONE]), kinds
            self.send(bytes([_NONE]))
        if version == "003.008" and self.read(4) != bytes(4):
            raise Refused(self._read_text())
        self.send(b"\x01")  # share the screen
        self.width, self.height, length = struct.unpack(">HH16xI", self.read(24))
        self.name = self.read(length).decode("utf-8")

    def picture(self) -> Picture:
        """Ask for the whole screen, uncompressed."""
        pixels = bytearray(self.width * self.height * 4)
        self._ask_for(self.width, self.height)
        for _ in range(self._read_update()):
            left, top, width, height, encoding = struct.unpack(">HHHHi", self.read(12))
            assert encoding == _RAW, encoding
            for y in range(top, top + height):
                at = (y * self.width + left) * 4
                pixels[at : at + width * 4] = self.read(width * 4)
        return from_bgrx(self.width, self.height, bytes(pixels))

    def ask_for_corner(self) -> None:
        """Ask for a corner of the screen; QEMU may take seconds to answer."""
        self._ask_for(16, 16)

    def read_corner(self) -> None:
        """What came of it: the console lives."""
        for _ in range(self._read_update()):
            width, height, encoding = struct.unpack(">4xHHi", self.read(12))
            assert encoding == _RAW, encoding
            self.read(width * height * 4)

    def _ask_for(self, width: int, height: int) -> None:
        """Ask for the screen's upper left."""
        self.send(struct.pack(">B3xBBBBHHHBBB3x", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        self.send(struct.pack(">BxHi", 2, 1, _RAW))
        self.send(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))

    def _read_update(self) -> int:
        """The head of an update; how many rectangles follow."""
        kind, count = struct.unpack(">BxH", self.read(4))
        assert kind == 0, kind
        return int(count)

    def press(self, keysym: int) -> None:
        """Press and release a key."""
        for down in (1, 0):
            self.send(struct.pack(">BBxxI", 4, down, keysym))

    def set_encodings(self, *encodings: int) -> None:
        self.send(struct.pack(f">BxH{len(encodings)}i", 2, len(encodings), *encodings))

    def cut_text(self, text: str) -> None:
        """Tell the server of a text on the clipboard, in Latin-1."""
        raw = text.encode("latin-1")
        self.send(struct.pack(">B3xI", 6, len(raw)) + raw)

    def read_cut_text(self) -> str:
        """The text of the ServerCutText that comes next."""
        kind, length = struct.unpack(">B3xI", self.read(8))
        assert kind == 3, kind
        return self.read(length).decode("latin-1")

    def type_line(self, text: str) -> None:
        for character in text:
            self.press(ord(character))
        self.press(0xFF0D)

    def _read_for_ever(self) -> NoReturn:
        while True:
            self._websocket.recv(PATIENCE_S)

    def ask(self, number: int) -> dict[str, object]:
        """The page's question how things stand, and the answer; pictures that come first are left out."""
        self._websocket.send(json.dumps({"ping": number}))
        while isinstance(message := self._websocket.recv(PATIENCE_S), bytes):
            pass
        answer: dict[str, object] = json.loads(message)
        assert answer["pong"] == number
        return answer

    def wait_in_silence(self, seconds: float) -> None:
        """Say nothing for that long, and see to it that the server says nothing and stays."""
        with pytest.raises(TimeoutError):
            self._websocket.recv(seconds)

    def wait_until_broken(self, within_s: float) -> None:
        """Say nothing until somebody in between cuts the connection, without a close frame."""
        with pytest.raises(ConnectionClosed) as end:
            self._websocket.recv(within_s)
        assert end.value.rcvd is None

    def closed(self) -> tuple[int, str]:
        """Read until the server closes the WebSocket; the code and reason it gives."""
        with pytest.raises(ConnectionClosed) as end:
            self._read_for_ever()
        frame = end.value.rcvd
        assert frame is not None, "the connection broke off without a close frame"
        return frame.code, frame.reason


@contextmanager
def rfb_client(
    url: str,
    *,
    origin: str | None = None,
    subprotocols: tuple[str, ...] = ("binary",),
    trust: ssl.SSLContext | None = None,
    patience_s: float = PATIENCE_S,
) -> Iterator[RfbClient]:
    """A connected WebSocket, before the VNC handshake.

    Args:
        trust: for wss. It is held to TLS 1.2: this client reads in one thread and writes in another, and before Python
            3.13 nothing keeps them apart in OpenSSL, where TLS 1.3's tickets then swallow the first write.
        patience_s: how long the server may take to answer a ping, in seconds.
    """
    if trust is not None:
        trust.maximum_version = ssl.TLSVersion.TLSv1_2
    with connect(
        url,
        origin=None if origin is None else Origin(origin),
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        ssl=trust,
        compression=None,
        proxy=None,
        open_timeout=PATIENCE_S,
        close_timeout=PATIENCE_S,
        ping_timeout=patience_s,
        max_size=None,
    ) as websocket:
        yield RfbClient(websocket)
