"""The catalogues: every language says everything that English says, and a new one needs nothing but its files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from trio_cpvm import errors
from trio_cpvm.errors import REASONS
from trio_cpvm.languages import read_languages

ROOT = Path(errors.__file__).parent.parent
MESSAGES = ROOT / "trio_cpvm" / "messages"
#: English, and where its translations are.
CATALOGUES = {
    "reasons": (MESSAGES / "en.json", MESSAGES),
    "page": (ROOT / "static" / "src" / "page-messages.json", ROOT / "static" / "src" / "page-messages"),
}
TAGS = sorted(file.stem for file in MESSAGES.glob("*.json"))


def read(path: Path) -> dict[str, dict[str, str]]:
    """A catalogue, which must not name anything twice."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    catalogue: dict[str, dict[str, str]] = json.loads(path.read_text("utf-8"), object_pairs_hook=unique)
    return catalogue


def test_these_languages_are_there() -> None:
    assert {"en", "de", "fr", "es", "pt", "ja"} <= set(TAGS)
    assert sorted(read_languages()) == TAGS
    assert sorted(file.stem for file in CATALOGUES["page"][1].glob("*.json")) == [tag for tag in TAGS if tag != "en"]


@pytest.mark.parametrize("tag", [tag for tag in TAGS if tag != "en"])
@pytest.mark.parametrize("name", CATALOGUES)
def test_a_translation_has_all_that_english_has_and_no_more(name: str, tag: str) -> None:
    english_file, folder = CATALOGUES[name]
    english, translated = read(english_file), read(folder / f"{tag}.json")
    assert list(translated) == list(english)
    for slug, words in translated.items():
        assert list(words) == ["text", "advice"]
        for kind, sentence in words.items():
            assert sentence.strip() == sentence
            assert sentence[-1] in ".。"
            assert sentence.isprintable() or "\u202f" in sentence or "\u00a0" in sentence  # French punctuation
            assert sentence != english[slug][kind]


@pytest.mark.parametrize("tag", [tag for tag in TAGS if tag != "en"])
def test_the_page_says_all_that_it_says_in_english(tag: str) -> None:
    folder = ROOT / "static" / "src" / "texts"
    english: dict[str, str] = json.loads((folder / "en.json").read_text("utf-8"))
    translated: dict[str, str] = json.loads((folder / f"{tag}.json").read_text("utf-8"))
    assert list(translated) == list(english)
    for key, text in translated.items():
        assert text.strip() == text != ""
        assert sorted(re.findall(r"\{[a-z]+\}", text)) == sorted(re.findall(r"\{[a-z]+\}", english[key])), key


def test_a_language_says_the_reasons_in_its_words_and_english_in_the_tables() -> None:
    languages = read_languages()
    for reason in REASONS.values():
        assert languages["en"].text(reason) == reason.text
        assert languages["en"].advice(reason) == reason.advice
        assert languages["de"].text(reason) == read(MESSAGES / "de.json")[reason.slug]["text"]
        assert languages["de"].advice(reason) == read(MESSAGES / "de.json")[reason.slug]["advice"]


def test_a_file_that_is_dropped_in_is_a_language_and_what_it_lacks_is_english(tmp_path: Path) -> None:
    (tmp_path / "en.json").write_text("{}", "utf-8")
    (tmp_path / "nl.json").write_text('{"not-found": {"text": "Hier is niets."}}', "utf-8")
    (tmp_path / "zh-Hant.json").write_text("{}", "utf-8")
    (tmp_path / "README").write_text("", "utf-8")
    languages = read_languages(tmp_path)
    assert sorted(languages) == ["en", "nl", "zh-Hant"]
    dutch = languages["nl"]
    assert (dutch.text(errors.NOT_FOUND), dutch.advice(errors.NOT_FOUND)) == (
        "Hier is niets.",
        errors.NOT_FOUND.advice,
    )
    assert dutch.text(errors.DRAINING) == errors.DRAINING.text
