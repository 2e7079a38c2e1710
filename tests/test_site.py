"""Every URL of the public site: what it answers, with which headers, and every refusal before the 101."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import KEY, NOW, PASSWORD, TARGET, authority_of, make_front, make_site, registry_of, url, within
from trio_cpvm import errors
from trio_cpvm.addresses import parse_trusted_proxy
from trio_cpvm.clients import Clients
from trio_cpvm.config import Config, ServerConfig, SessionConfig, TokenConfig
from trio_cpvm.config_values import Origin
from trio_cpvm.errors import Reason
from trio_cpvm.languages import read_languages
from trio_cpvm.models import Clipboard, ConsoleTarget, Secret
from trio_cpvm.session import Session
from trio_cpvm.site import PublicSite
from trio_cpvm.testing import (
    HttpAnswer,
    RfbClient,
    ScriptedVncServer,
    UpgradeRefused,
    connected,
    http_get,
    open_websocket,
)
from trio_cpvm.token import TokenKey, mint_token

timely = within(600)

#: What only the access endpoint answers: met in ``access/test_site.py``.
OF_ACCESS = {
    errors.ACCESS_UNAUTHORISED,
    errors.INVENTORY_FAILED,
    errors.MACHINE_NOT_FOUND,
    errors.MACHINE_NOT_RUNNING,
    errors.MACHINE_WITHOUT_CONSOLE,
    errors.TOO_MANY_ATTEMPTS,
}


async def fetch(site: PublicSite, path: str, *, method: str = "GET", **headers: str) -> HttpAnswer:
    """What a browser at this machine gets; header names with underscores for dashes."""
    async with connected(make_front(site).handle) as stream:
        spelled = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return await http_get(stream, path, method=method, headers=spelled)


async def upgrade(
    site: PublicSite, path: str, origin: str | None = "http://console.test", *, host: str = "console.test"
) -> Reason | None:
    """Why a WebSocket is refused, once status and text have said the same; ``None`` if it opens."""
    async with connected(make_front(site).handle) as stream:
        try:
            await open_websocket(stream, path, host=host, origin=origin)
        except UpgradeRefused as refused:
            answer = refused.answer
        else:
            return None
    reason = errors.REASONS[answer.text.partition(":")[0]]
    assert (answer.status, answer.text) == (reason.http_status, f"{reason.slug}: {reason.text}\n")
    assert (answer.header("retry-after") == "30") is (answer.status == 503)
    return reason


# -- pages and files ---------------------------------------------------------------------------------------------------


@timely
@pytest.mark.parametrize("path", ["/novnc", "/novnc/", "/resource/noVNC/vnc.html"])
async def test_the_page_is_there_under_each_of_its_names(path: str, autojump_clock: MockClock) -> None:
    page = await fetch(make_site(), url(path))
    assert page.status == 200
    assert 'id="screen"' in page.text
    assert dict(page.headers) == {
        "date": page.header("date"),
        "content-length": str(len(page.body)),
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-store",
        "vary": "Accept-Encoding, Accept-Language",
        "cross-origin-resource-policy": "same-origin",
        "content-security-policy": page.header("content-security-policy"),
        "cross-origin-opener-policy": "same-origin",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    assert "default-src 'none'" in (page.header("content-security-policy") or "")


def setup_of(page: HttpAnswer) -> dict[str, object]:
    (content,) = re.findall(r'<meta name="setup" content="([^"]*)">', page.text)
    setup: dict[str, object] = json.loads(html.unescape(content))
    return setup


SETUPS: dict[str, tuple[Config, ConsoleTarget, dict[str, object]]] = {
    "as it comes": (Config(), TARGET, {}),
    "no session uuid": (Config(), attrs.evolve(TARGET, session_uuid=""), {"reusable": True}),
    "view only": (Config(), attrs.evolve(TARGET, view_only=True), {"viewOnly": True}),
    "clipboard": (
        Config(session=SessionConfig(clipboard=Clipboard.TO_GUEST)),
        attrs.evolve(TARGET, clipboard=Clipboard.FROM_GUEST),
        {"toGuest": False, "fromGuest": False},
    ),
    "limits": (
        Config(session=SessionConfig(idle_timeout_s=0, lifetime_s=7200.5)),
        TARGET,
        {"idleTimeoutS": 0, "lifetimeS": 7200.5},
    ),
    "names": (Config(), attrs.evolve(TARGET, name='"><b>', locale="fr-be"), {"name": '"><b>', "locale": "fr-be"}),
}


@timely
@pytest.mark.parametrize(("config", "target", "differs"), SETUPS.values(), ids=SETUPS.keys())
async def test_the_page_is_told_what_its_user_may_know(
    config: Config, target: ConsoleTarget, differs: dict[str, object], autojump_clock: MockClock
) -> None:
    page = await fetch(make_site(config), url("/novnc", target))
    usual = {
        "name": "Web 1",
        "locale": "",
        "viewOnly": False,
        "toGuest": True,
        "fromGuest": True,
        "idleTimeoutS": 300,
        "lifetimeS": 0,
        "language": "en",
        "reusable": False,
    }
    assert setup_of(page) == {**usual, **differs}
    assert PASSWORD not in page.text
    assert target.host not in page.text


@timely
async def test_where_tokens_are_not_used_up_every_console_may_be_opened_again(autojump_clock: MockClock) -> None:
    site = make_site()
    site.gate.single_use = False
    assert setup_of(await fetch(site, url("/novnc")))["reusable"] is True


@timely
async def test_pages_speak_the_users_language_and_programs_english(autojump_clock: MockClock) -> None:
    german = read_languages()["de"]
    page = await fetch(make_site(), "/novnc", accept_language="de-CH, en;q=0.5")
    assert '<html lang="de"' in page.text
    assert html.escape(german.text(errors.TOKEN_MISSING)) in page.text
    assert html.escape(german.advice(errors.TOKEN_MISSING)) in page.text
    assert errors.TOKEN_MISSING.text not in page.text
    status = await fetch(make_site(), "/novnc/status?lang=de", accept_language="de")
    assert json.loads(status.body)["text"] == errors.TOKEN_MISSING.text
    websocket = await fetch(make_site(), "/websockify?lang=de", accept_language="de")
    assert errors.UPGRADE_REQUIRED.text in websocket.text


@timely
async def test_cloudstacks_own_url_may_carry_more(autojump_clock: MockClock) -> None:
    path = url("/resource/noVNC/vnc.html").replace("?", "?autoconnect=true&port=8443&") + "&language=de"
    assert (await fetch(make_site(), path)).status == 200


@timely
async def test_the_page_opens_with_every_spelling_of_its_token(autojump_clock: MockClock) -> None:
    token = mint_token(TARGET, KEY)
    url_safe = base64.urlsafe_b64encode(base64.b64decode(token)).decode()
    for spelled in (token, quote(token), quote(token, safe=""), token.rstrip("="), url_safe, url_safe.rstrip("=")):
        assert (await fetch(make_site(), f"/novnc?token={spelled}")).status == 200


@timely
async def test_all_the_page_asks_for_is_there(autojump_clock: MockClock) -> None:
    site = make_site()
    page = await fetch(site, url("/novnc"))
    names = re.findall(r'"(/novnc/assets/[^"]+)"', page.text)
    types = {}
    for name in [*names, "/novnc/assets/licences.txt"]:
        plain, packed = await fetch(site, name), await fetch(site, name, accept_encoding="gzip")
        assert plain.status == packed.status == 200
        assert plain.header("content-type") == packed.header("content-type")
        assert plain.header("x-content-type-options") == "nosniff"
        assert "max-age=" in (plain.header("cache-control") or "")
        assert (packed.header("content-encoding") == "gzip") is (len(packed.body) < len(plain.body))
        types[name.rpartition(".")[2]] = plain.header("content-type")
    assert types == {
        "js": "text/javascript; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "txt": "text/plain; charset=utf-8",
    }


@timely
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//host/%2F..",
        "//host/..%2f",
        "///",
        "/novnc/assets/",
        "/novnc/assets",
        "/novnc/assets/../../etc/passwd",
        "/novnc/assets/%2e%2e/%2e%2e/etc/passwd",
        "/novnc/assets/..%5c..%5cetc",
        "/novnc/assets/console.en.html",
        "/novnc/assets/console.js",
        "/novnc/..",
        "/novnc//",
        "/novnc/index.html",
        "/NOVNC",
        "/%6eovnc",
        "/resource/noVNC/",
        "/resource/noVNC",
        "/websockify/",
        "/favicon.ico",
        "/healthz",
        "/readyz",
        "/metrics",
        "/sessions",
        "/cmd/getstatus",
        "/drain",
        "/client/console?cmd=access",
    ],
)
async def test_everything_else_is_not_found_and_leads_nowhere(path: str, autojump_clock: MockClock) -> None:
    answer = await fetch(make_site(), path + ("&" if "?" in path else "?") + url("").lstrip("?"))
    assert answer.status == 404
    assert 'data-slug="not-found"' in answer.text
    assert answer.header("location") is None


@timely
@pytest.mark.parametrize("path", ["/novnc", "/novnc/status", "/novnc/assets/licences.txt", "/resource/noVNC/vnc.html"])
async def test_only_get_and_head_are_answered(path: str, autojump_clock: MockClock) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
        answer = await fetch(make_site(), path, method=method)
        assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")


@timely
async def test_the_page_uses_no_token_up(autojump_clock: MockClock) -> None:
    site = make_site()
    path = url("")
    for _ in range(3):
        assert (await fetch(site, "/novnc" + path)).status == 200
        assert (await fetch(site, "/novnc/status" + path)).status == 200
    assert await upgrade(site, "/websockify" + path) is None


# -- refusals ----------------------------------------------------------------------------------------------------------

SetUp = Callable[[PublicSite], contextlib.AbstractContextManager[None]]


def busy(site: PublicSite) -> contextlib.AbstractContextManager[None]:
    """Another machine's console is open."""
    return registry_of(site).running(Session(target=attrs.evolve(TARGET, vm_id="other"), client="local"))


