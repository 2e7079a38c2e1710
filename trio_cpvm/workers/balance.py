"""Which worker takes the next connection: the one with the fewest, if it is there.

All wait on the same listeners. Each writes into memory they share how many connections it has; whoever has more than
another one gives that a moment. A worker that is busy for longer than the moment gets no connection it has no time for.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
import struct
from collections.abc import Callable
from typing import Self

import trio

#: How long who has more waits for who has less, in seconds.
MOMENT_S = 0.001
#: Written where no worker is.
NOBODY = 2**32 - 1
_SLOT = struct.Struct("=I")
#: What ``accept`` says of a connection that was gone before it was accepted (accept(2)).
_GONE = frozenset(
    {errno.EPERM, errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT}
    | {errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH}
)


class Balance:
    """How many connections each worker has; one writer for each slot, so that none needs a lock.

    Args:
        descriptor: of the shared memory; stays the caller's to close.
        workers: how many slots there are.
    """

    def __init__(self, descriptor: int, workers: int) -> None:
        self._memory = mmap.mmap(descriptor, workers * _SLOT.size)
        self._workers = workers

    @classmethod
    def create(cls, workers: int) -> tuple[Self, int]:
        """New memory, in which nobody is yet, and its descriptor."""
        descriptor = os.memfd_create("trio-cpvm-balance")
        os.ftruncate(descriptor, workers * _SLOT.size)
        balance = cls(descriptor, workers)
        for number in range(1, workers + 1):
            balance.write(number, NOBODY)
        return balance, descriptor

    def write(self, number: int, connections: int) -> None:
        """Worker ``number`` (from 1 on) has so many; ``NOBODY``: it is not there."""
        _SLOT.pack_into(self._memory, (number - 1) * _SLOT.size, connections)

    def counts(self) -> list[int]:
        """What stands in the slots."""
        return [count for (count,) in _SLOT.iter_unpack(self._memory[: self._workers * _SLOT.size])]

    def has_more(self, number: int) -> bool:
        """Whether some worker has fewer than that one."""
        counts = self.counts()
        return min(counts) < counts[number - 1]

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()


class SharedListener(trio.abc.Listener[trio.SocketStream]):
    """A listening socket that other processes accept on as well.

    Args:
        sock: this process's own descriptor of it.
        stands_back: whether another one should take the next connection.
    """

    def __init__(self, sock: socket.socket, stands_back: Callable[[], bool]) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._stands_back = stands_back

    async def accept(self) -> trio.SocketStream:
        """As ``trio.SocketListener.accept``, but that it lets others go first. Cancelling it loses no connection.

        Raises:
            OSError: as there.
            trio.ClosedResourceError: as there.
        """
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            if self._stands_back():
                await trio.sleep(MOMENT_S)
            try:
                accepted, _ = self._socket.accept()
            except BlockingIOError:  # somebody else has it
                continue
            except OSError as exc:
                if exc.errno in _GONE:
                    continue
                raise
            return trio.SocketStream(trio.socket.from_stdlib_socket(accepted))

    async def aclose(self) -> None:
        """Close this process's descriptor; the others' stay."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        await trio.lowlevel.checkpoint()
