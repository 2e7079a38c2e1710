"""The page on a phone: it fits, it is sharp, and fingers on the screen are what the machine takes for a mouse."""

from __future__ import annotations

import pytest

from .browser import ConsolePage
from .browsers import SCREEN
from .conftest import StartDaemon, StartQemu
from .processes import wait_for
from .recorder import HEIGHT, WIDTH, Key, Pointer, Recorder
from .touch import Point, Touch

pytestmark = [pytest.mark.real, pytest.mark.browser]

LEFT, RIGHT, WHEEL_UP = 1, 4, 8

#: How far a finger may be off by rounding, in the machine's pixels.
NEAR = 2

#: What sticks out of the window, of all that is seen.
_OUTSIDE = """
[...document.querySelectorAll("body *")]
  .filter((found) => found.checkVisibility({ visibilityProperty: true, opacityProperty: true }))
  .filter((found) => found.closest("#screen") === null)
  .map((found) => [found.id || found.className || found.tagName, found.getBoundingClientRect()])
  .filter(([, box]) => box.width > 1 && (box.left < 0 || box.right > innerWidth))
  .map(([name, box]) => `${name}: ${box.left} to ${box.right}`)
"""


@pytest.fixture
def phone(start_daemon: StartDaemon, recorder: Recorder, phone_tab: ConsolePage) -> ConsolePage:
    """Shows the recorder's screen."""
    phone_tab.open(start_daemon().mint(recorder.host, recorder.port).url)
    phone_tab.wait_for_state("connected")
    wait_for(phone_tab.picture, "the screen is painted")
    return phone_tab


def place(tab: ConsolePage, x: float, y: float) -> Point:
    """Where on the phone a pixel of the machine's is."""
    found = tab.evaluate(
        f"(({{ left, top, width, height }}) => [left + width * {x / WIDTH}, top + height * {y / HEIGHT}])"
        f"(document.querySelector({SCREEN!r}).getBoundingClientRect())"
    )
    assert isinstance(found, list)
    return float(found[0]), float(found[1])


def is_near(event: Pointer, x: int, y: int) -> bool:
    return abs(event.x - x) <= NEAR and abs(event.y - y) <= NEAR


def wait_for_click(recorder: Recorder, button: int) -> Pointer:
    def found() -> Pointer | None:
        return next((event for event in recorder.clicks() if event.buttons == button), None)

    return wait_for(found, "the machine is clicked on")


def wait_until_released(recorder: Recorder) -> None:
    wait_for(lambda: recorder.pointer()[-1].buttons == 0, "no button is down any more")


def test_the_page_fits(start_qemu: StartQemu, start_daemon: StartDaemon, phone_tab: ConsolePage, password: str) -> None:
    qemu = start_qemu(password=password)
    phone_tab.open(start_daemon().mint(qemu.host, qemu.port, password=password).url)
    phone_tab.wait_for_state("connected")
    phone_tab.wait_for_picture(qemu.screendump)
    assert phone_tab.evaluate("[innerWidth, devicePixelRatio]") == [390, 3]
    assert phone_tab.evaluate("document.documentElement.scrollWidth") == 390
    assert phone_tab.evaluate(_OUTSIDE) == []
    box = phone_tab.page.locator(SCREEN).bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


def test_tap_is_a_left_click(phone: ConsolePage, recorder: Recorder) -> None:
    Touch(phone.page).tap(place(phone, 200, 300))
    event = wait_for_click(recorder, LEFT)
    assert is_near(event, 200, 300)
    wait_until_released(recorder)
    assert len(recorder.clicks()) == 1


def test_two_fingers_are_a_right_click(phone: ConsolePage, recorder: Recorder) -> None:
    Touch(phone.page).two_finger_tap(place(phone, 200, 300))
    wait_for_click(recorder, RIGHT)
    wait_until_released(recorder)
    assert len(recorder.clicks()) == 1


def test_long_press_is_a_right_click(phone: ConsolePage, recorder: Recorder) -> None:
    with Touch(phone.page).held(place(phone, 400, 100)):
        event = wait_for_click(recorder, RIGHT)
    assert is_near(event, 400, 100)
    wait_until_released(recorder)


def test_drag(phone: ConsolePage, recorder: Recorder) -> None:
    Touch(phone.page).drag((place(phone, 100, 100), place(phone, 300, 200)))
    event = wait_for_click(recorder, LEFT)
    assert is_near(event, 100, 100)
    wait_until_released(recorder)
    assert is_near(recorder.pointer()[-1], 300, 200)


def test_two_fingers_turn_the_wheel(phone: ConsolePage, recorder: Recorder) -> None:
    ways = [(place(phone, x, 100), place(phone, x, 400)) for x in (300, 400)]
    Touch(phone.page).drag(*ways)
    wait_for_click(recorder, WHEEL_UP)
    wait_until_released(recorder)
    assert {event.buttons for event in recorder.clicks()} == {WHEEL_UP}


def pressed(*keysyms: int) -> list[Key]:
    """Each pressed and let go of."""
    return [Key(keysym, down) for keysym in keysyms for down in (True, False)]


def test_the_phone_s_own_keyboard(phone: ConsolePage, recorder: Recorder) -> None:
    """What an input method does to a text field arrives as keys: letters, whole words put in place of others, Enter."""
    page = phone.page
    page.tap("#touch-keyboard")
    assert page.get_attribute("#touch-keyboard", "aria-pressed") == "true"
    page.keyboard.insert_text("h")
    page.keyboard.insert_text("é")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    composing = page.context.new_cdp_session(page)
    for word in ("w", "wo", "wol"):
        composing.send(
            "Input.imeSetComposition", {"text": word, "selectionStart": len(word), "selectionEnd": len(word)}
        )
    composing.send("Input.insertText", {"text": "word "})
    backspace, enter = 0xFF08, 0xFF0D
    recorder.wait_for_keys(
        pressed(ord("h"), ord("é"), backspace, enter) + pressed(*b"wol") + pressed(backspace) + pressed(*b"rd ")
    )
    page.tap("#touch-keyboard")
    assert page.get_attribute("#touch-keyboard", "aria-pressed") == "false"


def test_a_held_modifier_and_the_phone_s_keyboard(phone: ConsolePage, recorder: Recorder) -> None:
    page = phone.page
    page.tap("#keys-button")
    page.tap("#modifiers >> text=Ctrl")
    page.tap("#keys >> [popovertargetaction=hide]")
    page.tap("#touch-keyboard")
    page.keyboard.insert_text("c")
    recorder.wait_for_keys([Key(0xFFE3, True), *pressed(ord("c"))])


@pytest.mark.parametrize("panel", ["keys", "clipboard", "view"])
def test_the_panels_fit(phone: ConsolePage, panel: str) -> None:
    phone.page.tap(f"#{panel}-button")
    phone.page.wait_for_selector(f"#{panel}", state="visible")
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    assert phone.evaluate(_OUTSIDE) == []
    assert (
        phone.evaluate(f"(found => found.scrollWidth <= found.clientWidth)(document.querySelector('#{panel}'))") is True
    )
