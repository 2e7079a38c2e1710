"""Browsers' connections of all workers, counted in memory that they share: how many there are, whose, and who has most.

So a connection asks nobody: under a lock that the kernel gives back if its holder dies, a worker sums up what all have
and writes down its own. Each writes to its own part only; what a dead one leaves there the supervisor clears.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import secrets
import socket
from collections.abc import Callable
from typing import Self

import trio
import trio.lowlevel

from ..front import Room, TooManyConnections
from ..limits import Limit

#: How long who has more connections waits for who has fewer to accept the next one, in seconds; twice as long each time
#: that was good for something, up to the longest: all are woken for each connection, which costs.
MOMENT_S = 0.01
LONGEST_MOMENT_S = 0.04
#: How often in that time it looks whether it still has more; consoles may come faster than one in a moment.
LOOKS = 8
#: How long the lock may take, in seconds. It is held for microseconds, unless its holder is stopped just then.
LOCK_S = 10.0
#: Stands in the first field of a worker that is not there: nobody has more.
NOBODY = 2**32 - 1
#: Clients are told apart by so many counters. Two that fall together share their limit: it is never exceeded.
CLIENTS = 1 << 16
#: A secret, so that nobody can choose addresses that fall together with somebody else's.
_SECRET_BYTES = 16
_FIELD_BYTES = 4
#: Of each worker: accepted connections, those that were let in, and those of each client.
_ACCEPTED, _LET_IN, _CLIENTS = 0, 1, 2
_FIELDS = _CLIENTS + CLIENTS
#: What ``accept`` says of a connection that was gone before it was accepted (accept(2)).
_GONE = frozenset(
    {errno.EPERM, errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT}
    | {errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH}
)


class SharedConnections:
    """The memory.

    Args:
        descriptor: of it; stays the caller's to close.
        workers: how many there are.
    """

    def __init__(self, descriptor: int, workers: int) -> None:
        self.descriptor = descriptor
        self._workers = workers
        self._map = mmap.mmap(descriptor, _SECRET_BYTES + workers * _FIELDS * _FIELD_BYTES)
        self._secret = self._map[:_SECRET_BYTES]
        self._fields = memoryview(self._map)[_SECRET_BYTES:].cast("I")

    @classmethod
    def create(cls, workers: int) -> Self:
        """New memory, in which nobody is yet; ``close`` closes its descriptor as well."""
        descriptor = os.memfd_create("trio-cpvm-connections")
        os.ftruncate(descriptor, _SECRET_BYTES + workers * _FIELDS * _FIELD_BYTES)
        os.pwrite(descriptor, secrets.token_bytes(_SECRET_BYTES), 0)
        shared = cls(descriptor, workers)
        for number in range(1, workers + 1):
            shared.clear(number)
        return shared

    def close(self) -> None:
        """Give the memory back."""
        self._fields.release()
        self._map.close()
        os.close(self.descriptor)

    @property
    def open(self) -> int:
        """How many there are, of all workers."""
        return self._sum(_LET_IN)

    def clear(self, number: int) -> None:
        """That worker is not there, with nothing that it had."""
        start = (number - 1) * _FIELDS
        self._fields[start : start + _FIELDS] = memoryview(bytes(_FIELDS * _FIELD_BYTES)).cast("I")
        self._fields[start + _ACCEPTED] = NOBODY

    def write_accepted(self, number: int, count: int) -> None:
        """That worker has accepted so many; ``NOBODY``: it takes none."""
        self._fields[(number - 1) * _FIELDS + _ACCEPTED] = count

    def has_more(self, number: int) -> bool:
        """Whether some worker has accepted fewer than that one."""
        accepted = self._fields[_ACCEPTED::_FIELDS].tolist()
        return min(accepted) < accepted[number - 1]

    def try_lock(self) -> bool:
        """Take the lock, if nobody has it."""
        try:
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        """Give it back."""
        fcntl.lockf(self.descriptor, fcntl.LOCK_UN)

    def add(self, number: int, most: int) -> bool:
        """One more for that worker, if there are fewer than ``most``; the lock is held."""
        return self._add(number, _LET_IN, most)

    def add_client(self, number: int, client: str, most: int) -> bool:
        """Likewise, of one client; 0: as many as it likes."""
        return self._add(number, self._client(client), most or NOBODY)

    def remove(self, number: int) -> None:
        """One less for that worker."""
        self._fields[(number - 1) * _FIELDS + _LET_IN] -= 1

    def remove_client(self, number: int, client: str) -> None:
        """Likewise, of one client."""
        self._fields[(number - 1) * _FIELDS + self._client(client)] -= 1

    def _add(self, number: int, field: int, most: int) -> bool:
        if self._sum(field) >= most:
            return False
        self._fields[(number - 1) * _FIELDS + field] += 1
        return True

    def _sum(self, field: int) -> int:
        return sum(self._fields[field::_FIELDS].tolist())

    def _client(self, client: str) -> int:
        digest = hashlib.blake2b(client.encode(), digest_size=4, key=self._secret).digest()
        return _CLIENTS + int.from_bytes(digest, "big") % CLIENTS


class SharedRoom(Room):
    """Lets one worker's connections in.

    Args:
        shared: what all have.
        number: which worker this is.
    """

    def __init__(self, shared: SharedConnections, number: int) -> None:
        self._shared = shared
        self._number = number

    async def enter(self, most: int) -> None:
        """As ``Room``; so is everything here."""
        await self._lock()
        try:
            if not self._shared.add(self._number, most):
                raise TooManyConnections(Limit.CONNECTIONS, most)
        finally:
            self._shared.unlock()

    def leave(self) -> None:
        self._shared.remove(self._number)

    async def enter_client(self, client: str, most: int) -> None:
        await self._lock()
        try:
            if not self._shared.add_client(self._number, client, most):
                raise TooManyConnections(Limit.CONNECTIONS_PER_CLIENT, most)
        finally:
            self._shared.unlock()

    def leave_client(self, client: str) -> None:
        self._shared.remove_client(self._number, client)

    async def _lock(self) -> None:
        """Raises ``trio.TooSlowError`` where nobody gives the lock back."""
        if self._shared.try_lock():
            return
        with trio.fail_after(LOCK_S):
            while not self._shared.try_lock():
                await trio.lowlevel.checkpoint()


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
        self._moment_s = MOMENT_S

    async def accept(self) -> trio.SocketStream:
        """As ``trio.SocketListener.accept``, but that it lets others go first. Cancelling it loses no connection.

        Raises:
            OSError: as there.
            trio.ClosedResourceError: as there.
        """
        while True:
            if self._socket.fileno() < 0:
                raise trio.ClosedResourceError("another task has closed it")
            await trio.lowlevel.wait_readable(self._socket)
            until = trio.current_time() + self._moment_s
            while self._stands_back() and trio.current_time() < until:  # noqa: ASYNC110 -- other processes set no events
                await trio.sleep(self._moment_s / LOOKS)
            try:
                accepted, _ = self._socket.accept()
            except BlockingIOError:  # somebody else has it
                self._moment_s = min(self._moment_s * 2, LONGEST_MOMENT_S)
                continue
            except OSError as exc:
                if exc.errno in _GONE:
                    continue
                raise
            self._moment_s = MOMENT_S
            return trio.SocketStream(trio.socket.from_stdlib_socket(accepted))

    async def aclose(self) -> None:
        """Close this process's descriptor; the others' stay."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        await trio.lowlevel.checkpoint()
