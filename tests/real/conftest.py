"""Fixtures: guests, daemons and a browser, each ended with the test that asked for it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Protocol, TypeAlias

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from . import browser
from .browser import PERMISSIONS, ConsolePage
from .browsers import VIEWPORT_HEIGHT, VIEWPORT_WIDTH, AnyTab
from .certificates import Authority
from .daemon import Daemon, Tables, make_key
from .firefox import Firefox, FirefoxTab
from .linux_guest import US, Keymap, LinuxGuest
from .processes import forget_processes, last_words
from .qemu import Qemu
from .recorder import Recorder
from .stock_novnc import StockSite, stock_site
from .tightvnc import Xtightvnc
from .webkit import WebKit, WebKitTab
from .xvnc import Xvnc


class StartQemu(Protocol):
    def __call__(
        self, *, password: str | None, vnc: Sequence[str] = (), options: Sequence[str] = (), unix: bool = False
    ) -> Qemu: ...


class StartLinuxGuest(Protocol):
    def __call__(self, *, keymap: Keymap = US, options: Sequence[str] = (), vnc: Sequence[str] = ()) -> LinuxGuest: ...


class StartXvnc(Protocol):
    def __call__(self, *, password: str | None, options: Sequence[str] = ()) -> Xvnc: ...


class StartXtightvnc(Protocol):
    def __call__(self, *, password: str | None) -> Xtightvnc: ...


class StartDaemon(Protocol):
    def __call__(self, **settings: dict[str, object]) -> Daemon: ...


OpenTab: TypeAlias = Callable[[], ConsolePage]


@pytest.fixture(autouse=True)
def _processes_of_this_test() -> None:
    forget_processes()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure stands what the test's programs said; daemons print no secrets, and keys are made for the test."""
    report = yield
    if report.failed:
        report.sections += [(f"the end of what {name} said", words) for name, words in last_words()]
    return report


@pytest.fixture
def password() -> str:
    """A VNC password that is nowhere else; eight characters count."""
    return secrets.token_hex(4)


@pytest.fixture
def start_qemu(tmp_path: Path) -> Iterator[StartQemu]:
    """Start a QEMU guest; a missing program fails the test."""
    numbers = count()
    with ExitStack() as running:

        def start(
            *, password: str | None, vnc: Sequence[str] = (), options: Sequence[str] = (), unix: bool = False
        ) -> Qemu:
            folder = tmp_path / f"qemu-{next(numbers)}"
            return running.enter_context(Qemu(folder, password=password, vnc=vnc, options=options, unix=unix))

        yield start


@pytest.fixture
def start_linux_guest(tmp_path: Path) -> Iterator[StartLinuxGuest]:
    """Start a Linux machine that tells what is typed on its console; a missing program fails the test."""
    numbers = count()
    with ExitStack() as running:

        def start(*, keymap: Keymap = US, options: Sequence[str] = (), vnc: Sequence[str] = ()) -> LinuxGuest:
            folder = tmp_path / f"linux-{next(numbers)}"
            return running.enter_context(LinuxGuest(folder, keymap=keymap, options=options, vnc=vnc))

        yield start


@pytest.fixture
def start_xvnc(tmp_path: Path) -> Iterator[StartXvnc]:
    """Start an X server with a terminal; a missing program fails the test."""
    numbers = count()
    with ExitStack() as running:

        def start(*, password: str | None, options: Sequence[str] = ()) -> Xvnc:
            folder = tmp_path / f"xvnc-{next(numbers)}"
            return running.enter_context(Xvnc(folder, password=password, options=options))

        yield start


