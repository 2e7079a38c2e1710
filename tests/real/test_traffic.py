"""How much a visit of the console page moves over TLS, the first time and again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Playwright

from . import browser
from .browser import ConsolePage
from .certificates import Authority
from .conftest import StartDaemon, StartQemu
from .test_tls_browsers import tls_settings
from .traffic import Request, Traffic, trust

pytestmark = [pytest.mark.real, pytest.mark.browser]

#: Limits in requests and in bytes.
FIRST_REQUESTS, FIRST_BYTES = 5, 120_000
SECOND_BYTES = 5_000

Record = Callable[[str, object], None]


def table(visit: str, traffic: Traffic) -> str:
    def line(request: Request) -> str:
        return f"  {request.received if request.sent else 'cache':>7}  /{request.path}"

    head = f"{visit} visit: {len(traffic.sent())} requests, {traffic.received()} bytes"
    return "\n".join([head, *map(line, traffic.all())])


def test_first_and_second_visit(
    start_qemu: StartQemu,
    start_daemon: StartDaemon,
    playwright: Playwright,
    tmp_path: Path,
    authority: Authority,
    password: str,
    record_property: Record,
) -> None:
    pair = authority.issue(tmp_path / "proxy", "server", "127.0.0.1")
    qemu = start_qemu(password=password)
    daemon = start_daemon(**tls_settings(pair))
    visits = {}
    with browser.chromium(playwright, tmp_path, trust(pair.certificate)) as running:
        context = running.new_context()
        for visit in ("first", "second"):
            tab = ConsolePage(context.new_page())
            traffic = visits[visit] = Traffic(tab.page)
            tab.open(daemon.mint(qemu.host, qemu.port, password=password).url)
            tab.wait_for_state("connected")
            traffic.wait_until_settled()
            assert not tab.faults
            tab.page.close()
            print(table(visit, traffic))  # noqa: T201 -- shown by pytest -s, and where the test fails
            record_property(f"{visit} visit, requests", len(traffic.sent()))
            record_property(f"{visit} visit, bytes", traffic.received())
        context.close()
    first, second = visits["first"], visits["second"]
    assert all(request.received for request in first.sent())
    assert "websockify" in {request.path for request in first.sent()}
    assert len(first.sent()) <= FIRST_REQUESTS
    assert first.received() <= FIRST_BYTES
    assert len(second.sent()) < len(first.sent())
    assert second.received() < SECOND_BYTES
