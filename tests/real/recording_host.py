"""A VNC host that notes every key, pointer and clipboard message it is sent, for tests that ask what a page sends.

It shows one plain picture and offers what it is told to: the QEMU extended key events, a resizable screen. It is a
double: that a real host understands the same messages is what the tests against QEMU and Xvnc are for.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from .processes import wait_for

WIDTH, HEIGHT = 640, 400
NAME = "Recording host"

_EXTENDED_KEYS = -258
_EXTENDED_SIZE = -308


@attrs.frozen
class Key:
    """A key event: with the scancode where the extended form was used, otherwise 0."""

    keysym: int
    down: bool
    scancode: int = 0


@attrs.frozen
class Pointer:
    """A pointer event."""

    x: int
    y: int
    buttons: int


@attrs.frozen
class CutText:
    """A text for the host's clipboard, in Latin-1."""

    text: str


@attrs.frozen
class Resize:
    """A wish for another size of the screen."""

    width: int
    height: int


Message = Key | Pointer | CutText | Resize


class RecordingHost:
    """Listens on loopback; each connection is served by a thread until its peer goes away.

    Attributes:
        messages: what came, in order, over all connections.
        connections: how many there were.
    """

    host = "127.0.0.1"

    def __init__(
        self, *, extended_keys: bool = False, resizable: bool = False, size: tuple[int, int] = (WIDTH, HEIGHT)
    ):
        self._extended_keys = extended_keys
        self._resizable = resizable
        self._size = size
        self.messages: list[Message] = []
        self.encodings: tuple[int, ...] = ()
        self.connections = 0
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    # -- what tests ask

    def key_events(self) -> list[Key]:
        return [message for message in self.messages if isinstance(message, Key)]

    def pointers(self) -> list[Pointer]:
        return [message for message in self.messages if isinstance(message, Pointer)]

    def wait_for_message(self, wanted: Message) -> None:
        wait_for(lambda: wanted in self.messages, f"{wanted} among {self.messages[-20:]}")

    def wait_for_keys(self, wanted: list[Key]) -> None:
        """Wait until exactly these have come, since the start or ``forget``."""
        try:
            wait_for(lambda: self.key_events() == wanted, f"{wanted}")
        except AssertionError as late:
            late.add_note(f"came: {self.key_events()}")
            raise

    def forget(self) -> None:
        self.messages.clear()

    def cut_text(self, text: str) -> None:
        """Put a text on every viewer's clipboard."""
        raw = text.encode("latin-1")
        for peer in self._open:
            peer.sendall(struct.pack("!B3xI", 3, len(raw)) + raw)

    def hang_up(self) -> None:
        """End all connections; new ones are taken."""
        for peer in self._open:
            peer.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    # -- the protocol

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: socket.socket) -> None:
        try:
            with peer:
                self._handshake(peer)
                first = True
                while True:
                    first = self._next_message(peer, first)
        except (OSError, EOFError):
            pass

    def _handshake(self, peer: socket.socket) -> None:
        peer.sendall(b"RFB 003.008\n")
        _read(peer, 12)
        peer.sendall(b"\x01\x01")
        _read(peer, 1)
        peer.sendall(bytes(4))
        _read(peer, 1)
        width, height = self._size
        pixels = struct.pack("!BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
        name = NAME.encode()
        peer.sendall(struct.pack("!HH", width, height) + pixels + struct.pack("!I", len(name)) + name)

    def _next_message(self, peer: socket.socket, first: bool) -> bool:
        kind = _read(peer, 1)[0]
        if kind == 0:
            _read(peer, 19)
        elif kind == 2:
            (count,) = struct.unpack("!xH", _read(peer, 3))
            self.encodings = struct.unpack(f"!{count}i", _read(peer, 4 * count))
        elif kind == 3:
            _read(peer, 9)
            if first:
                peer.sendall(self._picture())
            return False
        elif kind == 4:
            down, keysym = struct.unpack("!B2xI", _read(peer, 7))
            self.messages.append(Key(keysym, bool(down)))
        elif kind == 5:
            buttons, x, y = struct.unpack("!BHH", _read(peer, 5))
            self.messages.append(Pointer(x, y, buttons))
        elif kind == 6:
            (length,) = struct.unpack("!3xI", _read(peer, 7))
            self.messages.append(CutText(_read(peer, length).decode("latin-1")))
        elif kind == 251:
            width, height, screens = struct.unpack("!xHHBx", _read(peer, 7))
            _read(peer, 16 * screens)
            self.messages.append(Resize(width, height))
        elif kind == 255:
            (down, keysym, scancode) = struct.unpack("!xHII", _read(peer, 11))
            self.messages.append(Key(keysym, bool(down), scancode))
        else:
            raise AssertionError(f"a message of type {kind}")
        return first

    def _picture(self) -> bytes:
        """A plain picture, row by row the same, and the pseudo-rectangles that announce what is offered."""
        width, height = self._size
        rects = [struct.pack("!HHHHi", 0, 0, width, height, 0) + b"\x60\x40\x20\x00" * (width * height)]
        if self._extended_keys:
            rects.append(struct.pack("!HHHHi", 0, 0, 0, 0, _EXTENDED_KEYS))
        if self._resizable:
            screen = struct.pack("!B3xIHHHHI", 1, 1, 0, 0, width, height, 0)
            rects.append(struct.pack("!HHHHi", 0, 0, width, height, _EXTENDED_SIZE) + screen)
        return struct.pack("!BxH", 0, len(rects)) + b"".join(rects)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self._open:
            try:
                peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(5)


def _read(peer: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = peer.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


@contextmanager
def recording_host(
    *, extended_keys: bool = False, resizable: bool = False, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Iterator[RecordingHost]:
    host = RecordingHost(extended_keys=extended_keys, resizable=resizable, size=size)
    try:
        yield host
    finally:
        host.close()
