"""Which of the languages there are does a request ask for?

Source: RFC 9110 sections 12.4.2 and 12.5.4 (the header), RFC 4647 section 3.4 (lookup: ``de-AT`` is content with
``de``). A ``lang`` in the query counts before the header.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from .messages import Request

#: More languages than anybody speaks; what a header names behind them is not looked at.
MAX_RANGES = 32

#: ``de-CH``, ``de-CH;q=0.8``. A wildcard names no language, so it is none.
_RANGE = re.compile(
    r"([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,7})[ \t]*(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)


def choose_language(request: Request, known: Collection[str], *, otherwise: str) -> str:
    """The best of the known languages for a request.

    Args:
        request: with ``lang`` in its query, an ``Accept-Language`` header, or neither.
        known: language tags (RFC 5646), such as ``de`` or ``pt-BR``.
        otherwise: what is taken where none of them is asked for.
    """
    by_lower = {tag.lower(): tag for tag in known}
    for language_range in (request.parameter("lang") or "", *_accepted(request)):
        found = _look_up(language_range.lower(), by_lower)
        if found is not None:
            return found
    return otherwise


def _accepted(request: Request) -> list[str]:
    """The header's language ranges, the most wanted first; those that are not wanted or not understood left out."""
    weighted = []
    for item in request.header_items("accept-language")[:MAX_RANGES]:
        match = _RANGE.fullmatch(item)
        weight = float(match[2] or 1) if match is not None else 0.0
        if match is not None and weight > 0:
            weighted.append((weight, match[1]))
    return [language_range for _, language_range in sorted(weighted, key=lambda pair: -pair[0])]


def _look_up(language_range: str, by_lower: dict[str, str]) -> str | None:
    """Cut the range from its end until it is a known language."""
    subtags = language_range.split("-")[:8]
    for length in range(len(subtags), 0, -1):
        found = by_lower.get("-".join(subtags[:length]))
        if found is not None:
            return found
    return None
