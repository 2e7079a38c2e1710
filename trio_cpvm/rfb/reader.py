"""Bytes in, values out: the reader that the handshake is written on.

Reads are generators, so that a protocol is written straight down the page; a read that lacks bytes yields the reader
itself, which tells whoever drives it what is waited for. This file knows nothing of RFB.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")


class EndOfData(Exception):
    """The peer closed before a read was complete; ``args[0]`` says what was being read."""


class TooMuchData(Exception):
    """The peer sent more than anybody asked for."""


class ByteReader:
    """Buffers what one peer sent until it is read.

    Args:
        limit: how many unread bytes a peer may pile up.

    Attributes:
        reading: what the last read was for, in words; for diagnostics.
        at_end: whether the peer has closed.
    """

    def __init__(self, limit: int) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self.reading = ""
        self.at_end = False

    def feed(self, data: bytes | bytearray, *, limited: bool = True) -> None:
        """Take what the peer sent.

        Raises:
            TooMuchData: the unread rest would be larger than the limit, and ``limited`` is set.
        """
        if limited and len(self._buffer) + len(data) > self._limit:
            raise TooMuchData(f"more than {self._limit} bytes nobody asked for")
        self._buffer += data

    def feed_eof(self) -> None:
        """The peer will send nothing more."""
        self.at_end = True

    @property
    def unread(self) -> int:
        """How many bytes wait to be read."""
        return len(self._buffer)

    def reset(self) -> None:
        """Forget everything: another connection takes this one's place."""
        self._buffer.clear()
        self.at_end = False

    def read(self, size: int, what: str) -> Read[bytes]:
        """Read exactly ``size`` bytes; the caller has checked that this is a sane number.

        Raises:
            EndOfData: the peer closed before.
        """
        self.reading = what
        while len(self._buffer) < size:
            if self.at_end:
                raise EndOfData(what)
            yield self
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def read_u8(self, what: str) -> Read[int]:
        """Read one unsigned byte."""
        return (yield from self.read(1, what))[0]

    def read_u32(self, what: str) -> Read[int]:
        """Read a big-endian unsigned 32-bit number."""
        (value,) = struct.unpack(">I", (yield from self.read(4, what)))
        return int(value)

    def take_all(self) -> bytes:
        """Everything unread; the buffer is empty afterwards."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data


#: A read in progress: yields readers that lack bytes, returns the value.
Read: TypeAlias = Generator[ByteReader, None, _T]
