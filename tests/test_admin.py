"""The admin site: its routes, who may ask, what it tells of a session, ending one, draining."""

from __future__ import annotations

import json

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.helpers import PASSWORD, TARGET, make_front, make_registry, make_site, registry_of, url, within
from trio_cpvm import __version__
from trio_cpvm.admin import AdminSite
from trio_cpvm.config import SessionConfig
from trio_cpvm.models import Secret
from trio_cpvm.registry import SessionRegistry
from trio_cpvm.session import Session
from trio_cpvm.testing import HttpAnswer, RfbClient, ScriptedVncServer, connected, http_get, open_websocket

timely = within(60)


def make_admin(registry: SessionRegistry[Session] | None = None) -> AdminSite:
    found = registry if registry is not None else make_registry(SessionConfig())

    def start_drain() -> None:
        found.draining = True

    return AdminSite(
        registry=found,
        start_drain=start_drain,
        clock=trio.current_time,
        connections=lambda: {"public": 3, "admin": 1},
    )


async def ask(
    site: AdminSite, path: str, *, method: str = "GET", host: str = "127.0.0.1:8001", **headers: str
) -> HttpAnswer:
    async with connected(make_front(site).handle) as stream:
        return await http_get(stream, path, method=method, host=host, headers=headers.items())


@timely
@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/healthz", 200, "ok\n"),
        ("HEAD", "/healthz", 200, ""),
        ("GET", "/readyz", 200, "ready\n"),
        ("GET", "/metrics", 200, None),
        ("POST", "/metrics", 405, None),
        ("GET", "/cmd/getstatus", 200, '{\n  "connections": []\n}'),
        ("POST", "/cmd/getstatus", 405, None),
        ("GET", "/cmd/", 404, None),
        ("GET", "/cmd/else", 404, None),
        ("GET", "/sessions", 200, None),
        ("GET", "/repl", 404, None),
        ("HEAD", "/sessions", 200, ""),
        ("POST", "/drain", 200, '{"draining": true, "sessions": 0}\n'),
        ("POST", "/healthz", 405, None),
        ("POST", "/readyz", 405, None),
        ("DELETE", "/sessions", 405, None),
        ("GET", "/drain", 405, None),
        ("HEAD", "/drain", 405, None),
        ("GET", "/sessions/x/kill", 405, None),
        ("POST", "/sessions/x/kill", 404, None),
        ("POST", "/sessions//kill", 404, None),
        ("GET", "/sessions/", 404, None),
        ("POST", "/sessions/x", 404, None),
        ("POST", "/sessions/x/y/kill", 404, None),
        ("GET", "/", 404, None),
        ("GET", "/healthz/", 404, None),
        ("GET", "//healthz", 404, None),
        ("GET", "/novnc", 404, None),
        ("GET", "/websockify", 404, None),
    ],
)
async def test_routes(method: str, path: str, status: int, body: str | None, autojump_clock: MockClock) -> None:
    answer = await ask(make_admin(), path, method=method)
    assert answer.status == status
    assert answer.header("cache-control") == "no-store"
    if body is not None:
        assert answer.text == body


@timely
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8001", "[::1]", "[::1]:8001", "localhost", "LocalHost:8001"])
async def test_who_names_an_address_is_answered(host: str, autojump_clock: MockClock) -> None:
    assert (await ask(make_admin(), "/healthz", host=host)).status == 200


@timely
async def test_a_client_too_old_to_name_a_host_is_no_browser(autojump_clock: MockClock) -> None:
    async with connected(make_front(make_admin()).handle) as stream:
        await stream.send_all(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")


@timely
@pytest.mark.parametrize("path", ["/healthz", "/sessions", "/nowhere"])
@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:8001", "localhost.evil.test", "127.0.0.1.evil.test", "evil.test:80.80", "1.2.3"]
)
async def test_no_name_leads_here(path: str, host: str, autojump_clock: MockClock) -> None:
    answer = await ask(make_admin(), path, host=host)
    assert answer.status in (400, 403)
    assert "ok" not in answer.text


