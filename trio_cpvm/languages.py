"""The proxy's words for people in other languages than English: one JSON file each in ``messages/``.

A language is there when its file is. What a file lacks is said in English, which ``errors`` has. Logs, close reasons
and the status answer are English always: they are for programs and operators, and the page has catalogues of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable

import attrs

from .errors import Reason

ENGLISH = "en"


@attrs.frozen
class Language:
    """One language.

    Attributes:
        tag: its name (RFC 5646), from the file's.
        reasons: by slug, what ``errors.Reason`` says: ``text`` and ``advice``.
    """

    tag: str
    reasons: Mapping[str, Mapping[str, str]] = attrs.field(repr=False)

    def text(self, reason: Reason) -> str:
        """What the reason says."""
        return self.reasons.get(reason.slug, {}).get("text", reason.text)

    def advice(self, reason: Reason) -> str:
        """What the user can do next."""
        return self.reasons.get(reason.slug, {}).get("advice", reason.advice)


def read_languages(folder: Traversable | None = None) -> Mapping[str, Language]:
    """Every language there is, by its tag.

    Args:
        folder: where the files are; by default the package's own.
    """
    folder = folder if folder is not None else resources.files("trio_cpvm") / "messages"
    languages = {ENGLISH: Language(ENGLISH, {})}
    for file in folder.iterdir():
        tag, _, ending = file.name.rpartition(".")
        if ending == "json" and tag != ENGLISH:
            reasons: dict[str, dict[str, str]] = json.loads(file.read_text("utf-8"))
            languages[tag] = Language(tag, reasons)
    return languages
