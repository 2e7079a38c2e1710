"""PROXY headers: both versions, however they are cut, and everything that is none."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm.proxy_protocol import (
    MAX_BLOCK_BYTES,
    MAX_LINE_BYTES,
    ProxyHeader,
    ProxyHeaderInvalid,
    read_proxy_header,
)

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")  # as doc/proxy-protocol.txt writes it
V4 = socket.inet_pton(socket.AF_INET, "192.0.2.9") + socket.inet_pton(socket.AF_INET, "198.51.100.1")
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::9") + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.9") * 2
PORTS = struct.pack(">HH", 56324, 443)
#: PP2_TYPE_NOOP with three bytes, and one that says it is longer than it is: extensions are skipped unread.
EXTENSIONS = b"\x04\0\3abc" + b"\x02\xff\xff"


def block(command: int, family: int, body: bytes = b"", *, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(body) if length is None else length) + body


HEADERS = {
    "v1 TCP4": (b"PROXY TCP4 192.0.2.9 198.51.100.1 56324 443\r\n", "192.0.2.9"),
    "v1 longest TCP4": (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    "v1 TCP6": (b"PROXY TCP6 2001:DB8::9 2001:db8::1 56324 0\r\n", "2001:db8::9"),
    "v1 mapped": (b"PROXY TCP6 ::ffff:192.0.2.9 ::ffff:198.51.100.1 56324 443\r\n", "192.0.2.9"),
    "v1 longest TCP6": (
        b"PROXY TCP6 " + b"ffff:" * 7 + b"fffe " + b"ffff:" * 7 + b"ffff 65535 65535\r\n",
        "ffff:" * 7 + "fffe",
    ),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", ""),
    "v1 unknown with a space": (b"PROXY UNKNOWN \r\n", ""),
    "v1 unknown with anything": (b"PROXY UNKNOWN \xff" + b"x" * 84 + b"\r\n", ""),
    "v1 longest": (b"PROXY UNKNOWN " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n", ""),
    "v2 TCP4": (block(0x21, 0x11, V4 + PORTS), "192.0.2.9"),
    "v2 TCP6": (block(0x21, 0x21, V6 + PORTS), "2001:db8::9"),
    "v2 mapped": (block(0x21, 0x21, MAPPED + PORTS), "192.0.2.9"),
    "v2 extensions": (block(0x21, 0x11, V4 + PORTS + EXTENSIONS), "192.0.2.9"),
    "v2 longest": (block(0x21, 0x11, V4 + PORTS + bytes(MAX_BLOCK_BYTES - 12)), "192.0.2.9"),
    "v2 local": (block(0x20, 0x00), ""),
    "v2 local, family ignored": (block(0x20, 0x11, V4 + PORTS), ""),
    "v2 local, any family ignored": (block(0x20, 0xFF, b"x"), ""),
    "v2 unspecified": (block(0x21, 0x00), ""),
    "v2 unspecified, not empty": (block(0x21, 0x00, b"whatever"), ""),
    "v2 UDP4": (block(0x21, 0x12, V4 + PORTS), ""),
    "v2 unix": (block(0x21, 0x31, b"/run/x".ljust(108, b"\0") * 2), ""),
}

NOT_HEADERS = {
    "HTTP": b"GET / HTTP/1.1\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaa",
    "lower case": b"proxy TCP4 192.0.2.9 198.51.100.1 1 2\r\n",
    "two spaces": b"PROXY  TCP4 192.0.2.9 198.51.100.1 1 2\r\n",
    "a tab": b"PROXY TCP4\t192.0.2.9 198.51.100.1 1 2\r\n",
    "a space behind": b"PROXY TCP4 192.0.2.9 198.51.100.1 1 2 \r\n",
    "another family": b"PROXY TCP5 192.0.2.9 198.51.100.1 1 2\r\n",
    "IPv6 as TCP4": b"PROXY TCP4 2001:db8::9 2001:db8::1 1 2\r\n",
    "IPv4 as TCP6": b"PROXY TCP6 192.0.2.9 198.51.100.1 1 2\r\n",
    "only the destination is IPv6": b"PROXY TCP4 192.0.2.9 2001:db8::1 1 2\r\n",
    "leading zeroes": b"PROXY TCP4 192.0.02.9 198.51.100.1 1 2\r\n",
    "no address": b"PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n",
    "a network": b"PROXY TCP4 192.0.2.9/24 198.51.100.1 1 2\r\n",
    "a scope": b"PROXY TCP6 fe80::1%1 fe80::2 1 2\r\n",
    "a port of six digits": b"PROXY TCP4 192.0.2.9 198.51.100.1 100000 2\r\n",
    "a port too high": b"PROXY TCP4 192.0.2.9 198.51.100.1 65536 2\r\n",
    "a port with a zero": b"PROXY TCP4 192.0.2.9 198.51.100.1 01 2\r\n",
    "a port with a sign": b"PROXY TCP4 192.0.2.9 198.51.100.1 +1 2\r\n",
    "a port too few": b"PROXY TCP4 192.0.2.9 198.51.100.1 1\r\n",
    "LF alone": b"PROXY UNKNOWN\nGET / HTTP/1.1\r\n",
    "CR alone": b"PROXY UNKNOWN\rGET / HTTP/1.1\r\n",
    "glued": b"PROXY UNKNOWNX\r\n",
    "one byte too long": b"PROXY UNKNOWN " + b"x" * (MAX_LINE_BYTES - 15) + b"\r\n",
    "no end": b"PROXY UNKNOWN " + b"x" * 200,
    "another version": block(0x31, 0x11, V4 + PORTS),
    "version 0": block(0x01, 0x11, V4 + PORTS),
    "another command": block(0x22, 0x11, V4 + PORTS),
    "a foreign family": block(0x21, 0x41, V4 + PORTS),
    "a foreign protocol": block(0x21, 0x13, V4 + PORTS),
    "too short for IPv4": block(0x21, 0x11, (V4 + PORTS)[:-1]),
    "too short for IPv6": block(0x21, 0x21, V4 + PORTS),
    "too long": block(0x21, 0x11, length=MAX_BLOCK_BYTES + 1),
    "too long and local": block(0x20, 0x00, length=0xFFFF),
}


def read_all(sent: bytes) -> tuple[ProxyHeader, bytes]:
    """Read as much as is asked for, each time; what it says, and what is left of ``sent``."""
    at = 0
    while isinstance(found := read_proxy_header(sent[:at]), int):
        assert found >= 1
        if at == len(sent):
            raise EOFError
        at = min(at + found, len(sent))
    return found, sent[at:]


@pytest.mark.parametrize(("sent", "source"), HEADERS.values(), ids=HEADERS.keys())
def test_headers(sent: bytes, source: str) -> None:
    assert read_all(sent) == (ProxyHeader(source), b"")
    assert read_all(sent + b"GET / HTTP/1.1\r\n") == (ProxyHeader(source), b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(("sent", "source"), HEADERS.values(), ids=HEADERS.keys())
def test_a_header_may_come_byte_by_byte(sent: bytes, source: str) -> None:
    for at in range(len(sent)):
        found = read_proxy_header(sent[:at])
        assert isinstance(found, int)
        assert 1 <= found <= len(sent) - at
    assert read_proxy_header(sent) == ProxyHeader(source)


@pytest.mark.parametrize("sent", NOT_HEADERS.values(), ids=NOT_HEADERS.keys())
def test_what_is_no_header(sent: bytes) -> None:
    with pytest.raises(ProxyHeaderInvalid):
        read_all(sent)


@pytest.mark.parametrize("sent", [b"G", b"PROXX", b"\x16", b"\r\n\r\n\r"])
def test_what_is_no_header_is_seen_at_the_first_wrong_byte(sent: bytes) -> None:
    with pytest.raises(ProxyHeaderInvalid, match="no PROXY header"):
        read_proxy_header(sent)


@pytest.mark.parametrize("sent", [HEADERS["v1 TCP4"][0], HEADERS["v1 unknown"][0], HEADERS["v2 TCP4"][0]])
def test_who_feeds_more_than_was_asked_for_is_told(sent: bytes) -> None:
    with pytest.raises(ProxyHeaderInvalid, match="bytes behind"):
        read_proxy_header(sent + b"G")


def test_an_error_tells_nothing_of_what_was_sent() -> None:
    with pytest.raises(ProxyHeaderInvalid) as caught:
        read_proxy_header(b"GET /novnc?token=secret HTTP/1.1\r\n")
    assert "secret" not in str(caught.value)


@given(st.sampled_from([b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ", SIGNATURE, SIGNATURE + b"\x21", b""]), st.binary())
def test_noise(start: bytes, noise: bytes) -> None:
    try:
        header, rest = read_all(start + noise)
    except (ProxyHeaderInvalid, EOFError):
        return
    assert header == ProxyHeader("") or header.source.count(".") == 3 or ":" in header.source
    assert len(rest) < len(start + noise)
