"""The gate: may this request have this console? Token, source address, extra token, single use, in that order.

Source of the order: CloudStack ``ConsoleProxy.java``. The same checks answer for the page, for ``/novnc/status`` and,
with the token used up at the end, for the WebSocket. Every refusal is a ``ConsoleError``.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Collection

import attrs

from . import errors
from .addresses import LOCAL, UNKNOWN, TrustedProxy, normal_address, same_address
from .errors import ConsoleError
from .http import Request
from .limiter import FailureLimiter, client_key
from .limits import Limit
from .logger import get_logger
from .models import ConsoleTarget
from .paced_log import PacedLog
from .token import TokenReader
from .token.again import SecondChances
from .token.used import UsedTokens

log = get_logger("trio_cpvm.gate")

#: What somebody who guesses runs into; the other refusals honest users meet as well.
GUESSES = (errors.TOKEN_INVALID, errors.EXTRA_TOKEN_MISMATCH)
#: What stands for the addresses of peers that have none: everybody behind a unix socket, say.
NOBODYS = (LOCAL, UNKNOWN)


@attrs.define(eq=False, kw_only=True)
class Gate:
    """Decides about requests.

    Attributes:
        tokens: opens tokens.
        check_source_ip: the browser's address must be the token's ``sourceIP``.
        single_use: tokens with a ``sessionUuid`` open one console.
        reconnect_window_s: for so long after its connection broke, the same address may have that console again; 0: not
            at all.
        failures: counts bad tokens per address; who brings too many has to wait. By default nobody has to.
        trusted_proxies: who forwards other people's requests; where one does not say whose, nobody has to wait for it.
        now: the time of day, in seconds since the epoch.
        clock: seconds that never go back, for how long somebody has to wait, or may come back.
        used: the tokens that were used; shared with the gate that takes this one's place.
        again: whose console broke; likewise.
    """

    tokens: TokenReader
    check_source_ip: bool = False
    single_use: bool = True
    reconnect_window_s: float = 0.0
    failures: FailureLimiter = attrs.field(factory=lambda: FailureLimiter(0, 0))
    trusted_proxies: Collection[TrustedProxy] = ()
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    used: UsedTokens = attrs.field(factory=UsedTokens)
    again: SecondChances = attrs.field(factory=SecondChances)
    _lines: PacedLog = attrs.field(factory=PacedLog, init=False)

    def look(self, request: Request, client: str) -> ConsoleTarget:
        """Check a request without using up its token.

        From an address that has to wait no token is opened at all: guessing costs it more than us.

        Args:
            request: with ``token`` and perhaps ``extra`` in its query.
            client: the browser's address.

        Raises:
            ConsoleError: why not.
        """
        key, counted = client_key(client), not self._is_many_people(client)
        if counted and request.raw_parameter("token"):
            self._check_wait(key)
        try:
            return self._look(request, client)
        except ConsoleError as error:
            if counted and error.reason in GUESSES:
                self._failed(key)
            raise

    def _is_many_people(self, client: str) -> bool:
        return client in NOBODYS or any(proxy.is_at(client) for proxy in self.trusted_proxies)

    def _check_wait(self, key: str) -> None:
        wait_s = self.failures.wait_s(key, now=self.clock())
        if wait_s:
            detail = f"for {wait_s} s more; {Limit.BAD_TOKENS}"
            raise ConsoleError(errors.TOO_MANY_ATTEMPTS, detail, limit=Limit.BAD_TOKENS, retry_after_s=wait_s)

    def _failed(self, key: str) -> None:
        self.failures.failed(key, now=self.clock())
        wait_s = self.failures.wait_s(key, now=self.clock())
        if wait_s:
            detail = str(Limit.BAD_TOKENS)
            self._lines.write(log.warning, "address has to wait", client=key, detail=detail, wait_s=wait_s)

    def _look(self, request: Request, client: str) -> ConsoleTarget:
        def again(target: ConsoleTarget) -> bool:
            return self.may_resume(target, client)

        target = self.tokens.read(request.raw_parameter("token"), now=self.now(), may_be_late=again)
        if self.check_source_ip and not same_address(target.source_ip, client):
            raise ConsoleError(errors.SOURCE_IP_MISMATCH, f"the token is for {target.source_ip or 'no address'}")
        if target.extra_token is not None and not _same_extra(target.extra_token.reveal(), request):
            raise ConsoleError(errors.EXTRA_TOKEN_MISMATCH)
        if not self.reusable(target) and self.used.seen(target.session_uuid) and not again(target):
            raise ConsoleError(errors.TOKEN_USED)
        return target

    def reusable(self, target: ConsoleTarget) -> bool:
        """Whether its token may open more than one console."""
        return not (self.single_use and target.session_uuid)

    def use_up(self, target: ConsoleTarget, client: str) -> None:
        """Use up a token that ``look`` has let pass; nothing may be awaited in between.

        Raises:
            ConsoleError: ``token-used``.
        """
        if self.reusable(target) or self.may_resume(target, client):
            return
        until = None if target.not_after is None else target.not_after + self.tokens.clock_skew_s
        if not self.used.use(target.session_uuid, until=until, now=self.now()):
            raise ConsoleError(errors.TOKEN_USED)

    def opened(self, target: ConsoleTarget, session_id: str, client: str) -> None:
        """That session has the token's console."""
        if self.reconnect_window_s > 0 and not self.reusable(target):
            self.again.opened(target.session_uuid, session_id, _one_spelling(client))

    def ended(self, target: ConsoleTarget, session_id: str, *, broken: bool) -> None:
        """It is over; ``broken`` where nobody meant that."""
        self.again.ended(target.session_uuid, session_id, broke_at=self.clock() if broken else None)

    def may_resume(self, target: ConsoleTarget, client: str) -> bool:
        """Whether its token is used, and this address may have its console again."""
        window_s = self.reconnect_window_s
        if self.reusable(target) or window_s <= 0:
            return False
        return self.again.has(target.session_uuid, _one_spelling(client), window_s=window_s, now=self.clock())


def _one_spelling(client: str) -> str:
    """One for each IP address; a client may be none (a unix socket)."""
    try:
        return normal_address(client)
    except ValueError:
        return client


def _same_extra(expected: str, request: Request) -> bool:
    """Compare in constant time; the URL may carry it raw or percent-encoded."""
    raw = hmac.compare_digest(expected.encode(), (request.raw_parameter("extra") or "").encode())
    decoded = hmac.compare_digest(expected.encode(), (request.parameter("extra") or "").encode())
    return raw or decoded
