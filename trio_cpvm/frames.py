"""WebSocket frames at a server's end (RFC 6455): what a client's bytes mean, and what is sent to it. No I/O.

Binary messages are a stream here, as RFB has no use for their boundaries: their bytes come out as they come in, and
nothing of them is kept. Only control frames and texts are put together, and they are short. The opening handshake is
somebody else's business; no extension is ever in use.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import attrs
from Crypto.Util.strxor import strxor

#: RFC 6455 section 5.5: a control frame's payload.
MAX_CONTROL_BYTES = 125
#: The fragments of one message; nobody sends this many, and without any bytes in them no other limit would end them.
MAX_FRAGMENTS = 4096
#: So many events are made of what has come before the rest is looked at: those of empty frames take twenty times the
#: memory of their bytes.
MAX_EVENTS = 256
#: Close codes, section 7.4.1.
PROTOCOL_ERROR, NOT_TEXT, TOO_LARGE = 1002, 1007, 1009

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_SHORT_HEAD, _MEDIUM_HEAD, _LONG_HEAD = struct.Struct("!BB"), struct.Struct("!BBH"), struct.Struct("!BBQ")
_CODE = struct.Struct("!H")

#: A whole binary message's first byte; how much goes before a payload of up to so many bytes.
_WHOLE_BINARY, _SMALL_HEAD, _MOST_SMALL = _FIN | _BINARY, 6, 125
#: Below this many bytes numbers are the quicker way to unmask, above it the C function is, which costs more to call.
_SMALL = 1000


@attrs.frozen
class Text:
    """A whole text message."""

    text: str


@attrs.frozen
class Ping:
    """Wants a pong with the same payload."""

    payload: bytes


@attrs.frozen
class Pong:
    """Answers a ping, or none."""

    payload: bytes


@attrs.frozen
class Close:
    """The client's side is over; ``code`` is ``None`` where it gave none."""

    code: int | None
    reason: str = ""


@attrs.frozen
class Violation:
    """The client broke the protocol, and nothing that follows is looked at. ``code`` is what it is told."""

    code: int
    words: str


#: Bytes are the payload of binary messages.
Event: TypeAlias = bytes | Text | Ping | Pong | Close | Violation


class _Broken(Exception):
    """Carries a violation out of the parser."""

    def __init__(self, code: int, words: str) -> None:
        self.violation = Violation(code, words)


