"""Streams that go straight on while they are ready: what a relay reads from and writes to.

trio's own stream gives up its turn of the event loop at every operation. A console's byte passes two streams each way,
so that is most of what it costs. Here a turn is given up where a socket would block, and after a budget, so that one
console that floods does not hold up the others. What is read stands in a buffer that all streams share: an idle console
has none. Streams that are no sockets have the same face.
"""

from __future__ import annotations

import os
import socket
from abc import abstractmethod
from collections.abc import Callable
from typing import final

import trio

from .readiness import readiness

#: Bytes after which it is somebody else's turn.
TURN_BYTES = 512 * 1024
#: What an operation costs at least, in bytes that could have been moved instead.
LEAST_BYTES = 4096
#: What is read at once.
BORROW_BYTES = 256 * 1024
#: Who got less is not asked again at once: most likely that was all there is, and to be told so costs as much as it.
DRAINED_BYTES = 16 * 1024

_buffer: trio.lowlevel.RunVar[memoryview] = trio.lowlevel.RunVar("ready_stream buffer")


def shared_buffer() -> memoryview:
    """What is read into, by everybody in this event loop: good until whoever has read awaits anything."""
    try:
        return _buffer.get()
    except LookupError:
        buffer = memoryview(bytearray(BORROW_BYTES))
        _buffer.set(buffer)
        return buffer


class ReadyStream(trio.abc.Stream):
    """A stream that may be written to without waiting, and read from without a turn or a buffer of its own.

    One task may read and one may write at a time.

    Attributes:
        transport: the stream under it; nobody else reads or writes that from now on.
    """

    transport: trio.abc.Stream

    @abstractmethod
    async def borrow_some(self) -> memoryview | bytes:
        """Some bytes, at most ``BORROW_BYTES``; none at the end. Cancelling it loses nothing.

        They are lent: good, and the reader's to change, until it awaits anything.

        Raises:
            trio.BrokenResourceError: the connection broke.
            trio.ClosedResourceError: it was closed here.
        """

    async def hand_on(self, take: Callable[[memoryview | bytes], bool]) -> None:
        """Give ``take`` what comes, as it comes, until that gives ``False``; nothing at the end, and no more then.

        It may come back earlier, to be called again. The bytes are lent: good, and ``take``'s to change, until it is
        called again or somebody awaits anything. Cancelling it loses nothing.

        Raises:
            trio.BrokenResourceError: the connection broke.
            trio.ClosedResourceError: it was closed here.
            Exception: what ``take`` raised.
        """
        take(await self.borrow_some())

    @abstractmethod
    def send_now(self, data: bytes | memoryview) -> int:
        """Send as much as can be without waiting; how many bytes that are. The rest has to follow, beginning the same.

        Raises:
            trio.BrokenResourceError: the peer is gone.
            trio.ClosedResourceError: it was closed here.
        """

    @abstractmethod
    def send_parts_now(self, head: bytes, body: bytes | memoryview) -> int:
        """As ``send_now``, of one behind the other."""


