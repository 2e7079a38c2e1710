"""A session: one browser at one console, from the accepted WebSocket to the one line that says how it ended.

Owns both streams' fate and all of the session's time limits. Does not know HTTP, tokens or other sessions.
"""

from __future__ import annotations

import math
import secrets
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import ClassVar

import attrs
import trio

from . import errors
from .browser_websocket import BrowserSocket
from .config import SessionConfig, UpstreamConfig
from .control import MAX_TEXTS, WINDOW_S, Pace, Standing, read_question, write_answer
from .errors import ConsoleError, Phase, Reason
from .logger import get_logger
from .models import Clipboard, ConsoleTarget, SessionEnd
from .relay import Relay
from .rfb.client_filter import ClientFilter
from .rfb.commands import Established, Failed
from .rfb.cut_text import ClipboardRule
from .rfb.encodings import FilterPolicy
from .rfb.handshake import Handshake, HandshakeSettings
from .rfb.security import SecurityPolicy
from .rfb.server_filter import ServerFilter
from .rfb_io import CLOSE_S, Connect, HandshakeDriver, SecureStream, close_host
from .streams import smoothed_rtt_s
from .upstream.tls import secured_by
from .websocket import websocket_nursery

log = get_logger("trio_cpvm.session")
#: One record for each session that passed the gate; ``logs`` lets it through at every level.
audit = get_logger("trio_cpvm.audit")


#: Whose console a task works for, for who looks at the tasks.
session_at_work: ContextVar[Session | None] = ContextVar("session_at_work", default=None)


@attrs.frozen(kw_only=True)
class Inside:
    """A session's parts, as far as there are any; to look at, not to touch."""

    browser: BrowserSocket | None
    host: trio.abc.Stream | None
    waiting_for: str
    relay: Relay | None
    up: ClientFilter | None
    down: ServerFilter | None


