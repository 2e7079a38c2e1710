"""Texts typed by the page's own modules through the daemon: they arrive in real guests exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from .conftest import OpenTab, StartDaemon, StartLinuxGuest, StartXvnc
from .linux_guest import Keymap, LinuxGuest
from .processes import wait_for
from .stock_novnc import StockSite
from .test_layouts import IN_XKB
from .typist import CHARACTERS, TypingTab, on_layout, typing_site
from .xvnc import Xvnc

pytestmark = [pytest.mark.real, pytest.mark.browser]

TEXT = r"""@{}\|~ßéñ€ "quoted" 'text' [a] (b) <c> #1 $HOME `x` ^2 50% a&b *; ?! =+-_ .,: yz YZ qa QA wW mM"""

#: Which characters of the text are not on the layout.
MISSING = {"us": "ßéñ€", "de": "ñ", "fr": "ñ"}

SIGNS = r"""@{}[]\|~^`'"#$€ zyqm áéâöàñç"""
MORE_LAYOUTS = ("gb", "be", "ch-de", "it", "es", "br", "se-fi", "pl", "cz", "tr", "jp")

#: The pace of tests that type much, in milliseconds an event.
XVNC_MS = 0.5


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StockSite]:
    with typing_site(tmp_path_factory.mktemp("site")) as running:
        yield running


OpenConsole: TypeAlias = Callable[["LinuxGuest | Xvnc"], TypingTab]


@pytest.fixture
def open_console(open_tab: OpenTab, start_daemon: StartDaemon, site: StockSite) -> OpenConsole:
    """Open a guest's console in the page that types."""

    def open_one(guest: LinuxGuest | Xvnc) -> TypingTab:
        daemon = start_daemon(server={"allowed_origins": [site.origin]})
        return TypingTab(open_tab(), site, daemon, guest.host, guest.port)

    return open_one


def in_lines(characters: str) -> str:
    """In lines of a terminal's width; no space at their ends."""
    return "".join(f"{characters[at : at + 60]}\n" for at in range(0, len(characters), 60))


def without(text: str, characters: str) -> str:
    return "".join(character for character in text if character not in characters)


def test_linux(open_console: OpenConsole, start_linux_guest: StartLinuxGuest) -> None:
    """The places of the keys count: QEMU passes them on, and the guest has a layout of its own."""
    guest = start_linux_guest()
    console = open_console(guest)
    for name, missing in MISSING.items():
        guest.load(Keymap(name))
        assert "".join(console.type(f"{TEXT}\n", on_layout(name))) == missing
        assert guest.wait_for_typed(1) == f"{without(TEXT, missing)}\n"


def test_linux_on_more_layouts(open_console: OpenConsole, start_linux_guest: StartLinuxGuest) -> None:
    """Signs, and letters that take dead keys, as far as each layout has them; Xvnc is asked for everything below."""
    guest = start_linux_guest()
    console = open_console(guest)
    for name in MORE_LAYOUTS:
        guest.load(Keymap(*IN_XKB[name][0]))
        untypable = console.type(f"{name} {SIGNS}\n", on_layout(name))
        assert guest.wait_for_typed(1) == without(f"{name} {SIGNS}\n", "".join(untypable))


@pytest.mark.parametrize("name", ["de", "fr"])
def test_linux_behind_a_keymap_of_qemu(
    open_console: OpenConsole, start_linux_guest: StartLinuxGuest, name: str
) -> None:
    """The names of the keys count: QEMU with -k looks them up in its own keymap."""
    guest = start_linux_guest(keymap=Keymap(name), options=["-k", name])
    console = open_console(guest)
    assert "".join(console.type(f"{TEXT}\n", on_layout(name))) == MISSING[name]
    assert guest.wait_for_typed(1) == f"{without(TEXT, MISSING[name])}\n"


def test_xvnc_with_raw_keys(open_console: OpenConsole, start_xvnc: StartXvnc) -> None:
    """The places of the keys count, and X's own layouts and compose table make characters of them: all they have."""
    xvnc = start_xvnc(password=None, options=["-RawKeyboard"])
    console = open_console(xvnc)
    expected = ""
    for name, names in IN_XKB.items():
        for keymap in names:
            xvnc.set_layout(*keymap)
            expected += f"{' '.join(keymap)}\n"
            assert console.type(f"{' '.join(keymap)}\n", on_layout(name), XVNC_MS) == []
            text = in_lines(console.typable(name))
            expected += text
            assert console.type(text, on_layout(name), XVNC_MS) == []
    lines = expected.count("\n")
    wait_for(lambda: xvnc.typed().count("\n") >= lines, "everything was typed")
    assert xvnc.typed().splitlines() == expected.splitlines()


@pytest.mark.parametrize("layout", ["us", "de", "fr"])
def test_xvnc_takes_characters(open_console: OpenConsole, start_xvnc: StartXvnc, layout: str) -> None:
    """Xvnc finds or makes a key for each character, whatever its layout is."""
    xvnc = start_xvnc(password=None)
    xvnc.set_layout(layout)
    console = open_console(xvnc)
    text = f"{TEXT} Ÿ ł Ω ж あ 漢 😀 – …"
    assert console.type(f"{text}\n", CHARACTERS) == []
    xvnc.wait_for_line(text)