class FrameReader:
    """Reads a client's frames.

    Args:
        max_message_bytes: of one binary message.
        max_text_bytes: of one text message.

    Attributes:
        over: the client's side has ended, by a close frame or a violation.
        has_more: not all that has come was looked at: ``receive`` without further bytes goes on.
    """

    def __init__(self, *, max_message_bytes: int, max_text_bytes: int) -> None:
        self._most_small = min(max_message_bytes, _MOST_SMALL)
        self._limits = {_BINARY: max_message_bytes, _TEXT: max_text_bytes}
        self._head = b""
        # The frame under way; ``_opcode`` is ``None`` between frames.
        self._opcode: int | None = None
        self._is_last = False
        self._left = 0
        self._mask = b""
        # The data message under way, which control frames may come between.
        self._message: int | None = None
        self._message_bytes = 0
        self._fragments = 0
        self._text = bytearray()
        self._stream: list[bytes | memoryview] = []
        self._control = bytearray()
        self.over = False
        self.has_more = False

    def receive(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """What the next bytes say, about ``MAX_EVENTS`` at a time; further bytes only once all of them were looked at.

        After a ``Close`` or a ``Violation``, which is the last event, there is nothing any more.

        Args:
            data: the bytes; what can be written to is unmasked in its place, and not kept.
        """
        events: list[Event] = []
        if self.over:
            return events
        if self._head:
            data, self._head = self._head + data, b""
        self.has_more = False
        if self._opcode is None and self._message is None:
            size = len(data) - _SMALL_HEAD
            whole = 0 < size <= self._most_small and data[0] == _WHOLE_BINARY and data[1] == _MASKED | size
            if whole:  # a key, say
                return [_unmasked_small(data[_SMALL_HEAD:], bytes(data[2:_SMALL_HEAD]))]
        view = memoryview(data)
        if view.readonly:
            view = memoryview(bytearray(data))
        try:
            self._read(view, events)
        except _Broken as broken:
            self.over = True
            self._flush(events)
            events.append(broken.violation)
        return events

    def _read(self, data: memoryview, events: list[Event]) -> None:
        position, end = 0, len(data)
        while position < end:
            if self._opcode is None:
                if len(events) >= MAX_EVENTS:
                    self._head, self.has_more = bytes(data[position:]), True
                    break
                position = self._read_head(data, position)
                if self._opcode is None:  # not whole yet
                    break
            taken = min(self._left, end - position)
            if taken:
                self._take(_unmasked(data[position : position + taken], self._mask), events)
                position += taken
                self._left -= taken
            if self._left:
                turn = taken % 4
                self._mask = self._mask[turn:] + self._mask[:turn]
                break
            self._end_frame(events)
            if self.over:
                break
        self._flush(events)

    def _read_head(self, data: memoryview, position: int) -> int:
        """Read a frame's head (section 5.2); the position behind it. What is not whole yet is kept."""
        size = len(data) - position
        if size < 2:
            self._head = bytes(data[position:])
            return len(data)
        first, second = data[position], data[position + 1]
        opcode, length = first & _OPCODE, second & _LENGTH
        if first & _RESERVED:
            raise _Broken(PROTOCOL_ERROR, "set a reserved bit")
        if not second & _MASKED:
            raise _Broken(PROTOCOL_ERROR, "sent a frame without a mask")
        self._check_order(opcode, is_last=bool(first & _FIN), length=length)
        extended = 2 if length == 126 else 8 if length == 127 else 0
        whole = 2 + extended + 4
        if size < whole:
            self._head = bytes(data[position:])
            return len(data)
        if extended:
            length = int.from_bytes(data[position + 2 : position + 2 + extended], "big")
            if length < (126 if extended == 2 else 1 << 16) or length >= 1 << 63:
                raise _Broken(PROTOCOL_ERROR, "spelled a length wrongly")
        if opcode < _CLOSE:
            self._begin_data(opcode, length)
        self._opcode, self._is_last, self._left = opcode, bool(first & _FIN), length
        self._mask = bytes(data[position + whole - 4 : position + whole])
        return position + whole

    def _check_order(self, opcode: int, *, is_last: bool, length: int) -> None:
        """Whether such a frame may come now (sections 5.4 and 5.5)."""
        if opcode in (_CLOSE, _PING, _PONG):
            if not is_last or length > MAX_CONTROL_BYTES:
                raise _Broken(PROTOCOL_ERROR, "sent a control frame that is too long or in pieces")
        elif opcode == _CONTINUATION:
            if self._message is None:
                raise _Broken(PROTOCOL_ERROR, "went on with a message that it had not begun")
        elif opcode not in (_TEXT, _BINARY):
            raise _Broken(PROTOCOL_ERROR, "sent a frame of an unknown kind")
        elif self._message is not None:
            raise _Broken(PROTOCOL_ERROR, "began a message within another")

    def _begin_data(self, opcode: int, length: int) -> None:
        """A message's first or next frame; its limit counts from what is announced."""
        if opcode != _CONTINUATION:
            self._message, self._message_bytes, self._fragments = opcode, 0, 0
        self._message_bytes += length
        self._fragments += 1
        if self._fragments > MAX_FRAGMENTS:
            raise _Broken(TOO_LARGE, "sent fragments without end")
        if self._message is not None and self._message_bytes > self._limits[self._message]:
            raise _Broken(TOO_LARGE, "sent too large a message")

    def _take(self, payload: bytes | memoryview, events: list[Event]) -> None:
        if self._opcode is not None and self._opcode >= _CLOSE:
            self._control += payload
        elif self._message == _TEXT:
            self._text += payload
        else:
            self._stream.append(payload)

    def _flush(self, events: list[Event]) -> None:
        """The payload of binary messages so far becomes an event, in its place among the others."""
        if self._stream:
            events.append(b"".join(self._stream))
            self._stream.clear()

    def _end_frame(self, events: list[Event]) -> None:
        opcode, self._opcode = self._opcode, None
        if opcode is not None and opcode >= _CLOSE:
            payload = bytes(self._control)
            self._control.clear()
            self._flush(events)
            if opcode == _CLOSE:
                events.append(_read_close(payload))
                self.over = True
            else:
                events.append(Ping(payload) if opcode == _PING else Pong(payload))
        elif self._is_last:
            if self._message == _TEXT:
                self._flush(events)
                events.append(Text(_decoded(bytes(self._text))))
                self._text.clear()
            self._message = None


def _unmasked(data: memoryview, mask: bytes) -> bytes | memoryview:
    """Section 5.3. Much of it is unmasked in its place."""
    size = len(data)
    if size < _SMALL:
        return _unmasked_small(data, mask)
    strxor(data, (mask * (size // 4 + 1))[:size], data)
    return data


def _unmasked_small(data: bytes | bytearray | memoryview, mask: bytes) -> bytes:
    size = len(data)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(data, "little") ^ key).to_bytes(size, "little")


def _read_close(payload: bytes) -> Close:
    """Sections 5.5.1 and 7.4: no payload, or a code and a reason."""
    if not payload:
        return Close(None)
    code = _CODE.unpack_from(payload)[0] if len(payload) >= _CODE.size else 0
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise _Broken(PROTOCOL_ERROR, "closed without a code that there is")
    return Close(code, _decoded(payload[_CODE.size :]))


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _Broken(NOT_TEXT, "sent malformed text") from None


def binary_head(size: int) -> bytes:
    """What goes in front of so many bytes, to make them a binary message. A server masks nothing (section 5.1)."""
    return _head(_BINARY, size)


def text_frame(text: str) -> bytes:
    """A text message."""
    raw = text.encode()
    return _head(_TEXT, len(raw)) + raw


def ping_frame(payload: bytes) -> bytes:
    """A ping of at most ``MAX_CONTROL_BYTES``."""
    return _head(_PING, len(payload)) + payload


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping with that payload."""
    return _head(_PONG, len(payload)) + payload


def close_frame(code: int | None, reason: str = "") -> bytes:
    """The last frame; the reason has at most ``MAX_CONTROL_BYTES - 2`` bytes, and none goes without a code."""
    payload = b"" if code is None else _CODE.pack(code) + reason.encode()
    return _head(_CLOSE, len(payload)) + payload


def _head(opcode: int, size: int) -> bytes:
    if size < 126:
        return _SHORT_HEAD.pack(_FIN | opcode, size)
    if size < 1 << 16:
        return _MEDIUM_HEAD.pack(_FIN | opcode, 126, size)
    return _LONG_HEAD.pack(_FIN | opcode, 127, size)