@contextlib.contextmanager
def draining(site: PublicSite) -> Iterator[None]:
    registry_of(site).draining = True
    yield


@contextlib.contextmanager
def used(site: PublicSite) -> Iterator[None]:
    authority_of(site).used.use(TARGET.session_uuid, until=None, now=NOW)
    yield


def nothing(site: PublicSite) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def tokens(target: ConsoleTarget = TARGET) -> str:
    return url("", target)


STRICT = Config(session=SessionConfig(check_source_ip=True))
ONE_SESSION = Config(session=SessionConfig(max_sessions=1))
ONE_PER_CLIENT = Config(session=SessionConfig(max_sessions_per_client=1))
REFUSED: dict[str, tuple[Config, SetUp, str, Reason]] = {
    "no token": (Config(), nothing, "", errors.TOKEN_MISSING),
    "an empty token": (Config(), nothing, "?token=", errors.TOKEN_MISSING),
    "nonsense": (Config(), nothing, "?token=nonsense", errors.TOKEN_INVALID),
    "nonsense in percents": (Config(), nothing, "?token=%ff%00%zz", errors.TOKEN_INVALID),
    "another key": (Config(), nothing, url("", key=TokenKey(b"k" * 16, b"i" * 16)), errors.TOKEN_INVALID),
    "no end": (Config(), nothing, tokens(attrs.evolve(TARGET, not_after=None)), errors.TOKEN_INVALID),
    "expired": (Config(), nothing, tokens(attrs.evolve(TARGET, not_after=NOW - 6)), errors.TOKEN_EXPIRED),
    "used": (Config(), used, tokens(), errors.TOKEN_USED),
    "no extra": (Config(), nothing, tokens(attrs.evolve(TARGET, extra_token=Secret("e"))), errors.EXTRA_TOKEN_MISMATCH),
    "wrong extra": (
        Config(),
        nothing,
        tokens(attrs.evolve(TARGET, extra_token=Secret("e"))) + "&extra=f",
        errors.EXTRA_TOKEN_MISMATCH,
    ),
    "source": (STRICT, nothing, tokens(attrs.evolve(TARGET, source_ip="192.0.2.1")), errors.SOURCE_IP_MISMATCH),
    "no source": (STRICT, nothing, tokens(), errors.SOURCE_IP_MISMATCH),
    "draining": (Config(), draining, tokens(), errors.DRAINING),
    "full": (ONE_SESSION, busy, tokens(), errors.TOO_MANY_SESSIONS),
    "full for the client": (ONE_PER_CLIENT, busy, tokens(), errors.TOO_MANY_SESSIONS),
}


