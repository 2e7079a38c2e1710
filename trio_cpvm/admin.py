"""The admin site: health, metrics, the sessions, ending them. Never reachable through the public listener.

It asks for no login: it belongs on loopback, a management network or a unix socket. Against web pages that aim an
operator's browser at it, it takes no request with an ``Origin``, and none for a host name (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Awaitable, Callable, Mapping

import attrs
import trio

from . import __version__, errors, load_report
from .control import tenths
from .errors import ConsoleError
from .http import Request, Response
from .http_io import TakeOver
from .logger import get_logger
from .metrics import CONTENT_TYPE, Metrics
from .shown import Shown, ShownSessions

log = get_logger("trio_cpvm.admin")

#: What is answered with how sessions are at this moment.
_TELL_DETAILS = frozenset({"/sessions", "/cmd/getstatus", "/metrics"})


@attrs.define(eq=False, kw_only=True)
class AdminSite:
    """Answers operators.

    Attributes:
        registry: the running sessions.
        start_drain: begins the daemon's orderly end.
        metrics: what was counted.
        now: the time of day, in seconds since the epoch.
        clock: seconds that never go back.
        connections: how many are open, by listener.
        attach: answers a request for the attached REPL; ``None``: there is none.
        gather: asks other processes how their sessions are, for what is answered next: all of it, or just how many
            bytes they have relayed; ``None``: there are no others.
        is_ready: whether consoles can be opened.
    """

    registry: ShownSessions
    start_drain: Callable[[], None]
    metrics: Metrics = attrs.field(factory=Metrics)
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    connections: Callable[[], Mapping[str, int]] = dict
    attach: Callable[[Request], TakeOver] | None = None
    gather: Callable[[bool], Awaitable[None]] | None = None
    is_ready: Callable[[], bool] = lambda: True
    _started_at: float = attrs.field(init=False)
    _turn: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._started_at = self.clock()

    async def answer(self, request: Request, client: str) -> Response | TakeOver:
        """Answer one request of an operator, one at a time: consoles get their turn between any two.

        Raises:
            ConsoleError: it is refused.
        """
        async with self._turn:
            if self.gather is not None and request.path in _TELL_DETAILS:
                await self.gather(request.path != "/metrics")
            return self._answer(request, client)

    def _answer(self, request: Request, client: str) -> Response | TakeOver:
        if request.header("origin") is not None or not _names_an_address(request.header("host")):
            raise ConsoleError(errors.ORIGIN_REFUSED, "the admin listener answers no web pages")
        match request.method, request.path.split("/")[1:]:
            case (("GET" | "HEAD"), ["healthz"]):
                return Response(status=200, body=b"ok\n")
            case (("GET" | "HEAD"), ["readyz"]):
                if self.registry.draining:
                    raise ConsoleError(errors.DRAINING)
                if not self.is_ready():
                    return Response(status=503, body=b"no worker serves\n")
                return Response(status=200, body=b"ready\n")
            case (("GET" | "HEAD"), ["metrics"]):
                return Response(status=200, body=self.metrics.exposition(), content_type=CONTENT_TYPE)
            case (("GET" | "HEAD"), ["cmd", "getstatus"]):
                report = load_report.load_report(self.registry, now=self.now())
                return Response(status=200, body=report, content_type=load_report.CONTENT_TYPE)
            case (("GET" | "HEAD"), ["sessions"]):
                return _json({**self._daemon(), "sessions": [describe(session) for session in self.registry]})
            case "POST", ["sessions", session_id, "kill"]:
                return self._kill(session_id, client)
            case "POST", ["drain"]:
                log.warning("drain asked for", client=client)
                self.start_drain()
                return _json({"draining": True, "sessions": len(self.registry)})
            case "GET", ["repl"] if self.attach is not None:
                return self.attach(request)
            case _, ["cmd", "getstatus"] | ["healthz"] | ["readyz"] | ["metrics"] | ["sessions"] | [
                "sessions",
                _,
                "kill",
            ] | ["drain"]:
                raise ConsoleError(errors.METHOD_NOT_ALLOWED, request.method[:16])
        raise ConsoleError(errors.NOT_FOUND)

    def _daemon(self) -> dict[str, object]:
        """The daemon as a whole."""
        return {
            "version": __version__,
            "uptime_s": round(self.clock() - self._started_at, 1),
            "draining": self.registry.draining,
            "connections": dict(self.connections()),
            "max_sessions": self.registry.limits.max_sessions,
        }

    def _kill(self, session_id: str, client: str) -> Response:
        session = self.registry.get(session_id)
        if session is None:
            raise ConsoleError(errors.NOT_FOUND, "no such session")
        log.warning("session kill asked for", session=session.id, client=client)
        session.end(errors.KILLED)
        return _json({"killed": session.id})


def describe(session: Shown) -> dict[str, str | int | float | bool | None]:
    """A running session for operators; nothing secret. ``None`` stands for no limit, or what is not known."""
    established, standing = session.established, session.standing
    return {
        "id": session.id,
        "phase": str(session.phase),
        "user": session.target.user,
        "client": session.client,
        "vm": session.target.vm_id,
        "name": session.name,
        "host": session.target.address,
        "security": established.security if established is not None else "",
        "transport": session.transport,
        "view_only": session.target.view_only,
        "looks_on": session.looks_on,
        "resumes": session.resumes,
        "age_s": round(session.age_s, 1),
        "idle_s": round(session.idle_s, 1),
        "idle_left_s": tenths(standing.idle_left_s),
        "lifetime_left_s": tenths(standing.lifetime_left_s),
        "host_rtt_ms": None if standing.host_rtt_s is None else round(standing.host_rtt_s * 1000, 2),
        "bytes_up": session.bytes_up,
        "bytes_down": session.bytes_down,
        "worker": session.worker,
    }


def _names_an_address(host: str | None) -> bool:
    """Whether a Host header is an IP address or ``localhost``, so that no web page's own name leads here."""
    if host is None:  # HTTP/1.0: no browser
        return True
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _json(value: object) -> Response:
    return Response(status=200, body=json.dumps(value).encode() + b"\n", content_type="application/json")
