"""The text that somebody types: a cursor, the editing keys, and its lines as a screen of cells shows them.

This file must not know about keys, pixels or trio.
"""

from __future__ import annotations

import attrs

#: More characters than this push out the oldest.
MAX_CHARS = 16 * 1024

TAB_COLUMNS = 4


@attrs.frozen
class View:
    """What a screen of so many columns and rows shows: the lines, and the cell the cursor is in."""

    lines: tuple[str, ...]
    cursor_column: int
    cursor_row: int


@attrs.define(eq=False)
class TextPad:
    """A text and a cursor in it, at most ``max_chars`` characters long."""

    max_chars: int = MAX_CHARS
    text: str = attrs.field(default="", init=False)
    cursor: int = attrs.field(default=0, init=False)

    def insert(self, addition: str) -> None:
        """Insert at the cursor, which then stands behind it."""
        text = self.text[: self.cursor] + addition + self.text[self.cursor :]
        surplus = max(len(text) - self.max_chars, 0)
        self.text = text[surplus:]
        self.cursor = max(self.cursor + len(addition) - surplus, 0)

    def backspace(self) -> None:
        """Take away the character before the cursor."""
        if self.cursor:
            self.text = self.text[: self.cursor - 1] + self.text[self.cursor :]
            self.cursor -= 1

    def delete(self) -> None:
        """Take away the character behind the cursor."""
        self.text = self.text[: self.cursor] + self.text[self.cursor + 1 :]

    def clear(self) -> None:
        """Take away everything."""
        self.text, self.cursor = "", 0

    def left(self) -> None:
        self.cursor = max(self.cursor - 1, 0)

    def right(self) -> None:
        self.cursor = min(self.cursor + 1, len(self.text))

    def home(self) -> None:
        """To the beginning of the line."""
        self.cursor = self.text.rfind("\n", 0, self.cursor) + 1

    def end(self) -> None:
        """To the end of the line."""
        at = self.text.find("\n", self.cursor)
        self.cursor = at if at >= 0 else len(self.text)

    def up(self) -> None:
        """To the line above, in the same column if that is long enough."""
        start = self.text.rfind("\n", 0, self.cursor) + 1
        if start:
            above = self.text.rfind("\n", 0, start - 1) + 1
            self.cursor = min(above + self.cursor - start, start - 1)

    def down(self) -> None:
        """To the line below, in the same column if that is long enough."""
        start = self.text.rfind("\n", 0, self.cursor) + 1
        below = self.text.find("\n", self.cursor) + 1
        if below:
            end = self.text.find("\n", below)
            self.cursor = min(below + self.cursor - start, end if end >= 0 else len(self.text))

    def view(self, columns: int, rows: int) -> View:
        """The lines, broken at ``columns`` cells, that fit on ``rows`` rows; the cursor's row is always among them."""
        lines = [""]
        cursor = (0, 0)
        for index, char in enumerate((*self.text, "")):
            if index == self.cursor:
                # At the end of a full line the cursor waits in the row below, where the next character will be.
                if len(lines[-1]) == columns and char != "\n":
                    lines.append("")
                cursor = (min(len(lines[-1]), columns - 1), len(lines) - 1)
            if char == "\n":
                lines.append("")
                continue
            for cell in " " * (TAB_COLUMNS - len(lines[-1]) % TAB_COLUMNS) if char == "\t" else char:
                if len(lines[-1]) == columns:
                    lines.append("")
                lines[-1] += cell
        first = max(min(len(lines) - rows, cursor[1]), 0)
        shown = tuple(lines[first : first + rows])
        return View(shown, cursor[0], cursor[1] - first)