def assert_says(page: HttpAnswer, reason: Reason) -> None:
    """It is the error page of that reason."""
    assert page.status == reason.http_status
    assert f'data-slug="{reason.slug}"' in page.text
    assert reason.text in page.text
    assert page.header("content-type") == "text/html; charset=utf-8"
    assert page.header("cache-control") == "no-store"
    assert "default-src 'none'" in (page.header("content-security-policy") or "")
    assert (page.header("retry-after") == "30") is (page.status == 503)


@timely
@pytest.mark.parametrize(("config", "set_up", "query", "reason"), REFUSED.values(), ids=REFUSED.keys())
async def test_page_status_and_websocket_refuse_for_the_same_reason(
    config: Config, set_up: SetUp, query: str, reason: Reason, autojump_clock: MockClock
) -> None:
    site = make_site(config)
    with set_up(site):
        for path in ("/novnc", "/novnc/", "/resource/noVNC/vnc.html"):
            assert_says(await fetch(site, path + query), reason)
        status = await fetch(site, "/novnc/status" + query)
        assert (status.status, status.header("content-type")) == (200, "application/json")
        assert json.loads(status.body) == {
            "usable": False,
            "slug": reason.slug,
            "text": reason.text,
            "advice": reason.advice,
            "retryable": reason.retryable,
        }
        assert await upgrade(site, "/websockify" + query) is reason