@timely
@pytest.mark.parametrize("origin", ["http://evil.test", "http://127.0.0.1:8001", "null", ""])
async def test_no_web_page_is_answered(origin: str, autojump_clock: MockClock) -> None:
    site = make_admin()
    for method, path in [("GET", "/sessions"), ("POST", "/drain"), ("POST", "/sessions/x/kill")]:
        answer = await ask(site, path, method=method, Origin=origin)
        assert (answer.status, answer.text.partition(":")[0]) == (403, "origin-refused")
    assert not site.registry.draining


@timely
async def test_draining_shows(autojump_clock: MockClock) -> None:
    site = make_admin()
    assert (await ask(site, "/drain", method="POST")).status == 200
    assert site.registry.draining
    ready = await ask(site, "/readyz")
    assert (ready.status, ready.text.partition(":")[0], ready.header("retry-after")) == (503, "draining", "30")
    assert (await ask(site, "/healthz")).status == 200


@timely
async def test_a_session_that_connects_is_listed(autojump_clock: MockClock) -> None:
    registry = make_registry()
    site = make_admin(registry)
    target = attrs.evolve(TARGET, host="2001:db8::5", user="alice", view_only=True)
    session = Session(target=target, client="192.0.2.9", resumes=True)
    with registry.running(session):
        await trio.sleep(2.5)
        answer = await ask(site, "/sessions")
    assert json.loads(answer.body) == {
        "version": __version__,
        "uptime_s": 2.5,
        "draining": False,
        "connections": {"public": 3, "admin": 1},
        "max_sessions": 1000,
        "sessions": [
            {
                "id": session.id,
                "phase": "connect",
                "user": "alice",
                "client": "192.0.2.9",
                "vm": "vm-1",
                "name": "Web 1",
                "host": "[2001:db8::5]:5901",
                "security": "",
                "transport": "",
                "view_only": True,
                "looks_on": False,
                "resumes": True,
                "age_s": 2.5,
                "idle_s": 2.5,
                "idle_left_s": None,
                "lifetime_left_s": None,
                "host_rtt_ms": None,
                "bytes_up": 0,
                "bytes_down": 0,
                "worker": None,
            }
        ],
    }


@timely
async def test_a_running_session_is_listed_and_killed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    public = make_site(dial=ScriptedVncServer(password=PASSWORD).start(nursery).dial)
    admin = make_admin(registry_of(public))
    async with connected(make_front(public).handle) as stream:
        websocket = await open_websocket(stream, url("/websockify"))
        await RfbClient(websocket).handshake()
        (listed,) = json.loads((await ask(admin, "/sessions")).body)["sessions"]
        assert (listed["phase"], listed["security"], listed["transport"]) == ("relay", "VncAuth(2)", "no TLS")
        assert listed["idle_left_s"] == 300
        answer = await ask(admin, f"/sessions/{listed['id']}/kill", method="POST")
        assert json.loads(answer.body) == {"killed": listed["id"]}
        assert await websocket.receive_some() == b""
        assert (websocket.close_code, (websocket.close_reason or "").partition(":")[0]) == (4411, "killed")
        await trio.testing.wait_all_tasks_blocked()
        assert (await ask(admin, f"/sessions/{listed['id']}/kill", method="POST")).status == 404


@timely
async def test_nothing_secret_is_listed(autojump_clock: MockClock) -> None:
    secret = Secret("S3CRET")
    target = attrs.evolve(
        TARGET, password=secret, ticket=secret, tunnel_session=secret, extra_token=secret, session_uuid="S3CRET"
    )
    registry = make_registry()
    site = make_admin(registry)
    with registry.running(Session(target=target, client="local")):
        answer = await ask(site, "/sessions")
    assert "Web 1" in answer.text
    assert "S3CRET" not in answer.text
