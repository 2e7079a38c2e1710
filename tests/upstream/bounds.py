"""A bound for asynchronous tests: what hangs, fails."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec

import trio

_P = ParamSpec("_P")


def bounded(seconds: float) -> Callable[[Callable[_P, Awaitable[None]]], Callable[_P, Awaitable[None]]]:
    """Fail the test after so many seconds of its own clock."""

    def decorate(test: Callable[_P, Awaitable[None]]) -> Callable[_P, Awaitable[None]]:
        @functools.wraps(test)
        async def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
            with trio.fail_after(seconds):
                await test(*args, **kwargs)

        return run

    return decorate
