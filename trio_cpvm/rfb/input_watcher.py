"""Tells the user's hands from the browser's own chatter: does this chunk hold a key, a pointer move, a paste?

Passive: it changes nothing and stores no payload. Where it meets a message nobody has described, it loses its place for
good, and from then on takes every byte for input: a console is then kept open rather than cut off by mistake.
"""

from __future__ import annotations

import struct

from .client_messages import ClientFramer, Kind, Part, UnknownMessage

_HANDS = frozenset({Kind.KEY, Kind.POINTER, Kind.XVP, Kind.GII, Kind.QEMU_KEY})
#: Extended clipboard actions that clients take by themselves: caps, request, peek (rfbproto, bits 24 to 26).
_CLIPBOARD_CHATTER = 0x07000000


class InputWatcher:
    """Follows one browser's messages from behind its ClientInit on.

    Attributes:
        lost: whether an unknown message was met.
    """

    def __init__(self) -> None:
        self._framer = ClientFramer()
        self.lost = False

    def feed(self, data: bytes | bytearray) -> bool:
        """Follow a chunk, however it was cut; true if a message of the user's hands has come in it."""
        if self.lost:
            return bool(data)
        whole = self._framer.whole(data)
        if whole is not None:
            return whole in _HANDS
        seen = False
        try:
            for part in self._framer.feed(data):
                seen = seen or (part.first and _is_input(part))
        except UnknownMessage:
            self.lost = True
            return True
        return seen


def _is_input(part: Part) -> bool:
    if part.kind is not Kind.CUT_TEXT:
        return part.kind in _HANDS
    length, flags = struct.unpack_from(">iI", part.data.ljust(12, b"\0"), 4)
    return length >= 0 or not flags & _CLIPBOARD_CHATTER
