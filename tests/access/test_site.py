"""The access endpoint's URLs, through the front door: who gets in, what is answered, and what the log says of it."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import attrs
import pytest
import trio
import trustme
from trio.testing import MockClock

from tests.access.signing import signed_query
from tests.helpers import (
    KEY,
    NOW,
    built_pages,
    make_admission,
    make_front,
    make_gate,
    make_site,
    no_host,
    registry_of,
    within,
)
from trio_cpvm import errors
from trio_cpvm.access.answers import RESPONSE
from trio_cpvm.access.callers import Caller, Callers, bearer_digest, parse_callers
from trio_cpvm.access.machines import Found, Machine, MachineState
from trio_cpvm.access.memory import AccessMemory
from trio_cpvm.access.site import AccessSite
from trio_cpvm.access.used_signatures import UsedSignatures
from trio_cpvm.config import AccessConfig, Config, ServerConfig, SessionConfig
from trio_cpvm.config_values import TcpAddress
from trio_cpvm.errors import ConsoleError, Reason
from trio_cpvm.http import Request, Response
from trio_cpvm.limiter import FailureLimiter
from trio_cpvm.models import ConsoleTarget, Secret
from trio_cpvm.site import PublicSite
from trio_cpvm.testing import HttpAnswer, connected, http_get
from trio_cpvm.token import open_token

timely = within(600)

ALICE = "alice's key"
BOB = "bob's key"
CAROL = "carol's key"
CALLERS = parse_callers(
    f"""
    [callers.alice]
    bearer_sha256 = ["{bearer_digest(ALICE)}"]
    api_key = "K"
    secret_key = "S"
    machines = ["*"]
    [callers.bob]
    bearer_sha256 = ["{bearer_digest(BOB)}"]
    machines = ["vm-2", "name:Web*"]
    [callers.carol]
    bearer_sha256 = ["{bearer_digest(CAROL)}"]
    machines = ["*"]
    view_only = true
    """,
    "x.toml",
)


def found(machine_id: str, name: str, state: MachineState = MachineState.RUNNING, *, console: bool = True) -> Found:
    target = ConsoleTarget(host="192.0.2.5", port=5901, password=Secret("pa55word"), locale="de") if console else None
    return Found(machine=Machine(id=machine_id, name=name, state=state), target=target, lack="" if console else "lack")


@attrs.define
class Machines:
    """An inventory of four machines; ``fails`` makes it one that cannot be asked."""

    fails: bool = False
    all: dict[str, Found] = attrs.field(
        factory=lambda: {
            f.machine.id: f
            for f in (
                found("vm-1", "Web 1"),
                found("vm-2", "DB"),
                found("vm-3", "Off", MachineState.STOPPED, console=False),
                found("vm-4", "Blind", console=False),
            )
        }
    )

    async def machines(self) -> Sequence[Machine]:
        return [found.machine for found in (await self._every()).values()]

    async def find(self, machine_id: str) -> Found | None:
        return (await self._every()).get(machine_id)

    async def _every(self) -> dict[str, Found]:
        if self.fails:
            raise ConsoleError(errors.INVENTORY_FAILED, "in this test")
        return self.all


PUBLIC = "https://console.example.com"


@attrs.define
class Clock:
    """The time of day, and seconds that nobody sets."""

    now: float = NOW
    steady: float = 0.0


async def _callers() -> Callers:
    return CALLERS


def make(
    *,
    public_url: str = PUBLIC,
    server: ServerConfig | None = None,
    session: SessionConfig | None = None,
    machines: Machines | None = None,
    clock: Clock | None = None,
    memory: AccessMemory | None = None,
    **access: Any,
) -> PublicSite:
    server = server or ServerConfig(public_url=public_url)
    config = Config(server=server, session=session or SessionConfig(), access=AccessConfig(enabled=True, **access))
    gate = make_gate()
    clock = clock or Clock()
    site = AccessSite(
        config=config,
        tokens=gate.tokens,
        callers=_callers,
        inventory=machines or Machines(),
        pages=built_pages(),
        memory=memory,
        now=lambda: clock.now,
        clock=lambda: clock.steady,
    )
    admission = make_admission(config)
    return PublicSite(config=config, gate=gate, admission=admission, pages=built_pages(), dial=no_host, access=site)


def basic(name: str, key: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{key}".encode()).decode()


async def ask(
    site: PublicSite, path: str, key: str | None = ALICE, *, method: str = "GET", **headers: str
) -> HttpAnswer:
    """What a caller with that bearer key gets; header names with underscores for dashes."""
    spelled = [(name.replace("_", "-"), value) for name, value in headers.items()]
    if key is not None:
        spelled.append(("authorization", f"Bearer {key}"))
    async with connected(make_front(site).handle) as stream:
        return await http_get(stream, path, method=method, headers=spelled)


def console(vm: str = "vm-1", **more: str) -> str:
    return "/client/console?" + urlencode({"cmd": "access", "vm": vm, "websocketconsole": "true", **more})


def token_of(location: str) -> ConsoleTarget:
    return open_token(parse_qs(urlsplit(location).query)["token"][0], [KEY])


def endpoint(answer: HttpAnswer) -> dict[str, Any]:
    assert answer.status == 200, answer.text
    found: dict[str, Any] = json.loads(answer.body)["createconsoleendpointresponse"]["consoleendpoint"]
    return found


def assert_refused(answer: HttpAnswer, reason: Reason) -> None:
    assert answer.status == reason.http_status, answer.text
    assert f'data-slug="{reason.slug}"' in answer.text


# -- the URL -----------------------------------------------------------------------------------------------------------


@timely
async def test_the_answer_leads_to_the_console(autojump_clock: MockClock) -> None:
    answer = await ask(make(), console())
    assert (answer.status, answer.body) == (302, b"")
    location = answer.header("location") or ""
    assert location.startswith(f"{PUBLIC}/novnc?token=")
    target = token_of(location)
    assert target == ConsoleTarget(
        host="192.0.2.5",
        port=5901,
        password=Secret("pa55word"),
        vm_id="vm-1",
        name="Web 1",
        locale="de",
        session_uuid=target.session_uuid,
        not_after=NOW + 120,
        user="alice",
    )
    assert target.session_uuid
    assert answer.header("cache-control") == "no-store"
    assert answer.header("referrer-policy") == "no-referrer"


@timely
async def test_who_may_only_look_gets_tokens_for_that(autojump_clock: MockClock) -> None:
    site = make()
    for path in (console(), console(response="json")):
        answer = await ask_from(site, "192.0.2.7", path, f"Bearer {CAROL}")
        target = token_of(answer.header("location") or json.loads(answer.body)[RESPONSE]["consoleendpoint"]["url"])
        assert (target.user, target.view_only) == ("carol", True)
    assert "Logged in as carol, view only" in (await ask_from(site, "192.0.2.7", "/", f"Bearer {CAROL}")).text


@timely
async def test_every_answer_has_a_token_of_its_own(autojump_clock: MockClock) -> None:
    site = make()
    uuids = {token_of((await ask(site, console())).header("location") or "").session_uuid for _ in range(3)}
    assert len(uuids) == 3


@timely
async def test_the_configuration_says_how_long_how_often_and_from_where(autojump_clock: MockClock) -> None:
    site = make(token_ttl_s=7.5, reusable_tokens=True, session=SessionConfig(check_source_ip=True))
    answer = await ask_from(site, "::ffff:192.0.2.7", console(), f"Bearer {ALICE}")
    target = token_of(answer.header("location") or "")
    assert (target.not_after, target.session_uuid, target.source_ip) == (NOW + 7.5, "", "192.0.2.7")
    assert_refused(await ask(site, console()), errors.SOURCE_IP_MISMATCH)


@timely
async def test_a_proxy_that_ends_hands_out_nothing_any_more(autojump_clock: MockClock) -> None:
    site = make()
    registry_of(site).draining = True
    assert_refused(await ask(site, console()), errors.DRAINING)
    assert_refused(await ask(site, console(), BOB + "x"), errors.ACCESS_UNAUTHORISED)
    assert (await ask(site, "/")).status == 200


@timely
@pytest.mark.parametrize(
    "server",
    [
        ServerConfig(listen=(TcpAddress("192.0.2.1", 8080),)),
        ServerConfig(listen=(TcpAddress("", 8080),), listen_tls=(TcpAddress("", 443),)),
        ServerConfig(listen_tls=(TcpAddress("", 443),)),  # ``listen`` is on loopback
    ],
)
@pytest.mark.parametrize("secure", [False, True])
async def test_without_a_public_url_the_way_back_is_the_way_in(
    server: ServerConfig, secure: bool, autojump_clock: MockClock
) -> None:
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("console.test").configure_cert(ours)
    authority.configure_trust(theirs)
    front = make_front(make(server=server))
    front.tls = lambda: ours
    bearer = [("authorization", f"Bearer {ALICE}")]

    async def get(path: str) -> HttpAnswer:
        if not secure:
            async with connected(front.handle) as stream:
                return await http_get(stream, path, headers=bearer)
        async with connected(front.handle_tls) as stream:
            secured = trio.SSLStream(stream, theirs, server_hostname="console.test")
            return await http_get(secured, path, headers=bearer)

    assert ((await get(console())).header("location") or "").startswith("/novnc?token=")
    url = endpoint(await get(console(response="json")))["url"]
    assert url.startswith(f"http{'s' * secure}://console.test/novnc?token=")


@timely
async def test_json_for_other_clients(autojump_clock: MockClock) -> None:
    answer = await ask(make(), console(response="json"))
    assert answer.header("content-type") == "application/json"
    said = endpoint(answer)
    assert said["success"] is True
    assert said["url"] == f"{PUBLIC}/novnc?token={quote(said['websocket']['token'], safe='')}"
    assert {**said["websocket"], "token": ""} == {
        "host": "console.example.com",
        "port": "443",
        "path": "websockify",
        "token": "",
    }
    assert token_of(said["url"]).vm_id == "vm-1"


@timely
async def test_cloudstacks_own_command(autojump_clock: MockClock) -> None:
    query = urlencode({"command": "createConsoleEndpoint", "virtualmachineid": "vm-1", "token": "ex tra+"})
    for path in ("/client/api", "/client/api/"):
        said = endpoint(await ask(make(), f"{path}?{query}"))
        assert said["websocket"]["extra"] == "ex tra+"
        assert said["url"].endswith("&extra=ex%20tra%2B")
        assert token_of(said["url"]).extra_token == Secret("ex tra+")


@timely
@pytest.mark.parametrize(
    ("legacy", "location"),
    [
        ("https://old.example.com/client/console", "https://old.example.com/client/console?cmd=access&vm=vm-1"),
        ("https://old.example.com/x?a=b", "https://old.example.com/x?a=b&cmd=access&vm=vm-1"),
    ],
)
async def test_the_older_console(legacy: str, location: str, autojump_clock: MockClock) -> None:
    site = make(legacy_console_url=legacy)
    older = "/client/console?cmd=access&vm=vm-1"
    assert (await ask(site, older)).header("location") == location
    assert (await ask(site, older + "&websocketconsole=false")).header("location") == location
    assert endpoint(await ask(site, older + "&response=json")) == {"success": True, "url": location}
    assert ((await ask(site, console())).header("location") or "").startswith(f"{PUBLIC}/novnc?token=")
    assert_refused(await ask(site, older, BOB + "x"), errors.ACCESS_UNAUTHORISED)
    assert_refused(await ask(site, older.replace("vm-1", "vm-3"), BOB), errors.MACHINE_NOT_FOUND)
    assert ((await ask(make(), older)).header("location") or "").startswith(f"{PUBLIC}/novnc?token=")


# -- who ---------------------------------------------------------------------------------------------------------------


@timely
async def test_signed_requests_count_once(autojump_clock: MockClock) -> None:
    site = make()
    command = {"command": "createConsoleEndpoint", "virtualmachineid": "vm-1"}
    path = "/client/api?" + signed_query(command, api_key="K", secret="S", until=NOW + 60)
    assert endpoint(await ask(site, path, None))["success"] is True
    again = await ask(site, path, None)
    assert (again.status, json.loads(again.body)["createconsoleendpointresponse"]["errorcode"]) == (401, 401)
    access = {"cmd": "access", "vm": "vm-1", "websocketconsole": "true"}
    path = "/client/console?" + signed_query(access, api_key="K", secret="S", until=NOW + 60)
    assert (await ask(site, path, None)).status == 302
    assert_refused(await ask(site, path, None), errors.ACCESS_UNAUTHORISED)


@timely
@pytest.mark.parametrize("path", ["/", console(), console(response="json"), "/client/api?command=x"])
@pytest.mark.parametrize("authorization", [None, "Bearer x", basic("alice", "x"), basic("bob", ALICE)])
async def test_who_does_not_say_who_it_is_gets_nothing(
    path: str, authorization: str | None, autojump_clock: MockClock
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    answer = await ask(make(), path, None, **headers)
    assert answer.status == 401
    if path.startswith("/client/api"):
        assert json.loads(answer.body)["errorresponse"]["errorcode"] == 401
    assert [value for name, value in answer.headers if name == "www-authenticate"] == [
        'Basic realm="Consoles", charset="UTF-8"',
        'Bearer realm="Consoles"',
    ]
    assert "access-unauthorised" in answer.text


@timely
async def test_another_web_site_cannot_use_what_the_browser_remembers(autojump_clock: MockClock) -> None:
    site = make()
    for foreign in ("cross-site", "same-site"):
        answer = await ask(site, console(), None, authorization=basic("alice", ALICE), sec_fetch_site=foreign)
        assert_refused(answer, errors.ORIGIN_REFUSED)
        assert (await ask(site, console(), ALICE, sec_fetch_site=foreign)).status == 302
        index = await ask(site, "/", None, authorization=basic("alice", ALICE), sec_fetch_site=foreign)
        assert index.status == 200
    for own in ("same-origin", "none"):
        answer = await ask(site, console(), None, authorization=basic("alice", ALICE), sec_fetch_site=own)
        assert answer.status == 302


# -- what --------------------------------------------------------------------------------------------------------------


@timely
@pytest.mark.parametrize("vm", ["vm-9", "vm-3", "x" * 300, "a\nb"])
async def test_unknown_and_forbidden_look_the_same(vm: str, autojump_clock: MockClock) -> None:
    site = make()
    plain, as_json = await ask(site, console(vm), BOB), await ask(site, console(vm, response="json"), BOB)
    known = await ask(site, console("vm-4"), BOB)
    assert_refused(plain, errors.MACHINE_NOT_FOUND)
    assert plain.body == known.body
    assert json.loads(as_json.body)["errorresponse"]["errorcode"] == 404


@timely
@pytest.mark.parametrize("vm", ["vm-1", "vm-2"])
async def test_permission_by_id_and_by_name(vm: str, autojump_clock: MockClock) -> None:
    assert (await ask(make(), console(vm), BOB)).status == 302


@timely
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (console("vm-3"), errors.MACHINE_NOT_RUNNING),
        (console("vm-4"), errors.MACHINE_WITHOUT_CONSOLE),
        ("/client/console", errors.BAD_REQUEST),
        ("/client/console?cmd=auth&vm=vm-1", errors.BAD_REQUEST),
        ("/client/console?cmd=access", errors.BAD_REQUEST),
        ("/client/console?cmd=access&vm=vm-1&vm=vm-2", errors.BAD_REQUEST),
    ],
)
async def test_refusals_are_pages(path: str, reason: Reason, autojump_clock: MockClock) -> None:
    assert_refused(await ask(make(), path), reason)


@timely
@pytest.mark.parametrize(
    ("query", "name", "reason"),
    [
        ("", "errorresponse", errors.NOT_FOUND),
        ("command=listVirtualMachines", "errorresponse", errors.NOT_FOUND),
        ("command=createConsoleEndpoint", "createconsoleendpointresponse", errors.BAD_REQUEST),
        (
            "command=createConsoleEndpoint&virtualmachineid=vm-3",
            "createconsoleendpointresponse",
            errors.MACHINE_NOT_RUNNING,
        ),
        (
            "command=createConsoleEndpoint&virtualmachineid=vm-1&token=" + "x" * 257,
            "createconsoleendpointresponse",
            errors.BAD_REQUEST,
        ),
    ],
)
async def test_refusals_of_the_api_are_json(query: str, name: str, reason: Reason, autojump_clock: MockClock) -> None:
    answer = await ask(make(), f"/client/api?{query}")
    assert answer.status == reason.http_status
    assert json.loads(answer.body)[name]["reason"] == reason.slug


@timely
@pytest.mark.parametrize("token", ["a\nb", "\x00", "x\u202ey"])
async def test_an_extra_token_can_be_printed(token: str, autojump_clock: MockClock) -> None:
    query = urlencode({"command": "createConsoleEndpoint", "virtualmachineid": "vm-1", "token": token})
    assert (await ask(make(), f"/client/api?{query}")).status == 400


@timely
@pytest.mark.parametrize("vm", ["a\nb", "x" * 257])
async def test_no_inventory_is_asked_for_what_is_no_machine(vm: str, autojump_clock: MockClock) -> None:
    machines = Machines()
    machines.all[vm] = found(vm, "x")
    assert_refused(await ask(make(machines=machines), console(vm)), errors.MACHINE_NOT_FOUND)


@timely
async def test_a_machine_that_fits_into_no_token(autojump_clock: MockClock) -> None:
    machines = Machines()
    machines.all["vm-5"] = found("vm-5", "x" * 3000)
    assert_refused(await ask(make(machines=machines), console("vm-5")), errors.MACHINE_WITHOUT_CONSOLE)


@timely
@pytest.mark.parametrize("path", ["/", console()])
async def test_an_inventory_that_cannot_be_asked(path: str, autojump_clock: MockClock) -> None:
    assert_refused(await ask(make(machines=Machines(fails=True)), path), errors.INVENTORY_FAILED)


@timely
async def test_the_index_lists_what_one_may_open(autojump_clock: MockClock) -> None:
    site = make()
    alice, bob = await ask(site, "/"), await ask(site, "/", BOB)
    assert [f'data-vm="vm-{i}"' in alice.text for i in (1, 2, 3, 4)] == [True] * 4
    assert [f'data-vm="vm-{i}"' in bob.text for i in (1, 2, 3, 4)] == [True, True, False, False]


async def test_a_long_list_stops_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    machines = Machines(all={f"vm-{i}": found(f"vm-{i}", "Web") for i in range(1500)})
    site = make(machines=machines)
    threads: set[bool] = set()

    def may_open(caller: Caller, machine: Machine) -> bool:
        threads.add(trio.lowlevel.in_trio_run())
        return True

    monkeypatch.setattr(Caller, "may_open", may_open)
    answer = await ask_from(site, "192.0.2.1", "/", f"Bearer {ALICE}")
    assert answer.text.count('data-vm="vm-') == 1500
    assert threads == {False}


@timely
@pytest.mark.parametrize("path", ["/", console(), "/client/api"])
async def test_only_reading_is_allowed(path: str, autojump_clock: MockClock) -> None:
    answer = await ask(make(), path, method="POST")
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")


@timely
@pytest.mark.parametrize("path", ["/", console(), "/client/api?command=createConsoleEndpoint&virtualmachineid=vm-1"])
async def test_none_of_it_is_there_unless_enabled(path: str, autojump_clock: MockClock) -> None:
    assert (await ask(make_site(), path)).status == 404


# -- how often ---------------------------------------------------------------------------------------------------------


async def ask_from(site: PublicSite, client: str, path: str, authorization: str) -> HttpAnswer:
    """As ``ask``, for a client with an address."""

    path, _, query = path.partition("?")
    request = Request(method="GET", path=path, query=query, headers=(("authorization", authorization),))
    answer = await site.answer(request, client)
    assert isinstance(answer, Response)
    headers = tuple((name.lower(), value) for name, value in answer.headers)
    return HttpAnswer(answer.status, headers, answer.body)


async def test_an_address_that_fails_too_often_has_to_wait() -> None:
    clock = Clock()
    site = make(clock=clock, max_failures=3, failure_window_s=60)
    for _ in range(3):
        assert_refused(await ask_from(site, "192.0.2.1", "/", "Bearer x"), errors.ACCESS_UNAUTHORISED)
        clock.steady += 10
    blocked = await ask_from(site, "192.0.2.1", "/", f"Bearer {ALICE}")
    assert_refused(blocked, errors.TOO_MANY_ATTEMPTS)
    assert blocked.header("retry-after") == "30"
    as_json = await ask_from(site, "192.0.2.1", console(response="json"), f"Bearer {ALICE}")
    assert (as_json.status, as_json.header("retry-after")) == (429, "30")
    assert (await ask_from(site, "192.0.2.2", "/", f"Bearer {ALICE}")).status == 200
    clock.steady += 30
    assert (await ask_from(site, "192.0.2.1", "/", f"Bearer {ALICE}")).status == 200


async def test_a_clock_that_is_put_right_makes_nobody_wait_longer() -> None:
    clock = Clock(now=NOW + 86400)
    site = make(clock=clock, max_failures=1, failure_window_s=60)
    await ask_from(site, "192.0.2.1", "/", "Bearer x")
    clock.now, clock.steady = NOW, 20
    assert (await ask_from(site, "192.0.2.1", "/", f"Bearer {ALICE}")).header("retry-after") == "40"


async def test_guesses_tell_nothing_of_callers_names() -> None:
    site = make(max_failures=3)
    for i in range(5):
        for name in ("alice", "nobody"):
            answer = await ask_from(site, f"192.0.{name == 'alice'}.{i}", "/", basic(name, "x"))
            assert_refused(answer, errors.ACCESS_UNAUTHORISED)


async def test_asking_for_machines_in_vain_locks_nobody_out() -> None:
    """A portal asks for many users. A limit on some of the machines would tell those that are there."""
    site = make(max_failures=3)
    for vm in ("vm-3", "vm-9"):
        for _ in range(5):
            answer = await ask_from(site, "192.0.2.1", console(vm), f"Bearer {BOB}")
            assert_refused(answer, errors.MACHINE_NOT_FOUND)
    assert (await ask_from(site, "192.0.2.1", console("vm-1"), f"Bearer {BOB}")).status == 302


async def test_no_web_site_can_lock_its_visitors_out() -> None:
    site = make(max_failures=3)
    for i in range(5):
        assert (await ask_from(site, "192.0.2.1", f"/client/api?apikey={i}", "")).status == 401
    assert (await ask_from(site, "192.0.2.1", "/", f"Bearer {ALICE}")).status == 200
    for i in range(3):
        assert (await ask_from(site, "192.0.2.1", f"/client/api?apikey=K&signature={i}", "")).status == 401
    assert (await ask_from(site, "192.0.2.1", "/", f"Bearer {ALICE}")).status == 429


async def test_a_browsers_first_request_is_no_failure() -> None:
    site = make(max_failures=1)
    for _ in range(3):
        assert_refused(await ask_from(site, "192.0.2.1", "/", ""), errors.ACCESS_UNAUTHORISED)
    assert (await ask_from(site, "192.0.2.1", "/", f"Bearer {ALICE}")).status == 200


async def test_everybody_behind_a_unix_socket_is_not_one_client() -> None:
    site = make(max_failures=1)
    await ask_from(site, "local", "/", "Bearer x")
    assert (await ask_from(site, "local", "/", f"Bearer {ALICE}")).status == 200


# -- signatures --------------------------------------------------------------------------------------------------------


def signed(until: float = NOW + 60) -> str:
    access = {"cmd": "access", "vm": "vm-1", "websocketconsole": "true"}
    return "/client/console?" + signed_query(access, api_key="K", secret="S", until=until)


async def test_signed_requests_are_taken_once_each(caplog: pytest.LogCaptureFixture) -> None:
    site, path = make(), signed()
    assert (await ask(site, path, None)).status == 302
    turned = path.partition("?")[0] + "?" + "&".join(reversed(path.partition("?")[2].split("&")))
    for again in (path, turned):
        assert_refused(await ask(site, again, None), errors.ACCESS_UNAUTHORISED)
    assert (await ask(site, signed(NOW + 61), None)).status == 302
    (line, _) = [record.msg for record in caplog.records if "used already" in str(record.msg)]
    assert isinstance(line, dict)
    assert (line["caller"], line["by"]) == ("alice", "signed")


async def test_a_caller_with_too_many_signatures_waits_and_has_guessed_nothing() -> None:
    """What is forgotten too early would count twice; nobody else's is touched."""
    clock, memory = Clock(), AccessMemory(FailureLimiter(1, 60), UsedSignatures(capacity=2), now=lambda: NOW)
    site = make(clock=clock, memory=memory)
    for i in range(2):
        memory.use("mallory", str(i), lives_s=1000)
        assert (await ask_from(site, "192.0.2.1", signed(NOW + 70 + i), "")).status == 302
    for _ in range(2):
        assert_refused(await ask_from(site, "192.0.2.1", signed(NOW + 80), ""), errors.ACCESS_UNAUTHORISED)
    assert (await ask_from(site, "192.0.2.1", "/", f"Bearer {ALICE}")).status == 200
    assert_refused(await ask_from(site, "192.0.2.1", signed(NOW + 70), ""), errors.ACCESS_UNAUTHORISED)
    assert (await ask_from(site, "192.0.2.1", "/", f"Bearer {ALICE}")).status == 429