class SocketReadyStream(ReadyStream):
    """What plain and TLS sockets have in common: turns, and waiting for the kernel."""

    def __init__(self) -> None:
        self._buffer = shared_buffer()
        self._left = TURN_BYTES
        self._drained = False
        self._reading_writes = False
        self._handing_on = False

    @property
    @abstractmethod
    def socket(self) -> socket.socket | trio.socket.SocketType:
        """For options and addresses."""

    @abstractmethod
    def _read_now(self, buffer: memoryview) -> int:
        """Read, and set ``_drained`` if that was most likely all; 0 at the end.

        Raises ``BlockingIOError`` where there is nothing yet (having set ``_reading_writes`` where that is because
        something has to be written first), else trio's errors.
        """

    async def borrow_some(self) -> memoryview:
        return self._buffer[: await self._receive_into(self._buffer)]

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As trio's ``ReceiveStream.receive_some``, but for the turn. Cancelling it loses nothing."""
        size = await self._receive_into(self._buffer if max_bytes is None else self._buffer[:max_bytes])
        return bytes(self._buffer[:size])

    async def _receive_into(self, buffer: memoryview) -> int:
        if self._left <= 0:
            await trio.lowlevel.checkpoint()
            self._left = TURN_BYTES
        while True:
            if not self._drained:
                try:
                    size = self._read_now(buffer)
                except BlockingIOError:
                    pass
                else:
                    self._left -= max(size, LEAST_BYTES)
                    return size
            if self._reading_writes:
                self._reading_writes = False
                await self._wait_writable()
            else:
                await trio.lowlevel.wait_readable(self._descriptor())
            self._drained = False
            self._left = TURN_BYTES

    async def hand_on(self, take: Callable[[memoryview | bytes], bool]) -> None:
        """As ``ReadyStream.hand_on``; the task is not woken for what is taken meanwhile."""
        if self._left <= 0:
            await trio.lowlevel.checkpoint()
            self._left = TURN_BYTES
        if self._reading_writes:
            self._reading_writes = False
            await self._wait_writable()
        elif self._drained or self._hand_on_now(take):
            self._handing_on = True
            try:
                await readiness().wait(self._descriptor(), lambda: self._hand_on_next(take))
            finally:
                self._handing_on = False

    def closing(self) -> None:
        """It is about to be closed: who hands on what comes is woken."""
        if self._handing_on:
            self._handing_on = False
            readiness().closing(self._descriptor())

    def _hand_on_next(self, take: Callable[[memoryview | bytes], bool]) -> bool:
        self._left = TURN_BYTES
        return self._hand_on_now(take)

    def _hand_on_now(self, take: Callable[[memoryview | bytes], bool]) -> bool:
        """Hand on what is there; whether to go on when there is more.

        Not so once a turn's budget is used up: what TLS has read of the socket already, that does not tell of.
        """
        while self._left > 0:
            try:
                size = self._read_now(self._buffer)
            except BlockingIOError:
                return not self._reading_writes
            self._left -= max(size, LEAST_BYTES)
            if not take(self._buffer[:size]) or not size:
                return False
            if self._drained:
                return True
        return False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As trio's ``SendStream.send_all``, but for the turn. Not from a borrowed buffer."""
        rest = memoryview(data)
        while len(rest):
            sent = self.send_now(rest)
            rest = rest[sent:]
            self._left -= max(sent, LEAST_BYTES)
            if len(rest):
                await self._wait_writable()
                self._left = TURN_BYTES
            elif self._left <= 0:
                await trio.lowlevel.checkpoint()
                self._left = TURN_BYTES

    async def wait_send_all_might_not_block(self) -> None:
        """As trio's ``SendStream.wait_send_all_might_not_block``."""
        self._descriptor()
        await trio.lowlevel.wait_writable(self.socket)

    async def _wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self._descriptor())

    @abstractmethod
    def _descriptor(self) -> int:
        """The open socket's. It may be closed elsewhere, and its number somebody else's by now: it is not kept."""


@final
class ReadySocket(SocketReadyStream):
    """A plain socket.

    Args:
        stream: trio's own.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__()
        self.transport: trio.SocketStream = stream
        self._socket = stream.socket

    @property
    def socket(self) -> trio.socket.SocketType:
        return self._socket

    def _descriptor(self) -> int:
        descriptor = self._socket.fileno()
        if descriptor < 0:
            raise trio.ClosedResourceError("this socket was already closed")
        return descriptor

    def _read_now(self, buffer: memoryview) -> int:
        try:
            size = os.readv(self._descriptor(), [buffer])
        except BlockingIOError:
            raise
        except OSError as exc:
            raise _broken(exc) from exc
        self._drained = 0 < size < DRAINED_BYTES
        return size

    def send_now(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._descriptor(), data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise _broken(exc) from exc

    def send_parts_now(self, head: bytes, body: bytes | memoryview) -> int:
        try:
            return os.writev(self._descriptor(), [head, body])
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise _broken(exc) from exc

    async def aclose(self) -> None:
        """Close the socket; who waits for it sees ``trio.ClosedResourceError``."""
        self.closing()
        await self.transport.aclose()


@final
class AnyReadyStream(ReadyStream):
    """Any other stream: never ready, so it is always waited for.

    Args:
        stream: in memory, with another protocol in between, and so on.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.transport = stream

    async def borrow_some(self) -> bytes:
        return bytes(await self.transport.receive_some(BORROW_BYTES))

    def send_now(self, data: bytes | memoryview) -> int:
        return 0

    def send_parts_now(self, head: bytes, body: bytes | memoryview) -> int:
        return 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As trio's ``ReceiveStream.receive_some``."""
        return bytes(await self.transport.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As trio's ``SendStream.send_all``."""
        await self.transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As trio's ``SendStream.wait_send_all_might_not_block``."""
        await self.transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream."""
        await self.transport.aclose()


def ready(stream: trio.abc.Stream) -> ReadyStream:
    """The quickest form of a stream."""
    if isinstance(stream, ReadyStream):
        return stream
    return ReadySocket(stream) if isinstance(stream, trio.SocketStream) else AnyReadyStream(stream)


def _broken(exc: OSError) -> trio.BrokenResourceError:
    return trio.BrokenResourceError(f"socket connection broken: {exc}")
