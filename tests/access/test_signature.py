"""CloudStack's signatures: the ones that fit, and each way in which one does not."""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.access.signing import expires, signature, signed_query
from tests.helpers import NOW
from trio_cpvm.access.parameters import read_parameters
from trio_cpvm.access.signature import MAX_AHEAD_S, SignatureRefused, is_signed, sign, verify
from trio_cpvm.models import Secret

KEY = Secret("s3cret-Key")
COMMAND = {"command": "createConsoleEndpoint", "virtualmachineid": "VM-1", "response": "json"}


def query(until: float = NOW + 600, **more: str) -> str:
    return signed_query({**COMMAND, **more}, api_key="K", secret=KEY.reveal(), until=until)


def why_not(text: str, now: float = NOW) -> str:
    with pytest.raises(SignatureRefused) as caught:
        verify(read_parameters(text), KEY, now=now)
    return str(caught.value)


def test_a_known_signature() -> None:
    """Worked out by hand with ``openssl dgst -sha1 -hmac secret``, over ``apikey=k&command=a%20b``."""
    parameters = read_parameters("command=a+b&apiKey=K&signature=x")
    assert sign(parameters, Secret("secret")).hex() == "c71b7716e18e9744c7a78044440cb677b6f7619c"


def test_a_request_signed_well_says_until_when() -> None:
    signed = verify(read_parameters(query()), KEY, now=NOW)
    assert signed.until == NOW + 600
    assert verify(read_parameters(query(until=NOW)), KEY, now=NOW).until == NOW


def test_the_order_and_spelling_in_the_url_do_not_matter() -> None:
    first = verify(read_parameters(query()), KEY, now=NOW)
    turned = "&".join(reversed(query().split("&")))
    assert verify(read_parameters(turned), KEY, now=NOW) == first


@given(st.text(max_size=60).filter(str.isprintable))
def test_every_value_is_signed_as_java_encodes_it(value: str) -> None:
    verify(read_parameters(query(token=value)), KEY, now=NOW)


def with_tilde_as_it_is(parameters: dict[str, str]) -> str:
    """Signed as PyPI's ``cs`` does."""
    message = "&".join(f"{name}={quote(parameters[name], safe='*')}" for name in sorted(parameters)).lower()
    mark = base64.b64encode(hmac.new(KEY.reveal().encode(), message.encode(), hashlib.sha1).digest()).decode()
    return spelled({**parameters, "signature": mark})


def spelled(parameters: dict[str, str]) -> str:
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters.items())


def test_a_tilde_may_stay_as_it_is() -> None:
    parameters = {"apiKey": "K", "signatureVersion": "3", "expires": expires(NOW), "token": "a~b"}
    for query in (with_tilde_as_it_is(parameters), query_of(parameters)):
        verify(read_parameters(query), KEY, now=NOW)


def test_the_mark_is_the_signature_that_was_given() -> None:
    """Or two readings of one signature would be two."""
    parameters = {"apiKey": "K", "signatureVersion": "3", "expires": expires(NOW), "token": "a~b"}
    for query in (with_tilde_as_it_is(parameters), query_of(parameters)):
        given = base64.b64decode(read_parameters(query).get("signature"))
        assert verify(read_parameters(query), KEY, now=NOW).mark == given.hex()


@pytest.mark.parametrize("folded", ["token=a&uuid", "token&uuid", "token=a"])
def test_a_name_that_could_stand_for_two_parameters_is_refused(folded: str) -> None:
    parameters = {"apiKey": "K", "signatureVersion": "3", "expires": expires(NOW), folded: "2"}
    assert why_not(query_of(parameters)) == "a name with & or ="


def test_names_are_sorted_as_they_were_sent() -> None:
    """Capitals before small letters, as ``java.util.Collections.sort`` has it."""
    text = query_of({"apiKey": "K", "signatureVersion": "3", "expires": expires(NOW), "Zone": "1", "alpha": "2"})
    verify(read_parameters(text), KEY, now=NOW)


@pytest.mark.parametrize("name", ["Signature", "SIGNATURE"])
def test_the_signature_is_left_out_however_its_name_is_written(name: str) -> None:
    verify(read_parameters(query().replace("&signature=", f"&{name}=")), KEY, now=NOW)


def query_of(parameters: dict[str, str]) -> str:
    every = {**parameters, "signature": signature(parameters, KEY.reveal())}
    return spelled(every)


@pytest.mark.parametrize(
    ("name", "value"),
    [("virtualmachineid", "VM-2"), ("command", "x"), ("response", "xml"), ("apiKey", "L"), ("new", "1")],
)
def test_an_altered_request_does_not_fit(name: str, value: str) -> None:
    fields = dict(pair.split("=", 1) for pair in query().split("&"))
    fields[name] = value
    assert why_not("&".join(f"{n}={v}" for n, v in fields.items())) == "the signature does not fit"


def test_another_key_does_not_fit() -> None:
    with pytest.raises(SignatureRefused, match="does not fit"):
        verify(read_parameters(query()), Secret("other"), now=NOW)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"expires": expires(NOW - 1)}, "it expired 1 s ago"),
        ({"expires": expires(NOW + MAX_AHEAD_S + 1)}, "ahead"),
        ({"expires": ""}, "expires is missing"),
        ({"expires": "soon"}, "expires is no time"),
        ({"expires": "2030-01-01T00:00:00"}, "expires is no time"),
        ({"expires": "9" * 100}, "expires is no time"),
        ({"signatureVersion": "1"}, "signatureVersion is not 3"),
        ({"signatureVersion": ""}, "signatureVersion is not 3"),
    ],
)
def test_a_signature_that_fits_is_not_enough(changes: dict[str, str], words: str) -> None:
    parameters = {"apiKey": "K", "signatureVersion": "3", "expires": expires(NOW), **COMMAND, **changes}
    assert words in why_not(query_of(parameters))


@pytest.mark.parametrize("absent", ["expires", "signatureVersion"])
def test_neither_expiry_nor_version_may_be_left_out(absent: str) -> None:
    parameters = {"apiKey": "K", "signatureVersion": "3", "expires": expires(NOW), **COMMAND}
    del parameters[absent]
    assert absent in why_not(query_of(parameters))


@pytest.mark.parametrize("spelled", ["", "!!!", "é", "AAAA", "a b"])
def test_signatures_that_are_none(spelled: str) -> None:
    text = query().rpartition("&signature=")[0] + f"&signature={quote(spelled)}"
    assert "signature" in why_not(text)


@pytest.mark.parametrize("zone", ["+0000", "+00:00", "Z", "+0100"])
def test_expires_is_a_time_with_a_zone(zone: str) -> None:
    text = query_of({"apiKey": "K", "signatureVersion": "3", "expires": f"2027-01-15T09:00:00{zone}"})
    until = verify(read_parameters(text), KEY, now=NOW).until
    assert until - NOW == (0 if zone == "+0100" else 3600)


def test_what_means_to_be_signed() -> None:
    assert is_signed(read_parameters("signature="))
    assert is_signed(read_parameters("APIKEY=1"))
    assert not is_signed(read_parameters("vm=1"))
