"""Tokens that open nothing: the page, the status answer, the WebSocket handshake and the log name the reason."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from websockets.exceptions import InvalidStatus

from .browser import ConsolePage
from .conftest import StartDaemon, StartQemu
from .daemon import Answer, Console, Daemon, make_key
from .processes import free_port, wait_for
from .reasons import assert_page_names
from .rfb_client import rfb_client

pytestmark = [pytest.mark.real, pytest.mark.browser]


def _status(daemon: Daemon, console: Console) -> Answer:
    return daemon.get(f"/novnc/status?token={quote(console.token, safe='')}")


def _assert_refused(daemon: Daemon, tab: ConsolePage, console: Console, slug: str) -> None:
    assert tab.open(console.url).status == 403
    assert_page_names(tab, slug)
    assert tab.socket_closes() == []
    status = _status(daemon, console).json()
    assert status["usable"] is False
    assert status["slug"] == slug
    with pytest.raises(InvalidStatus) as refused, rfb_client(console.websocket_url):
        pass
    assert refused.value.response.status_code == 403
    daemon.wait_for_reason(slug)


def test_expired(start_daemon: StartDaemon, tab: ConsolePage) -> None:
    daemon = start_daemon()
    console = daemon.mint("127.0.0.1", free_port(), options=["--ttl-s", "1"])
    wait_for(lambda: _status(daemon, console).json()["usable"] is False, "the token expires")
    _assert_refused(daemon, tab, console, "token-expired")


def test_altered(start_daemon: StartDaemon, tab: ConsolePage) -> None:
    daemon = start_daemon()
    console = daemon.mint("127.0.0.1", free_port())
    middle = len(console.token) // 2
    letter = "B" if console.token[middle] == "A" else "A"
    altered = console.with_token(console.token[:middle] + letter + console.token[middle + 1 :])
    daemon.keep_secret(altered)
    _assert_refused(daemon, tab, altered, "token-invalid")


def test_foreign(start_daemon: StartDaemon, tab: ConsolePage, tmp_path: Path) -> None:
    """Made with the key of another proxy."""
    daemon = start_daemon()
    console = daemon.mint("127.0.0.1", free_port(), key=make_key(tmp_path / "foreign-key.json"))
    _assert_refused(daemon, tab, console, "token-invalid")


def test_used(start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    console = daemon.mint(qemu.host, qemu.port, password=password)
    with rfb_client(console.websocket_url) as client:
        client.handshake()
        _assert_refused(daemon, tab, console, "token-used")
    _assert_refused(daemon, tab, console, "token-used")


def test_reloading_the_page(start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str) -> None:
    """The token is gone from the address bar, and it was good for one console anyway."""
    qemu = start_qemu(password=password)
    daemon = start_daemon()
    tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
    tab.wait_for_state("connected")
    tab.page.reload()
    tab.wait_for_state("ended")
    assert_page_names(tab, "token-missing")
    daemon.wait_for_reason("token-missing")


def test_missing(start_daemon: StartDaemon, tab: ConsolePage) -> None:
    daemon = start_daemon()
    assert tab.open(f"{daemon.url}/novnc").status == 400
    assert_page_names(tab, "token-missing")
    daemon.wait_for_reason("token-missing")


def test_guessing(start_daemon: StartDaemon, tab: ConsolePage) -> None:
    """The third forged token has to wait, and so has a good one; that is told like every other refusal."""
    daemon = start_daemon(token={"max_failures": 2})
    console = daemon.mint("127.0.0.1", free_port(), options=["--reusable"])
    guess = console.with_token("guess")
    for _ in range(2):
        assert daemon.get(f"/novnc?token={guess.token}").status == 403
    for tried in (guess, console):
        assert tab.open(tried.url).status == 429
        assert_page_names(tab, "too-many-attempts")
    assert _status(daemon, console).json()["slug"] == "too-many-attempts"
    with pytest.raises(InvalidStatus) as refused, rfb_client(console.websocket_url):
        pass
    assert refused.value.response.status_code == 429
    assert 0 < int(refused.value.response.headers["Retry-After"]) <= 60
    waits = [record for record in daemon.log() if record.get("event") == "address has to wait"]
    assert [record["client"] for record in waits] == ["127.0.0.1"]
