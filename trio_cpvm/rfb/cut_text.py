"""Whether a clipboard message may pass: plain or extended, in one direction. Sees heads, and texts that have a limit.

Source: RFC 6143 sections 7.5.6 and 7.6.4, rfbproto "Extended Clipboard Pseudo-Encoding". ClientCutText and
ServerCutText look the same: type, three bytes of padding, a length; a negative one means extended, and flags follow.
"""

from __future__ import annotations

import enum
import struct
import zlib

import attrs

#: Type, padding, length; and with the flags of an extended message.
HEAD_BYTES, EXTENDED_HEAD_BYTES = 8, 12
#: Messages that are kept until their text has been weighed are no longer than the limit and this.
_DEFLATE_OVERHEAD = 1024

_FORMATS = 0x0000FFFF
_CAPS, _REQUEST, _PEEK, _NOTIFY, _PROVIDE = (1 << bit for bit in range(24, 29))
_ACTIONS = 0xFF000000


class Fate(enum.Enum):
    """What becomes of a message."""

    PASS = enum.auto()
    DROP = enum.auto()
    TOO_LONG = enum.auto()  # an extended ``provide`` that may have been asked for; see ``emptied``
    WEIGH = enum.auto()  # it passes if ``ClipboardRule.fits``, else it is too long; it is small enough to be kept whole


@attrs.frozen
class ClipboardRule:
    """What may pass in one direction.

    Attributes:
        allowed: texts may.
        max_bytes: how long they may be, inflated, counting the NUL and CR of the wire; 0: no limit.
    """

    allowed: bool = True
    max_bytes: int = 0

    def judge(self, head: bytes) -> Fate:
        """What becomes of a message that begins like this: ``HEAD_BYTES``, or ``EXTENDED_HEAD_BYTES`` if extended.

        Of extended messages, caps, request and peek carry no text and pass in any case: they are how the other
        direction works. An extended message that is none of the five known is dropped.
        """
        if self.allowed and not self.max_bytes:
            return Fate.PASS
        (length,) = struct.unpack_from(">i", head, 4)
        if length >= 0:
            return Fate.PASS if self.allowed and length <= self.max_bytes else Fate.DROP
        (flags,) = struct.unpack_from(">I", head, HEAD_BYTES)
        action = flags & _ACTIONS
        if action & _CAPS:
            return Fate.PASS if -length == 4 + 4 * (flags & _FORMATS).bit_count() else Fate.DROP
        if action in (_REQUEST, _PEEK):
            return Fate.PASS if length == -4 else Fate.DROP
        if action == _NOTIFY and self.allowed:
            return Fate.PASS if length == -4 else Fate.DROP
        if action == _PROVIDE and self.allowed:
            most = self.max_bytes + self.max_bytes // 1000 + _DEFLATE_OVERHEAD
            return Fate.WEIGH if -length <= most else Fate.TOO_LONG
        return Fate.DROP

    def fits(self, message: bytes) -> bool:
        """Whether the texts of a whole extended ``provide`` are within the limit; not more than that is inflated.

        It holds one zlib stream of a 32-bit size and a text for each format.
        """
        (flags,) = struct.unpack_from(">I", message, HEAD_BYTES)
        most = self.max_bytes + 4 * (flags & _FORMATS).bit_count()
        inflater = zlib.decompressobj()
        try:
            texts = inflater.decompress(message[EXTENDED_HEAD_BYTES:], most + 1)
        except zlib.error:
            return False
        return len(texts) <= most and not inflater.unused_data


def emptied(head: bytes) -> bytes:
    """An extended ``provide`` of the same formats, all of them empty: who has asked for texts may wait for them.

    Xvnc does, and whoever pastes in the guest then waits with it.
    """
    (flags,) = struct.unpack_from(">I", head, HEAD_BYTES)
    formats = flags & _FORMATS
    body = zlib.compress(b"\0\0\0\1\0" * formats.bit_count())
    return struct.pack(">B3xiI", head[0], -4 - len(body), _PROVIDE | formats) + body
