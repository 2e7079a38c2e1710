"""Used signatures: each once until it expires, and a full memory refuses instead of forgetting."""

from __future__ import annotations

import pytest

from trio_cpvm.access.used_signatures import TooManySignatures, UsedSignatures


def test_each_counts_once_for_each_caller() -> None:
    used = UsedSignatures()
    assert used.use("a", "x", until=100, now=0)
    assert not used.use("a", "x", until=100, now=100)
    assert used.use("b", "x", until=100, now=100)


def test_a_full_memory_refuses_until_something_expires() -> None:
    time = 0.0
    used = UsedSignatures(capacity=2, clock=lambda: time)
    used.use("a", "1", until=10, now=0)
    used.use("a", "2", until=20, now=0)
    with pytest.raises(TooManySignatures):
        used.use("a", "3", until=5, now=0)
    assert not used.use("a", "1", until=10, now=10), "what was used stays used"
    assert used.use("b", "3", until=5, now=0)
    time = 11.0
    assert used.use("a", "3", until=30, now=11)
    with pytest.raises(TooManySignatures):
        used.use("a", "4", until=30, now=11)


def test_callers_that_have_gone_leave_nothing_behind() -> None:
    time = 0.0
    used = UsedSignatures(clock=lambda: time)
    for i in range(10):
        time = i
        used.use(str(i), "x", until=i, now=i)
    assert len(used._by_caller) == 1
