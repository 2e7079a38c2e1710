"""The filter of the browser's messages.

An input is one byte for the policy, one for the size of the pieces it is fed in (0: whole), then what the browser
sends.
"""

from __future__ import annotations

from fuzz.checks import Finding, must, pieces
from trio_cpvm.errors import ConsoleError
from trio_cpvm.rfb.client_filter import ClientFilter
from trio_cpvm.rfb.client_messages import ClientFramer, Kind, UnknownMessage
from trio_cpvm.rfb.cut_text import ClipboardRule
from trio_cpvm.rfb.encodings import FilterPolicy
from trio_cpvm.rfb.pixelformat import USUAL_PIXEL_FORMAT
from trio_cpvm.rfb.server_filter import ServerFilter

VIEW_ONLY, NOT_TO_GUEST, NOT_FROM_GUEST, LIMITED = 1, 2, 4, 8
LIMIT = 16
#: A SetEncodings message of the most encodings that are followed, or a text that is weighed.
MAX_KEPT_BYTES = 4 + 4 * 1024
#: What never reaches a host that is only looked at.
HANDS = frozenset(Kind) - {
    Kind.SET_PIXEL_FORMAT,
    Kind.SET_ENCODINGS,
    Kind.UPDATE_REQUEST,
    Kind.CONTINUOUS_UPDATES,
    Kind.FENCE,
}


def policy(flags: int) -> FilterPolicy:
    return FilterPolicy(
        view_only=bool(flags & VIEW_ONLY),
        to_guest=not flags & NOT_TO_GUEST,
        from_guest=not flags & NOT_FROM_GUEST,
        max_bytes=LIMIT if flags & LIMITED else 0,
    )


def check(data: bytes) -> None:
    """However it is cut, the same passes; what passes is whole messages of the kinds that may."""
    flags, size, sent = (data[0], data[1], data[2:]) if len(data) > 1 else (0, 0, b"")
    rules = policy(flags)
    passed, failed = filtered(rules, sent, size)
    most, failed_as_well = filtered(rules, sent, 1)
    must(failed == failed_as_well, "the cuts matter")
    must(most.startswith(passed) if failed else most == passed, "the cuts matter")
    framer = ClientFramer()
    try:
        kinds = {part.kind for part in framer.feed(most)}
    except UnknownMessage as exc:
        raise Finding("what passes is nothing known") from exc
    must(not (rules.view_only and kinds & HANDS), "hands passed")
    must(all(map(rules.keeps, framer.encodings)), "an encoding passed")


def filtered(rules: FilterPolicy, sent: bytes, size: int) -> tuple[bytes, bool]:
    """What passes, and whether the session ended for it."""
    down = ServerFilter(ClipboardRule(rules.from_guest, rules.max_bytes), USUAL_PIXEL_FORMAT)
    one, passed = ClientFilter(rules, down if rules.watches_host else None), b""
    for piece in pieces(sent, size):
        try:
            passed += one.feed(piece)
        except ConsoleError:
            return passed, True
        must(len(one._framer._head) + len(one._kept) < 2 * MAX_KEPT_BYTES, "more is kept than may be")  # noqa: SLF001
    return passed, False
