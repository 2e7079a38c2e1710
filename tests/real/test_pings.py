"""Pings to real WebSocket clients: one that answers stays, one that hangs is gone, and its token is good again."""

from __future__ import annotations

import pytest

from .browser import ConsolePage
from .conftest import StartDaemon, StartXvnc
from .daemon import Daemon
from .processes import wait_for
from .rfb_client import rfb_client

pytestmark = pytest.mark.real

INTERVAL_S = 0.3
#: So many intervals old is a session that has survived pings.
OLD_S = 10 * INTERVAL_S


def wait_until_old(daemon: Daemon) -> None:
    """Wait until the one session is ``OLD_S`` seconds old."""

    def is_old() -> bool:
        (session,) = daemon.sessions()
        age_s = session["age_s"]
        assert isinstance(age_s, float)
        return age_s > OLD_S

    wait_for(is_old, "the session is old")


def test_a_client_that_hangs(start_xvnc: StartXvnc, start_daemon: StartDaemon, password: str) -> None:
    xvnc = start_xvnc(password=password)
    daemon = start_daemon(session={"ping_interval_s": INTERVAL_S, "reconnect_window_s": 30})
    console = daemon.mint(xvnc.host, xvnc.port, password=password)
    with rfb_client(console.websocket_url) as client:
        client.handshake()
        wait_until_old(daemon)
        with client.hung():
            ended = daemon.wait_for_event("session ended")
            assert (ended["reason"], ended["detail"]) == ("closed-by-user", "no answer to a ping")
            with rfb_client(console.websocket_url) as again:
                again.handshake()


@pytest.mark.browser
def test_a_browser_that_only_looks(
    start_xvnc: StartXvnc, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    xvnc = start_xvnc(password=password)
    daemon = start_daemon(session={"ping_interval_s": INTERVAL_S})
    tab.open(daemon.mint(xvnc.host, xvnc.port, password=password).url)
    tab.wait_for_state("connected")
    wait_until_old(daemon)
