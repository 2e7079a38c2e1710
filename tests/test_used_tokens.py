"""Used tokens: once, remembered as long as needed, and never without bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm.token.used import UsedTokens


def test_once() -> None:
    used = UsedTokens()
    assert not used.seen("a")
    assert used.use("a", until=100, now=0)
    assert used.seen("a")
    assert not used.use("a", until=100, now=100)


def test_a_token_that_has_died_is_forgotten() -> None:
    time = 0.0
    used = UsedTokens(clock=lambda: time)
    used.use("a", until=100, now=0)
    time = 101.0
    used.use("b", until=200, now=101)
    assert (used.seen("a"), used.seen("b"), len(used)) == (False, True, 1)


def test_a_clock_that_jumps_ahead_and_back_makes_no_token_good_again() -> None:
    time = 0.0
    used = UsedTokens(clock=lambda: time)
    used.use("a", until=1100, now=1000)
    time = 1.0
    used.forget(86_400 + 1001)
    assert used.seen("a")
    time = 101.0
    used.forget(1101)
    assert not used.seen("a")


def test_a_clock_that_jumps_back_keeps_a_token_used_as_long() -> None:
    time = 0.0
    used = UsedTokens(clock=lambda: time)
    used.use("a", until=1100, now=1000)
    time = 10_000.0
    used.forget(1000 - 86_400)
    assert used.seen("a")


def test_a_token_without_end_is_remembered() -> None:
    used = UsedTokens()
    assert used.use("a", until=None, now=0)
    assert not used.use("a", until=None, now=10**10)


def test_memory_is_bounded_and_endless_tokens_go_first() -> None:
    used = UsedTokens(capacity=3)
    for name, until in (("endless 1", None), ("short", 10.0), ("long", 100.0), ("endless 2", None), ("more", 50.0)):
        assert used.use(name, until=until, now=0)
    assert len(used) == 3
    assert not used.seen("endless 1")
    assert not used.seen("endless 2")
    assert used.use("last", until=60, now=0)
    assert not used.seen("short")
    assert used.seen("long")


@given(st.lists(st.tuples(st.integers(0, 20), st.none() | st.integers(0, 50)), max_size=60))
def test_within_its_life_no_token_is_ever_used_twice(uses: list[tuple[int, int | None]]) -> None:
    time = 0
    used = UsedTokens(clock=lambda: time)
    first: dict[int, int | None] = {}
    for now, (name, until) in enumerate(uses):
        time = now
        alive = name in first and (first[name] is None or (first[name] or 0) >= now)
        assert used.use(str(name), until=until, now=now) is not alive
        if not alive:
            first[name] = until
