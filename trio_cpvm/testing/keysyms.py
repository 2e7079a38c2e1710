"""X11 keysyms: the numbers RFB has for keys, as far as the doubles type and read them.

Source: RFC 6143 section 7.5.4; X11's ``keysymdef.h`` for the numbers.
"""

from __future__ import annotations

BACKSPACE = 0xFF08
TAB = 0xFF09
RETURN = 0xFF0D
ESCAPE = 0xFF1B
HOME = 0xFF50
LEFT = 0xFF51
UP = 0xFF52
RIGHT = 0xFF53
DOWN = 0xFF54
PAGE_UP = 0xFF55
PAGE_DOWN = 0xFF56
END = 0xFF57
INSERT = 0xFF63
KEYPAD_ENTER = 0xFF8D
SHIFT = 0xFFE1
SHIFT_RIGHT = 0xFFE2
CONTROL = 0xFFE3
CONTROL_RIGHT = 0xFFE4
META = 0xFFE7
META_RIGHT = 0xFFE8
ALT = 0xFFE9
ALT_RIGHT = 0xFFEA
SUPER = 0xFFEB
SUPER_RIGHT = 0xFFEC
DELETE = 0xFFFF

NAMES = {
    BACKSPACE: "BackSpace",
    TAB: "Tab",
    RETURN: "Return",
    ESCAPE: "Escape",
    HOME: "Home",
    LEFT: "Left",
    UP: "Up",
    RIGHT: "Right",
    DOWN: "Down",
    PAGE_UP: "PageUp",
    PAGE_DOWN: "PageDown",
    END: "End",
    INSERT: "Insert",
    KEYPAD_ENTER: "Enter",
    SHIFT: "Shift",
    SHIFT_RIGHT: "Shift",
    CONTROL: "Ctrl",
    CONTROL_RIGHT: "Ctrl",
    META: "Meta",
    META_RIGHT: "Meta",
    ALT: "Alt",
    ALT_RIGHT: "Alt",
    SUPER: "Super",
    SUPER_RIGHT: "Super",
    DELETE: "Delete",
}

_F1 = 0xFFBE
_FUNCTION_KEYS = range(_F1, _F1 + 12)

_UNICODE = 0x0100_0000
_LAST_CODE_POINT = 0x10_FFFF
_SURROGATES = range(0xD800, 0xE000)
_LATIN_1 = (range(0x20, 0x7F), range(0xA0, 0x100))
_OF_CHAR = {"\n": RETURN, "\t": TAB, "\b": BACKSPACE}


def of_char(char: str) -> int:
    """The keysym of one character; a newline is Return, a tab is Tab."""
    if char in _OF_CHAR:
        return _OF_CHAR[char]
    code = ord(char)
    return code if any(code in part for part in _LATIN_1) else _UNICODE + code


def char_of(keysym: int) -> str | None:
    """The character that a keysym types; ``None`` for a key that types nothing, or that is not known here."""
    if any(keysym in part for part in _LATIN_1):
        return chr(keysym)
    code = keysym - _UNICODE
    if 0x20 <= code <= _LAST_CODE_POINT and code not in _SURROGATES and chr(code).isprintable():
        return chr(code)
    return None


def name_of(keysym: int) -> str:
    """What to call a key on a screen: the character, the key's name, or its number."""
    if keysym in _FUNCTION_KEYS:
        return f"F{keysym - _F1 + 1}"
    return char_of(keysym) or NAMES.get(keysym, f"{keysym:#x}")