@pytest.fixture
def start_xtightvnc(tmp_path: Path) -> Iterator[StartXtightvnc]:
    """Start TightVNC's X server with a terminal; a missing program fails the test."""
    numbers = count()
    with ExitStack() as running:

        def start(*, password: str | None) -> Xtightvnc:
            return running.enter_context(Xtightvnc(tmp_path / f"xtightvnc-{next(numbers)}", password=password))

        yield start


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A VNC server that writes down what its viewers do."""
    with Recorder() as running:
        yield running


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who has issued the certificates of this test."""
    return Authority(tmp_path / "ca.pem")


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The token key of all daemons."""
    return make_key(tmp_path_factory.mktemp("key") / "token-key.json")


@pytest.fixture
def start_daemon(tmp_path: Path, key: Path) -> Iterator[StartDaemon]:
    """Start the daemon; the arguments are tables of its configuration.

    At the end of the test it has to give back all sockets, to stop in peace and to have logged no secret.
    """
    numbers = count()
    with ExitStack() as running:

        def start(**settings: dict[str, object]) -> Daemon:
            tables: Tables = settings
            daemon = Daemon(tmp_path / f"daemon-{next(numbers)}", key, tables)
            running.callback(daemon.finish)
            return daemon

        yield start


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """What drives Chromium; there can be only one at a time."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def chromium(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of this worker; each test has a profile of its own in it."""
    with browser.chromium(playwright, tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
def open_tab(chromium: Browser, start_daemon: StartDaemon) -> Iterator[OpenTab]:
    """Open a tab. All are closed before the daemon is looked at (that is what ``start_daemon`` is here for)."""
    context = chromium.new_context(
        viewport={"width": VIEWPORT_WIDTH, "height": VIEWPORT_HEIGHT},
        ignore_https_errors=True,
        permissions=PERMISSIONS,
    )
    tabs: list[ConsolePage] = []

    def open_one() -> ConsolePage:
        tabs.append(ConsolePage(context.new_page()))
        return tabs[-1]

    try:
        yield open_one
    finally:
        context.close()
    assert [fault for tab in tabs for fault in tab.faults] == []


@pytest.fixture
def tab(open_tab: OpenTab) -> ConsolePage:
    """One open tab."""
    return open_tab()


@pytest.fixture
def phone_tab(chromium: Browser, start_daemon: StartDaemon) -> Iterator[ConsolePage]:
    """One open tab on a phone, as Chromium shows it to developers."""
    context = chromium.new_context(
        viewport={"width": 390, "height": 844},
        device_scale_factor=3,
        is_mobile=True,
        has_touch=True,
        ignore_https_errors=True,
        permissions=PERMISSIONS,
    )
    tab = ConsolePage(context.new_page())
    try:
        yield tab
    finally:
        context.close()
    assert list(tab.faults) == []


@pytest.fixture
def chromium_tab(tab: ConsolePage) -> AnyTab:
    """One open tab of Chromium, for those who want any browser."""
    return tab


@pytest.fixture(scope="session")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    """One browser for all tests of this worker; each test has a profile of its own in it."""
    running = Firefox(tmp_path_factory.mktemp("firefox"))
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def firefox_tab(firefox: Firefox, start_daemon: StartDaemon) -> Iterator[FirefoxTab]:
    """One open tab of Firefox; closed before the daemon is looked at."""
    tab = firefox.new_tab()
    try:
        yield tab
        assert list(tab.faults) == []
    finally:
        tab.close()


@pytest.fixture(scope="session")
def webkit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebKit]:
    """One display and one driver for all tests of this worker; each test has a browser of its own on it."""
    running = WebKit(tmp_path_factory.mktemp("webkit"))
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def webkit_tab(webkit: WebKit, start_daemon: StartDaemon) -> Iterator[WebKitTab]:
    """One open tab of WebKit; closed before the daemon is looked at."""
    tab = webkit.new_tab()
    try:
        yield tab
        assert list(tab.faults) == []
    finally:
        tab.close()


@pytest.fixture(params=["chromium", "firefox", "webkit"])
def any_tab(request: pytest.FixtureRequest) -> AnyTab:
    """One open tab of each browser in turn."""
    found: AnyTab = request.getfixturevalue(f"{request.param}_tab")
    return found


@pytest.fixture
def stock() -> Iterator[StockSite]:
    """A web site of its own that embeds noVNC as it is."""
    with stock_site() as site:
        yield site
