"""What of a browser's messages reaches the host: nothing of the hands if it may only look, no clipboard it may not use.

Sans-I/O: bytes in, the bytes that pass out. SetEncodings is rewritten, so that the host never agrees to an extension
under which a message would be longer or mean more than is known here; an unknown message is an error. What is dropped
is not kept, however long it is; in place of an extended clipboard text beyond the limit the host gets an empty one.

Source: rfbproto "Client to Server Messages".
"""

from __future__ import annotations

import struct

from .. import errors
from ..errors import ConsoleError
from .client_messages import ClientFramer, Kind, Part, UnknownMessage
from .cut_text import ClipboardRule, Fate, emptied
from .encodings import FilterPolicy
from .server_filter import ServerFilter

#: What hands do, and what they can do to the machine and its screen.
_HANDS = frozenset({Kind.KEY, Kind.POINTER, Kind.XVP, Kind.SET_DESKTOP_SIZE, Kind.QEMU_KEY})
#: Their encodings are never passed on, so that no host expects them.
_NEVER = frozenset({Kind.GII, Kind.QEMU_AUDIO})
_NO_CLIPBOARD = ClipboardRule(allowed=False)


class ClientFilter:
    """Filters one browser's messages from behind its ClientInit on.

    Args:
        policy: what may pass.
        server: the filter of the host's messages, where there is one: how long those are depends on the browser's.

    Attributes:
        hands_off: as if it were view-only, for as long as this is set.
    """

    def __init__(self, policy: FilterPolicy, server: ServerFilter | None = None) -> None:
        self._view_only = policy.view_only
        self._rule = ClipboardRule(policy.to_guest, policy.max_bytes)
        self._server = server
        self._framer = ClientFramer(policy.keeps)
        self._fate = Fate.PASS
        self._kept = bytearray()
        self.hands_off = False

    @property
    def looks_only(self) -> bool:
        """Whether nothing of the hands passes at this moment."""
        return self._view_only or self.hands_off

    @property
    def kept_bytes(self) -> int:
        """How much of a clipboard text is kept until it can be weighed."""
        return len(self._kept)

    def feed(self, data: bytes | bytearray) -> bytes:
        """Filter a chunk, however it was cut.

        Raises:
            ConsoleError: ``client-protocol``.
        """
        passed: list[bytes] = []
        try:
            for part in self._framer.feed(data):
                if part.first:
                    self._fate = self._judge(part)
                if self._fate is Fate.PASS:
                    passed.append(self._rewritten(part))
                elif self._fate is Fate.TOO_LONG and part.first:
                    passed.append(emptied(part.data))
                elif self._fate is Fate.WEIGH:
                    self._kept += part.data
                    if not part.left:
                        passed.append(self._weighed())
        except UnknownMessage as exc:
            raise ConsoleError(errors.CLIENT_PROTOCOL, f"{exc}, which cannot be filtered") from None
        return b"".join(passed)

    def _judge(self, part: Part) -> Fate:
        if part.kind in _NEVER or (self.looks_only and part.kind in _HANDS):
            return Fate.DROP
        if part.kind is Kind.CUT_TEXT:
            return (_NO_CLIPBOARD if self.looks_only else self._rule).judge(part.data)
        return Fate.PASS

    def _rewritten(self, part: Part) -> bytes:
        """What goes to the host in place of a message that passes; the host's filter is told what concerns it."""
        if part.kind is Kind.SET_ENCODINGS:
            kept = self._framer.encodings
            return struct.pack(f">BxH{len(kept)}i", Kind.SET_ENCODINGS.value, len(kept), *kept)
        if self._server is not None:
            if part.kind is Kind.SET_PIXEL_FORMAT:
                self._server.set_pixel_format(part.data[4:])
            elif part.kind in (Kind.UPDATE_REQUEST, Kind.CONTINUOUS_UPDATES):
                self._server.updates_asked()
        return part.data

    def _weighed(self) -> bytes:
        message = bytes(self._kept)
        self._kept.clear()
        return message if self._rule.fits(message) else emptied(message)
