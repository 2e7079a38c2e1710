"""The filter of the host's messages.

An input is one byte for the rule, the pixels and the size of the pieces it is fed in, then what the host sends.
"""

from __future__ import annotations

from fuzz.checks import must, pieces
from trio_cpvm.errors import ConsoleError
from trio_cpvm.rfb.cut_text import ClipboardRule
from trio_cpvm.rfb.pixelformat import USUAL_PIXEL_FORMAT, PixelFormat
from trio_cpvm.rfb.server_filter import ServerFilter

LIMITED, SMALL_PIXELS, PIECES = 0x80, 0x40, 0x3F
LIMIT = 16
SMALL = PixelFormat(8, 8, red_max=7, green_max=7, blue_max=3, red_shift=0, green_shift=3, blue_shift=6)
#: A text that is weighed, or Tight's palette.
MAX_KEPT_BYTES = 2048


def check(data: bytes) -> None:
    """However it is cut, the same passes, which is no more than there was."""
    flags, sent = (data[0], data[1:]) if data else (0, b"")
    passed, failed = filtered(flags, sent, flags & PIECES)
    most, failed_as_well = filtered(flags, sent, 1)
    must(failed == failed_as_well, "the cuts matter")
    must(most.startswith(passed) if failed else most == passed, "the cuts matter")
    must(len(most) <= len(sent), "more passes than there was")


def filtered(flags: int, sent: bytes, size: int) -> tuple[bytes, bool]:
    """What passes, and whether the session ended for it."""
    rule = ClipboardRule(max_bytes=LIMIT) if flags & LIMITED else ClipboardRule(allowed=False)
    one, passed = ServerFilter(rule, SMALL if flags & SMALL_PIXELS else USUAL_PIXEL_FORMAT), b""
    one.updates_asked()
    for piece in pieces(sent, size):
        try:
            passed += one.feed(piece)
        except ConsoleError:
            return passed, True
        must(len(one._looked_at) < MAX_KEPT_BYTES, "more is kept than may be")  # noqa: SLF001 -- memory
    return passed, False
