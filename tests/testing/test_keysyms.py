"""Keysyms: characters there and back, and names for the rest."""

from __future__ import annotations

import pytest

from trio_cpvm.testing import keysyms


@pytest.mark.parametrize(
    ("char", "keysym"), [("a", 0x61), ("~", 0x7E), ("ä", 0xE4), ("€", 0x010020AC), ("\N{GRINNING FACE}", 0x0101F600)]
)
def test_characters(char: str, keysym: int) -> None:
    assert keysyms.of_char(char) == keysym
    assert keysyms.char_of(keysym) == char


def test_editing_keys_are_keys() -> None:
    assert [keysyms.of_char(char) for char in "\n\t\b"] == [keysyms.RETURN, keysyms.TAB, keysyms.BACKSPACE]


@pytest.mark.parametrize("keysym", [0, 0x7F, 0x9F, keysyms.SHIFT, 0x01000008, 0x0100D800, 0x01110000, 0xFFFFFFFF])
def test_what_types_nothing(keysym: int) -> None:
    assert keysyms.char_of(keysym) is None


def test_names() -> None:
    names = [keysyms.name_of(keysym) for keysym in (0x61, keysyms.RETURN, 0xFFBE, 0xFFC9, 0x1234)]
    assert names == ["a", "Return", "F1", "F12", "0x1234"]