@timely
async def test_who_has_to_wait_takes_nobody_s_line_in_the_log(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """Its requests are told at debug only, and the pace is one for all."""
    caplog.set_level("INFO")
    site = make_site(
        Config(server=ServerConfig(trusted_proxies=(parse_trusted_proxy("unix"),)), token=TokenConfig(max_failures=1))
    )
    for _ in range(50):
        await fetch_from(site, "/novnc?token=x", X_Forwarded_For="192.0.2.66")
    await fetch_from(site, "/novnc?token=x", X_Forwarded_For="192.0.2.67")
    refused = [record.msg for record in caplog.records if "page refused" in str(record.msg)]
    assert [one["client"] for one in refused if isinstance(one, dict)] == ["192.0.2.66", "192.0.2.67"]


@timely
async def test_a_guesser_is_told_how_long_to_wait(autojump_clock: MockClock) -> None:
    site = make_site(
        Config(server=ServerConfig(trusted_proxies=(parse_trusted_proxy("unix"),)), token=TokenConfig(max_failures=2))
    )
    who = {"X_Forwarded_For": "192.0.2.66"}
    for _ in range(2):
        assert (await fetch_from(site, "/novnc?token=x", **who)).status == 403
    reason = errors.TOO_MANY_ATTEMPTS
    for path in ("/novnc", "/resource/noVNC/vnc.html"):
        answer = await fetch_from(site, url(path), **who)
        assert 0 < int(answer.header("retry-after") or "") <= 60
        assert (answer.status, reason.text in answer.text) == (429, True)
    status = await fetch_from(site, url("/novnc/status"), **who)
    assert (status.status, json.loads(status.body)["slug"]) == (200, reason.slug)
    assert (await fetch_from(site, url("/novnc"), X_Forwarded_For="192.0.2.67")).status == 200


async def fetch_from(site: PublicSite, path: str, **headers: str) -> HttpAnswer:
    """As ``fetch``, through a reverse proxy on a unix socket."""
    front = make_front(site)
    front.clients = Clients(trusted_proxies=site.config.server.trusted_proxies)
    async with connected(front.handle) as stream:
        spelled = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return await http_get(stream, path, headers=spelled)


@timely
async def test_the_status_of_a_good_token(autojump_clock: MockClock) -> None:
    status = await fetch(make_site(), url("/novnc/status"))
    assert json.loads(status.body) == {"usable": True, "slug": None, "text": "", "advice": "", "retryable": False}
    assert status.header("cache-control") == "no-store"


def test_every_reason_with_a_status_is_met_by_a_test() -> None:
    """The rest is met above, below or in ``test_http_io.py``; ``internal-error`` closes without an answer."""
    met = {reason for *_, reason in REFUSED.values()}
    asked = {reason for reason in errors.REASONS.values() if reason.http_status is not None} - OF_ACCESS
    assert {reason.slug for reason in asked - met} == {
        "bad-request",
        "internal-error",
        "method-not-allowed",
        "not-found",
        "origin-refused",
        "request-timeout",
        "request-too-large",
        "upgrade-required",
    }


@timely
async def test_nobody_learns_why_a_token_cannot_be_opened(autojump_clock: MockClock) -> None:
    pages = {
        (await fetch(make_site(), "/novnc" + query)).body
        for *_, query, reason in REFUSED.values()
        if reason is errors.TOKEN_INVALID
    }
    assert len(pages) == 1


# -- the WebSocket -----------------------------------------------------------------------------------------------------


@timely
@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        (None, None),
        ("http://console.test", None),
        ("https://console.test", None),
        ("https://cloud.example.com", None),
        ("https://public.example.com", None),
        ("http://evil.test", errors.ORIGIN_REFUSED),
        ("null", errors.ORIGIN_REFUSED),
        ("", errors.ORIGIN_REFUSED),
        ("http://public.example.com", errors.ORIGIN_REFUSED),
    ],
)
async def test_pages_of_other_sites_open_nothing(
    origin: str | None, reason: Reason | None, autojump_clock: MockClock
) -> None:
    server = ServerConfig(
        allowed_origins=(Origin("https://cloud.example.com"),), public_url="https://public.example.com/consoles"
    )
    site = make_site(Config(server=server))
    assert await upgrade(site, url("/websockify"), origin) is reason


