"""Addresses: one spelling for each, and which networks and words name a trusted proxy."""

from __future__ import annotations

import ipaddress

import pytest

from trio_cpvm.addresses import LOCAL, TrustedProxy, normal_address, parse_trusted_proxy, same_address


def test_addresses_have_one_spelling() -> None:
    assert normal_address("::FFFF:c000:0209") == "192.0.2.9"
    assert normal_address("2001:0DB8::0001") == "2001:db8::1"
    with pytest.raises(ValueError, match="nonsense"):
        normal_address("nonsense")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.9", "::ffff:192.0.2.9", True),
        ("::FFFF:C000:0209", "::ffff:192.0.2.9", True),
        ("2001:db8::1", "2001:DB8:0::1", True),
        ("192.0.2.9", "192.0.2.8", False),
        ("192.0.2.9", "::192.0.2.9", False),
        ("", "", False),
        (LOCAL, LOCAL, False),
    ],
)
def test_the_same_address(one: str, other: str, same: bool) -> None:
    assert same_address(one, other) is same


@pytest.mark.parametrize(
    ("text", "address", "is_one"),
    [
        ("10.0.0.0/8", "10.9.8.7", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "2001:db8::1", False),
        ("10.0.0.0/8", LOCAL, False),
        ("10.0.0.0/8", "unknown", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::/32", "2001:db8:1::", True),
        ("2001:db8::/32", "10.0.0.1", False),
        ("::ffff:10.0.0.0/104", "10.9.8.7", True),
        ("::ffff:10.0.0.0/104", "11.0.0.1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("0.0.0.0/0", LOCAL, False),
        ("::/0", LOCAL, False),
        ("unix", LOCAL, True),
        ("unix", "unknown", False),
        ("unix", "127.0.0.1", False),
    ],
)
def test_who_is_a_trusted_proxy(text: str, address: str, is_one: bool) -> None:
    assert parse_trusted_proxy(text).is_at(address) is is_one


def test_trusted_proxies_print_as_they_are_written() -> None:
    assert str(parse_trusted_proxy("unix")) == "unix"
    assert str(parse_trusted_proxy("10.0.0.0/8")) == "10.0.0.0/8"
    assert parse_trusted_proxy("10.0.0.1") == TrustedProxy(ipaddress.ip_network("10.0.0.1/32"))


@pytest.mark.parametrize("text", ["", "Unix", "unix:/x", "10.0.0.1/8", "10.0.0.0/33", "proxy.test", "10.0.0.1:80", "*"])
def test_what_names_no_proxy(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a network, an address or unix$"):
        parse_trusted_proxy(text)
