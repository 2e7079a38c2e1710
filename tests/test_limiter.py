"""Failures are counted in a window, for as many keys as are remembered."""

from __future__ import annotations

import pytest

from trio_cpvm.limiter import FailureLimiter, client_key


def test_after_so_many_failures_one_has_to_wait_until_the_first_is_over() -> None:
    limiter = FailureLimiter(3, 60)
    for moment in (100, 110, 120):
        assert limiter.wait_s("a", now=moment) == 0
        limiter.failed("a", now=moment)
    assert limiter.wait_s("a", now=120) == 40
    assert limiter.wait_s("a", now=159.5) == 1
    assert limiter.wait_s("a", now=160) == 0
    assert limiter.wait_s("b", now=120) == 0
    limiter.failed("a", now=160)
    assert limiter.wait_s("a", now=160) == 10


def test_zero_means_nobody_waits_and_nothing_is_remembered() -> None:
    limiter = FailureLimiter(0, 60)
    for _ in range(100):
        limiter.failed("a", now=0)
    assert limiter.wait_s("a", now=0) == 0
    assert len(limiter) == 0


def test_memory_is_bounded_and_forgets_the_quietest_first() -> None:
    limiter = FailureLimiter(2, 60, capacity=3)
    for key in "abca":
        limiter.failed(key, now=0)
    limiter.failed("d", now=0)
    assert len(limiter) == 3
    assert limiter.wait_s("a", now=0) == 60
    limiter.failed("b", now=0)
    assert limiter.wait_s("b", now=0) == 0


def test_what_is_over_is_forgotten() -> None:
    limiter = FailureLimiter(2, 60)
    for i in range(50):
        limiter.failed(f"k{i}", now=i)
    limiter.failed("last", now=1000)
    assert len(limiter) == 1


def test_other_limits_count_what_is_known() -> None:
    limiter = FailureLimiter(3, 60)
    for moment in (0, 10, 20):
        limiter.failed("a", now=moment)
    assert limiter.wait_s("a", now=20) == 40
    limiter.set_limits(5, 60)
    assert limiter.wait_s("a", now=20) == 0
    limiter.failed("a", now=30)
    limiter.failed("a", now=31)
    assert limiter.wait_s("a", now=31) == 29
    limiter.set_limits(2, 20)
    assert limiter.wait_s("a", now=31) == 19
    limiter.set_limits(0, 20)
    assert limiter.wait_s("a", now=31) == 0
    assert len(limiter) == 0


@pytest.mark.parametrize(
    ("client", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("local", "local"),
    ],
)
def test_a_client_is_its_address_or_its_network(client: str, key: str) -> None:
    assert client_key(client) == key


def test_who_has_to_wait_can_be_listed() -> None:
    limiter = FailureLimiter(2, 60)
    for key, times in (("a", 2), ("b", 1), ("c", 3)):
        for number in range(times):
            limiter.failed(key, now=10.0 + number)
    assert dict(limiter.waiting(now=20)) == {"a": 50, "c": 51}
    limiter.set_limits(0, 60)
    assert dict(limiter.waiting(now=20)) == {}