@timely
@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ("https://consoles.example.com", None),
        ("https://consoles.example.com:443", None),
        ("http://consoles.example.com", errors.ORIGIN_REFUSED),
        ("https://consoles.example.com:8443", errors.ORIGIN_REFUSED),
        ("https://example.com", errors.ORIGIN_REFUSED),
        ("http://10.0.0.5:8080", None),
    ],
)
async def test_behind_a_reverse_proxy_that_rewrites_the_host_the_public_url_counts(
    origin: str, reason: Reason | None, autojump_clock: MockClock
) -> None:
    site = make_site(Config(server=ServerConfig(public_url="https://consoles.example.com/")))
    assert await upgrade(site, url("/websockify"), origin, host="10.0.0.5:8080") is reason


@timely
async def test_a_refused_websocket_uses_no_token_up(autojump_clock: MockClock) -> None:
    site = make_site()
    path = url("/websockify")
    assert await upgrade(site, path, "http://evil.test") is errors.ORIGIN_REFUSED
    registry_of(site).draining = True
    assert await upgrade(site, path) is errors.DRAINING
    registry_of(site).draining = False
    assert (await fetch(site, path)).status == 426
    assert await upgrade(site, path) is None
    assert await upgrade(site, path) is errors.TOKEN_USED


@timely
async def test_who_sends_more_than_an_upgrade_request_uses_no_token_up(autojump_clock: MockClock) -> None:
    """It gets a plain refusal, so it must not have passed the gate: there would be no record of it."""
    site = make_site()
    path = url("/websockify")
    async with connected(make_front(site).handle) as stream:
        head = f"GET {path} HTTP/1.1\r\nHost: console.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        key = base64.b64encode(bytes(16)).decode()
        head += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        await stream.send_all(head.encode() + b"more")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
    assert await upgrade(site, path) is None


