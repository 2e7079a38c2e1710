"""What the targets share: a finding, and how an input is cut into what is fed."""

from __future__ import annotations

from collections.abc import Iterator


class Finding(Exception):
    """Something happened that must never happen."""


def must(holds: bool, words: str) -> None:
    """Report a finding unless ``holds``.

    Raises:
        Finding: saying ``words``.
    """
    if not holds:
        raise Finding(words)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """``data`` in pieces of ``size`` bytes; 0 is one piece."""
    size = size or len(data) or 1
    for start in range(0, len(data), size):
        yield data[start : start + size]
