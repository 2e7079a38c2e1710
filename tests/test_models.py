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


def test_machines_behind_one_host_are_not_one_machine() -> None:
    one = ConsoleTarget(host="", port=0, websocket_url="wss://esx.test/ticket/1")
    other = ConsoleTarget(host="", port=0, websocket_url="wss://esx.test/ticket/2")
    assert one.viewer_key != other.viewer_key
    tunnels = [ConsoleTarget(host="", port=0, tunnel_url=f"https://xen.test/console?ref={n}") for n in (1, 2)]
    assert tunnels[0].viewer_key != tunnels[1].viewer_key


def test_a_ticket_in_an_address_does_not_print_itself() -> None:
    target = ConsoleTarget(host="", port=0, websocket_url="wss://user:pw@esx.test:443/ticket/s3cret?t=s3cret")
    assert "s3cret" not in f"{target!r} {target.address}"
    assert "pw" not in repr(target)
    assert "wss://esx.test:443" in repr(target)
