"""A VNC server that writes down what its viewers do, event by event (RFC 6143, 7.5). Its screen is one colour.

It asks for no password, and offers only those extensions of the protocol that it is told to. It runs in threads of this
process. That real hosts understand the same messages is what the tests against QEMU and Xvnc are for.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Self, TypeAlias

import attrs

from .processes import wait_for

WIDTH, HEIGHT = 640, 480

_PIXEL = bytes((0x60, 0x50, 0x40, 0x00))
_PIXEL_FORMAT = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
_NONE = 1

_SET_PIXEL_FORMAT, _SET_ENCODINGS, _ASK_FOR_UPDATE, _KEY, _POINTER, _CUT_TEXT = 0, 2, 3, 4, 5, 6
#: rfbproto: SetDesktopSize, and QEMU's message with the extended key event.
_SET_DESKTOP_SIZE, _QEMU = 251, 255

_RAW, _EXTENDED_KEYS, _EXTENDED_SIZE = 0, -258, -308

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
    """A KeyEvent, or the extended one with a scancode; 0 is none."""

    keysym: int
    down: bool
    scancode: int = 0


@attrs.frozen
class CutText:
    """A ClientCutText."""

    text: str


@attrs.frozen
class Resize:
    """A SetDesktopSize."""

    width: int
    height: int


Event: TypeAlias = Pointer | Key | CutText | Resize


class Recorder:
    """The server on a free port of 127.0.0.1.

    Args:
        size: of the screen.
        extended_keys: take the QEMU extended key event.
        resizable: take SetDesktopSize, without obeying it.

    Attributes:
        events: what viewers did, in that order.
        encodings: what the last SetEncodings asked for.
        viewers: how many there were.
    """

    host = "127.0.0.1"

    def __init__(
        self, *, size: tuple[int, int] = (WIDTH, HEIGHT), extended_keys: bool = False, resizable: bool = False
    ) -> None:
        self.events: list[Event] = []
        self.encodings: tuple[int, ...] = ()
        self.viewers = 0
        self._size = size
        self._extended_keys = extended_keys
        self._resizable = resizable
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="recorder")]
        self._threads[0].start()

    # -- what was done

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

    def key_events(self) -> list[Key]:
        return [event for event in self.events if isinstance(event, Key)]

    def wait_for(self, event: Event) -> None:
        """Wait until somebody does this."""
        wait_for(lambda: event in self.events, f"{event}")

    def wait_for_keys(self, wanted: list[Key]) -> None:
        """Wait until exactly these keys came, since the start or ``forget``."""
        try:
            wait_for(lambda: self.key_events() == wanted, f"{wanted}")
        except AssertionError as late:
            late.add_note(f"came: {self.key_events()}")
            raise

    def forget(self) -> None:
        """Forget what came so far."""
        self.events.clear()

    # -- what the server does

    def cut_text(self, text: str) -> None:
        """Tell all viewers of a text on the clipboard."""
        raw = text.encode("latin-1")
        for viewer in self._connections:
            viewer.sendall(struct.pack(">B3xI", 3, len(raw)) + raw)

    def hang_up(self) -> None:
        """End all connections; new ones are taken."""
        for viewer in self._connections:
            with contextlib.suppress(OSError):
                viewer.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was shut down
            while True:
                viewer, _ = self._listener.accept()
                self.viewers += 1
                self._connections.append(viewer)
                thread = threading.Thread(target=self._serve, args=(viewer,), name="recorder's viewer")
                self._threads.append(thread)
                thread.start()

    def _serve(self, viewer: socket.socket) -> None:
        with viewer, contextlib.suppress(OSError, EOFError):
            self._handshake(viewer)
            while True:
                self._take(viewer)
        self._connections.remove(viewer)

    def _handshake(self, viewer: socket.socket) -> None:
        viewer.sendall(b"RFB 003.008\n")
        _read(viewer, 12)
        viewer.sendall(bytes((1, _NONE)))
        _read(viewer, 1)
        viewer.sendall(bytes(4))
        _read(viewer, 1)
        name = b"recorder"
        viewer.sendall(struct.pack(">HH16sI", *self._size, _PIXEL_FORMAT, len(name)) + name)

    def _take(self, viewer: socket.socket) -> None:
        """One message of the viewer's."""
        kind = _read(viewer, 1)[0]
        if kind == _SET_PIXEL_FORMAT:
            _read(viewer, 19)
        elif kind == _SET_ENCODINGS:
            (count,) = struct.unpack(">xH", _read(viewer, 3))
            self.encodings = struct.unpack(f">{count}i", _read(viewer, 4 * count))
        elif kind == _ASK_FOR_UPDATE:
            (incremental,) = struct.unpack(">B8x", _read(viewer, 9))
            if not incremental:
                viewer.sendall(self._update())
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
        elif kind == _SET_DESKTOP_SIZE and self._resizable:
            width, height, screens = struct.unpack(">xHHBx", _read(viewer, 7))
            _read(viewer, 16 * screens)
            self.events.append(Resize(width, height))
        elif kind == _QEMU and self._extended_keys:
            down, keysym, scancode = struct.unpack(">xHII", _read(viewer, 11))
            self.events.append(Key(keysym, bool(down), scancode))
        else:
            raise EOFError

    def _update(self) -> bytes:
        """The whole screen, and the pseudo-rectangles that say what is offered."""
        width, height = self._size
        rectangles = [struct.pack(">HHHHi", 0, 0, width, height, _RAW) + _PIXEL * (width * height)]
        if self._extended_keys:
            rectangles.append(struct.pack(">HHHHi", 0, 0, 0, 0, _EXTENDED_KEYS))
        if self._resizable:
            screen = struct.pack(">B3xIHHHHI", 1, 1, 0, 0, width, height, 0)
            rectangles.append(struct.pack(">HHHHi", 0, 0, width, height, _EXTENDED_SIZE) + screen)
        return struct.pack(">BxH", 0, len(rectangles)) + b"".join(rectangles)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _read(stream: socket.socket, count: int) -> bytes:
    """Exactly ``count`` bytes."""
    data = bytearray()
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)
