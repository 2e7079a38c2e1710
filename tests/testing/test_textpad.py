"""Typing and editing, and what a small screen shows of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm.testing.textpad import TextPad

KEYS = {
    "<": TextPad.left,
    ">": TextPad.right,
    "^": TextPad.up,
    "v": TextPad.down,
    "{": TextPad.home,
    "}": TextPad.end,
    "#": TextPad.backspace,
    "x": TextPad.delete,
}


def typed(keys: str) -> TextPad:
    pad = TextPad()
    for key in keys:
        KEYS.get(key, lambda pad, key=key: pad.insert(key))(pad)
    return pad


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("ab#c", "ac"),
        ("#a##", ""),
        ("ab<<xc", "cb"),
        ("ab>x", "ab"),
        ("ab\ncd{X", "ab\nXcd"),
        ("ab\ncd^X", "abX\ncd"),
        ("a\nbcd^X", "aX\nbcd"),
        ("^X", "X"),
        ("abc\nd^{vX", "abc\nXd"),
        ("abc\nd\nefg^^}vX", "abc\ndX\nefg"),
        ("abvX", "abX"),
        ("ab\ncd^{}X", "abX\ncd"),
    ],
)
def test_editing(keys: str, text: str) -> None:
    assert typed(keys).text == text


def test_the_oldest_characters_go_first() -> None:
    pad = TextPad(max_chars=4)
    pad.insert("abc")
    pad.insert("defg")
    assert (pad.text, pad.cursor) == ("defg", 4)
    pad.home()
    pad.insert("x")
    assert (pad.text, pad.cursor) == ("defg", 0)


def test_clear() -> None:
    pad = typed("abc")
    pad.clear()
    assert (pad.text, pad.cursor) == ("", 0)


@pytest.mark.parametrize(
    ("keys", "lines", "cursor"),
    [
        ("", ("",), (0, 0)),
        ("abcd", ("abcd", ""), (0, 1)),
        ("abcdef", ("abcd", "ef"), (2, 1)),
        ("a\nb", ("a", "b"), (1, 1)),
        ("a\n\nb\nc", ("", "b", "c"), (1, 2)),
        ("a\nb\nc\nd^^^", ("a", "b", "c"), (1, 0)),
        ("abcd\ne^}", ("abcd", "e"), (3, 0)),
    ],
)
def test_view(keys: str, lines: tuple[str, ...], cursor: tuple[int, int]) -> None:
    view = typed(keys).view(4, 3)
    assert view.lines == lines
    assert (view.cursor_column, view.cursor_row) == cursor


def test_tabs_go_to_the_next_stop() -> None:
    assert typed("a\tb").view(20, 1).lines == ("a   b",)


@given(st.text(alphabet="ab\t\n<>^v{}#x", max_size=60), st.integers(1, 6), st.integers(1, 4))
def test_the_cursor_is_always_seen(keys: str, columns: int, rows: int) -> None:
    pad = typed(keys)
    assert 0 <= pad.cursor <= len(pad.text)
    view = pad.view(columns, rows)
    assert len(view.lines) <= rows
    assert all(len(line) <= columns for line in view.lines)
    assert 0 <= view.cursor_row < len(view.lines)
    assert 0 <= view.cursor_column < columns
