"""Every input that the fuzzer has found worth keeping, without the fuzzer. See fuzz/README.rst."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import (
    client_filter,
    connect_tunnel,
    forwarded,
    http_door,
    input_watcher,
    proxy_header,
    rfb_handshake,
    seeds,
    server_filter,
    token,
)
from fuzz.checks import Finding, must
from fuzz.targets import CORPUS, TARGETS
from trio_cpvm.rfb.commands import Established
from trio_cpvm.rfb.handshake import Handshake

INPUTS = [(target, path) for target in TARGETS for path in sorted((CORPUS / target).iterdir())]
CHECKS: dict[str, Callable[[bytes], None]] = {
    "rfb_handshake": rfb_handshake.check,
    "http_door": http_door.check,
    "connect_tunnel": connect_tunnel.check,
    "token": token.check,
    "input_watcher": input_watcher.check,
    "client_filter": client_filter.check,
    "server_filter": server_filter.check,
    "proxy_header": proxy_header.check,
    "forwarded": forwarded.check,
}


def test_every_target_is_replayed() -> None:
    assert tuple(CHECKS) == TARGETS
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    for name in TARGETS:
        assert importlib.import_module(f"fuzz.{name}").check is CHECKS[name]


def test_the_corpus_is_small() -> None:
    assert len(INPUTS) < 200
    assert sum(path.stat().st_size for _, path in INPUTS) < 100_000


@pytest.mark.parametrize(("target", "path"), INPUTS, ids=[f"{target}/{path.name}" for target, path in INPUTS])
def test_nothing_escapes(target: str, path: Path) -> None:
    CHECKS[target](path.read_bytes())


@pytest.mark.parametrize("name", sorted(seeds.HANDSHAKES))
def test_seeds_lead_to_an_end(name: str) -> None:
    """A seed that stops half-way is a seed that tests less than its name says."""
    data = seeds.HANDSHAKES[name]
    shake = Handshake(rfb_handshake.settings(data[0]))
    last = shake.start()
    for browser, chunk in rfb_handshake.records(data[1:]):
        if browser:
            said = shake.receive_from_client(chunk) if chunk else shake.client_closed()
        else:
            said = shake.receive_from_server(chunk) if chunk else shake.server_closed()
        last = said or last
    opens = not name.startswith(
        (
            "vnc-wrong",
            "vnc-blocked",
            "no-",
            "not-",
            "tls-demanded",
            "vencrypt-early",
            "vencrypt-old",
            "host-",
            "browser-",
        )
    )
    if opens:
        assert isinstance(last[-1], Established)
    else:
        shake.client_closed()
        assert not isinstance(last[-1], Established)
        assert shake.done


@pytest.mark.parametrize("name", sorted(seeds.FILTERED))
def test_seeds_of_browsers_pass_the_filter(name: str) -> None:
    data = seeds.FILTERED[name]
    _, failed = client_filter.filtered(client_filter.policy(data[0]), data[2:], 0)
    assert failed is (name in ("view-only-unknown", "other-pixels"))


@pytest.mark.parametrize("name", sorted(seeds.FOLLOWED))
def test_seeds_of_hosts_pass_the_filter(name: str) -> None:
    data = seeds.FOLLOWED[name]
    passed, failed = server_filter.filtered(data[0], data[1:] + b"\2", 0)
    assert failed is (name == "unknown")
    assert failed or passed.endswith(b"\2")


@pytest.mark.parametrize("target", TARGETS)
@given(noise=st.binary(max_size=400))
@settings(max_examples=50)
def test_noise(target: str, noise: bytes) -> None:
    CHECKS[target](noise)


def test_a_finding_is_an_error() -> None:
    must(True, "fine")
    with pytest.raises(Finding, match="not fine"):
        must(False, "not fine")
