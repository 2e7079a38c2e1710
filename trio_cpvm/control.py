"""What the page and the proxy say to each other beside the console, in WebSocket text messages; no I/O.

The page asks, the proxy answers, one text for one text::

    {"ping": 7}    how do things stand?
    {"stay": 8}    the same, and the user is still there
    -> {"pong": 7, "phase": "relay", "idle_left_s": 299.5, "lifetime_left_s": null, "host_rtt_ms": 0.4,
        "drain_left_s": null, "looks_on": false}

RFB goes in binary messages only (rfbproto knows no WebSockets; noVNC and websockify agreed on it), so clients that know
nothing of this never meet it. This file must not know sessions, streams or clocks.
"""

from __future__ import annotations

import json
import re

import attrs

from .errors import Phase

#: The longest text that is looked at, in characters.
MAX_TEXT_CHARS = 256
#: The largest number of a question; any 32-bit integer can hold it.
MAX_NUMBER = 2**31 - 1
#: How many texts a page may send within ``WINDOW_S`` seconds; ours sends about one in a second.
MAX_TEXTS = 20
WINDOW_S = 10.0

#: RFC 8259, less all that a question does not need: one name, one integer.
_QUESTION = re.compile(
    r'[ \t\r\n]*\{[ \t\r\n]*"(ping|stay)"[ \t\r\n]*:[ \t\r\n]*(0|[1-9][0-9]{0,9})[ \t\r\n]*\}[ \t\r\n]*'
)


@attrs.frozen
class Question:
    """What the page asks.

    Attributes:
        number: the page's own, 0 to ``MAX_NUMBER``; comes back with the answer.
        stay: the user has said to be still there.
    """

    number: int
    stay: bool


@attrs.frozen(kw_only=True)
class Standing:
    """How a session stands.

    Attributes:
        phase: how far it has come.
        idle_left_s: seconds until it ends for want of input; ``None`` without such a limit, or before the relay.
        lifetime_left_s: likewise, until the end of its lifetime.
        host_rtt_s: seconds to the host and back; ``None`` if unknown.
        drain_left_s: seconds until the daemon, which is about to stop, ends it; ``None`` if it is not.
        looks_on: somebody else has the machine's keyboard and pointer at this moment.
    """

    phase: Phase
    idle_left_s: float | None = None
    lifetime_left_s: float | None = None
    host_rtt_s: float | None = None
    drain_left_s: float | None = None
    looks_on: bool = False


def read_question(text: str) -> Question | None:
    """The question in a text message; ``None`` for anything else."""
    match = _QUESTION.fullmatch(text) if len(text) <= MAX_TEXT_CHARS else None
    if match is None or int(match[2]) > MAX_NUMBER:
        return None
    return Question(number=int(match[2]), stay=match[1] == "stay")


def write_answer(question: Question, standing: Standing) -> str:
    """The text that answers a question. Times are rounded to tenths, and never negative."""
    rtt_s = standing.host_rtt_s
    answer: dict[str, int | float | str | None] = {
        "pong": question.number,
        "phase": str(standing.phase),
        "idle_left_s": tenths(standing.idle_left_s),
        "lifetime_left_s": tenths(standing.lifetime_left_s),
        "host_rtt_ms": tenths(None if rtt_s is None else rtt_s * 1000),
        "drain_left_s": tenths(standing.drain_left_s),
        "looks_on": standing.looks_on,
    }
    return json.dumps(answer)


class Pace:
    """Tells a flood of texts from a page's own."""

    def __init__(self) -> None:
        self._last: list[float] = []  # of which most sessions never have any

    def allows(self, now: float) -> bool:
        """Count a text that came in at that time, in seconds; whether it may be answered."""
        too_many = len(self._last) == MAX_TEXTS and now - self._last[0] < WINDOW_S
        self._last = [*self._last, now][-MAX_TEXTS:]
        return not too_many


def tenths(value: float | None) -> float | None:
    """Rounded, and never negative."""
    return None if value is None else round(max(0.0, value), 1)
