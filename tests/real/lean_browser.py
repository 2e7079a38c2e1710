"""A browser at a console, without the browser: a WebSocket client and RFB viewer that costs so little that hundreds
of them fit into a test.

It masks with zeros (which RFC 6455 section 5.3 cannot tell from chance), answers pings, and checks every byte. Its
counterpart is ``vnc_hosts``. Written on plain streams, so that nothing of the product's own is in it.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct

import trio

from .vnc_hosts import update

#: What it reads at once.
_CHUNK_BYTES = 65536
#: RFC 6455 section 7.4.1: an end without a close frame.
ABNORMAL = 1006


class Refused(Exception):
    """The WebSocket was refused with this HTTP status and body."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body[:200]}")
        self.status = status
        self.body = body


class Ended(Exception):
    """The console is over: close code (``ABNORMAL`` without one) and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text


def key_event(number: int) -> bytes:
    """KeyEvent, RFC 6143 7.5.4."""
    return struct.pack(">BBxxI", 4, 1, number)


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole frame of a client, RFC 6455 section 5.2."""
    if len(payload) < 126:
        return bytes((0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0)) + payload
    return struct.pack(">BBH4x", 0x80 | opcode, 0x80 | 126, len(payload)) + payload


def reset(stream: trio.abc.Stream) -> None:
    """End a connection with a TCP reset; whatever is on its way is dropped."""
    if isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


class LeanBrowser:
    """One console.

    Args:
        stream: a connection to the proxy, on which nothing has been said yet.

    Attributes:
        pings: how many pings it has answered.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.pings = 0
        self._pings_due: list[bytes] = []
        self._wire = bytearray()
        self._received = bytearray()
        self._number = 0

    async def open(self, host: str, token: str) -> None:
        """From the HTTP request to ServerInit.

        Args:
            host: the proxy's ``host:port``.
            token: percent-encoded.

        Raises:
            Refused: the WebSocket was.
            Ended: the console.
        """
        await self.upgrade(host, token)
        await self.handshake()

    async def upgrade(self, host: str, token: str) -> None:
        """The WebSocket's opening handshake, RFC 6455 section 4.1.

        Raises:
            Refused: so it was.
            Ended: the connection ended first.
        """
        await self.stream.send_all(upgrade_request(host, token))
        await self.finish_upgrade()

    async def finish_upgrade(self) -> None:
        """Read the answer to ``upgrade_request``, which somebody has sent. Raises as ``upgrade``."""
        head, _, rest = (await self._read_head()).partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status != 101:
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            body = bytearray(rest)
            while len(body) < length:
                body += await self._receive_some()
            raise Refused(status, body.decode("utf-8", "replace"))
        self._wire += rest
        self._parse()

    async def _read_head(self) -> bytes:
        head = bytearray()
        while b"\r\n\r\n" not in head:
            data = await self._receive_some()
            head += data
        return bytes(head)

    async def handshake(self) -> None:
        """RFB 3.8 without a password, as the proxy offers it to browsers."""
        for wanted, answer in (
            (b"RFB 003.008\n", b"RFB 003.008\n"),
            (b"\x01\x01", b"\x01"),
            (bytes(4), b"\x01"),
        ):
            found = await self.read(len(wanted))
            assert found == wanted, found
            await self.send(answer)
        head = await self.read(24)
        await self.read(int.from_bytes(head[20:], "big"))

    async def send(self, data: bytes) -> None:
        """One binary message.

        Raises:
            Ended: the connection broke.
        """
        try:
            await self.stream.send_all(frame(2, data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Ended(ABNORMAL, "reset") from None

    async def read(self, count: int) -> bytes:
        """Exactly so many bytes of the console's.

        Raises:
            Ended: it ended first.
        """
        while len(self._received) < count:
            await self._receive()
            self._parse()
            await self._answer_pings()
        found = bytes(self._received[:count])
        del self._received[:count]
        return found

    async def _answer_pings(self) -> None:
        due, self._pings_due = self._pings_due, []
        for payload in due:
            self.pings += 1
            await self.stream.send_all(frame(10, payload))

    async def _receive_some(self) -> bytes:
        try:
            data = await self.stream.receive_some(_CHUNK_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Ended(ABNORMAL, "reset") from None
        if not data:
            raise Ended(ABNORMAL, "end of the connection")
        return bytes(data)

    async def _receive(self) -> None:
        self._wire += await self._receive_some()

    def _parse(self) -> None:
        wire, at = self._wire, 0
        while len(wire) - at >= 2:
            opcode, length, head = wire[at], wire[at + 1], 2
            if length == 126:
                length, head = int.from_bytes(wire[at + 2 : at + 4], "big"), 4
            elif length == 127:
                length, head = int.from_bytes(wire[at + 2 : at + 10], "big"), 10
            if len(wire) - at < head + length:
                break
            payload = wire[at + head : at + head + length]
            at += head + length
            self._take(opcode & 0x0F, bytes(payload))
        del wire[:at]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode in (0, 2):
            self._received += payload
        elif opcode == 9:
            self._pings_due.append(payload)
        elif opcode == 8:
            code = int.from_bytes(payload[:2], "big") if payload else 1005
            raise Ended(code, payload[2:].decode("utf-8"))

    async def round_trip(self) -> float:
        """Press the next key and read its answer; how long that took, in seconds.

        Raises:
            Ended: the console.
            AssertionError: what came is not the answer.
        """
        self._number += 1
        began = trio.current_time()
        await self.send(key_event(self._number))
        found = await self.read(20)
        assert found == update(self._number), f"update {self._number} was {found.hex()}"
        return trio.current_time() - began

    async def ask(self, number: int) -> None:
        """Ask the host for one of its bad behaviours."""
        await self.send(key_event(number))

    async def close(self) -> None:
        """Close with 1000, as a tab does, and wait for the answer."""
        with contextlib.suppress(Ended, trio.BrokenResourceError, trio.ClosedResourceError):
            await self.stream.send_all(frame(8, struct.pack(">H", 1000)))
            while True:
                await self.read(1)
        await trio.aclose_forcefully(self.stream)

    def reset(self) -> None:
        """Be gone with a TCP reset."""
        reset(self.stream)


def upgrade_request(host: str, token: str) -> bytes:
    """The request for a console's WebSocket."""
    return (
        f"GET /websockify?token={token} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode('ascii')}\r\n"
        "Sec-WebSocket-Protocol: binary\r\n\r\n"
    ).encode("ascii")
