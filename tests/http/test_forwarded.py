"""``Forwarded`` and ``X-Forwarded-For``: read from the right, and no further than trusted proxies wrote them."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm.http import Request
from trio_cpvm.http.forwarded import MAX_PROXIES, Forwarded, ForwardedInvalid, read_forwarded


def trusted(address: str) -> bool:
    return address.startswith(("10.", "fd00:"))


def read(**headers: str | list[str]) -> Forwarded:
    lines: list[tuple[str, str]] = []
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            lines.append((name.replace("_", "-"), value))
    return read_forwarded(Request(method="GET", path="/", headers=tuple(lines)), trusted)


FOR = {
    "192.0.2.9": "192.0.2.9",
    "192.0.2.9:4711": "192.0.2.9",
    "2001:DB8::9": "2001:db8::9",
    "[2001:db8::9]": "2001:db8::9",
    "[2001:db8::9]:4711": "2001:db8::9",
    "::ffff:192.0.2.9": "192.0.2.9",
    "[::ffff:c000:209]:1": "192.0.2.9",
    # from the right
    "198.51.100.1, 192.0.2.9": "192.0.2.9",
    "198.51.100.1, 192.0.2.9, 10.0.0.1": "192.0.2.9",
    "198.51.100.1,192.0.2.9 ,\t10.0.0.1, fd00::1,10.0.0.2": "192.0.2.9",
    "<script>, unknown, 192.0.2.9, 10.0.0.1": "192.0.2.9",
    ", , 192.0.2.9, ,": "192.0.2.9",
    "192.0.2.9, ::ffff:10.0.0.1": "192.0.2.9",
    # all trusted: somebody within
    "10.0.0.3, 10.0.0.2, 10.0.0.1": "10.0.0.3",
    "10.0.0.3": "10.0.0.3",
    # nothing said
    "": "",
    " , ": "",
}


@pytest.mark.parametrize(("value", "client"), FOR.items())
def test_x_forwarded_for(value: str, client: str) -> None:
    assert read(x_forwarded_for=value) == Forwarded(client)


def test_several_lines_are_one_list() -> None:
    assert read(x_forwarded_for=["198.51.100.1", "192.0.2.9", "10.0.0.1"]).client == "192.0.2.9"
    assert read(forwarded=["for=198.51.100.1", "for=192.0.2.9", "for=10.0.0.1"]).client == "192.0.2.9"


def test_no_header_says_nothing() -> None:
    assert read() == Forwarded()
    assert read(x_real_ip="192.0.2.9") == Forwarded()


STANDARD = {
    # the examples of RFC 7239, sections 4, 6.1 and 7.1, less those that are hidden
    'For="[2001:db8:cafe::17]:4711"': Forwarded("2001:db8:cafe::17"),
    "for=192.0.2.60;proto=http;by=203.0.113.43": Forwarded("192.0.2.60", "http"),
    "for=192.0.2.43, for=198.51.100.17": Forwarded("198.51.100.17"),
    'for=192.0.2.43,for="[2001:db8:cafe::17]",for=10.1.1.1': Forwarded("2001:db8:cafe::17"),
    'for="192.0.2.43:47011"': Forwarded("192.0.2.43"),
    'for="192.0.2.43:_port"': Forwarded("192.0.2.43"),
    # as others write it
    'for="2001:db8::9"': Forwarded("2001:db8::9"),
    "FOR=192.0.2.9; Proto=HTTPS": Forwarded("192.0.2.9", "https"),
    ";for=192.0.2.9;;proto=https;": Forwarded("192.0.2.9", "https"),
    'for="1\\92.0.2.9"': Forwarded("192.0.2.9"),
    'host="a,for=1;\\"b";for=192.0.2.9': Forwarded("192.0.2.9"),
    "for=192.0.2.9;proto=ftp": Forwarded("192.0.2.9"),
    # the scheme is the client's own
    "for=192.0.2.9;proto=https, for=10.0.0.1;proto=http": Forwarded("192.0.2.9", "https"),
    "for=198.51.100.1;proto=https, for=192.0.2.9;proto=http, for=10.0.0.1;proto=https": Forwarded("192.0.2.9", "http"),
    "for=_hidden, for=unknown, for=192.0.2.9": Forwarded("192.0.2.9"),
    ",": Forwarded(),
}


@pytest.mark.parametrize(("value", "said"), STANDARD.items())
def test_forwarded(value: str, said: Forwarded) -> None:
    assert read(forwarded=value) == said


INVALID = [
    "unknown",
    "_hidden",
    "_SEVKISEK",
    "192.0.2",
    "192.0.2.256",
    "192.0.02.9",
    "192.0.2.9:",
    "192.0.2.9:123456",
    "192.0.2.9:http",
    "[192.0.2.9]x",
    "[2001:db8::9",
    "2001:db8::9]",
    "2001:db8::9::1",
    "fe80::1%eth0",
    "[fe80::1%251]",
    "client.test",
    "192.0.2.9 198.51.100.1",
    "192.0.2.0/24",
    '"192.0.2.9',
]


@pytest.mark.parametrize("node", INVALID)
def test_what_names_nobody(node: str) -> None:
    for value in (node, f"192.0.2.9, {node}", f"192.0.2.9, {node}, 10.0.0.1"):
        with pytest.raises(ForwardedInvalid):
            read(x_forwarded_for=value)
    escaped = node.replace('"', '\\"')
    for value in (f'for="{escaped}"', f'for=192.0.2.9, for="{escaped}", for=10.0.0.1'):
        with pytest.raises(ForwardedInvalid):
            read(forwarded=value)


@pytest.mark.parametrize(
    "value",
    [
        "for",
        "for=",
        "192.0.2.9",
        "for = 192.0.2.9",
        "for=192.0.2.9 for=192.0.2.9",
        "for=192.0.2.9;for=192.0.2.9",
        "for=192.0.2.9;For=192.0.2.9",
        "for=[2001:db8::9]",
        'for="192.0.2.9',
        'for="192.0.2.9"x',
        "for=192.0.2.9, by=10.0.0.1",
        "proto=https",
        # a quote that somebody further away has opened swallows the rest
        'for="198.51.100.1, for=192.0.2.9',
    ],
)
def test_malformed_forwarded(value: str) -> None:
    with pytest.raises(ForwardedInvalid):
        read(forwarded=value)


def test_two_headers_have_to_agree() -> None:
    assert read(forwarded="for=192.0.2.9", x_forwarded_for="192.0.2.9") == Forwarded("192.0.2.9")
    assert read(forwarded='for="[::ffff:192.0.2.9]:1"', x_forwarded_for="192.0.2.9:2") == Forwarded("192.0.2.9")
    for forwarded in ("for=198.51.100.1", "for=unknown", "nonsense"):
        with pytest.raises(ForwardedInvalid):
            read(forwarded=forwarded, x_forwarded_for="192.0.2.9")


@pytest.mark.parametrize(
    ("schemes", "scheme"),
    [
        ("https", "https"),
        ("HTTP", "http"),
        (["https", "https"], "https"),
        ("https, http", "https"),
        ("http, https", "http"),
        ("http, https, http", ""),
        ("gopher", ""),
        ("", ""),
    ],
)
def test_x_forwarded_proto(schemes: str | list[str], scheme: str) -> None:
    assert read(x_forwarded_for="192.0.2.9, 10.0.0.1", x_forwarded_proto=schemes) == Forwarded("192.0.2.9", scheme)


def test_proxies_in_a_row_are_counted_and_what_others_made_up_is_not() -> None:
    row = ", ".join(["10.0.0.1"] * (MAX_PROXIES - 1))
    assert read(x_forwarded_for=f"192.0.2.9, {row}").client == "192.0.2.9"
    with pytest.raises(ForwardedInvalid, match="in a row"):
        read(x_forwarded_for=f"192.0.2.9, 10.0.0.1, {row}")
    assert read(x_forwarded_for="x, " * 4000 + "192.0.2.9").client == "192.0.2.9"


@pytest.mark.parametrize(
    "part", [" ", "\t ", ",", ";", "for=", "a", '"', "\\", 'for="', "=", '"\\', "for=a;", ", ", "a ", "=\t"]
)
def test_no_header_takes_long(part: str) -> None:
    value = "for=192.0.2.9," + part * (16384 // len(part)) + "x"
    started = time.process_time()
    for name in ("forwarded", "x_forwarded_for"):
        with contextlib.suppress(ForwardedInvalid):
            read(**{name: value})
    assert time.process_time() - started < 0.5


@given(st.text(alphabet='for=bypt;, "\\[]:._0192a-', max_size=60))
def test_noise(value: str) -> None:
    for name in ("forwarded", "x_forwarded_for"):
        try:
            said = read(**{name: f"198.51.100.1, {value}"})
        except ForwardedInvalid:
            continue
        assert said.client