@attrs.define(eq=False, kw_only=True)
class Session:
    """One console of one browser.

    Attributes:
        target: what the token says to open.
        client: the browser's address, without port.
        config: the time limits.
        upstream: what is trusted of a host.
        resumes: it goes on with the console of an earlier session of the same token.
        id: short and random, to find the session in log and lists.
        phase: how far it has come.
        established: what the handshake agreed on, once it has.
        transport: what protects the bytes on their way to the host, once that is known.
        opened_after_s: seconds from the start until the console was open, once it is.
        outcome: how it ended, once it has.
        looks_on: somebody else has the machine's keyboard and pointer at this moment.
        drains_at: when the daemon's drain will end it (trio's clock), for the page; ``None`` while there is no drain.
    """

    target: ConsoleTarget
    client: str
    config: SessionConfig = attrs.field(factory=SessionConfig)
    upstream: UpstreamConfig = attrs.field(factory=UpstreamConfig)
    resumes: bool = False
    #: It is the only process.
    worker: ClassVar[int | None] = None
    id: str = attrs.field(factory=lambda: secrets.token_hex(6))
    phase: Phase = Phase.CONNECT
    established: Established | None = None
    transport: str = ""
    opened_after_s: float | None = None
    outcome: SessionEnd | None = None
    looks_on: bool = attrs.field(default=False, init=False)
    drains_at: float | None = attrs.field(default=None, init=False)
    _started: datetime = attrs.field(factory=lambda: datetime.now(UTC), init=False)
    _started_at: float = attrs.field(factory=trio.current_time, init=False)
    _driver: HandshakeDriver | None = attrs.field(default=None, init=False)  # until the relay begins
    _server: trio.abc.Stream | None = attrs.field(default=None, init=False)  # from then on
    _relay: Relay | None = attrs.field(default=None, init=False)
    _up: ClientFilter | None = attrs.field(default=None, init=False)
    _down: ServerFilter | None = attrs.field(default=None, init=False)
    _browser: BrowserSocket | None = attrs.field(default=None, init=False)
    _pace: Pace = attrs.field(factory=Pace, init=False)
    _ending: ConsoleError | None = attrs.field(default=None, init=False)
    _ended: ConsoleError | None = attrs.field(default=None, init=False)
    _farewell: bytes = attrs.field(default=b"", init=False)

    @property
    def name(self) -> str:
        """What the console is called, by the token or, once it is open, by the VNC server."""
        return self.established.name if self.established is not None else self.target.name

    @property
    def age_s(self) -> float:
        """Seconds since the start."""
        return trio.current_time() - self._started_at

    @property
    def idle_s(self) -> float:
        """Seconds without input of the user's hands, up to now; before the relay, since the start."""
        return trio.current_time() - self._relay.touched_at if self._relay is not None else self.age_s

    @property
    def bytes_up(self) -> int:
        """Payload bytes relayed from browser to host so far."""
        return self._relay.bytes_up if self._relay is not None else 0

    @property
    def bytes_down(self) -> int:
        """Payload bytes relayed from host to browser so far."""
        return self._relay.bytes_down if self._relay is not None else 0

    @property
    def ending(self) -> bool:
        """Whether it has been told to end and only says goodbye."""
        return self._ending is not None

    @property
    def standing(self) -> Standing:
        """How it stands, for the page."""
        server = self._host
        return Standing(
            phase=self.phase,
            idle_left_s=self._relay.idle_left_s if self._relay is not None else None,
            lifetime_left_s=self._relay.lifetime_left_s if self._relay is not None else None,
            host_rtt_s=smoothed_rtt_s(server) if server is not None else None,
            drain_left_s=self.drains_at - trio.current_time() if self.drains_at is not None else None,
            looks_on=self.looks_on,
        )

    @property
    def _host(self) -> trio.abc.Stream | None:
        """The connection to the host, while there is one."""
        return self._driver.server if self._driver is not None else self._server

    @property
    def inside(self) -> Inside:
        """Its parts at this moment."""
        return Inside(
            browser=self._browser,
            host=self._host,
            waiting_for=self._driver.waiting_for if self._driver is not None else "nothing",
            relay=self._relay,
            up=self._up,
            down=self._down,
        )

    def look_on(self, on: bool) -> None:
        """Let the user look only, or type as well. Who may type from the start on cannot be stopped later."""
        if on and self._relay is not None and self._up is None:
            return
        self.looks_on = on
        if self._up is not None:
            self._up.hands_off = on

    def end(self, reason: Reason, detail: str = "", *, by: str = "") -> None:
        """End the session from outside; the browser is told the reason, and the name of the user whose doing it was.

        The first reason counts.
        """
        if self._ending is None:
            self._ending = ConsoleError(reason, detail, by=by)
        if self._driver is not None:
            self._driver.give_up()
        if self._relay is not None:
            self._relay.end(reason, detail)

    async def run(self, browser: BrowserSocket, connect: Connect, secure: SecureStream | None = None) -> SessionEnd:
        """Run the console to its end; both streams are closed afterwards, also when cancelled.

        Args:
            browser: the accepted WebSocket.
            connect: gives the stream to the VNC server, or raises ``ConsoleError``.
            secure: begins TLS on it where the server asks for that in the middle of RFB.
        """
        bound = log.bind(session=self.id)
        bound.info(
            "session started",
            user=self.target.user,
            client=self.client,
            host=self.target.address,
            vm=self.target.vm_id,
            name=self.target.name,
            view_only=self.target.view_only,
        )
        self._browser = browser
        browser.on_text = self._answer_page
        session_at_work.set(self)  # for good: this task is the connection's, which ends with the session
        try:
            self._ended = await self._console(browser, connect, secure)
        except Exception:
            self._ended = ConsoleError(errors.INTERNAL_ERROR, "a fault of this proxy")
            bound.exception("internal error")
        finally:
            ended = self._why()
            outcome = self._finish(ended, lost=browser.lost)
        code = ended.reason.close_code or errors.INTERNAL_ERROR.close_code or 1011
        reason = f"{ended.reason.slug}: {ended.public_text}"
        await browser.close(code, reason, within_s=CLOSE_S, farewell=self._farewell)
        return outcome

    def never_opened(self) -> SessionEnd:
        """In place of ``run``: its browser was gone before the WebSocket was open. There is a record of that, too."""
        self.phase = Phase.REQUEST
        detail = "the browser was gone before the WebSocket was open; its token is used up"
        return self._finish(self._ending or ConsoleError(errors.CLOSED_BY_USER, detail), lost=True)

    def _finish(self, ended: ConsoleError, *, lost: bool) -> SessionEnd:
        """It is over; ``lost`` where the browser has not said that it goes."""
        self.outcome = SessionEnd(
            reason=ended.reason,
            detail=ended.detail,
            bytes_up=self.bytes_up,
            bytes_down=self.bytes_down,
            duration_s=self.age_s,
            broken=ended.reason.retryable or (ended.reason is errors.CLOSED_BY_USER and lost),
            limit=ended.limit,
        )
        self._write_record(ended)
        return self.outcome

    def _write_record(self, ended: ConsoleError) -> None:
        """The audit record. Every field is always there; nothing in it is secret."""
        audit.info(
            "session ended",
            session=self.id,
            user=self.target.user,
            client=self.client,
            vm=self.target.vm_id,
            name=self.name,
            host=self.target.address,
            view_only=self.target.view_only,
            resumes=self.resumes,
            security=self.established.security if self.established is not None else "",
            transport=self.transport,
            reason=ended.reason.slug,
            side=str(ended.reason.side),
            phase=str(self.phase),
            detail=ended.detail,
            bytes_up=self.bytes_up,
            bytes_down=self.bytes_down,
            started=self._started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            duration_s=round(self.age_s, 3),
            opened_after_s=None if self.opened_after_s is None else round(self.opened_after_s, 3),
        )

    def _why(self) -> ConsoleError:
        """Why it ended."""
        ended = self._ending or self._ended
        if ended is not None:
            return ended
        # cancelled from outside without a reason: only a broken WebSocket does that
        if self._relay is not None and self._relay.reason is not None:  # it was ending already
            return ConsoleError(self._relay.reason, self._relay.detail, limit=self._relay.limit)
        return ConsoleError(errors.CLIENT_PROTOCOL, "the WebSocket broke")

    def _answer_page(self, text: str) -> str | None:
        """The answer to a text message of the page; ``None`` breaks the protocol."""
        if not self._pace.allows(trio.current_time()):
            self.end(errors.CLIENT_PROTOCOL, f"more than {MAX_TEXTS} text messages within {WINDOW_S:g} s")
            return None
        question = read_question(text)
        if question is None:
            return None
        if question.stay and self._relay is not None:
            self._relay.touch()
        return write_answer(question, self.standing)

    async def _console(self, browser: BrowserSocket, connect: Connect, secure: SecureStream | None) -> ConsoleError:
        ended = ConsoleError(errors.INTERNAL_ERROR, "the handshake has no outcome")
        async with websocket_nursery() as nursery:
            if self.config.ping_interval_s:
                nursery.start_soon(self._watch_browser, browser)
            try:
                opened = await self._shake_hands(browser, connect, secure, nursery)
                if isinstance(opened, ConsoleError):
                    ended = opened
                else:
                    ended = await self._relay_bytes(browser, *opened)
            finally:
                if self._host is not None:
                    await close_host(self._host)
        return ended

    async def _watch_browser(self, browser: BrowserSocket) -> None:
        lost = await browser.wait_until_lost(self.config.ping_interval_s)
        if lost and (self._relay is None or self._relay.reason is None):  # else it is over, and the host takes its time
            self.end(errors.CLOSED_BY_USER, "no answer to a ping")

    async def _shake_hands(
        self, browser: BrowserSocket, connect: Connect, secure: SecureStream | None, nursery: trio.Nursery
    ) -> tuple[trio.abc.Stream, Established, tuple[bytes, bytes]] | ConsoleError:
        """The host's stream, what was agreed on and what was sent behind it; or why there is no console."""

        async def connect_and_note(nursery: trio.Nursery) -> trio.abc.Stream:
            stream = await connect(nursery)
            self.phase = Phase.HANDSHAKE
            return stream

        driver = self._driver = HandshakeDriver(Handshake(self._handshake_settings()), browser)
        if self.ending:
            driver.give_up()
        result = await driver.run(connect_and_note, nursery, timeout_s=self.config.handshake_timeout_s, secure=secure)
        if self._ending is not None:
            return self._ending
        match result:
            case Established() if driver.server is not None:
                self.established = result
                self.opened_after_s = self.age_s
                self.transport = secured_by(driver.server) or "no TLS"
                self._log_open(result)
                self._driver, self._server = None, driver.server  # the rest of it is no longer needed
                return driver.server, result, driver.take_leftovers()
            case Failed(error, farewell):
                self._farewell = farewell
                if error.reason is errors.CLOSED_BY_USER and browser.violation:
                    return ConsoleError(errors.CLIENT_PROTOCOL, f"the browser {browser.ended_by}", limit=browser.limit)
                return error
            case _:
                return ConsoleError(errors.INTERNAL_ERROR, "the handshake has no outcome")

    def _handshake_settings(self) -> HandshakeSettings:
        policy = SecurityPolicy(
            password=self.target.password,
            username=self.target.username,
            allow_no_authentication=self.upstream.allow_no_authentication,
            allow_plaintext=self.upstream.allow_plaintext,
            allow_anonymous_tls=self.upstream.allow_anonymous_tls,
        )
        shared = self.target.view_only or self.config.second_viewer == "share"
        return HandshakeSettings(policy=policy, name=self.target.name, shared=shared)

    async def _relay_bytes(
        self,
        browser: BrowserSocket,
        server: trio.abc.Stream,
        established: Established,
        leftovers: tuple[bytes, bytes],
    ) -> ConsoleError:
        self.phase = Phase.RELAY
        up, down = self._filters(established)
        relay = self._relay = Relay(browser, server, up=up, down=down)
        from_server, from_browser = leftovers
        await relay.run(
            idle_timeout_s=self.config.idle_timeout_s or math.inf,
            host_silence_timeout_s=self.config.host_silence_timeout_s or math.inf,
            deadline=self._started_at + (self.config.lifetime_s or math.inf),
            from_browser=from_browser,
            from_server=from_server,
        )
        return ConsoleError(relay.reason or errors.INTERNAL_ERROR, relay.detail, limit=relay.limit)

    def _filters(self, established: Established) -> tuple[ClientFilter | None, ServerFilter | None]:
        """What stands between browser and host, as far as something has to: the stricter of token and configuration."""
        policy = filter_policy(self.target, self.config)
        if not policy.watches_browser and not self.looks_on:
            return None, None
        if policy.watches_host:
            self._down = ServerFilter(ClipboardRule(policy.from_guest, policy.max_bytes), established.pixel_format)
        self._up = ClientFilter(policy, self._down)
        self._up.hands_off = self.looks_on
        return self._up, self._down

    def _log_open(self, established: Established) -> None:
        log.debug(
            "console open",
            session=self.id,
            name=established.name,
            size=f"{established.width}x{established.height}",
            rfb=established.server_version,
            security=established.security,
            transport=self.transport,
            after_s=round(self.age_s, 3),
        )


def filter_policy(target: ConsoleTarget, config: SessionConfig) -> FilterPolicy:
    """What the token and the configuration let pass; the stricter counts."""
    ways = (config.clipboard, target.clipboard or Clipboard.BOTH)
    limits = [limit for limit in (config.clipboard_max_bytes, target.clipboard_max_bytes) if limit]
    return FilterPolicy(
        view_only=target.view_only,
        to_guest=all(way in (Clipboard.BOTH, Clipboard.TO_GUEST) for way in ways),
        from_guest=all(way in (Clipboard.BOTH, Clipboard.FROM_GUEST) for way in ways),
        max_bytes=min(limits, default=0),
    )
