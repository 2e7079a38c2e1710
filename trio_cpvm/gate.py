"""The gate: may this request have this console? Token, source address, extra token, single use, in that order.

Source of the order: CloudStack ``ConsoleProxy.java``. The same checks answer for the page, for ``/novnc/status`` and,
with the token used up at the end, for the WebSocket. Every refusal is a ``ConsoleError``. What a request says is looked
at here; what depends on other requests the authority decides.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Collection

import attrs

from . import errors
from .addresses import LOCAL, UNKNOWN, TrustedProxy, same_address
from .asking import Asking
from .authority import Admission, check_wait, expired
from .errors import ConsoleError
from .http import Request
from .limiter import client_key
from .models import ConsoleTarget
from .token import TokenReader

#: What somebody who guesses runs into; the other refusals honest users meet as well.
GUESSES = (errors.TOKEN_INVALID, errors.EXTRA_TOKEN_MISMATCH)
#: What stands for the addresses of peers that have none: everybody behind a unix socket, say.
NOBODYS = (LOCAL, UNKNOWN)


@attrs.define(eq=False, kw_only=True)
class Gate:
    """Looks at requests, as one configuration says. It remembers nothing.

    Attributes:
        tokens: opens tokens.
        check_source_ip: the browser's address must be the token's ``sourceIP``.
        single_use: tokens with a ``sessionUuid`` open one console.
        reconnect_window_s: for so long after its connection broke, the same address may have that console again; 0: not
            at all.
        trusted_proxies: who forwards other people's requests; where one does not say whose, nobody has to wait for it.
        now: the time of day, in seconds since the epoch.
    """

    tokens: TokenReader
    check_source_ip: bool = False
    single_use: bool = True
    reconnect_window_s: float = 0.0
    trusted_proxies: Collection[TrustedProxy] = ()
    now: Callable[[], float] = time.time

    async def open(self, request: Request, client: str, admission: Admission) -> tuple[ConsoleTarget, Asking]:
        """Open a request's token and check what the request itself says; the rest is for ``admission`` to decide.

        From an address that has to wait no token is opened at all: guessing costs it more than us.

        Args:
            request: with ``token`` and perhaps ``extra`` in its query.
            client: the browser's address.
            admission: who is asked.

        Raises:
            ConsoleError: why not.
        """
        guesser = "" if self._is_many_people(client) else client_key(client)
        if guesser and request.raw_parameter("token"):
            check_wait(admission.wait_s(guesser))
        try:
            return await self._open(request, client, guesser, admission)
        except ConsoleError as error:
            if guesser and error.reason in GUESSES:
                await admission.failed(guesser)
            raise

    async def look(self, request: Request, client: str, admission: Admission) -> ConsoleTarget:
        """Check a request without using up its token.

        Raises:
            ConsoleError: why not.
        """
        target, asking = await self.open(request, client, admission)
        await admission.look(asking)
        return target

    async def _open(
        self, request: Request, client: str, guesser: str, admission: Admission
    ) -> tuple[ConsoleTarget, Asking]:
        target = self.tokens.read(request.raw_parameter("token"), now=self.now(), may_be_late=self._may_come_back)
        asking = self._asking(target, client, guesser)
        if asking.late_s and not await admission.may_resume(asking):
            raise expired(asking)
        if self.check_source_ip and not same_address(target.source_ip, client):
            raise ConsoleError(errors.SOURCE_IP_MISMATCH, f"the token is for {target.source_ip or 'no address'}")
        if target.extra_token is not None and not _same_extra(target.extra_token.reveal(), request):
            raise ConsoleError(errors.EXTRA_TOKEN_MISMATCH)
        return target, asking

    def _asking(self, target: ConsoleTarget, client: str, guesser: str) -> Asking:
        late_s, lives_s = 0.0, None
        if target.not_after is not None:
            over_s = self.now() - target.not_after
            lives_s = self.tokens.clock_skew_s - over_s
            late_s = over_s if lives_s < 0 else 0.0
        return Asking(
            client=client,
            target=target,
            guesser=guesser,
            single_use=not self.reusable(target),
            late_s=late_s,
            lives_s=lives_s,
            window_s=self.reconnect_window_s,
        )

    def _may_come_back(self, target: ConsoleTarget) -> bool:
        return self.reconnect_window_s > 0 and not self.reusable(target)

    def _is_many_people(self, client: str) -> bool:
        return client in NOBODYS or any(proxy.is_at(client) for proxy in self.trusted_proxies)

    def reusable(self, target: ConsoleTarget) -> bool:
        """Whether its token may open more than one console."""
        return not (self.single_use and target.session_uuid)


def _same_extra(expected: str, request: Request) -> bool:
    """Compare in constant time; the URL may carry it raw or percent-encoded."""
    raw = hmac.compare_digest(expected.encode(), (request.raw_parameter("extra") or "").encode())
    decoded = hmac.compare_digest(expected.encode(), (request.parameter("extra") or "").encode())
    return raw or decoded
