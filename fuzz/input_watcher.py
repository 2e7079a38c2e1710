"""The framer of the browser's messages.

An input is one byte for the size of the pieces it is fed in (0: whole), then what the browser sends.
"""

from __future__ import annotations

from fuzz.checks import must, pieces
from trio_cpvm.rfb.input_watcher import InputWatcher

#: A SetEncodings message of the most encodings that are followed.
MAX_KEPT_BYTES = 4 + 4 * 1024


def check(data: bytes) -> None:
    """However it is cut, the user's hands are seen or not, and it is lost or not."""
    size, sent = (data[0], data[1:]) if data else (0, b"")
    must(follow(sent, size) == follow(sent, 0), "the cuts matter")


def follow(sent: bytes, size: int) -> tuple[bool, bool]:
    """Whether there was input, and whether the place was lost."""
    watcher, seen = InputWatcher(), False
    for piece in pieces(sent, size):
        was_lost = watcher.lost
        seen |= watcher.feed(piece)
        must(watcher.lost or not was_lost, "found again what was lost")
        must(len(watcher._framer._head) < MAX_KEPT_BYTES, "more is kept than may be")  # noqa: SLF001 -- memory
    return seen, watcher.lost
