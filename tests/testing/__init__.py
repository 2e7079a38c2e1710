"""Tests of the public doubles: against each other, against trio's conformance checks, and byte by byte."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec

import trio

_P = ParamSpec("_P")

#: Long enough for everything here on a mock clock, in seconds; only a deadlock takes longer.
TIME_LIMIT_S = 600


def timely(test: Callable[_P, Awaitable[None]]) -> Callable[_P, Awaitable[None]]:
    """Put an absolute limit around a test: with a mock clock, a deadlock fails at once instead of hanging."""

    @functools.wraps(test)
    async def limited(*args: _P.args, **kwargs: _P.kwargs) -> None:
        with trio.fail_after(TIME_LIMIT_S):
            await test(*args, **kwargs)

    return limited
