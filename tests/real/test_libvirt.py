"""libvirt as an inventory: a real daemon with a running and a stopped QEMU domain, seen from the browser."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from playwright.sync_api import Browser

from trio_cpvm.access import libvirt_inventory
from trio_cpvm.errors import ConsoleError

from .access import Client, add_caller
from .browser import ConsolePage
from .conftest import StartDaemon
from .libvirtd import Libvirtd
from .processes import wait_for
from .reasons import assert_page_names

pytestmark = [pytest.mark.real, pytest.mark.browser]

CONSOLE = "/client/console?cmd=access&websocketconsole=true&vm="


@pytest.fixture
def libvirtd() -> Iterator[Libvirtd]:
    with Libvirtd() as running:
        yield running


def test_domains_are_listed_and_opened(
    libvirtd: Libvirtd, chromium: Browser, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    """The password is asked of libvirt at each access, and the connection to it is made again once it was lost."""
    password = secrets.token_hex(4)
    vnc = "<graphics type='vnc' port='-1' autoport='yes' listen='{}' keymap='de' passwd='{}'/>"
    web = libvirtd.add_domain("web-1", vnc.format("0.0.0.0", password))
    libvirtd.add_domain("db-1", vnc.format("127.0.0.1", "x"), running=False)
    blind = libvirtd.add_domain("blind-1", "")
    libvirtd.add_domain("other-1", vnc.format("127.0.0.1", "x"), running=False)
    alice = add_caller(tmp_path / "callers.toml", "alice", "name:web-*", "name:db-*", blind)
    daemon = start_daemon(
        access={
            "enabled": True,
            "callers_file": str(tmp_path / "callers.toml"),
            "inventory": f"libvirt:{libvirtd.uri}",
        }
    )
    daemon.keep_out_of_log(password)
    alice.keep_out_of_log(daemon)
    assert daemon.get("/", headers=alice.basic).status == 200
    daemon.keeps_sockets(1)
    context = chromium.new_context(http_credentials={"username": alice.name, "password": alice.key})
    try:
        tab = ConsolePage(context.new_page())
        tab.open(f"{daemon.url}/")
        names = [text.split()[0] for text in tab.page.locator("tbody th").all_inner_texts()]
        assert names == ["blind-1", "db-1", "web-1"]
        assert tab.page.locator(".machine-state").all_inner_texts() == ["Running", "Stopped", "Running"]

        tab.page.get_by_role("link", name="Open console – web-1").click()
        wait_for(lambda: "/novnc" in tab.page.url, "the console page")
        tab.wait_for_state("connected")
        tab.wait_for_picture(lambda: libvirtd.screendump("web-1"))
        tab.click()
        tab.type_line("Hello")
        libvirtd.wait_for_line("web-1", "Hello")
        tab.wait_for_picture(lambda: libvirtd.screendump("web-1"))

        for machine, slug in (("db-1", "machine-not-running"), (blind, "machine-without-console")):
            tab.open(f"{daemon.url}{CONSOLE}{machine}")
            assert_page_names(tab, slug)
        for machine in ("other-1", "none-1"):
            tab.open(f"{daemon.url}{CONSOLE}{machine}")
            assert_page_names(tab, "machine-not-found")

        libvirtd.process.stop()
        tab.open(f"{daemon.url}{CONSOLE}{web}")
        assert_page_names(tab, "inventory-failed")
        libvirtd.restart()
        again = secrets.token_hex(4)
        daemon.keep_out_of_log(again)
        libvirtd.virsh("destroy", "web-1")
        libvirtd.add_domain("web-2", vnc.format("127.0.0.1", again))
        url = Client(daemon, alice.api_key, alice.secret_key).console("web-2")["url"]
        tab.open(str(url))
        tab.wait_for_state("connected")
        tab.wait_for_picture(lambda: libvirtd.screendump("web-2"))
        assert tab.faults == []
    finally:
        context.close()


async def test_calls_that_are_never_answered_end_with_their_connection(
    libvirtd: Libvirtd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libvirt itself notices that nobody is there any more: for that its event loop has to run."""
    monkeypatch.setattr(libvirt_inventory, "KEEP_ALIVE_S", 1)
    monkeypatch.setattr(libvirt_inventory, "KEEP_ALIVE_COUNT", 1)
    machines = libvirt_inventory.LibvirtInventory(libvirtd.uri, deadline_s=0.5)
    assert await machines.machines() == []
    libvirtd.process.pause()
    with pytest.raises(ConsoleError, match="did not answer"):
        await machines.machines()
    await trio.to_thread.run_sync(lambda: wait_for(lambda: not machines._limiter.borrowed_tokens, "the call ends"))
    libvirtd.process.send(signal.SIGCONT)
    assert await machines.machines() == []
