"""Texts typed by the page's own modules through the daemon: they arrive in real guests exactly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conftest import OpenTab, StartDaemon, StartLinuxGuest
from .linux_guest import Keymap, LinuxGuest
from .stock_novnc import StockSite
from .typing_page import TypingTab, on_layout, typing_site
from .xvnc import Xvnc

pytestmark = [pytest.mark.real, pytest.mark.browser]

TEXT = r"""@{}\|~ßéñ€ "quoted" 'text' [a] (b) <c> #1 $HOME `x` ^2 50% a&b *; ?! =+-_ .,: yz YZ qa QA wW mM"""

#: Which characters of the text are not on the layout.
MISSING = {"us": "ßéñ€", "de": "ñ", "fr": "ñ"}

#: QEMU hands on key events this fast instead of every 10 ms, where tests type much.
QUICK = "key-delay-ms=1"
QUICK_MS = 2.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StockSite]:
    with typing_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def open_console(open_tab: OpenTab, start_daemon: StartDaemon, site: StockSite):
    def open_one(guest: LinuxGuest | Xvnc) -> TypingTab:
        daemon = start_daemon(server={"allowed_origins": [site.origin]})
        return TypingTab(open_tab(), site, daemon, guest.host, guest.port)

    return open_one


def in_lines(characters: str) -> str:
    """In lines of a terminal's width; no space at their ends."""
    return "".join(f"{characters[at : at + 60]}\n" for at in range(0, len(characters), 60))


def without(text: str, characters: str) -> str:
    return "".join(character for character in text if character not in characters)


def test_linux(open_console, start_linux_guest: StartLinuxGuest) -> None:
    """The places of the keys count: QEMU passes them on, and the guest has a layout of its own."""
    guest = start_linux_guest()
    console = open_console(guest)
    for name, missing in MISSING.items():
        guest.load(Keymap(name))
        assert "".join(console.type(f"{TEXT}\n", on_layout(name))) == missing
        assert guest.wait_for_typed(1) == f"{without(TEXT, missing)}\n"
