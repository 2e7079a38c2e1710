"""Which origins may open a console: the page's own and the allowed ones, and nothing that only looks like them."""

from __future__ import annotations

import pytest

from trio_cpvm.http.origin import origin_allowed

ALLOWED = ("https://cloud.example.com", "http://lab.example.com:8080", "https://[2001:db8::1]")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "console.test"),
        (None, None),
        ("http://console.test", "console.test"),
        ("https://console.test", "console.test"),
        ("http://console.test:80", "console.test"),
        ("http://console.test", "console.test:80"),
        ("https://console.test", "console.test:443"),
        ("https://console.test:8443", "console.test:8443"),
        ("HTTPS://Console.TEST", "console.Test"),
        ("http://192.0.2.1:8080", "192.0.2.1:8080"),
        ("http://[2001:db8::7]:8080", "[2001:db8::7]:8080"),
        ("http://[2001:DB8::7]", "[2001:db8::7]"),
        ("https://cloud.example.com", "console.test"),
        ("https://cloud.example.com:443", "console.test"),
        ("https://cloud.example.com", None),
        ("http://lab.example.com:8080", "console.test"),
        ("https://[2001:db8::1]", "console.test"),
    ],
)
def test_the_pages_own_origin_and_allowed_ones_pass(origin: str | None, host: str | None) -> None:
    assert origin_allowed(origin, host, ALLOWED)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("", "console.test"),
        ("null", "console.test"),
        ("http://evil.test", "console.test"),
        ("http://evil.test", None),
        ("http://console.test", None),
        ("http://console.test.evil.test", "console.test"),
        ("http://evilconsole.test", "console.test"),
        ("http://console.test:8080", "console.test"),
        ("http://console.test", "console.test:8080"),
        ("http://console.test", "console.test:443"),
        ("http://cloud.example.com", "console.test"),
        ("https://cloud.example.com:8443", "console.test"),
        ("https://lab.example.com:8080", "console.test"),
        ("https://sub.cloud.example.com", "console.test"),
        ("file://console.test", "console.test"),
        ("ws://console.test", "console.test"),
        ("//console.test", "console.test"),
        ("console.test", "console.test"),
        ("http://console.test/", "console.test"),
        ("http://console.test/x", "console.test"),
        ("http://console.test?x", "console.test"),
        ("http://console.test#x", "console.test"),
        ("http://user@console.test", "console.test"),
        ("http://console.test@evil.test", "console.test"),
        ("http://user:pw@console.test", "console.test"),
        ("http://console.test, http://console.test", "console.test"),
        ("http://console.test http://evil.test", "console.test"),
        ("http://console.test:99999", "console.test"),
        ("http://console.test:x", "console.test"),
        ("http://[::1", "console.test"),
        ("http://[zz]", "[zz]"),
        ("http://", "console.test"),
        ("http://:80", ":80"),
    ],
)
def test_every_other_origin_is_refused(origin: str, host: str | None) -> None:
    assert not origin_allowed(origin, host, ALLOWED)
