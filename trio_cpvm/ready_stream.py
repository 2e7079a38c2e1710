"""A socket as a stream that goes straight on while the socket is ready.

trio's own stream gives up its turn of the event loop at every operation. A console's byte passes two sockets each way,
so that is most of what it costs. Here a turn is given up where the socket would block, and after a budget, so that one
console that floods does not hold up the others.
"""

from __future__ import annotations

import os
from typing import final

import trio

#: Bytes after which it is somebody else's turn.
TURN_BYTES = 256 * 1024
#: What an operation costs at least, in bytes that could have been moved instead.
LEAST_BYTES = 4096


@final
class ReadyStream(trio.abc.Stream):
    """A socket as a stream.

    Args:
        stream: trio's own; nobody else reads or writes it from now on.

    Attributes:
        transport: that stream.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.transport = stream
        self._socket = stream.socket
        self._left = TURN_BYTES

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As trio's ``ReceiveStream.receive_some``, but for the turn. Cancelling it loses nothing."""
        if self._left <= 0:
            await self._end_turn()
        while True:
            try:
                data = os.read(self._descriptor(), max_bytes or 65536)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)
                self._left = TURN_BYTES
            except OSError as exc:
                raise trio.BrokenResourceError(f"socket connection broken: {exc}") from exc
            else:
                self._left -= max(len(data), LEAST_BYTES)
                return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As trio's ``SendStream.send_all``, but for the turn."""
        await self.send_parts(data)

    async def send_parts(self, *parts: bytes | bytearray | memoryview) -> None:
        """Send several buffers, one behind the other, in as few calls as the system takes them in.

        Raises:
            trio.BrokenResourceError: the peer is gone.
        """
        if self._left <= 0:
            await self._end_turn()
        left = [part for part in parts if len(part)]
        while left:
            try:
                sent = os.writev(self._descriptor(), left)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._socket)
                self._left = TURN_BYTES
                continue
            except OSError as exc:
                raise trio.BrokenResourceError(f"socket connection broken: {exc}") from exc
            self._left -= max(sent, LEAST_BYTES)
            while left and sent >= len(left[0]):
                sent -= len(left.pop(0))
            if sent:
                left[0] = memoryview(left[0])[sent:]

    async def wait_send_all_might_not_block(self) -> None:
        """As trio's ``SendStream.wait_send_all_might_not_block``."""
        await self.transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the socket; who waits for it sees ``trio.ClosedResourceError``."""
        await self.transport.aclose()

    async def _end_turn(self) -> None:
        await trio.lowlevel.checkpoint()
        self._left = TURN_BYTES

    def _descriptor(self) -> int:
        descriptor = self._socket.fileno()
        if descriptor < 0:
            raise trio.ClosedResourceError("this socket was already closed")
        return descriptor


def ready(stream: trio.abc.Stream) -> trio.abc.Stream:
    """The stream itself, or its quicker form where it is a socket."""
    return ReadyStream(stream) if isinstance(stream, trio.SocketStream) else stream
