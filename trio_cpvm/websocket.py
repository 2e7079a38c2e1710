"""The browser's WebSocket as a byte stream: each binary message in is bytes, each ``send_all`` is one message out.

The only file that knows trio-websocket. It lets the library do the opening handshake on a canonical head (``http``
has checked the real one) and everything after it; no extension is ever negotiated. To exchange the library, exchange
this file.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import final

import trio
import trio_websocket
import wsproto.utilities

from .errors import close_reason
from .http import Upgrade
from .streams import PrefixedStream

#: A message of a browser; noVNC sends at most 10 KiB at a time, a paste in one message is still no megabyte.
MAX_MESSAGE_BYTES = 1 << 20
RECEIVE_BUFFER_BYTES = 16384

#: Close codes that the library gives when the peer broke the protocol (RFC 6455 section 7.4.1).
_VIOLATIONS = {1002: "broke the WebSocket protocol", 1007: "sent malformed text", 1009: "sent a message over 1 MiB"}


@final
class WebSocketStream(trio.abc.Stream):
    """One WebSocket as a stream of bytes.

    Attributes:
        ended_by: how the browser's side ended, in words, once ``receive_some`` has returned ``b""``.
        violation: whether that was by breaking the protocol.
    """

    def __init__(self, connection: trio_websocket.WebSocketConnection, transport: PrefixedStream) -> None:
        self._connection = connection
        self._transport = transport
        self._rest = b""
        self._torn = False
        self.ended_by = ""
        self.violation = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The bytes of the next message, or as many of them as asked for; ``b""`` once the browser has closed.

        Cancelling it loses nothing.
        """
        if self._rest:
            await trio.lowlevel.checkpoint()
        while not self._rest:
            if self.ended_by:
                return b""
            try:
                message = await self._connection.get_message()
            except trio_websocket.ConnectionClosed as exc:
                self._note_end(exc.reason)
                return b""
            if isinstance(message, str):
                self.ended_by, self.violation = "sent a text message", True
                return b""
            self._rest = message
        data, self._rest = self._rest[:max_bytes], b"" if max_bytes is None else self._rest[max_bytes:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send one binary message. When cancelled, it may have gone out in part; the stream is then only good to close.

        Raises:
            trio.BrokenResourceError: the browser is gone.
        """
        self._torn = True
        try:
            await self._connection.send_message(bytes(data))
        except trio_websocket.ConnectionClosed as exc:
            self._note_end(exc.reason)
            raise trio.BrokenResourceError(self.ended_by) from None
        self._torn = False

    async def wait_send_all_might_not_block(self) -> None:
        """As trio's ``SendStream.wait_send_all_might_not_block``."""
        await self._transport.wait_send_all_might_not_block()

    async def close(self, code: int, reason: str, *, within_s: float, farewell: bytes = b"") -> None:
        """Close with a code and a reason, wait at most ``within_s`` seconds for the browser's answer, then let go.

        The reason is cut to what a close frame holds. ``farewell`` is a last message, sent in one write with the close
        frame. The transport is closed in any case, also when cancelled.
        """
        try:
            if not self._torn:
                with trio.move_on_after(within_s):
                    if farewell:
                        self._transport.hold_next()
                        with contextlib.suppress(trio_websocket.ConnectionClosed):
                            await self._connection.send_message(farewell)
                    await self._connection.aclose(code, close_reason(reason))
        finally:
            await trio.aclose_forcefully(self._transport)

    async def aclose(self) -> None:
        """Close the transport at once, without a word to the browser."""
        await trio.aclose_forcefully(self._transport)

    def _note_end(self, reason: trio_websocket.CloseReason | None) -> None:
        if reason is None or reason.code == 1006:
            self.ended_by = self.ended_by or "connection lost"
        elif reason.code in _VIOLATIONS:
            self.ended_by, self.violation = _VIOLATIONS[reason.code], True
        else:
            self.ended_by = self.ended_by or f"closed with {reason.code}"


@contextlib.asynccontextmanager
async def accept_websocket(
    transport: trio.abc.Stream, upgrade: Upgrade, *, timeout_s: float
) -> AsyncIterator[WebSocketStream]:
    """Answer a checked opening handshake with 101 and own the WebSocket within the block.

    Args:
        transport: the connection, with nothing unread in front of it.
        upgrade: what ``http.websocket_upgrade`` made of the request.
        timeout_s: seconds until the answer must have gone out.

    Raises:
        ExceptionGroup: of ``trio.TooSlowError`` where the answer did not go out in time, of
            ``trio.BrokenResourceError`` where the browser was gone before it, or of what the block raised.
    """
    try:
        async with trio.open_nursery() as nursery:
            stream = PrefixedStream(upgrade.head, transport)
            with trio.fail_after(timeout_s):
                request = await trio_websocket.wrap_server_stream(
                    nursery,
                    stream,
                    max_message_size=MAX_MESSAGE_BYTES,
                    receive_buffer_size=RECEIVE_BUFFER_BYTES,
                )
                try:
                    connection = await request.accept(subprotocol=upgrade.subprotocol)
                except trio_websocket.ConnectionClosed:
                    raise trio.BrokenResourceError("gone before the WebSocket was open") from None
            try:
                yield WebSocketStream(connection, stream)
            finally:
                await trio.aclose_forcefully(transport)
                nursery.cancel_scope.cancel()
    except* (trio_websocket.ConnectionClosed, wsproto.utilities.ProtocolError):
        # Faults of the library's reader task: a pong after our close frame, an answer to somebody who has gone. By
        # now the session has ended, or the fault has cancelled it; the fault itself tells nothing more.
        pass
