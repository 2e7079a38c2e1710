"""Keyboard layouts as X.Org's xkeyboard-config has them, read by libxkbcommon; and X.Org's compose table."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

PACKAGE = "libxkbcommon0"

#: The keys of a layout as KeyboardEvent.code names them, and the evdev numbers (linux/input-event-codes.h) they have.
EVDEV: dict[str, int] = {
    "Backquote": 41,
    **{f"Digit{digit}": 2 + at for at, digit in enumerate("1234567890")},
    "Minus": 12,
    "Equal": 13,
    "IntlYen": 124,
    **{f"Key{letter}": 16 + at for at, letter in enumerate("QWERTYUIOP")},
    "BracketLeft": 26,
    "BracketRight": 27,
    **{f"Key{letter}": 30 + at for at, letter in enumerate("ASDFGHJKL")},
    "Semicolon": 39,
    "Quote": 40,
    "Backslash": 43,
    "IntlBackslash": 86,
    **{f"Key{letter}": 44 + at for at, letter in enumerate("ZXCVBNM")},
    "Comma": 51,
    "Period": 52,
    "Slash": 53,
    "IntlRo": 89,
}

#: An X keycode is the evdev number and this.
_X_OFFSET = 8


class _Names(ctypes.Structure):
    """``struct xkb_rule_names``."""

    _fields_ = [(name, ctypes.c_char_p) for name in ("rules", "model", "layout", "variant", "options")]


def _library() -> Any:  # ctypes has no types for the functions of a library
    try:
        library = ctypes.CDLL("libxkbcommon.so.0")
    except OSError:
        pytest.fail(f"libxkbcommon is missing: apt-get install --no-install-recommends {PACKAGE}", pytrace=False)
    pointer = ctypes.c_void_p
    for name in ("context_new", "keymap_new_from_names", "compose_table_new_from_locale", "compose_state_new"):
        getattr(library, f"xkb_{name}").restype = pointer
    library.xkb_keymap_new_from_names.argtypes = [pointer, pointer, ctypes.c_int]
    library.xkb_keymap_key_get_syms_by_level.argtypes = [pointer, *[ctypes.c_uint32] * 3, pointer]
    library.xkb_compose_table_new_from_locale.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int]
    library.xkb_compose_state_new.argtypes = [pointer, ctypes.c_int]
    library.xkb_compose_state_feed.argtypes = [pointer, ctypes.c_uint32]
    library.xkb_compose_state_get_utf8.argtypes = [pointer, ctypes.c_char_p, ctypes.c_size_t]
    library.xkb_compose_state_reset.argtypes = [pointer]
    return library


class Xkb:
    """One layout.

    Args:
        layout: as ``setxkbmap -layout`` takes it; likewise the others.
    """

    def __init__(self, layout: str, variant: str = "", model: str = "pc105") -> None:
        self._library = _library()
        context = self._library.xkb_context_new(0)
        names = _Names(b"evdev", model.encode(), layout.encode(), variant.encode(), b"")
        self._keymap = self._library.xkb_keymap_new_from_names(context, ctypes.byref(names), 0)
        assert self._keymap is not None, f"XKB has no layout {layout} ({variant})"

    def keysym(self, code: str, level: int) -> int:
        """What a key gives alone (0), with Shift (1), with AltGr (2), with both (3); 0: nothing, or more than one."""
        found = ctypes.POINTER(ctypes.c_uint32)()
        count = self._library.xkb_keymap_key_get_syms_by_level(
            self._keymap, EVDEV[code] + _X_OFFSET, 0, level, ctypes.byref(found)
        )
        return found[0] if count == 1 else 0


class Compose:
    """What X.Org's libX11 makes of keysyms that follow each other, in UTF-8 locales."""

    def __init__(self) -> None:
        self._library = _library()
        context = self._library.xkb_context_new(0)
        table = self._library.xkb_compose_table_new_from_locale(context, b"en_US.UTF-8", 0)
        assert table is not None, "no compose table: apt-get install libx11-data"
        self._state = self._library.xkb_compose_state_new(table, 0)

    def text(self, *keysyms: int) -> str:
        """The text; empty where these make none."""
        self._library.xkb_compose_state_reset(self._state)
        for keysym in keysyms:
            self._library.xkb_compose_state_feed(self._state, keysym)
        buffer = ctypes.create_string_buffer(64)
        self._library.xkb_compose_state_get_utf8(self._state, buffer, len(buffer))
        return buffer.value.decode("utf-8")
