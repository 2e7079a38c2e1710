"""Values: secrets that stay secret, addresses that print as they should."""

from __future__ import annotations

import pickle

import pytest

from trio_cpvm.models import ConsoleTarget, Secret, format_address


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret("hunter2")
    target = ConsoleTarget(host="h", port=1, password=secret)
    assert "hunter2" not in f"{secret} {secret!r} {secret!s} {secret:>20} {[secret]} {target}"
    assert secret.reveal() == "hunter2"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)


def test_secrets_compare_by_what_they_hold() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert not Secret("")
    assert Secret(" ")


def test_addresses() -> None:
    assert format_address("10.0.0.1", 5900) == "10.0.0.1:5900"
    assert format_address("fd00::1", 5900) == "[fd00::1]:5900"
    assert ConsoleTarget(host="h", port=1).viewer_key == "h:1"
    assert ConsoleTarget(host="h", port=1, vm_id="v").viewer_key == "v"
