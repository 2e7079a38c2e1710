"""The console in each of the three browser engines: the screen pixel for pixel, the keys, the words, and no faults."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from .browsers import AnyTab
from .certificates import Authority
from .conftest import StartDaemon, StartQemu
from .processes import free_port, wait_for
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
