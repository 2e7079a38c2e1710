"""Who sends a request: every way of saying so, and what it is called when it does not hold."""

from __future__ import annotations

import base64

import pytest

from tests.access.signing import signed_query
from tests.helpers import NOW
from trio_cpvm.access.callers import Callers, bearer_digest, parse_callers
from trio_cpvm.access.credentials import How, NotAuthenticated, asked_by_another_site, authenticate
from trio_cpvm.access.parameters import read_parameters
from trio_cpvm.http import Request

CALLERS = parse_callers(
    f"""
    [callers.alice]
    bearer_sha256 = ["{bearer_digest("alice's key")}", "{bearer_digest("alice's: new")}"]
    [callers.bob]
    bearer_sha256 = ["{bearer_digest("bob's key")}"]
    api_key = "K"
    secret_key = "S"
    """,
    "x.toml",
)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def ask(authorization: str | None = None, query: str = "", *, callers: Callers = CALLERS) -> tuple[str, How]:
    headers = (("authorization", authorization),) if authorization is not None else ()
    request = Request(method="GET", path="/", query=query, headers=headers)
    identity = authenticate(request, read_parameters(query), callers, now=NOW)
    return identity.caller.name, identity.how


def signed(until: float = NOW + 60, *, api_key: str = "K", secret: str = "S") -> str:
    return signed_query({"vm": "1"}, api_key=api_key, secret=secret, until=until)


@pytest.mark.parametrize(
    ("authorization", "name", "how"),
    [
        ("Bearer alice's key", "alice", How.BEARER),
        ("bearer   alice's: new", "alice", How.BEARER),
        ("Bearer bob's key", "bob", How.BEARER),
        (basic("alice:alice's key"), "alice", How.BASIC),
        (basic("alice:alice's: new"), "alice", How.BASIC),
        (basic("bob:bob's key").replace("Basic", "BASIC"), "bob", How.BASIC),
    ],
)
def test_keys_are_taken_by_bearer_and_basic(authorization: str, name: str, how: How) -> None:
    assert ask(authorization) == (name, how)


@pytest.mark.parametrize(
    ("authorization", "how", "claimed"),
    [
        (None, None, None),
        ("", None, None),
        ("Digest x", None, None),
        ("Bearer", How.BEARER, None),
        ("Bearer x", How.BEARER, None),
        ("Bearer " + bearer_digest("alice's key"), How.BEARER, None),
        (basic("alice:x"), How.BASIC, "alice"),
        (basic("alice:bob's key"), How.BASIC, "alice"),
        (basic("carol:alice's key"), How.BASIC, None),
        (basic(":alice's key"), How.BASIC, None),
        (basic("alice"), How.BASIC, "alice"),
        ("Basic !!", How.BASIC, None),
        ("Basic /w==", How.BASIC, None),
        ("Bearer alice's key, Bearer alice's key", How.BEARER, None),
    ],
)
def test_what_does_not_hold_is_told_to_the_log(authorization: str | None, how: How | None, claimed: str | None) -> None:
    with pytest.raises(NotAuthenticated) as caught:
        ask(authorization)
    assert caught.value.how is how
    assert (caught.value.claimed.name if caught.value.claimed else None) == claimed
    assert caught.value.is_guess is (how is not None)
    assert "key" not in str(caught.value).replace("bearer key", "").replace("that key", "")


def test_what_is_signed_says_what_has_to_be_used_up() -> None:
    query = signed()
    request = Request(method="GET", path="/", query=query)
    one = authenticate(request, read_parameters(query), CALLERS, now=NOW)
    turned = "&".join(reversed(query.split("&")))
    other = authenticate(request, read_parameters(turned), CALLERS, now=NOW)
    assert one.signed is not None
    assert (one.caller.name, one.how, one.signed.until) == ("bob", How.SIGNED, NOW + 60)
    assert one.signed == other.signed
    bearer = Request(method="GET", path="/", headers=(("authorization", "Bearer bob's key"),))
    assert authenticate(bearer, read_parameters(""), CALLERS, now=NOW).signed is None


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (signed(api_key="L"), "nobody has that apiKey"),
        (signed(secret="T"), "does not fit"),
        (signed(NOW - 1), "expired"),
        ("apiKey=K", "signature"),
        ("signature=AAAA", "nobody has that apiKey"),
    ],
)
def test_who_means_to_sign_has_to_sign_well(query: str, words: str) -> None:
    with pytest.raises(NotAuthenticated, match=words) as caught:
        ask("Bearer alice's key", query)
    assert caught.value.how is How.SIGNED
    assert caught.value.is_guess is (words != "nobody has that apiKey")


@pytest.mark.parametrize(
    ("site", "foreign"),
    [(None, False), ("none", False), ("same-origin", False), ("same-site", True), ("Cross-Site", True)],
)
def test_browsers_say_who_made_them_ask(site: str | None, foreign: bool) -> None:
    headers = (("sec-fetch-site", site),) if site is not None else ()
    assert asked_by_another_site(Request(method="GET", path="/", headers=headers)) is foreign
