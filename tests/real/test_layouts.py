"""The page's keyboard layouts against X.Org's, key by key, and its dead keys against X.Org's compose table."""

from __future__ import annotations

import json
import unicodedata
from typing import TypeAlias

import attrs
import pytest

from .. import node
from .xkb import EVDEV, Compose, Xkb

pytestmark = pytest.mark.real

#: Code, level, keysym, and what it gives.
Presses: TypeAlias = list[tuple[str, int, int, str]]

#: Each layout's name in XKB: layout, variant, model. Where it stands for two, it holds what they have in common.
IN_XKB: dict[str, list[tuple[str, ...]]] = {
    **{name: [(name,)] for name in ("us", "gb", "de", "fr", "be", "nl", "it", "es", "latam", "pt", "dk", "no", "is")},
    **{name: [(name,)] for name in ("pl", "cz", "hu", "tr")},
    "us-intl": [("us", "intl")],
    "ch-de": [("ch",)],
    "ch-fr": [("ch", "fr")],
    "ca-fr": [("ca", "fr")],
    "br": [("br", "", "abnt2")],
    "se-fi": [("se",), ("fi",)],
    "jp": [("jp", "", "jp106")],
}

#: Keys that XKB has and that are left out, each with its level: on no such keyboard, or not on Linux' console.
LEFT_OUT = {
    "us": {("IntlBackslash", 0), ("IntlBackslash", 1)},
    "us-intl": {("IntlBackslash", 0), ("IntlBackslash", 1)},
    "pl": {("IntlBackslash", 0), ("IntlBackslash", 1)},
    "fr": {("Backquote", 1)},
    "is": {("Quote", 1)},
    "jp": {("Backquote", 0), ("Backquote", 1), ("Digit0", 1), ("IntlBackslash", 0), ("IntlBackslash", 1)},
}

#: Some of XKB's tables name this character as Unicode does (U2026) instead of by its older name.
ELLIPSIS, ELLIPSIS_BY_NUMBER = 0xAAE, 0x1002026

#: Where Windows has something else, alone or with Shift.
ON_WINDOWS = {
    "pl": {("Backquote", 1): "◌~"},
    "tr": {("Digit3", 1): "◌^"},
}


@attrs.frozen
class Known:
    """What the page knows."""

    windows: dict[str, Presses]
    other: dict[str, Presses]
    dead: list[dict[str, object]]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    folder = tmp_path_factory.mktemp("layouts")
    (program,) = node.bundle(folder, "layouts.ts")
    node.run(str(program), str(folder / "layouts.json"))
    found = json.loads((folder / "layouts.json").read_text("utf-8"))
    tables = found["layouts"]
    return Known(
        windows={name: [tuple(press) for press in systems["windows"]] for name, systems in tables.items()},
        other={name: [tuple(press) for press in systems["other"]] for name, systems in tables.items()},
        dead=found["dead"],
    )


def test_all_layouts_are_compared(known: Known) -> None:
    assert set(IN_XKB) == set(known.other)


@pytest.mark.parametrize("name", IN_XKB)
def test_every_key(known: Known, name: str) -> None:
    """Each key at each level gives what it gives in XKB; alone and with Shift none is forgotten."""
    presses = known.other[name]
    for names in IN_XKB[name]:
        xkb = Xkb(*names)
        wrong = [
            f"{code} {level}: {gives} is {keysym:#x}, in XKB {xkb.keysym(code, level):#x}"
            for code, level, keysym, gives in presses
            if xkb.keysym(code, level) not in ((keysym, ELLIPSIS_BY_NUMBER) if keysym == ELLIPSIS else (keysym,))
        ]
        assert wrong == []
        in_xkb = {(code, level) for code in EVDEV for level in (0, 1) if xkb.keysym(code, level)}
        assert in_xkb - {(code, level) for code, level, _, _ in presses} == LEFT_OUT.get(name, set())


@pytest.mark.parametrize("name", IN_XKB)
def test_windows(known: Known, name: str) -> None:
    """Alone and with Shift, keys give the same on Windows, but for those that are named above."""
    base = {(code, level): gives for code, level, _, gives in known.other[name] if level < 2}
    windows = {(code, level): gives for code, level, _, gives in known.windows[name] if level < 2}
    assert windows == base | ON_WINDOWS.get(name, {})


def test_dead_keys(known: Known) -> None:
    """Each dead key with each of its letters makes the one character that Unicode says it is."""
    compose = Compose()
    checked = 0
    for dead in known.dead:
        keysym, mark, letters, alone = dead["keysym"], dead["mark"], dead["letters"], dead["alone"]
        assert isinstance(keysym, int)
        for letter in str(letters):
            composed = unicodedata.normalize("NFC", f"{letter}{mark}")
            assert len(composed) == 1
            assert compose.text(keysym, ord(letter)) == composed
            checked += 1
        if alone is not None:
            assert compose.text(keysym, ord(" ")) == alone
    assert checked > 50
