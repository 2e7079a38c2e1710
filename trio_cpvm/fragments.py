"""How many pieces an unfinished WebSocket message is in: what bounds its bytes does not bound what it costs to keep.

A library keeps a message as a list of the pieces it came in: a frame (RFC 6455 section 5.4), or as much of one as was
read at once. Pieces of a byte or two cost some fifty times their size.

Only counts. What is no WebSocket is for the library to find; it does not get past this in greater numbers either.
"""

from __future__ import annotations

_END_OF_HEAD = b"\r\n\r\n"


class PieceCounter:
    """Follows one direction of a connection from its opening handshake on.

    Attributes:
        pieces: of the message under way, so far.
    """

    def __init__(self) -> None:
        self.pieces = 0
        self._opening: bytes | None = b""
        self._head = bytearray()
        self._payload_left = 0
        self._is_data = False
        self._is_last = False

    def feed(self, data: bytes | bytearray) -> int:
        """Take what was read at once.

        Returns:
            The most pieces that a message has been in meanwhile.
        """
        if self._opening is not None:
            opening = self._opening + data
            head, found, rest = opening.partition(_END_OF_HEAD)
            self._opening = None if found else head[1 - len(_END_OF_HEAD) :]
            data = rest
        most, position, end = self.pieces, 0, len(data)
        while position < end:
            if self._payload_left == 0:
                position = self._read_head(data, position)
                if self._payload_left or self._head:
                    continue
            else:
                step = min(self._payload_left, end - position)
                position += step
                self._payload_left -= step
            if self._is_data:  # control frames may come between
                self.pieces += 1
                most = max(most, self.pieces)
                if self._is_last and not self._payload_left:
                    self.pieces = 0
        return most

    def _read_head(self, data: bytes | bytearray, position: int) -> int:
        """Read on in a frame's head (RFC 6455 section 5.2); where it ended. It is whole once ``_head`` is empty."""
        head = self._head
        while True:
            wanted = 2
            if len(head) >= 2:
                short = head[1] & 0x7F
                extended = {126: 2, 127: 8}.get(short, 0)
                wanted += extended + (4 if head[1] & 0x80 else 0)
                if len(head) >= wanted:
                    break
            if position >= len(data):
                return position
            taken = data[position : position + wanted - len(head)]
            head += taken
            position += len(taken)
        self._payload_left = int.from_bytes(head[2 : 2 + extended], "big") if extended else short
        self._is_last = bool(head[0] & 0x80)
        self._is_data = not head[0] & 0x08
        head.clear()
        return position
