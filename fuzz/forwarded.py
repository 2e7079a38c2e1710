"""What clients and reverse proxies say of themselves in headers.

An input is lines of printable ASCII: those that begin with ``X`` are of ``X-Forwarded-For``, with ``P`` of
``X-Forwarded-Proto``, all others of ``Forwarded``. The rest of the line is the value.
"""

from __future__ import annotations

from fuzz.checks import must
from trio_cpvm.addresses import normal_address
from trio_cpvm.http import Request
from trio_cpvm.http.forwarded import Forwarded, ForwardedInvalid, read_forwarded

NAMES = {"X": "x-forwarded-for", "P": "x-forwarded-proto"}
LAST = "192.0.2.9"


def check(data: bytes) -> None:
    """It is an address or nothing; and nothing that stands in front of a trusted proxy's word changes that."""
    lines = [line for line in data.decode("latin-1").split("\n") if line.isascii() and line.isprintable()]
    headers = tuple((NAMES.get(line[:1], "forwarded"), line[1:].strip(" \t")) for line in lines)
    said = read(headers)
    if said is not None:
        must(not said.client or normal_address(said.client) == said.client, "a wild address")
        must(said.scheme in ("", "http", "https"), "a wild scheme")
    custom = tuple(header for header in headers if header[0] == "x-forwarded-for")
    last = read((*custom, ("x-forwarded-for", LAST)))
    must(last is not None and last.client == LAST, "the client had a say in its own address")
    standard = tuple(header for header in headers if header[0] == "forwarded")
    last = read((*standard, ("forwarded", f"for={LAST}")))
    must(last is None or last.client == LAST, "the client had a say in its own address")


def read(headers: tuple[tuple[str, str], ...]) -> Forwarded | None:
    """What the headers say; ``None`` where they are refused."""
    try:
        return read_forwarded(Request(method="GET", path="/", headers=headers), lambda address: address < "11")
    except ForwardedInvalid:
        return None
