"""XenServer's tunnel: the request that is made of a URL, and the answer to it.

An input whose first byte is 255 is a URL, a line feed, and a session. Of any other, the first byte is the size of the
pieces that the rest, an answer, is fed in (0: whole).
"""

from __future__ import annotations

import re

from fuzz.checks import must, pieces
from trio_cpvm.errors import UPSTREAM_PROTOCOL, ConsoleError
from trio_cpvm.http.tunnel import MAX_HEAD_BYTES, TunnelAnswer, tunnel
from trio_cpvm.models import Secret

REQUEST = 255
_WELL_FORMED = re.compile(
    rb"CONNECT [\x21-\x7e]+ HTTP/1\.0\r\nHost: [\x21-\x7e]+\r\nCookie: session_id=[\x20-\x3a\x3c-\x7e]*\r\n\r\n"
)


def check(data: bytes) -> None:
    """A request is well-formed or not made; an answer is the same however it is cut."""
    if not data:
        return
    if data[0] == REQUEST:
        url, _, session = data[1:].decode("utf-8", "replace").partition("\n")
        make_request(url, session)
        return
    answered = read_answer(data[1:], data[0])
    if len(data) <= MAX_HEAD_BYTES:
        must(answered == read_answer(data[1:], 0), "the cuts matter")


def make_request(url: str, session: str) -> None:
    """The request for a URL, if there is one."""
    try:
        where = tunnel(url, Secret(session))
    except ConsoleError as error:
        must(error.reason is UPSTREAM_PROTOCOL, "another reason")
        return
    must(_WELL_FORMED.fullmatch(where.request) is not None, "a request that can be read differently")
    must(0 < where.port <= 65535 and bool(where.host), "nowhere to go")


def read_answer(sent: bytes, size: int) -> bytes | str | None:
    """What came behind the head; a slug for a refusal; ``None`` if it never ended."""
    answer, fed = TunnelAnswer(), 0
    for piece in pieces(sent, size):
        fed += len(piece)
        try:
            if answer.receive(piece):
                must(sent.startswith(b"HTTP/"), "no HTTP")
                must(b"200" in sent.partition(b"\r\n")[0], "another status")
                return answer.rest + sent[fed:]
        except ConsoleError as error:
            must(len(error.detail) <= 256 and error.detail.isprintable(), "a wild detail")
            return error.reason.slug
        must(len(answer._buffer) <= MAX_HEAD_BYTES, "more is kept than may be")  # noqa: SLF001 -- memory
    return None
