"""TLS as it is on the wire: what can be read of it without a key."""

from __future__ import annotations

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, ENCRYPTED = 20, 21, 22, 23
CLIENT_HELLO = 1


def tls_records(data: bytes) -> list[tuple[int, bytes]]:
    """The records of a TLS stream as (type, body); the last one has to be whole."""
    found = []
    while data:
        length = int.from_bytes(data[3:5], "big")
        assert len(data) >= 5 + length, "a record that is cut off"
        found.append((data[0], data[5 : 5 + length]))
        data = data[5 + length :]
    return found


def offered_ciphers(data: bytes) -> set[int]:
    """The cipher suites of the ClientHello that ``data`` begins with (RFC 5246, section 7.4.1.2)."""
    length = int.from_bytes(data[3:5], "big")
    body = data[5 : 5 + length]
    assert (data[0], body[0]) == (HANDSHAKE, CLIENT_HELLO)
    at = 4 + 2 + 32
    at += 1 + body[at]
    size = int.from_bytes(body[at : at + 2], "big")
    suites = body[at + 2 : at + 2 + size]
    return {int.from_bytes(suites[i : i + 2], "big") for i in range(0, size, 2)}
