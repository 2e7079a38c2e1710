"""The access endpoint of a running daemon: PyPI's ``cs`` client, bearer keys, and browsers with and without scripts."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from cs import CloudStackApiException
from playwright.sync_api import Browser

from .access import Caller, Client, add_caller, as_machine, basic, write_machines
from .browser import ConsolePage
from .conftest import StartDaemon, StartQemu
from .daemon import Console, Daemon
from .processes import free_port, wait_for
from .reasons import assert_page_names
from .rfb_client import rfb_client

pytestmark = [pytest.mark.real, pytest.mark.browser]

CONSOLE = "/client/console?cmd=access&websocketconsole=true&vm="


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, object]:
    return {
        "enabled": True,
        "callers_file": str(tmp_path / "callers.toml"),
        "inventory": f"file:{tmp_path / 'machines.json'}",
    }


@pytest.fixture
def alice(tmp_path: Path) -> Caller:
    """May open all that begins with ``vm-``."""
    return add_caller(tmp_path / "callers.toml", "alice", "vm-*")


def start(start_daemon: StartDaemon, settings: dict[str, object], *callers: Caller) -> Daemon:
    daemon = start_daemon(access=settings)
    for caller in callers:
        caller.keep_out_of_log(daemon)
    return daemon


def use_file(tmp_path: Path) -> None:
    """Machines that nobody connects to."""
    somewhere = {"host": "127.0.0.1", "port": free_port(), "password": "pa55word"}
    write_machines(
        tmp_path / "machines.json",
        {
            "vm-1": {**somewhere, "name": "Web <b>1</b>"},
            "vm-2": {**somewhere, "name": "Off", "state": "stopped"},
            "secret-1": {**somewhere, "name": "Not yours"},
        },
    )


def code_of(refused: pytest.ExceptionInfo[CloudStackApiException]) -> tuple[int, str]:
    error = refused.value.error
    return error["errorcode"], error["reason"]


def test_the_console_that_cs_is_given(
    start_qemu: StartQemu,
    start_daemon: StartDaemon,
    tab: ConsolePage,
    tmp_path: Path,
    settings: dict[str, object],
    alice: Caller,
    password: str,
) -> None:
    """The URL opens in a browser; host, port, path and token serve a client of another kind."""
    qemu = start_qemu(password=password)
    write_machines(tmp_path / "machines.json", {"vm-1": as_machine(qemu, "Web 1", password)})
    daemon = start(start_daemon, settings, alice)
    daemon.keep_out_of_log(password)
    client = Client(daemon, alice.api_key, alice.secret_key)

    console = Console(str(client.console("vm-1")["url"]))
    daemon.keep_secret(console)
    tab.open(console.url)
    tab.wait_for_state("connected")
    tab.wait_for_picture(qemu.screendump)
    tab.page.close()

    endpoint = client.console("vm-1", token="ex tra~+ä")["websocket"]
    assert isinstance(endpoint, dict)
    query = f"token={quote(endpoint['token'], safe='')}"
    url = f"ws://{endpoint['host']}:{endpoint['port']}/{endpoint['path']}?{query}"
    assert daemon.get(f"/novnc/status?{query}").json()["slug"] == "extra-token-mismatch"
    with rfb_client(f"{url}&extra={quote(endpoint['extra'])}") as rfb:
        rfb.handshake()
    daemon.keep_out_of_log(endpoint["token"])
    for path in client.paths:
        daemon.keep_out_of_log(parse_qs(urlsplit(path).query)["signature"][0])
    assert [record["machine"] for record in daemon.log() if record.get("event") == "console access"] == ["vm-1"] * 2


def test_what_cs_is_refused(
    start_daemon: StartDaemon, tmp_path: Path, settings: dict[str, object], alice: Caller
) -> None:
    use_file(tmp_path)
    daemon = start(start_daemon, {**settings, "max_failures": 0}, alice)
    client = Client(daemon, alice.api_key, alice.secret_key)
    client.console("vm-1")
    (good,) = client.paths
    signature = parse_qs(urlsplit(good).query)["signature"][0]
    daemon.keep_out_of_log(signature)

    assert daemon.get(good).status == 401, "replayed"
    assert daemon.get(good.replace("vm-1", "vm-2")).status == 401, "altered"
    unsigned = "&".join(pair for pair in good.split("&") if not pair.startswith("signature="))
    assert daemon.get(unsigned).status == 401
    assert daemon.get("/client/api?command=createConsoleEndpoint&virtualmachineid=vm-1").status == 401
    for changes in (
        {"expires": "2020-01-01T00:00:00+0000", "signatureVersion": "3"},
        {"expires": "2099-01-01T00:00:00+0000", "signatureVersion": "3"},
        {"expires": "", "signatureVersion": "3"},
        {"expires": "2099-01-01T00:00:00+0000", "signatureVersion": "2"},
    ):
        with pytest.raises(CloudStackApiException) as refused:
            client.console("vm-1", **changes)
        assert code_of(refused) == (401, "access-unauthorised")
    with pytest.raises(CloudStackApiException) as refused:
        Client(daemon, alice.api_key, "another secret").console("vm-1")
    assert code_of(refused) == (401, "access-unauthorised")
    for machine, reason in (("secret-1", "not-found"), ("vm-9", "not-found"), ("vm-2", "not-running")):
        with pytest.raises(CloudStackApiException) as refused:
            client.console(machine)
        assert code_of(refused)[1] == f"machine-{reason}"
    details = [record.get("detail") for record in daemon.log() if record.get("event") == "console access"]
    assert details == [
        None,
        "the signature has been used already",
        "the signature does not fit",
        "the signature does not fit",
        "no credentials",
        *[details[5]],
        "expires is more than 86400 s ahead",
        "expires is missing",
        "signatureVersion is not 3",
        "the signature does not fit",
        "forbidden",
        "unknown",
        "the file says it is stopped",
    ]
    assert str(details[5]).startswith("it expired ")


def test_bearer_and_basic(
    start_daemon: StartDaemon, tmp_path: Path, settings: dict[str, object], alice: Caller
) -> None:
    use_file(tmp_path)
    daemon = start(start_daemon, {**settings, "max_failures": 4}, alice)
    for headers in (alice.bearer, alice.basic):
        answer = daemon.get(f"{CONSOLE}vm-1", headers=headers)
        assert answer.status == 302
        console = Console(daemon.url + answer.headers["location"])
        daemon.keep_secret(console)
        status = daemon.get(f"/novnc/status?token={quote(console.token, safe='')}")
        assert status.json()["usable"] is True
    foreign = daemon.get(f"{CONSOLE}vm-1", headers={**alice.basic, "Sec-Fetch-Site": "cross-site"})
    assert foreign.status == 403
    unknown, forbidden = (daemon.get(CONSOLE + vm, headers=alice.bearer) for vm in ("vm-9", "secret-1"))
    assert (unknown.status, unknown.body) == (404, forbidden.body)
    for _ in range(4):
        assert daemon.get("/", headers=basic("alice", "wrong")).status == 401
    late = daemon.get("/", headers=alice.basic)
    assert (late.status, 290 < int(late.headers["retry-after"]) <= 300) == (429, True)
    assert {record["by"] for record in daemon.log() if "by" in record} >= {"bearer", "basic"}


def test_a_caller_is_struck_off_while_the_daemon_runs(
    start_daemon: StartDaemon, tmp_path: Path, settings: dict[str, object], alice: Caller
) -> None:
    use_file(tmp_path)
    bob = add_caller(tmp_path / "callers.toml", "bob", "*")
    daemon = start(start_daemon, settings, alice, bob)
    assert daemon.get("/", headers=bob.bearer).status == 200
    text = (tmp_path / "callers.toml").read_text("utf-8")
    (tmp_path / "callers.toml").write_text(text.partition('[callers."bob"]')[0], "utf-8")
    assert daemon.get("/", headers=bob.bearer).status == 401
    assert daemon.get("/", headers=alice.bearer).status == 200


def test_the_index_page_without_scripts(
    chromium: Browser, start_daemon: StartDaemon, tmp_path: Path, settings: dict[str, object], alice: Caller
) -> None:
    """Log in, look, and go as far as the console page, which says what it needs."""
    use_file(tmp_path)
    daemon = start(start_daemon, settings, alice)
    context = chromium.new_context(
        java_script_enabled=False, http_credentials={"username": alice.name, "password": alice.key}
    )
    try:
        page = context.new_page()
        blocked: list[str] = []
        page.on("console", lambda message: blocked.append(message.text) if "Content Security" in message.text else None)
        answer = page.goto(f"{daemon.url}/")
        assert answer is not None
        assert answer.status == 200
        names = [text.split() for text in page.locator("tbody th").all_inner_texts()]
        assert names == [["Web", "<b>1</b>", "vm-1"], ["Off", "vm-2"]]
        assert page.locator(".machine-state").all_inner_texts() == ["Running", "Stopped"]
        assert page.get_by_role("link", name="Open console").count() == 1
        page.keyboard.press("Tab")
        focused = page.locator("a:focus")
        assert focused.inner_text().startswith("Open console")
        page.keyboard.press("Enter")
        page.wait_for_url("**/novnc?token=*")
        daemon.keep_secret(Console(page.url))
        assert "The console needs JavaScript." in page.inner_text("body")
        assert page.goto(f"{daemon.url}{CONSOLE}vm-2") is not None
        assert "The machine is not running." in page.inner_text("body")
        assert blocked == []
    finally:
        context.close()


def test_from_the_index_page_to_the_console(
    chromium: Browser,
    start_qemu: StartQemu,
    start_daemon: StartDaemon,
    tmp_path: Path,
    settings: dict[str, object],
    alice: Caller,
    password: str,
) -> None:
    qemu = start_qemu(password=password)
    write_machines(tmp_path / "machines.json", {"vm-1": as_machine(qemu, "Web 1", password)})
    daemon = start(start_daemon, settings, alice)
    context = chromium.new_context(http_credentials={"username": alice.name, "password": alice.key})
    try:
        tab = ConsolePage(context.new_page())
        tab.open(f"{daemon.url}/")
        tab.page.get_by_role("link", name="Open console – Web 1").click()
        wait_for(lambda: "/novnc" in tab.page.url, "the console page")
        tab.wait_for_state("connected")
        tab.wait_for_picture(qemu.screendump)
        tab.open(f"{daemon.url}{CONSOLE}vm-9")
        assert_page_names(tab, "machine-not-found")
        assert tab.faults == []
    finally:
        context.close()
