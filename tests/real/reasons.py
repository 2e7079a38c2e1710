"""What a user, an operator and a program are told when a console does not open or ends (design, chapter 9)."""

from __future__ import annotations

from trio_cpvm.errors import REASONS

from .browser import ConsolePage
from .daemon import Daemon, Record


def assert_page_names(tab: ConsolePage, slug: str) -> None:
    """The page says ``slug`` to programs, and its sentence to people."""
    assert tab.data() == {**tab.data(), "state": "ended", "slug": slug}
    text = tab.visible_text()
    assert REASONS[slug].text in text
    assert REASONS[slug].advice in text
    assert slug in text


def assert_ended(tab: ConsolePage, daemon: Daemon, slug: str, code: int) -> Record:
    """The console ended for that reason: on the page, in the WebSocket's close frame and in the log.

    Returns:
        The line of the log.
    """
    tab.wait_for_state("ended")
    assert_page_names(tab, slug)
    close = tab.wait_for_socket_close()
    assert close.code == code
    assert slug in close.reason
    return daemon.wait_for_reason(slug)
