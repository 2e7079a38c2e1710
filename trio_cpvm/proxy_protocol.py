"""The PROXY protocol, versions 1 and 2: what a reverse proxy says of a connection before its first byte; no I/O.

Source: HAProxy's doc/proxy-protocol.txt, of which the sections are named below. Only the client's address is of
interest; destination, ports and the extensions behind them are skipped. This file must not know whom to believe.
"""

from __future__ import annotations

import ipaddress
import re
import struct

import attrs

from .addresses import normal_address

#: The longest line of version 1, with its CR LF (section 2.1).
MAX_LINE_BYTES = 107
#: Version 2 gives no limit below 64 KiB but says that senders keep to one segment (section 2.2); extensions may need
#: some hundred bytes.
MAX_BLOCK_BYTES = 4096

#: No header of either version is shorter: ``PROXY UNKNOWN`` and CR LF.
_SHORTEST = 15
_LINE = b"PROXY "
_END_OF_LINE = b"\r\n"
_KNOWN = re.compile(rb"TCP([46]) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}) ([0-9]{1,5}) ([0-9]{1,5})")
_UNKNOWN = re.compile(rb"UNKNOWN(?: [^\r\n]*)?")

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_HEAD = struct.Struct(">12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
#: Valid, and of no use here: unspecified ones, datagrams, unix sockets. They count as unspecified (section 2.2).
_WITHOUT_ADDRESS = frozenset({0x00, 0x01, 0x02, 0x10, 0x12, 0x20, 0x22, 0x30, 0x31, 0x32})


class ProxyHeaderInvalid(ValueError):
    """What came is no PROXY header, or not a permitted one; the connection has to be closed."""


@attrs.frozen
class ProxyHeader:
    """A whole header.

    Attributes:
        source: the client's address, as ``normal_address`` writes it; empty where the proxy speaks for itself (a
            health check) or does not know.
    """

    source: str


def read_proxy_header(data: bytes | bytearray) -> ProxyHeader | int:
    """Read the header at the start of a connection, which has to be fed to this function and to nobody else.

    Args:
        data: all that has been received so far.

    Returns:
        The header, which is exactly ``data``; or how many further bytes are certainly part of it, at least 1. Whoever
        reads no more than that leaves all that follows the header where it is.

    Raises:
        ProxyHeaderInvalid: it can no longer become a header.
    """
    if not (data.startswith((_LINE, _SIGNATURE)) or _LINE.startswith(data) or _SIGNATURE.startswith(data)):
        raise ProxyHeaderInvalid("no PROXY header")
    if len(data) < _SHORTEST:
        return _SHORTEST - len(data)
    return _read_line(bytes(data)) if data.startswith(_LINE) else _read_block(bytes(data))


def _read_line(data: bytes) -> ProxyHeader | int:
    """Version 1 (section 2.1)."""
    end = data.find(_END_OF_LINE)
    if end < 0:
        missing = 1 if data.endswith(b"\r") else len(_END_OF_LINE)
        if len(data) + missing > MAX_LINE_BYTES:
            raise ProxyHeaderInvalid(f"more than {MAX_LINE_BYTES} bytes without an end of line")
        return missing
    if end + len(_END_OF_LINE) != len(data):
        raise ProxyHeaderInvalid("bytes behind the end of line")
    said = data[len(_LINE) : end]
    if _UNKNOWN.fullmatch(said):
        return ProxyHeader("")
    known = _KNOWN.fullmatch(said)
    if known is None:
        raise ProxyHeaderInvalid("a line that is none of version 1")
    family, source, destination, *ports = (part.decode("ascii") for part in known.groups())
    for port in ports:
        if int(port) > 65535 or (port != "0" and port.startswith("0")):
            raise ProxyHeaderInvalid("a port that is none")
    for address in (source, destination):
        try:
            version = ipaddress.ip_address(address).version
        except ValueError:
            raise ProxyHeaderInvalid("an address that is none") from None
        if str(version) != family:
            raise ProxyHeaderInvalid("an address of another family")
    return ProxyHeader(normal_address(source))


def _read_block(data: bytes) -> ProxyHeader | int:
    """Version 2 (section 2.2)."""
    if len(data) < _HEAD.size:
        return _HEAD.size - len(data)
    _, command, family, length = _HEAD.unpack_from(data)
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderInvalid(f"version and command {command:#04x}")
    if length > MAX_BLOCK_BYTES:
        raise ProxyHeaderInvalid(f"{length} bytes behind the head")
    missing = _HEAD.size + length - len(data)
    if missing:
        if missing < 0:
            raise ProxyHeaderInvalid("bytes behind the header")
        return int(missing)
    if command == _LOCAL or family in _WITHOUT_ADDRESS:
        return ProxyHeader("")
    sizes = {_TCP4: 4, _TCP6: 16}
    size = sizes.get(family)
    if size is None:
        raise ProxyHeaderInvalid(f"family and protocol {family:#04x}")
    if length < 2 * size + 4:  # two addresses, two ports
        raise ProxyHeaderInvalid(f"{length} bytes for addresses and ports")
    packed = data[_HEAD.size : _HEAD.size + size]
    return ProxyHeader(normal_address(str(ipaddress.ip_address(packed))))
