"""A WebSocket as a byte stream, driven with wsproto directly: every frame goes out when a test says so.

It has no task of its own: pings are answered, and the peer's close frame is seen, while somebody receives. That is
what lets a test have a browser that hangs.

This file must not know about HTTP beyond wsproto's own upgrade, nor what the bytes mean.
"""

from __future__ import annotations

import contextlib
import enum
import operator
import secrets
from collections.abc import Iterable

import attrs
import trio
import wsproto
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from .streams import CLOSE_TIMEOUT_S, Exclusive, Serve, StreamEnded, abort

#: RFC 6455 section 7.4.1: what a connection that ended without a close frame counts as.
ABNORMAL_CLOSURE = 1006

#: How much text is kept of what the peer sends as text messages, in characters; more of it breaks the connection.
MAX_TEXT_CHARS = 1024 * 1024

_CHUNK_BYTES = 64 * 1024


class Opcode(enum.IntEnum):
    """The kinds of frame, for ``send_frame``; any other number from 0 to 15 may be sent as well."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


@attrs.define(eq=False)
class WebSocketDouble(trio.abc.Stream):
    """One end of an open WebSocket; ``open_websocket`` and ``accept_websocket`` make them.

    As a stream it carries the contents of binary messages: ``send_all`` sends one message, ``receive_some`` gives what
    has come, whatever the messages were, and ``b""`` once the peer has closed.

    Args:
        stream: what the WebSocket goes over; closed together with it.
        protocol: wsproto's side of it, the upgrade done.
        subprotocol: the one agreed on.
        target: what the client asked for.
        headers: the peer's, of the upgrade, names in lower case.
        close_timeout_s: how long ``aclose`` waits for the peer's close frame, in seconds.

    Attributes:
        close_code: the code of the peer's close frame, 1006 if the connection ended without one, 1005 if the frame had
            none; ``None`` while it is open.
        close_reason: the text of that frame.
        texts: text messages received; they are no part of the stream.
        pings, pongs: the payloads received.
    """

    stream: trio.abc.Stream
    protocol: wsproto.WSConnection
    subprotocol: str | None = None
    target: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    close_timeout_s: float = CLOSE_TIMEOUT_S
    close_code: int | None = attrs.field(default=None, init=False)
    close_reason: str | None = attrs.field(default=None, init=False)
    texts: list[str] = attrs.field(factory=list, init=False)
    pings: list[bytes] = attrs.field(factory=list, init=False)
    pongs: list[bytes] = attrs.field(factory=list, init=False)
    _inbox: bytearray = attrs.field(factory=bytearray, init=False)
    _text: str = attrs.field(default="", init=False)
    _silent: bool = attrs.field(default=False, init=False)
    _closed: bool = attrs.field(default=False, init=False)
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _sending: Exclusive = attrs.field(factory=lambda: Exclusive("another task is sending"), init=False)
    _receiving: Exclusive = attrs.field(factory=lambda: Exclusive("another task is receiving"), init=False)
    # A pong may be due while another task sends: frames must not mix.
    _wire: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    # -- the stream ------------------------------------------------------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send one binary message; nothing at all if ``data`` is empty.

        After a cancellation a frame may have been sent in part: the WebSocket can only be closed.

        Raises:
            trio.BrokenResourceError: the peer has closed, or the connection broke.
            trio.ClosedResourceError: this end is closed.
        """
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check_open()
            if len(data):
                await self._send(BytesMessage(bytes(data)))

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check_open()
            async with self._wire:
                await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give what has come, up to ``max_bytes``; ``b""`` once the peer has closed.

        Nothing is lost by a cancellation.

        Raises:
            trio.BrokenResourceError: the connection broke, or the peer does not keep to the protocol.
            trio.ClosedResourceError: this end is closed.
        """
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._receiving:
            await trio.lowlevel.checkpoint()
            if self._closed:
                raise trio.ClosedResourceError
            await self._handle_events()  # the peer's first frames may have come together with its 101
            while not self._inbox and self.close_code is None:
                await self._pump()
            if self._closed:
                raise trio.ClosedResourceError
            data = bytes(self._inbox[:max_bytes])
            del self._inbox[:max_bytes]
            return data

    async def aclose(self) -> None:
        """Close with 1000; see ``close``."""
        await self.close()

    # -- what a stream does not have -------------------------------------------------------------------------------

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame, wait ``close_timeout_s`` seconds for the peer's, and close the connection.

        Messages still on their way are dropped. It is closed in any case, also when cancelled.
        """
        if self._closed:
            await trio.aclose_forcefully(self.stream)
            return
        self._closed = True
        try:
            with trio.move_on_after(self.close_timeout_s):
                await self._say_goodbye(CloseConnection(code, reason or None))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # There is nobody left to take leave of.
        finally:
            await trio.aclose_forcefully(self.stream)

    async def vanish(self) -> None:
        """Be gone without a close frame, as a browser that crashed; a reset, on TCP."""
        self._closed = True
        await abort(self.stream)

    def go_silent(self) -> None:
        """From now on answer no ping and no close frame; a browser that hangs also stops calling ``receive_some``."""
        self._silent = True

    async def ping(self, payload: bytes = b"") -> None:
        """Send a ping; the answer shows up in ``pongs`` when somebody receives."""
        await self._send(Ping(payload))

    async def send_text(self, text: str) -> None:
        """Send one text message."""
        await self._send(TextMessage(text))

    async def send_frame(self, opcode: int, payload: bytes, *, fin: bool = True, masked: bool | None = None) -> None:
        """Send one frame as it is told, allowed or not; ``masked`` by default as this end has to."""
        if masked is None:
            masked = self.protocol.client
        head = bytes(((0x80 if fin else 0) | opcode,))
        mask_bit = 0x80 if masked else 0
        if len(payload) < 126:
            head += bytes((mask_bit | len(payload),))
        elif len(payload) <= 0xFFFF:
            head += bytes((mask_bit | 126,)) + len(payload).to_bytes(2, "big")
        else:
            head += bytes((mask_bit | 127,)) + len(payload).to_bytes(8, "big")
        if masked:
            mask = secrets.token_bytes(4)
            head += mask
            payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        await self.send_raw(head + payload)

    async def send_raw(self, data: bytes) -> None:
        """Send bytes that need not be a frame at all."""
        async with self._wire:
            await self.stream.send_all(data)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        if self.close_code is not None:
            raise trio.BrokenResourceError(f"the peer has closed the WebSocket ({self.close_code})")

    async def _send(self, event: Event) -> None:
        async with self._wire:
            try:
                data = self.protocol.send(event)
            except LocalProtocolError as exc:
                # Only the state can be wrong: the close frames have been exchanged.
                raise trio.BrokenResourceError(str(exc)) from exc
            await self.stream.send_all(data)

    async def _say_goodbye(self, event: CloseConnection) -> None:
        if self.close_code is not None or self._silent:
            return
        await self._send(event)
        if self._receiving.held:
            await self._ended.wait()
            return
        with self._receiving:
            while self.close_code is None:
                self._inbox.clear()
                await self._pump()

    async def _pump(self) -> None:
        """Receive once from the connection, and do what the frames ask for."""
        try:
            data = await self.stream.receive_some(_CHUNK_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._note_end(ABNORMAL_CLOSURE, None)
            raise
        # wsproto takes None for the end of the connection, and then reports 1006.
        self.protocol.receive_data(bytes(data) or None)
        await self._handle_events()

    async def _handle_events(self) -> None:
        for event in self.protocol.events():
            if isinstance(event, BytesMessage):
                self._inbox += event.data
            elif isinstance(event, TextMessage):
                self._take_text(event)
            elif isinstance(event, Ping):
                self.pings.append(bytes(event.payload))
                if not self._silent and self.protocol.state is ConnectionState.OPEN:
                    await self._send(event.response())
            elif isinstance(event, Pong):
                self.pongs.append(bytes(event.payload))
            elif isinstance(event, CloseConnection):
                await self._take_close(event)

    def _take_text(self, event: TextMessage) -> None:
        self._text += event.data
        if len(self._text) > MAX_TEXT_CHARS:
            raise trio.BrokenResourceError(f"a text message of more than {MAX_TEXT_CHARS} characters")
        if event.message_finished:
            self.texts.append(self._text)
            self._text = ""

    async def _take_close(self, event: CloseConnection) -> None:
        if self.protocol.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            # wsproto's way to say that the peer's frames are wrong: a close frame that we should send.
            self._note_end(ABNORMAL_CLOSURE, None)
            raise trio.BrokenResourceError(f"the peer broke the WebSocket protocol: {event.reason}")
        answer = self.protocol.state is ConnectionState.REMOTE_CLOSING and not self._silent
        self._note_end(int(event.code), event.reason)
        if answer:
            # A peer that did not wait for the answer has said what counts.
            with contextlib.suppress(trio.BrokenResourceError):
                await self._send(event.response())

    def _note_end(self, code: int, reason: str | None) -> None:
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
        self._ended.set()


def readable(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """Headers as text, the names in lower case."""
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)


async def next_upgrade_event(stream: trio.abc.Stream, protocol: wsproto.WSConnection) -> Event:
    """Read from ``stream`` until wsproto has the next event of the opening handshake.

    Raises:
        StreamEnded: the peer closed first.
        trio.BrokenResourceError: the connection broke, or what came is no such handshake.
    """
    while True:
        for event in protocol.events():
            return event
        data = await stream.receive_some(_CHUNK_BYTES)
        try:
            protocol.receive_data(bytes(data))
        except RemoteProtocolError as exc:
            if not data:
                raise StreamEnded(1, b"") from exc
            raise trio.BrokenResourceError(f"no WebSocket handshake: {exc}") from exc
        if not data:
            # The end of the connection may be the end of a refusal's body.
            for event in protocol.events():
                return event
            raise StreamEnded(1, b"")


def opened(
    stream: trio.abc.Stream, protocol: wsproto.WSConnection, event: AcceptConnection, target: str
) -> WebSocketDouble:
    """The client's end, once the server has accepted."""
    return WebSocketDouble(stream, protocol, event.subprotocol, target, readable(event.extra_headers))


async def accept_websocket(stream: trio.abc.Stream, *, subprotocol: str | None = "binary") -> WebSocketDouble:
    """Be the server of a WebSocket: read the request and accept it.

    Args:
        stream: left open when this fails.
        subprotocol: agreed on if the client offers it.

    Raises:
        StreamEnded: the client closed first.
        trio.BrokenResourceError: the connection broke, or what came is no upgrade.
    """
    protocol = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    event = await next_upgrade_event(stream, protocol)
    if not isinstance(event, Request):
        raise trio.BrokenResourceError("no WebSocket handshake")
    agreed = subprotocol if subprotocol in event.subprotocols else None
    await stream.send_all(protocol.send(AcceptConnection(subprotocol=agreed)))
    return WebSocketDouble(stream, protocol, agreed, event.target, readable(event.extra_headers))


def behind_websocket(serve: Serve, *, subprotocol: str | None = "binary") -> Serve:
    """Make a server that is reached through a WebSocket, out of one that takes plain streams."""

    async def serve_websocket(stream: trio.abc.Stream) -> None:
        try:
            websocket = await accept_websocket(stream, subprotocol=subprotocol)
        except (StreamEnded, trio.BrokenResourceError):
            return
        else:
            await serve(websocket)
        finally:
            await trio.aclose_forcefully(stream)

    return serve_websocket
