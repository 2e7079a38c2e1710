"""RFB protocol versions: 3.3, 3.7 and 3.8, and what other version strings mean.

Sources: RFC 6143 section 7.1.1; rfbproto "ProtocolVersion" (3.5 is to be treated as 3.3); seen on the wire: Apple says
3.889, RealVNC 4.0, 4.1 and 5.0, and QEMU fails any answer but 3.3, 3.7 or 3.8.
"""

from __future__ import annotations

import enum
import re

VERSION_BYTES = 12
VERSION_PREFIX = b"RFB "

_VERSION = re.compile(rb"RFB ([0-9]{3})\.([0-9]{3})\n")


class Version(enum.Enum):
    """A version this proxy speaks; the value is the string on the wire."""

    V3_3 = b"RFB 003.003\n"
    V3_7 = b"RFB 003.007\n"
    V3_8 = b"RFB 003.008\n"

    @property
    def wire(self) -> bytes:
        """The 12 bytes."""
        return self.value

    def __str__(self) -> str:
        return f"3.{self.value[10:11].decode()}"


def understood_as(raw: bytes) -> Version | None:
    """Which version to speak with a peer that sent these 12 bytes; ``None`` if they are no version of RFB 3.3 or later.

    Anything between 3.3 and 3.6 is spoken as 3.3, anything above 3.8 as 3.8.
    """
    match = _VERSION.fullmatch(raw)
    if match is None:
        return None
    number = (int(match[1]), int(match[2]))
    if number < (3, 3):
        return None
    if number < (3, 7):
        return Version.V3_3
    return Version.V3_7 if number == (3, 7) else Version.V3_8