@timely
async def test_of_many_browsers_with_one_token_one_gets_in(autojump_clock: MockClock) -> None:
    site = make_site()
    outcomes: list[Reason | None] = []

    async def try_it(path: str) -> None:
        outcomes.append(await upgrade(site, path))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(try_it, url("/websockify"))
    assert outcomes.count(None) == 1
    assert outcomes.count(errors.TOKEN_USED) == 19


@timely
@pytest.mark.parametrize(("offered", "agreed"), [(("binary",), "binary"), (("base64", "binary"), "binary"), ((), None)])
async def test_the_subprotocol_is_named_only_if_offered(
    offered: tuple[str, ...], agreed: str | None, autojump_clock: MockClock
) -> None:
    async with connected(make_front().handle) as stream:
        websocket = await open_websocket(stream, url("/websockify"), subprotocols=offered)
        assert websocket.subprotocol == agreed


@timely
async def test_a_plain_request_for_the_websocket_is_told_what_it_is(autojump_clock: MockClock) -> None:
    answer = await fetch(make_site(), url("/websockify"))
    assert (answer.status, answer.header("upgrade"), answer.header("sec-websocket-version")) == (426, "websocket", "13")


@timely
async def test_a_console_is_what_the_token_says(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    host = ScriptedVncServer(password=PASSWORD)
    dialer = host.start(nursery)
    site = make_site(dial=dialer.dial)
    async with connected(make_front(site).handle) as stream:
        client = RfbClient(await open_websocket(stream, url("/websockify"), origin="http://console.test"))
        init = await client.handshake()
        assert (init.name, client.offered_security) == (TARGET.name, (1,))
        assert [arguments[0] for arguments in dialer.dialled] == [TARGET]
        (session,) = registry_of(site)
        assert (session.target, session.client) == (TARGET, "local")
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert len(registry_of(site)) == 0
    assert "challenge ok" in host.events


@timely
async def test_a_second_viewer_replaces_the_first(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    site = make_site(dial=ScriptedVncServer(password=PASSWORD).start(nursery).dial)
    first, second = TARGET, attrs.evolve(TARGET, session_uuid="uuid-2")
    handle = make_front(site).handle
    async with connected(handle) as one, connected(handle) as other:
        old = await open_websocket(one, url("/websockify", first))
        await RfbClient(old).handshake()
        new = await open_websocket(other, url("/websockify", second))
        await RfbClient(new).handshake()
        assert await old.receive_some() == b""
        assert (old.close_code, (old.close_reason or "").partition(":")[0]) == (4409, "replaced")
        assert new.close_code is None


@timely
async def test_an_operator_ends_a_console_with_a_word(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    site = make_site(dial=ScriptedVncServer(password=PASSWORD).start(nursery).dial)
    async with connected(make_front(site).handle) as stream:
        websocket = await open_websocket(stream, url("/websockify"))
        await RfbClient(websocket).handshake()
        (session,) = registry_of(site)
        session.end(errors.KILLED)
        assert await websocket.receive_some() == b""
        assert (websocket.close_code, (websocket.close_reason or "").partition(":")[0]) == (4411, "killed")
