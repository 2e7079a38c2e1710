"""The console in each of the three browser engines: the screen pixel for pixel, the keys, the words, and no faults."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from .browser import ConsolePage
from .browsers import AnyTab
from .certificates import Authority
from .conftest import StartDaemon, StartQemu
from .processes import free_port, wait_for
from .recorder import Key, Pointer, Recorder
from .test_tls_browsers import tls_settings

pytestmark = [pytest.mark.real, pytest.mark.browser]

#: Every character of a US keyboard.
LOWER = "`1234567890-= qwertyuiop[]\\ asdfghjkl;' zxcvbnm,./"
UPPER = '~!@#$%^&*()_+ QWERTYUIOP{}| ASDFGHJKL:" ZXCVBNM<>?'


def test_console_over_tls(
    start_qemu: StartQemu,
    start_daemon: StartDaemon,
    any_tab: AnyTab,
    tmp_path: Path,
    authority: Authority,
    password: str,
) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon(**tls_settings(authority.issue(tmp_path / "proxy", "server", "127.0.0.1")))
    console = daemon.mint(qemu.host, qemu.port, password=password)
    assert console.url.startswith("https://")
    any_tab.open(console.url)
    any_tab.wait_for_state("connected")
    assert "?" not in any_tab.url
    any_tab.wait_for_picture(qemu.screendump)
    any_tab.click()
    for line in (LOWER, UPPER):
        any_tab.type_line(line)
        qemu.wait_for_line(line)
    shown = any_tab.wait_for_picture(qemu.screendump)
    assert len(shown.colours()) == 16
    assert list(any_tab.faults) == []


def test_console_without_tls(
    start_qemu: StartQemu, start_daemon: StartDaemon, any_tab: AnyTab, password: str, tmp_path: Path
) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    any_tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
    any_tab.wait_for_state("connected")
    any_tab.wait_for_picture(qemu.screendump)
    any_tab.screenshot(tmp_path / "window.png")
    assert (tmp_path / "window.png").read_bytes().startswith(b"\x89PNG")
    any_tab.click_on("#ctrl-alt-del")
    qemu.process.wait_until_ended()  # the BIOS restarts the machine, and ``-no-reboot`` makes that its end
    ended = any_tab.wait_for_state("ended")
    assert ended["slug"] == "closed-by-guest"


#: Keys that print nothing, and the X11 keysyms they are.
NAMED = {
    ("Enter",): [0xFF0D],
    ("Tab",): [0xFF09],
    ("Escape",): [0xFF1B],
    ("Backspace",): [0xFF08],
    ("Delete",): [0xFFFF],
    ("ArrowLeft",): [0xFF51],
    ("Home",): [0xFF50],
    ("PageDown",): [0xFF56],
    ("F2",): [0xFFBF],
    ("Control", "Alt", "Delete"): [0xFFE3, 0xFFE9, 0xFFFF],
    ("Control", "Alt", "F1"): [0xFFE3, 0xFFE9, 0xFFBE],
}


def test_keys_that_print_nothing(start_daemon: StartDaemon, recorder: Recorder, any_tab: AnyTab) -> None:
    any_tab.open(start_daemon().mint(recorder.host, recorder.port).url)
    any_tab.wait_for_state("connected")
    wait_for(any_tab.picture, "the screen is painted")
    any_tab.click(20, 30)
    wait_for(lambda: [Pointer(1, 20, 30)] == recorder.clicks(), "the machine is clicked on")
    wanted = []
    for keys, keysyms in NAMED.items():
        any_tab.press(*keys)
        wanted += [Key(keysym, down=True) for keysym in keysyms]
        wanted += [Key(keysym, down=False) for keysym in reversed(keysyms)]
    wait_for(lambda: len(recorder.key_events()) >= len(wanted), "all keys arrive")
    assert recorder.key_events() == wanted


def test_a_link_that_cannot_be_used(start_daemon: StartDaemon, any_tab: AnyTab) -> None:
    daemon = start_daemon()
    console = daemon.mint("127.0.0.1", free_port(), options=["--ttl-s", "1"])
    status = f"/novnc/status?token={quote(console.token)}"
    wait_for(lambda: daemon.get(status).json()["usable"] is False, "the token expires")
    any_tab.open(console.url)
    data = any_tab.wait_for_state("ended")
    assert data["slug"] == "token-expired"
    assert "token-expired" in any_tab.visible_text()
    assert list(any_tab.faults) == []


@pytest.fixture(params=["chromium", "firefox", "webkit"])
def faulty_tab(request: pytest.FixtureRequest, start_daemon: StartDaemon) -> Iterator[AnyTab]:
    """A tab whose faults are the test's own business."""
    running = request.getfixturevalue(request.param)
    if request.param == "chromium":
        with closing(running.new_context()) as context:
            yield ConsolePage(context.new_page())
    else:
        with closing(running.new_tab()) as tab:
            yield tab


def test_faults_are_seen(start_daemon: StartDaemon, faulty_tab: AnyTab) -> None:
    """The harness itself; the error page's policy is the console's."""
    faulty_tab.open(f"{start_daemon().url}/novnc?token=AAAA")
    assert list(faulty_tab.faults) == []
    faulty_tab.evaluate("void setTimeout(() => { throw new Error('thrown') }, 0)")
    wait_for(lambda: "thrown" in str(faulty_tab.faults), "the exception is seen")
    faulty_tab.evaluate("void Promise.reject(new Error('rejected'))")
    wait_for(lambda: "rejected" in str(faulty_tab.faults), "the rejection is seen")
    faulty_tab.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'globalThis.ran = 1' }))"
    )
    wait_for(lambda: re.search(r"Content.Security.Policy", str(faulty_tab.faults)), "the violation is seen")
    assert faulty_tab.evaluate("typeof globalThis.ran") == "undefined"
    assert len(faulty_tab.faults) == 3
