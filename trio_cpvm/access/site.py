"""The access site: which of its URLs answers what. Steps 1 and 2 on a console's way (design chapter 2).

Knows requests, callers and the inventory; does not know sockets, and opens no console itself: what it gives out is a
URL with a fresh token. Each attempt is one line in the log, which never holds a key, a signature or a token.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlsplit

import attrs
import trio

from .. import errors
from ..addresses import normal_address
from ..config import Config
from ..errors import ConsoleError, sanitise_text
from ..http import Request, Response
from ..http.upgrade import error_response
from ..limiter import FailureLimiter, client_key
from ..links import console_url
from ..logger import get_logger
from ..models import ConsoleTarget, Secret
from ..paced_log import PacedLog
from ..static import PageFiles
from ..token import TokenInvalid, TokenReader, mint_token, new_session_uuid, open_token
from .answers import COMMAND, ERROR_RESPONSE, RESPONSE, endpoint_answer, error_answer
from .callers import Caller, Callers
from .credentials import (
    CHALLENGES,
    TOO_MANY_SIGNATURES,
    USED_SIGNATURE,
    How,
    Identity,
    NotAuthenticated,
    asked_by_another_site,
    authenticate,
)
from .index import CONSOLE_PATH, IndexPage
from .machines import MAX_ID_CHARS, Found, Inventory, Machine, MachineState
from .memory import AccessMemory, CallerMemory
from .parameters import Parameters, read_parameters
from .used_signatures import TooManySignatures

log = get_logger("trio_cpvm.access")

INDEX_PATH = "/"
API_PATHS = frozenset({"/client/api", "/client/api/"})

#: A longer list of machines is made into a page in a thread: it takes tenths of a second.
MAX_AT_ONCE = 1000
#: CloudStack's UI makes up short ones; a token has to hold it.
MAX_EXTRA_CHARS = 256


@attrs.define
class _Attempt:
    """What is known of an attempt by the time its log line is written."""

    client: str
    path: str
    #: What a JSON answer stands under: that of the command, if it is one that there is.
    answer_name: str = ERROR_RESPONSE
    caller: str = ""
    how: How | None = None
    machine: str = ""


class AccessSite:
    """Answers callers.

    Args:
        config: the whole configuration.
        tokens: its first key seals what is minted.
        callers: gives the callers as of now.
        inventory: where the machines are.
        pages: the pages' files.
        memory: of an earlier site; by default a new one with the configured limits.
        now: the time of day, in seconds since the epoch.
        clock: seconds that never go back, for a new memory.

    Raises:
        BadConfiguration: the page has not been built.
    """

    #: What it answers.
    paths = frozenset({INDEX_PATH, CONSOLE_PATH, *API_PATHS})

    def __init__(
        self,
        *,
        config: Config,
        tokens: TokenReader,
        callers: Callable[[], Awaitable[Callers]],
        inventory: Inventory,
        pages: PageFiles,
        memory: CallerMemory | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._tokens = tokens
        self._callers = callers
        self._inventory = inventory
        self._pages = pages
        self._index = IndexPage(pages)
        self._now = now
        limits = config.access
        self._memory = memory or AccessMemory(
            FailureLimiter(limits.max_failures, limits.failure_window_s), now=now, clock=clock
        )
        self._refusals = PacedLog()

    async def answer(self, request: Request, client: str, *, draining: bool = False) -> Response:
        """Answer a request for one of ``PATHS``. Never raises ``ConsoleError``: refusals are answers already.

        Args:
            request: what was asked.
            client: the caller's address.
            draining: no console will be opened any more.
        """
        attempt = _Attempt(client=client, path=request.path)
        as_json = request.path in API_PATHS
        try:
            if request.method not in ("GET", "HEAD"):
                raise ConsoleError(errors.METHOD_NOT_ALLOWED, request.method[:16])
            parameters = read_parameters(request.query)
            as_json = as_json or (request.path == CONSOLE_PATH and parameters.get("response").lower() == "json")
            if request.path in API_PATHS and parameters.get("command") == COMMAND:
                attempt.answer_name = RESPONSE
            identity = await self._identify(request, parameters, await self._callers(), attempt)
            if request.path == INDEX_PATH:
                response = await self._list(identity, request)
            elif draining:
                raise ConsoleError(errors.DRAINING)
            else:
                response = await self._open(request, parameters, identity, attempt, as_json=as_json)
        except ConsoleError as error:
            self._log(attempt, outcome="refused", reason=error.reason.slug, detail=error.detail)
            return self._refusal(error, attempt, request, as_json=as_json)
        self._log(attempt, outcome="granted")
        return response

    # -- who

    async def _identify(
        self, request: Request, parameters: Parameters, callers: Callers, attempt: _Attempt
    ) -> Identity:
        client = client_key(attempt.client)
        counted = attempt.client != "local"  # behind a unix socket everybody is
        if counted:
            self._check_wait(client)
        try:
            identity = authenticate(request, parameters, callers, now=self._now())
            await self._use_signature(identity)
        except NotAuthenticated as exc:
            attempt.how = exc.how
            attempt.caller = exc.claimed.name if exc.claimed else ""
            if exc.is_guess and counted:
                await self._memory.failed(client)
            raise ConsoleError(errors.ACCESS_UNAUTHORISED, str(exc)) from None
        attempt.how, attempt.caller = identity.how, identity.caller.name
        if request.path != INDEX_PATH and identity.how is How.BASIC and asked_by_another_site(request):
            raise ConsoleError(errors.ORIGIN_REFUSED, "another web site made the browser ask")
        return identity

    async def _use_signature(self, identity: Identity) -> None:
        signed = identity.signed
        if signed is None:
            return
        caller = identity.caller
        try:
            fresh = await self._memory.use_signature(caller.name, signed.mark, lives_s=signed.until - self._now())
        except TooManySignatures:
            raise NotAuthenticated(TOO_MANY_SIGNATURES, How.SIGNED, caller) from None
        if not fresh:
            raise NotAuthenticated(USED_SIGNATURE, How.SIGNED, caller, is_guess=True)

    def _check_wait(self, client: str) -> None:
        wait_s = self._memory.wait_s(client)
        if wait_s:
            raise ConsoleError(errors.TOO_MANY_ATTEMPTS, f"for {wait_s} s more", retry_after_s=wait_s)

    # -- what

    async def _list(self, identity: Identity, request: Request) -> Response:
        every = await self._inventory.machines()

        def page() -> Response:
            machines: list[Machine] = [machine for machine in every if identity.caller.may_open(machine)]
            return self._index.response(machines, identity.caller.name, request, view_only=identity.caller.view_only)

        return page() if len(every) <= MAX_AT_ONCE else await trio.to_thread.run_sync(page)

    async def _open(
        self, request: Request, parameters: Parameters, identity: Identity, attempt: _Attempt, *, as_json: bool
    ) -> Response:
        extra = ""
        if request.path == CONSOLE_PATH:
            if parameters.get("cmd").lower() != "access":
                raise ConsoleError(errors.BAD_REQUEST, "cmd is not access")
            machine_id = parameters.get("vm")
        else:
            if attempt.answer_name != RESPONSE:
                raise ConsoleError(errors.NOT_FOUND, f"command is not {COMMAND}")
            machine_id = parameters.get("virtualmachineid")
            extra = parameters.get("token")
            if len(extra) > MAX_EXTRA_CHARS or not extra.isprintable():
                raise ConsoleError(errors.BAD_REQUEST, "token is too long, or cannot be printed")
        if not machine_id:
            raise ConsoleError(errors.BAD_REQUEST, "no machine is named")
        attempt.machine = sanitise_text(machine_id, 80)
        found = await self._find(machine_id, identity.caller)
        attempt.machine = found.machine.id
        legacy = self._config.access.legacy_console_url
        if legacy and request.path == CONSOLE_PATH and parameters.get("websocketconsole").lower() != "true":
            url = _legacy_url(legacy, found.machine.id)
            return endpoint_answer(url) if as_json else _redirect(url)
        token = self._mint(found, identity.caller, attempt.client, extra)
        if as_json:
            return endpoint_answer(console_url(self._base or _asked_base(request), token, extra), token, extra)
        return _redirect(console_url(self._base, token))

    async def _find(self, machine_id: str, caller: Caller) -> Found:
        """The machine, if the caller may open it. Whether it is unknown or forbidden only the log tells."""
        acceptable = len(machine_id) <= MAX_ID_CHARS and machine_id.isprintable()
        found = await self._inventory.find(machine_id) if acceptable else None
        if found is None or not caller.may_open(found.machine):
            raise ConsoleError(errors.MACHINE_NOT_FOUND, "unknown" if found is None else "forbidden")
        return found

    def _mint(self, found: Found, caller: Caller, client: str, extra: str) -> str:
        if found.machine.state is MachineState.STOPPED:
            raise ConsoleError(errors.MACHINE_NOT_RUNNING, found.lack)
        if found.target is None:
            raise ConsoleError(errors.MACHINE_WITHOUT_CONSOLE, found.lack)
        target: ConsoleTarget = attrs.evolve(
            found.target,
            vm_id=found.machine.id,
            name=found.target.name or found.machine.name,
            source_ip=_source_ip(client) if self._config.session.check_source_ip else "",
            session_uuid="" if self._config.access.reusable_tokens else new_session_uuid(),
            extra_token=Secret(extra) if extra else None,
            not_after=round(self._now() + self._config.access.token_ttl_s, 3),
            view_only=found.target.view_only or caller.view_only,
            user=caller.name,
        )
        key = self._tokens.keys[0]
        token = mint_token(target, key)
        try:
            open_token(token, [key])
        except TokenInvalid as exc:
            raise ConsoleError(errors.MACHINE_WITHOUT_CONSOLE, f"no token can hold it: {exc}") from None
        return token

    @property
    def _base(self) -> str:
        """What console URLs start with; empty: a browser finds back by itself."""
        return self._config.server.public_url.rstrip("/")

    # -- answers

    def _refusal(self, error: ConsoleError, attempt: _Attempt, request: Request, *, as_json: bool) -> Response:
        if as_json:
            answer = attrs.evolve(error_answer(error, attempt.answer_name), headers=error_response(error).headers)
        else:
            answer = self._pages.error_page(error, request)
        if error.reason is errors.ACCESS_UNAUTHORISED:
            return attrs.evolve(answer, headers=answer.headers + CHALLENGES)
        return answer

    def _log(self, attempt: _Attempt, **more: str) -> None:
        fields = {
            "caller": attempt.caller or "unknown",
            "client": attempt.client,
            "by": str(attempt.how or "nothing"),
            "machine": attempt.machine,
            **more,
        }
        event = "machine list" if attempt.path == INDEX_PATH else "console access"
        said = {name: value for name, value in fields.items() if value}
        if "reason" in more:  # anybody can be refused, as often as they like
            self._refusals.write(log.info, event, **said)
        else:
            log.info(event, **said)


def _asked_base(request: Request) -> str:
    """The address that the caller has used for this proxy (the door has looked at its form)."""
    host = request.header("host")
    if not host:
        raise ConsoleError(errors.BAD_REQUEST, "neither a Host header nor server.public_url")
    return f"{request.scheme}://{host}"


def _legacy_url(legacy: str, machine_id: str) -> str:
    separator = "&" if urlsplit(legacy).query else "?"
    return f"{legacy}{separator}cmd=access&vm={quote(machine_id, safe='')}"


def _source_ip(client: str) -> str:
    try:
        return normal_address(client)
    except ValueError:  # it came by a unix socket
        raise ConsoleError(errors.SOURCE_IP_MISMATCH, "session.check_source_ip: the caller has no address") from None


def _redirect(url: str) -> Response:
    return Response(status=302, content_type="", headers=(("Location", url),))
