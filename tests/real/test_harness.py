"""The harness itself: guests do what the other tests rely on."""

from __future__ import annotations

import pytest

from .conftest import StartQemu, StartXvnc
from .guest import BANNER, text_lines
from .pictures import Picture, difference, from_bgrx, from_ppm, from_rgbx
from .processes import NotInTime, program, wait_for

pytestmark = pytest.mark.real


def test_qemu_guest_echoes_keys(start_qemu: StartQemu) -> None:
    qemu = start_qemu(password=None)
    before = qemu.screendump()
    assert before == qemu.screendump()
    assert len(before.colours()) == 16
    qemu.send_keys("h", "i", "ret", "y", "o", "ret")
    qemu.wait_for_line("hi")
    qemu.wait_for_line("yo")
    assert qemu.screen_text()[0] == BANNER
    assert difference(qemu.screendump(), before)


def test_two_qemus_at_once(start_qemu: StartQemu) -> None:
    assert start_qemu(password=None).port != start_qemu(password="secret").port


def test_xvnc_terminal_is_shown(start_xvnc: StartXvnc) -> None:
    xvnc = start_xvnc(password="secret")
    picture = xvnc.picture()
    assert (picture.width, picture.height) == (800, 600)
    assert picture.pixel(400, 300) == (0x20, 0x30, 0x60)
    assert picture.pixel(799, 599) == (0, 0, 0)


def test_a_stopped_process_can_be_ended(start_qemu: StartQemu) -> None:
    qemu = start_qemu(password=None)
    qemu.process.pause()
    qemu.stop()
    assert qemu.process.exit_code is not None


def test_pictures() -> None:
    wanted = Picture(2, 1, b"\x01\x02\x03\x20\x0a\x20")
    assert from_ppm(b"P6\n2 1\n255\n" + wanted.rgb) == wanted
    assert from_bgrx(2, 1, b"\x03\x02\x01\0\x20\x0a\x20\0") == wanted
    assert from_rgbx(2, 1, b"\x01\x02\x03\xff\x20\x0a\x20\xff") == wanted
    assert difference(wanted, wanted) == ""
    other = Picture(2, 1, b"\x01\x02\x03\x20\x0b\x20")
    assert difference(other, wanted) == (
        "1 of 2 pixels differ, first at x=1 y=0: (32, 11, 32) is shown, (32, 10, 32) is wanted"
    )


def test_text_lines() -> None:
    assert text_lines((b"o\x07k\x07" + b"\0\x07" * 78) + b" \x07" * 80)[:2] == ["ok", ""]


def test_a_missing_program_is_an_error_that_names_its_package() -> None:
    with pytest.raises(pytest.fail.Exception, match="apt-get install --no-install-recommends some-package"):
        program("no-such-program", "some-package")


def test_waiting_has_an_end() -> None:
    with pytest.raises(NotInTime, match="something that never happens"):
        wait_for(lambda: None, "something that never happens", within_s=0)
