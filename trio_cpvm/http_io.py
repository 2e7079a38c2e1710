"""HTTP on a stream: requests in, answers out, each wait with a deadline. What is answered is the site's business."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import TypeAlias

import attrs
import trio

from . import errors
from .errors import ConsoleError
from .http import Door, Request, Response
from .http.upgrade import error_response
from .limits import Limit
from .logger import get_logger
from .ready_stream import ready

log = get_logger("trio_cpvm.http")

RECEIVE_BYTES = 16384
#: An answer goes out in pieces of this size, each of which has to be taken in ``SEND_TIMEOUT_S`` seconds.
SEND_BYTES = 65536
SEND_TIMEOUT_S = 30.0
#: After a refusal the rest of what the peer sends is read for a moment, so that it sees the answer and not a reset.
LINGER_S = 1.0
LINGER_BYTES = 1 << 20


@attrs.frozen
class TakeOver:
    """An answer that is no HTTP: ``handler`` gets the bare connection, which nobody uses for HTTP afterwards."""

    handler: Callable[[trio.abc.Stream], Awaitable[None]]


#: What answers requests. May raise ``ConsoleError``, which is answered plainly.
Site: TypeAlias = Callable[[Request], Awaitable[Response | TakeOver]]


async def serve_http(
    stream: trio.abc.Stream,
    site: Site,
    *,
    head_timeout_s: float,
    on_refused: Callable[[ConsoleError], None] | None = None,
) -> None:
    """Serve one connection until it ends. The stream stays the caller's to close.

    Args:
        stream: the connection.
        site: what answers.
        head_timeout_s: seconds for each request head to arrive, counted from the connection or the last answer.
        on_refused: told why, where a request is refused before ``site`` has seen it or in spite of its answer.

    Raises:
        trio.BrokenResourceError: the peer is gone.
        trio.TooSlowError: the peer has never said anything.
        Exception: what ``site`` or a take-over handler raises, except ``ConsoleError``.
    """
    taken = await until_taken_over(stream, site, head_timeout_s=head_timeout_s, on_refused=on_refused)
    if taken is not None:
        await taken.handler(stream)


async def until_taken_over(
    stream: trio.abc.Stream,
    site: Site,
    *,
    head_timeout_s: float,
    on_refused: Callable[[ConsoleError], None] | None = None,
) -> TakeOver | None:
    """As ``serve_http``, but give out what takes the connection over, if anything does, instead of running it.

    Nothing of HTTP is kept then for as long as the connection lasts.
    """
    door = Door()
    reads = ready(stream)

    def refuse(error: ConsoleError) -> Response:
        if on_refused is not None:
            on_refused(error)
        return error_response(error, close=True)

    answered = False
    while True:
        try:
            request = await _next_request(reads, door, head_timeout_s, silent=answered)
            if request is None:
                return None
        except ConsoleError as error:
            await _answer(stream, door, refuse(error))
            await _linger(stream)
            return None
        if door.ahead and request.header("upgrade") is not None:
            # the WebSocket library would drop these bytes; no client sends any before the 101
            answer: Response | TakeOver = refuse(ConsoleError(errors.BAD_REQUEST, "bytes behind the upgrade request"))
        else:
            answer = await _ask(site, request)
        if isinstance(answer, TakeOver):
            return answer
        log.debug("request", method=request.method[:16], path=_shown(request.path), status=answer.status)
        await _answer(stream, door, answer)
        answered = True
        if not door.keeps_alive:
            await _linger(stream)
            return None


def _shown(path: str) -> str:
    """A path for the log. One in which the question mark got lost holds a token."""
    return path if len(path) <= 64 and "token" not in path.lower() else path[:16] + "…"


async def _ask(site: Site, request: Request) -> Response | TakeOver:
    try:
        return await site(request)
    except ConsoleError as error:
        return error_response(error)


async def _next_request(stream: trio.abc.Stream, door: Door, timeout_s: float, *, silent: bool) -> Request | None:
    """The next request; ``None`` if the peer closed, or said nothing in the time where it may be ``silent``."""
    with trio.move_on_after(timeout_s):
        while (request := door.next_request()) is None:
            data = await stream.receive_some(RECEIVE_BYTES)
            if not data:
                return None
            door.receive(data)
        return request
    if door.idle and silent:
        return None
    if door.idle:
        raise trio.TooSlowError
    detail = f"no whole request head within {timeout_s:g} s"
    raise ConsoleError(errors.REQUEST_TIMEOUT, detail, limit=Limit.HEAD_TIME)


async def _answer(stream: trio.abc.Stream, door: Door, response: Response) -> None:
    parts = door.respond(response, date=formatdate(time.time(), usegmt=True))
    if sum(map(len, parts)) <= SEND_BYTES // 4:  # small answers go out in one; a large body is not copied
        parts = [b"".join(parts)]
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(view), SEND_BYTES):
            with trio.move_on_after(SEND_TIMEOUT_S) as scope:
                await stream.send_all(view[start : start + SEND_BYTES])
            if scope.cancelled_caught:
                raise trio.BrokenResourceError("the browser does not read")


async def _linger(stream: trio.abc.Stream) -> None:
    """End our side and read the peer's rest for a moment: closing with unread bytes would reset the connection."""
    if isinstance(stream, trio.abc.HalfCloseableStream):
        await stream.send_eof()
    left = LINGER_BYTES
    with trio.move_on_after(LINGER_S):
        while left > 0:
            data = await stream.receive_some(RECEIVE_BYTES)
            if not data:
                return
            left -= len(data)
