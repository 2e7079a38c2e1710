"""The PROXY header at the start of a connection, and whatever comes instead of it.

An input is what a reverse proxy sends. It is read in the only way that there is: as many bytes as are asked for.
"""

from __future__ import annotations

import ipaddress

from fuzz.checks import must
from trio_cpvm.addresses import normal_address
from trio_cpvm.proxy_protocol import (
    MAX_BLOCK_BYTES,
    MAX_LINE_BYTES,
    ProxyHeader,
    ProxyHeaderInvalid,
    read_proxy_header,
)

LONGEST = max(MAX_LINE_BYTES, 16 + MAX_BLOCK_BYTES)


def check(data: bytes) -> None:
    """Never more than a header is asked for, and what it names is an address."""
    at = 0
    while True:
        try:
            found = read_proxy_header(data[:at])
        except ProxyHeaderInvalid:
            return
        if isinstance(found, ProxyHeader):
            break
        must(found >= 1, "asks for nothing")
        must(at + found <= LONGEST, "asks for more than a header may have")
        if at == len(data):
            return
        at = min(at + found, len(data))
    must(all(isinstance(before(data, length), int) for length in range(at)), "a header that is one before its end")
    if found.source:
        must(normal_address(found.source) == found.source, "an address in another spelling")
        must("%" not in found.source and str(ipaddress.ip_address(found.source)) == found.source, "a wild address")


def before(data: bytes, length: int) -> ProxyHeader | int:
    """What the first ``length`` bytes of a header are; of a long one, only every hundredth is looked at."""
    return 1 if length > LONGEST // 20 and length % 100 else read_proxy_header(data[:length])
