"""Which language a request gets: the query first, then the header as RFC 9110 and RFC 4647 say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm.http import Request
from trio_cpvm.http.language import MAX_RANGES, choose_language

KNOWN = ("en", "de", "fr", "es", "pt", "ja")


def chosen(header: str | None = None, query: str = "", known: tuple[str, ...] = KNOWN) -> str:
    headers = (("accept-language", header),) if header is not None else ()
    request = Request(method="GET", path="/", query=query, headers=headers)
    return choose_language(request, known, otherwise="en")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("de", "de"),
        ("DE", "de"),
        ("de-AT", "de"),
        ("de-Latn-CH-1996", "de"),
        ("pt-BR", "pt"),
        ("pt-PT,pt;q=0.9", "pt"),
        ("zh-CN", "en"),
        ("zh-CN, zh;q=0.9, ja;q=0.8, en;q=0.7", "ja"),
        ("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", "fr"),
        ("en-US,en;q=0.5", "en"),
        ("en-US, de;q=0.9", "en"),
        ("de;q=0.8, fr", "fr"),
        ("de;q=0.8, fr;q=0.800, es;q=0.801", "es"),
        ("de, fr", "de"),
        ("de ; q=0.1 , fr;Q=0.2", "fr"),
        ("de;q=0, fr;q=0.001", "fr"),
        ("de;q=0.000", "en"),
        ("*", "en"),
        ("*, de;q=0.5", "de"),
        ("dex", "en"),
        ("deu-de", "en"),
        ("de_AT", "en"),
        ("de;q=2, fr;q=0.1", "fr"),
        ("de;q=, fr;q=0.1", "fr"),
        ("de;q=1.001, fr;q=0.1", "fr"),
        ("de;q=-1, fr;q=0.1", "fr"),
        ("de;level=1, fr;q=0.1", "fr"),
        ("tlhinganho-de", "en"),
        (", , de,", "de"),
    ],
)
def test_the_header(header: str | None, language: str) -> None:
    assert chosen(header) == language


@pytest.mark.parametrize(
    ("query", "language"),
    [
        ("lang=de", "de"),
        ("token=x&lang=pt-BR", "pt"),
        ("lang=JA", "ja"),
        ("lang=%64e", "de"),
        ("lang=en", "en"),
        ("lang=tlh", "fr"),
        ("lang=", "fr"),
        ("lang", "fr"),
        ("language=de", "fr"),
        ("lang=../../etc/passwd", "fr"),
        ("lang=%ff%00", "fr"),
        ("lang=" + "de-" * 3000, "de"),
        ("lang=" + "-" * 3000, "fr"),
    ],
)
def test_the_query_counts_before_the_header(query: str, language: str) -> None:
    assert chosen("fr", query) == language


def test_the_most_exact_of_the_known_ones_is_taken() -> None:
    known = ("en", "pt", "pt-BR", "zh-Hant")
    assert chosen("pt-br", known=known) == "pt-BR"
    assert chosen("pt-PT", known=known) == "pt"
    assert chosen("zh-hant-TW", known=known) == "zh-Hant"
    assert chosen("zh-Hans", known=known) == "en"


def test_what_nobody_speaks_is_not_looked_at() -> None:
    assert chosen(", ".join([*["tlh"] * (MAX_RANGES - 1), "de"])) == "de"
    assert chosen(", ".join([*["tlh"] * MAX_RANGES, "de"])) == "en"


@given(st.text(max_size=200) | st.text("de-*;q=01., ", max_size=100))
def test_any_header_gets_a_known_language(header: str) -> None:
    assert chosen(header, query=f"lang={header}") in KNOWN
