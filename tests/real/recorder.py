"""A VNC server that writes down what its viewers do, event by event (RFC 6143, 7.5). Its screen is one colour.

It asks for no password, and offers no extension of the protocol. It runs in a thread of this process.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Self, TypeAlias

import attrs

WIDTH, HEIGHT = 640, 480

_PIXEL = bytes((0x60, 0x50, 0x40, 0x00))
_PIXEL_FORMAT = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
_NONE = 1

_SET_PIXEL_FORMAT, _SET_ENCODINGS, _ASK_FOR_UPDATE, _KEY, _POINTER, _CUT_TEXT = 0, 2, 3, 4, 5, 6

#: Nobody pastes more in these tests.
_LONGEST_TEXT = 1 << 20


@attrs.frozen
class Pointer:
    """A PointerEvent; button 1, the left one, is bit 0."""

    buttons: int
    x: int
    y: int


@attrs.frozen
class Key:
    """A KeyEvent."""

    keysym: int
    down: bool


@attrs.frozen
class CutText:
    """A ClientCutText."""

    text: str


Event: TypeAlias = Pointer | Key | CutText


class Recorder:
    """The server on a free port of 127.0.0.1, for one viewer after the other.

    Attributes:
        events: what viewers did, in that order.
    """

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._viewer: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="recorder")
        self._thread.start()

    def pointer(self) -> list[Pointer]:
        return [event for event in self.events if isinstance(event, Pointer)]

    def clicks(self) -> list[Pointer]:
        """Where which buttons went down."""
        found, before = [], 0
        for event in self.pointer():
            if event.buttons & ~before:
                found.append(attrs.evolve(event, buttons=event.buttons & ~before))
            before = event.buttons
        return found

    def keys(self) -> list[Key]:
        return [event for event in self.events if isinstance(event, Key)]

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the listener was shut down
            while True:
                self._viewer, _ = self._listener.accept()
                with self._viewer, contextlib.suppress(OSError, EOFError):
                    self._handshake(self._viewer)
                    while True:
                        self._take(self._viewer)

    def _handshake(self, viewer: socket.socket) -> None:
        viewer.sendall(b"RFB 003.008\n")
        _read(viewer, 12)
        viewer.sendall(bytes((1, _NONE)))
        _read(viewer, 1)
        viewer.sendall(bytes(4))
        _read(viewer, 1)
        name = b"recorder"
        viewer.sendall(struct.pack(">HH16sI", WIDTH, HEIGHT, _PIXEL_FORMAT, len(name)) + name)

    def _take(self, viewer: socket.socket) -> None:
        """One message of the viewer's."""
        kind = _read(viewer, 1)[0]
        if kind == _SET_PIXEL_FORMAT:
            _read(viewer, 19)
        elif kind == _SET_ENCODINGS:
            (count,) = struct.unpack(">xH", _read(viewer, 3))
            _read(viewer, 4 * count)
        elif kind == _ASK_FOR_UPDATE:
            (incremental,) = struct.unpack(">B8x", _read(viewer, 9))
            if not incremental:
                viewer.sendall(struct.pack(">BxHHHHHi", 0, 1, 0, 0, WIDTH, HEIGHT, 0) + _PIXEL * (WIDTH * HEIGHT))
        elif kind == _KEY:
            down, keysym = struct.unpack(">?2xI", _read(viewer, 7))
            self.events.append(Key(keysym, down))
        elif kind == _POINTER:
            self.events.append(Pointer(*struct.unpack(">BHH", _read(viewer, 5))))
        elif kind == _CUT_TEXT:
            (length,) = struct.unpack(">3xI", _read(viewer, 7))
            if length > _LONGEST_TEXT:
                raise EOFError
            self.events.append(CutText(_read(viewer, length).decode("latin-1")))
        else:
            raise EOFError

    def stop(self) -> None:
        for held in (self._listener, self._viewer):
            if held is not None:
                with contextlib.suppress(OSError):
                    held.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _read(stream: socket.socket, count: int) -> bytes:
    """Exactly ``count`` bytes."""
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
