"""A console page in any browser: what the tests do to it and read off it, whoever drives the browser.

The page says how it is doing in ``<html data-state data-slug>`` (connecting, connected, ended); the screen is the
canvas in ``#screen``. The page of ``stock/`` keeps to the same form, so one class reads both.

This file knows no browser. Drivers: ``browser`` (Chromium), ``firefox``, ``webkit``.
"""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .pictures import Picture, difference, from_rgbx
from .processes import PATIENCE_S, NotInTime, wait_for

#: The room for pages, in CSS pixels.
VIEWPORT_WIDTH, VIEWPORT_HEIGHT = 1280, 900

SCREEN = "#screen canvas"

_SHIFTED = frozenset('ABCDEFGHIJKLMNOPQRSTUVWXYZ~!@#$%^&*()_+{}|:"<>?')
_NAMED = {"\n": "Enter", "\t": "Tab"}

#: The canvas' own pixels, whatever size it is drawn in.
_READ_CANVAS = """
(() => {
  const canvas = document.querySelector("#screen canvas");
  if (canvas === null || canvas.width === 0 || canvas.height === 0) return null;
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let text = "";
  for (let at = 0; at < pixels.length; at += 0x8000) {
    text += String.fromCharCode(...pixels.subarray(at, at + 0x8000));
  }
  return [canvas.width, canvas.height, btoa(text)];
})()
"""

#: Where an element's upper left corner, or its middle, is in the window; null as long as a click would not hit it.
_FIND = """
((selector, middle) => {
  const found = document.querySelector(selector);
  if (found === null || found.disabled || !found.checkVisibility({ visibilityProperty: true })) return null;
  found.scrollIntoView({ block: "nearest", inline: "nearest" });
  const box = found.getBoundingClientRect();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  if (!middle) return [box.x, box.y];
  return found.contains(document.elementFromPoint(x, y)) ? [x, y] : null;
})
"""


class AnyTab(ABC):
    """A tab of a browser that shows a console, or the reason why not."""

    # -- what each driver does in its own way

    @property
    @abstractmethod
    def faults(self) -> Sequence[str]:
        """What went wrong inside the page: uncaught exceptions, and what its content security policy blocked."""

    @property
    @abstractmethod
    def url(self) -> str:
        """What the address bar shows."""

    @abstractmethod
    def open(self, url: str) -> object:
        """Go to ``url`` and wait until that page and all it asks for is loaded."""

    @abstractmethod
    def evaluate(self, expression: str) -> object:
        """What a JavaScript expression gives in the page, if that can be said in JSON; a promise is waited for."""

    @abstractmethod
    def click_at(self, x: float, y: float) -> None:
        """Click with the left button; CSS pixels from the upper left of the window."""

    @abstractmethod
    def press(self, *keys: str) -> None:
        """Press keys one after the other, and let go of them in reverse: ``press("Control", "Alt", "Delete")``.

        Args:
            keys: as DOM's ``KeyboardEvent.key`` names them; a character is the key that has it on a US keyboard,
                and does not hold Shift by itself.
        """

    @abstractmethod
    def screenshot(self, path: Path) -> None:
        """Write what the window shows to a PNG file."""

    @abstractmethod
    def clipboard(self) -> str:
        """The text in the clipboard the browser uses."""

    @abstractmethod
    def set_clipboard(self, text: str) -> None:
        """Put a text into that clipboard."""

    # -- the state of the page

    def data(self) -> Mapping[str, str]:
        """The ``data-`` attributes of ``<html>``."""
        found = self.evaluate("({ ...document.documentElement.dataset })")
        assert isinstance(found, dict)
        return found

    def wait_for_state(self, state: str, within_s: float = PATIENCE_S) -> Mapping[str, str]:
        """Wait until the page says it is ``state``; all that it says then."""

        def reached() -> Mapping[str, str] | None:
            data = self.data()
            assert not self.faults
            if state != "ended" and data.get("state") == "ended":
                raise AssertionError(f"the page is not {state}, but: {data} {self.visible_text()!r}")
            return data if data.get("state") == state else None

        try:
            return wait_for(reached, f"{self.url} is {state}", within_s=within_s)
        except NotInTime as late:
            late.add_note(f"the page is {self.data()} and shows {self.visible_text()!r}")
            raise

    def visible_text(self) -> str:
        """The text a user can see."""
        return str(self.evaluate("document.body.innerText"))

    # -- the screen

    def picture(self) -> Picture | None:
        """What the screen shows; ``None`` while it is not painted everywhere."""
        found = self.evaluate(_READ_CANVAS)
        if found is None:
            return None
        assert isinstance(found, list)
        width, height, text = found
        rgba = base64.b64decode(text)
        opaque = rgba[3::4].count(255) == width * height
        return from_rgbx(width, height, rgba) if opaque else None

    def wait_for_picture(self, reference: Callable[[], Picture], within_s: float = PATIENCE_S) -> Picture:
        """Wait until the screen shows exactly the picture ``reference()`` gives, before and after the look at it."""
        last = "no picture, or not of the whole screen"

        def same() -> Picture | None:
            nonlocal last
            before = reference()
            shown = self.picture()
            if shown is None:
                return None
            last = difference(shown, before)
            return shown if not last and reference() == before else None

        try:
            return wait_for(same, "the browser shows the guest's screen, pixel for pixel", within_s=within_s)
        except NotInTime as late:
            late.add_note(last)
            raise

    # -- hands

    def click(self, x: int = 100, y: int = 100) -> None:
        """Click on the screen, which gives it the keyboard; CSS pixels from its upper left."""
        left, top = self._find(SCREEN, middle=False)
        self.click_at(left + x, top + y)

    def click_on(self, selector: str) -> None:
        """Click on the element of a CSS selector, once it is there, enabled and not covered."""
        self.click_at(*self._find(selector, middle=True))

    def _find(self, selector: str, *, middle: bool) -> tuple[float, float]:
        expression = f"{_FIND}({json.dumps(selector)}, {json.dumps(middle)})"
        found = wait_for(lambda: self.evaluate(expression), f"{selector} can be clicked")
        assert isinstance(found, list)
        x, y = found
        return float(x), float(y)

    def type_text(self, text: str) -> None:
        """Type as hands on a US keyboard do: the machine sees keys, so Shift has to be held."""
        for character in text:
            key = _NAMED.get(character, character)
            self.press(*(["Shift", key] if character in _SHIFTED else [key]))

    def type_line(self, text: str) -> None:
        """Type ``text`` and Enter."""
        self.type_text(text + "\n")