# -- log ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authorization", "path", "fields"),
    [
        (basic("alice", ALICE), console(), {"outcome": "granted", "by": "basic", "caller": "alice", "machine": "vm-1"}),
        (
            f"Bearer {BOB}",
            console("vm-3"),
            {
                "outcome": "refused",
                "by": "bearer",
                "caller": "bob",
                "machine": "vm-3",
                "reason": "machine-not-found",
                "detail": "forbidden",
            },
        ),
        (
            f"Bearer {BOB}",
            console("vm-9"),
            {
                "outcome": "refused",
                "by": "bearer",
                "caller": "bob",
                "machine": "vm-9",
                "reason": "machine-not-found",
                "detail": "unknown",
            },
        ),
        (
            basic(ALICE, "x"),
            console(),
            {
                "outcome": "refused",
                "by": "basic",
                "caller": "unknown",
                "reason": "access-unauthorised",
                "detail": "that name does not go with that key",
            },
        ),
    ],
)
async def test_each_attempt_is_one_line(
    authorization: str, path: str, fields: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    answer = await ask_from(make(), "192.0.2.1", path, authorization)
    (record,) = [record for record in caplog.records if record.name == "trio_cpvm.access"]
    assert isinstance(record.msg, dict)
    said = {name: value for name, value in record.msg.items() if not name.startswith("_")}
    assert said == {"event": "console access", "client": "192.0.2.1", **fields}
    for secret in (ALICE, BOB, authorization, answer.header("location") or "?"):
        assert secret not in str(record.msg)
