"""URLs for users: what they start with, and the token in them."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from trio_cpvm.config import Config, parse_config
from trio_cpvm.errors import BadConfiguration
from trio_cpvm.links import base_url, console_url, reachable_url


@pytest.mark.parametrize(
    ("server", "base"),
    [
        ("", "http://127.0.0.1:8080"),
        ("listen = ['192.0.2.1:80']", "http://192.0.2.1:80"),
        ("listen = [':8080']", "http://127.0.0.1:8080"),
        ("listen = ['0.0.0.0:8080']", "http://127.0.0.1:8080"),
        ("listen = ['[::]:8080']", "http://[::1]:8080"),
        ("listen = ['unix:/run/x.sock', '127.0.0.1:0', 'proxy.test:81']", "http://proxy.test:81"),
        ("public_url = 'https://console.example.com'", "https://console.example.com"),
        ("public_url = 'https://console.example.com:8443/'", "https://console.example.com:8443"),
        ("public_url = 'https://example.com/consoles/'\nlisten = ['unix:/x']", "https://example.com/consoles"),
    ],
)
def test_urls_start_with_the_public_address(server: str, base: str) -> None:
    assert base_url(parse_config(f"[server]\n{server}", "x")) == base


@pytest.mark.parametrize("listen", ["['unix:/run/x.sock']", "['127.0.0.1:0']"])
def test_without_a_fixed_address_the_operator_has_to_name_one(listen: str) -> None:
    with pytest.raises(BadConfiguration, match=r"server\.public_url is needed"):
        base_url(parse_config(f"[server]\nlisten = {listen}", "x"))


def test_the_defaults_need_no_public_url() -> None:
    assert base_url(Config()) == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("bound", "reachable"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("http://[::]:8080", "http://[::1]:8080"),
        ("http://[2001:db8::1]:80", "http://[2001:db8::1]:80"),
    ],
)
def test_a_listener_on_any_address_is_reached_on_loopback(bound: str, reachable: str) -> None:
    assert reachable_url(bound) == reachable


@pytest.mark.parametrize("token", ["abc", "a+b/c==", "a b&c=d#e?f%"])
@pytest.mark.parametrize("extra", ["", "x", "a+b&token=evil", "ä €"])
def test_tokens_survive_the_url(token: str, extra: str) -> None:
    parts = urlsplit(console_url("https://example.com/consoles", token, extra))
    assert (parts.netloc, parts.path, parts.fragment) == ("example.com", "/consoles/novnc", "")
    assert parse_qs(parts.query) == {"token": [token]} | ({"extra": [extra]} if extra else {})
