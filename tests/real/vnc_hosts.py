"""Many small VNC hosts in one process: RFB 3.8 with a password, one answer to each key, and every kind of bad end.

Run as a script (``crowd.Hosts`` does); of this project it imports nothing. It prints one line of JSON: the port for
each of ``BEHAVIOURS``. What a host does once the screen is open is asked for with keys:

* any other key: one update of one pixel, whose four bytes are the key's number; the numbers have to count up
* ``STALL``: it reads nothing any more
* ``FLOOD``: it sends updates, numbered from 0 on, as fast as they are taken
* ``RESET``: it resets the connection

Sources: RFC 6143 7.1 (handshake), 7.2.2 (VNC authentication), 7.5.4 (KeyEvent), 7.6.1 (FramebufferUpdate).
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from functools import partial

import trio
from Crypto.Cipher import DES

#: What each port does: ``good``, ``silent`` (says nothing at all), or resets the connection after that step.
BEHAVIOURS = ("good", "silent", "accepted", "version", "security", "challenge", "result", "init")

STALL, FLOOD, RESET = 0xFFFFFF01, 0xFFFFFF02, 0xFFFFFF03

WIDTH, HEIGHT = 640, 480
NAME = b"lean"
_KEY = struct.Struct(">BBxxI")
#: How many updates of a flood are sent at once; an update is 20 bytes.
FLOOD_UPDATES = 3000

#: 32 bits a pixel, true colour, big endian.
_PIXEL_FORMAT = struct.pack(">BBBBHHHBBB3x", 32, 24, 1, 1, 255, 255, 255, 16, 8, 0)


def update(number: int) -> bytes:
    """An update of one raw pixel, which is the number."""
    return struct.pack(">BxHHHHHiI", 0, 1, 0, 0, 1, 1, 0, number)


class Gone(Exception):
    """The connection is over."""


class Host:
    """One connection."""

    def __init__(self, stream: trio.SocketStream, password: str, behaviour: str) -> None:
        self._stream = stream
        self._behaviour = behaviour
        # VNC counts the bits of a key byte from the other end
        key = password.encode("latin-1")[:8].ljust(8, b"\0")
        self._key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in key)
        self._received = bytearray()

    async def _read(self, count: int) -> bytes:
        while len(self._received) < count:
            data = await self._stream.receive_some(65536)
            if not data:
                raise Gone
            self._received += data
        found = bytes(self._received[:count])
        del self._received[:count]
        return found

    def _reset(self) -> None:
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.socket.close()
        raise Gone

    def _after(self, step: str) -> None:
        if self._behaviour == step:
            self._reset()

    async def serve(self) -> None:
        if self._behaviour == "silent":
            await self._read(1 << 30)
        self._after("accepted")
        await self._stream.send_all(b"RFB 003.008\n")
        await self._read(12)
        self._after("version")
        await self._stream.send_all(b"\x01\x02")
        if await self._read(1) != b"\x02":
            raise Gone
        self._after("security")
        challenge = os.urandom(16)
        await self._stream.send_all(challenge)
        answer = await self._read(16)
        self._after("challenge")
        if answer != DES.new(self._key, DES.MODE_ECB).encrypt(challenge):
            raise Gone
        await self._stream.send_all(bytes(4))
        self._after("result")
        await self._read(1)
        self._after("init")
        size, name = struct.pack(">HH", WIDTH, HEIGHT), struct.pack(">I", len(NAME)) + NAME
        await self._stream.send_all(size + _PIXEL_FORMAT + name)
        await self._answer_keys()

    async def _answer_keys(self) -> None:
        last = 0
        while True:
            kind, _, number = _KEY.unpack(await self._read(_KEY.size))
            if kind != 4:
                raise Gone
            if number == STALL:
                await trio.Event().wait()
            elif number == RESET:
                self._reset()
            elif number == FLOOD:
                await self._flood()
            elif number != last + 1:  # something was lost or came twice
                raise Gone
            else:
                last = number
                await self._stream.send_all(update(number))

    async def _flood(self) -> None:
        first = 0
        while True:
            await self._stream.send_all(b"".join(update(first + n) for n in range(FLOOD_UPDATES)))
            first += FLOOD_UPDATES


async def handle(password: str, behaviour: str, stream: trio.SocketStream) -> None:
    try:
        await Host(stream, password, behaviour).serve()
    except (Gone, trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        await trio.aclose_forcefully(stream)


async def main(address: str) -> None:
    password = os.environ["VNC_PASSWORD"]
    ports = {}
    async with trio.open_nursery() as nursery:
        for behaviour in BEHAVIOURS:
            listeners = await trio.open_tcp_listeners(0, host=address, backlog=1024)
            ports[behaviour] = listeners[0].socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, partial(handle, password, behaviour), listeners)
        sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
