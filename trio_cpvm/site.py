"""The public site: which URL answers what. The table of design chapter 3, and nothing behind it.

Knows requests and the gate; does not know sockets, nor whether other processes serve consoles, too.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

import attrs
import trio

from . import errors
from .authority import Admission
from .config import Config
from .errors import ConsoleError
from .gate import Gate
from .http import Request, Response, Upgrade, websocket_upgrade
from .http.origin import origin_allowed
from .http_io import TakeOver
from .limits import Limit
from .logger import get_logger
from .metrics import Counts, Metrics
from .models import ConsoleTarget
from .paced_log import PacedLog
from .rfb_io import SecureStream
from .session import Session, filter_policy
from .static import ASSET_ROOT, ConsoleSetup, PageFiles
from .websocket import answer_upgrade

if TYPE_CHECKING:  # it is loaded where it is enabled
    from .access.site import AccessSite

log = get_logger("trio_cpvm.site")

#: Opens the way to a console target. Raises ``ConsoleError`` where it cannot.
Dial: TypeAlias = Callable[[ConsoleTarget, trio.Nursery], Awaitable[trio.abc.Stream]]


class StartsTls(Protocol):
    """Begins TLS on a stream to a console target, in the middle of RFB."""

    async def __call__(self, stream: trio.abc.Stream, target: ConsoleTarget, *, anonymous: bool) -> trio.abc.Stream:
        """Raises ``ConsoleError`` where it cannot."""
        ...


PAGE_PATHS = frozenset({"/novnc", "/novnc/", "/resource/noVNC/vnc.html"})
STATUS_PATH = "/novnc/status"
WEBSOCKET_PATH = "/websockify"


@attrs.define(eq=False, kw_only=True)
class PublicSite:
    """Answers browsers.

    Attributes:
        config: the whole configuration.
        gate: looks at tokens.
        admission: decides about consoles.
        pages: the page and its files.
        dial: opens the way to a VNC server.
        start_tls: begins TLS on that way.
        access: the access endpoint, where it is enabled.
        metrics: counts.
        refusals: writes the refusals' lines.
        waits: likewise, of those who brought too many bad tokens.
    """

    config: Config
    gate: Gate
    admission: Admission
    pages: PageFiles
    dial: Dial
    start_tls: StartsTls | None = None
    access: AccessSite | None = None
    metrics: Counts = attrs.field(factory=Metrics)
    refusals: PacedLog = attrs.field(factory=PacedLog)
    waits: PacedLog = attrs.field(factory=PacedLog)

    async def answer(self, request: Request, client: str) -> Response | TakeOver:
        """Answer one request.

        Args:
            request: what was asked.
            client: the browser's address.

        Raises:
            ConsoleError: the WebSocket is refused; other refusals are pages already.
        """
        if request.path == WEBSOCKET_PATH:
            return await self._open_console(request, client)
        if self.access is not None and request.path in self.access.paths:
            answer = await self.access.answer(request, client, draining=self.admission.draining)
            self.metrics.access_answered(answer.status)
            return answer
        try:
            return await self._page_or_file(request, client)
        except ConsoleError as error:
            self._log_refusal("page refused", client, error)
            self.metrics.refused("page", error.reason)
            return self.pages.error_page(error, request)

    async def _page_or_file(self, request: Request, client: str) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise ConsoleError(errors.METHOD_NOT_ALLOWED, request.method[:16])
        if request.path.startswith(ASSET_ROOT):
            asset = self.pages.asset(request.path)
            if asset is not None:
                return asset.response(request)
        if request.path in PAGE_PATHS:
            return self.pages.console_page(request, self._setup(await self._check(request, client)))
        if request.path == STATUS_PATH:
            return await self._status(request, client)
        raise ConsoleError(errors.NOT_FOUND)

    async def _check(self, request: Request, client: str) -> ConsoleTarget:
        with self._limits_counted():
            return await self.gate.look(request, client, self.admission)

    @contextlib.contextmanager
    def _limits_counted(self) -> Iterator[None]:
        try:
            yield
        except ConsoleError as error:
            if error.limit is not None:
                self.metrics.limit_reached(error.limit)
            raise

    def _log_refusal(self, event: str, client: str, error: ConsoleError) -> None:
        # Who has to wait has been logged with the failure that it waits for; each further request would be one line,
        # and would take it from somebody else.
        waits = error.reason is errors.TOO_MANY_ATTEMPTS
        paced, line = (self.waits, log.debug) if waits else (self.refusals, log.info)
        paced.write(line, event, client=client, reason=error.reason.slug, detail=error.detail)

    def _setup(self, target: ConsoleTarget) -> ConsoleSetup:
        policy = filter_policy(target, self.config.session)
        return ConsoleSetup(
            name=target.name,
            locale=target.locale,
            view_only=policy.view_only,
            to_guest=policy.to_guest,
            from_guest=policy.from_guest,
            idle_timeout_s=self.config.session.idle_timeout_s,
            lifetime_s=self.config.session.lifetime_s,
            reusable=self.gate.reusable(target),
        )

    async def _status(self, request: Request, client: str) -> Response:
        answer: dict[str, str | bool | None]
        try:
            await self._check(request, client)
        except ConsoleError as error:
            reason = error.reason
            answer = {
                "usable": False,
                "slug": reason.slug,
                "text": reason.text,
                "advice": reason.advice,
                "retryable": reason.retryable,
            }
        else:
            answer = {"usable": True, "slug": None, "text": "", "advice": "", "retryable": False}
        return Response(status=200, body=json.dumps(answer).encode(), content_type="application/json")

    async def _open_console(self, request: Request, client: str) -> TakeOver:
        """Every check there is, then the token is used up; all before the 101, so that a refusal is a plain answer."""
        try:
            upgrade = websocket_upgrade(request)
            origin, host = request.header("origin"), request.header("host")
            if not origin_allowed(origin, host, self._allowed_origins()):
                raise ConsoleError(errors.ORIGIN_REFUSED, f"origin {errors.sanitise_text(origin or '', 100)}")
            session = await self._admit(request, client)
        except ConsoleError as error:
            self._log_refusal("console refused", client, error)
            self.metrics.refused("console", error.reason)
            raise
        return TakeOver(partial(self._run, session, upgrade))

    async def _admit(self, request: Request, client: str) -> Session:
        """The session, which has to be released once it is over."""
        with self._limits_counted():
            target, asking = await self.gate.open(request, client, self.admission)
            session = Session(target=target, client=client, config=self.config.session, upstream=self.config.upstream)
            await self.admission.admit(asking, session)
        return session

    def _allowed_origins(self) -> tuple[str, ...]:
        public = self.config.server.public_origin
        return (*self.config.server.allowed_origins, *([public] if public else []))

    async def _run(self, session: Session, upgrade: Upgrade, transport: trio.abc.Stream) -> None:
        try:
            browser = await answer_upgrade(transport, upgrade, timeout_s=self.config.server.head_timeout_s)
            await session.run(browser, partial(self.dial, session.target), self._secure(session.target))
        except* (trio.BrokenResourceError, trio.TooSlowError) as gone:
            # The browser was gone before the WebSocket was open; a session that ran lets none of them out.
            if gone.subgroup(trio.TooSlowError) is not None:
                self.metrics.limit_reached(Limit.HEAD_TIME)
        finally:
            self.admission.release(session, session.outcome or session.never_opened())

    def _secure(self, target: ConsoleTarget) -> SecureStream | None:
        start_tls = self.start_tls
        if start_tls is None:
            return None

        async def secure(stream: trio.abc.Stream, anonymous: bool) -> trio.abc.Stream:
            return await start_tls(stream, target, anonymous=anonymous)

        return secure
