"""The door fed with bytes: whole, byte by byte and cut anywhere; what passes, what is refused, what is answered."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.helpers import parse_answers
from trio_cpvm import errors
from trio_cpvm.errors import ConsoleError
from trio_cpvm.http import Door, Request, Response
from trio_cpvm.http.door import MAX_AHEAD_BYTES, MAX_HEAD_BYTES

DATE = "Sun, 22 Nov 2026 07:28:00 GMT"
HOST = b"Host: console.test\r\n"
GET = b"GET /novnc?token=T HTTP/1.1\r\n" + HOST + b"\r\n"

GOOD = {
    "a page": (GET, Request(method="GET", path="/novnc", query="token=T", headers=(("host", "console.test"),))),
    "no query": (
        b"HEAD / HTTP/1.1\r\nHOST: [::1]:8080\r\n\r\n",
        Request(method="HEAD", path="/", headers=(("host", "[::1]:8080"),)),
    ),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", Request(method="GET", path="/", http_version="1.0")),
    "an empty body": (
        b"POST /drain HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        Request(method="POST", path="/drain", headers=(("host", "x"), ("content-length", "0"))),
    ),
    "several lines of one header": (
        b"GET / HTTP/1.1\r\nhost:x\r\nAccept: a\r\nACCEPT: \t b \t\r\n\r\n",
        Request(method="GET", path="/", headers=(("host", "x"), ("accept", "a"), ("accept", "b"))),
    ),
    "a path that is no folder": (
        b"GET //host/%2F../a?b?c#d HTTP/1.1\r\nHost: x\r\n\r\n",
        Request(method="GET", path="//host/%2F../a", query="b?c#d", headers=(("host", "x"),)),
    ),
}


def take_all(door: Door) -> list[Request]:
    """Every request that is there; each is answered with nothing in particular."""
    requests: list[Request] = []
    while (not requests or door.keeps_alive) and (request := door.next_request()) is not None:
        requests.append(request)
        b"".join(door.respond(Response(status=200), date=DATE))
    return requests


def feed(door: Door, raw: bytes, chunk: int) -> list[Request]:
    """Every request in there, as long as the connection stays."""
    requests: list[Request] = []
    for start in range(0, len(raw), chunk):
        door.receive(raw[start : start + chunk])
        requests += take_all(door)
        if requests and not door.keeps_alive:
            break
    return requests


@pytest.mark.parametrize(("raw", "request_"), GOOD.values(), ids=GOOD.keys())
def test_a_request_is_the_same_whole_and_in_pieces(raw: bytes, request_: Request) -> None:
    for chunk in range(1, len(raw) + 1):
        assert feed(Door(), raw, chunk) == [request_]


def test_requests_in_a_row_are_taken_in_order() -> None:
    raw = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(20))
    for chunk in (1, 7, 40, len(raw)):
        assert [request.path for request in feed(Door(), raw, chunk)] == [f"/{number}" for number in range(20)]


def test_the_door_knows_whether_a_request_has_begun() -> None:
    door = Door()
    idle = [door.idle]
    for piece in (b"G", GET[1:], b"rest"):
        door.receive(piece)
        door.next_request()
        idle.append(door.idle)
    assert idle == [True, False, True, False]
    assert door.ahead == b"rest"


REFUSED = {
    "missing Host": b"GET / HTTP/1.1\r\n\r\n",
    "doubled Host": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "Host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "Host with a user": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "Host with a comma": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "Host with a port that is none": b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
    "Host with too long a port": b"GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n",
    "Host with too high a port": b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n",
    "Host with a number for an address": b"GET / HTTP/1.1\r\nHost: [1]\r\n\r\n",
    "Host with two gaps in its address": b"GET / HTTP/1.1\r\nHost: [::1::2]:80\r\n\r\n",
    "Host with IPv4 in brackets": b"GET / HTTP/1.1\r\nHost: [192.0.2.1]\r\n\r\n",
    "Host with half a bracket": b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "byte over 0x7f in the request line": b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "byte over 0x7f in Host": b"GET / HTTP/1.1\r\nHost: caf\xc3\xa9\r\n\r\n",
    "byte over 0x7f in a name": b"GET / HTTP/1.1\r\n" + HOST + b"X\x80: y\r\n\r\n",
    "byte over 0x7f in a value": b"GET / HTTP/1.1\r\n" + HOST + b"Cookie: \xa0\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\n" + HOST + b"Cookie: a\0b\r\n\r\n",
    "a control character": b"GET / HTTP/1.1\r\n" + HOST + b"Cookie: a\x1bb\r\n\r\n",
    "DEL": b"GET / HTTP/1.1\r\n" + HOST + b"Cookie: a\x7fb\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\n" + HOST + b"\r\n",
    "bare LF in a value": b"GET / HTTP/1.1\r\n" + HOST + b"A: b\nC: d\r\n\r\n",
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: x\n\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\n" + HOST + b"A: b\rC: d\r\n\r\n",
    "doubled CR": b"GET / HTTP/1.1\r\r\n" + HOST + b"\r\n",
    "obs-fold": b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n",
    "obs-fold with a tab": b"GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n",
    "a fold before the first header": b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "tab before the colon": b"GET / HTTP/1.1\r\nHost\t: x\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\n" + HOST + b": x\r\n\r\n",
    "a body": b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx",
    "a chunked body": b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding": b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
    "length and coding": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
    "two lengths in one": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0, 5\r\n\r\n",
    "a length with a sign": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +0\r\n\r\n",
    "a length in hex": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x0\r\n\r\n",
    "a huge length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "an address for a target": b"GET http://console.test/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "a host for a target": b"CONNECT console.test:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a star for a target": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "no target": b"GET HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target with spaces": b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an empty head": b"\r\n\r\n",
    "TLS": bytes.fromhex("16030100c6010000c20303") + bytes(64),
    "SOCKS": b"\x05\x01\x00",
    "RFB": b"RFB 003.008\n",
}


def outcome(door: Door, raw: bytes, chunk: int) -> list[Request] | ConsoleError:
    """The requests in there, or why one of them was refused."""
    try:
        return feed(door, raw, chunk)
    except ConsoleError as error:
        return error


def refusal(raw: bytes, chunk: int) -> tuple[Door, ConsoleError]:
    door = Door()
    error = outcome(door, raw, chunk)
    assert isinstance(error, ConsoleError)
    return door, error


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("chunk", [1, 3, 10_000])
def test_what_no_browser_sends_is_refused_whole_and_in_pieces(raw: bytes, chunk: int) -> None:
    door, error = refusal(raw, chunk)
    assert error.reason is errors.BAD_REQUEST
    (answer,) = parse_answers(b"".join(door.respond(Response(status=400, body=b"no"), date=DATE)))
    assert answer.header("connection") == "close"
    assert not door.keeps_alive


@pytest.mark.parametrize("raw", [b"\x16", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\r", b"G\0", b"\r\r", b"A: b\r\n c"])
def test_a_foreign_byte_is_refused_before_the_end_of_the_head(raw: bytes) -> None:
    door = Door()
    door.receive(raw)
    with pytest.raises(ConsoleError):
        door.next_request()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_request_with_a_body_is_answered_whatever_its_method(method: str) -> None:
    raw = method.encode() + b" / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello"
    door, _ = refusal(raw, len(raw))
    answer = b"".join(door.respond(Response(status=400, body=b"no"), date=DATE))
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"\r\n\r\n" + (b"" if method == "HEAD" else b"no"))


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /novnc?token=SECRET HTTP/1.1 x\r\n\r\n",
        b"GET /novnc?token=SECRET HTTP/1.1\r\n" + HOST + b"token=SECRET\r\n\r\n",
        b"GET novnc?token=SECRET HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /novnc?token=SECRET\x80 HTTP/1.1\r\n\r\n",
        b"GET /novnc?token=SECRET HTTP/1.1\r\nHost: SECRET/\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: SECRET\r\n\r\n",
    ],
)
def test_what_is_logged_of_a_refusal_holds_nothing_of_the_request(raw: bytes) -> None:
    _, error = refusal(raw, len(raw))
    assert "SECRET" not in str(error)


def head_of(size: int) -> bytes:
    start, end = b"GET / HTTP/1.1\r\n" + HOST + b"Cookie: ", b"\r\n\r\n"
    return start + b"a" * (size - len(start) - len(end)) + end


@pytest.mark.parametrize("chunk", [1, 1000, MAX_HEAD_BYTES])
def test_a_head_may_be_as_long_as_the_limit(chunk: int) -> None:
    (request,) = feed(Door(), head_of(MAX_HEAD_BYTES), chunk)
    assert request.path == "/"


@pytest.mark.parametrize(
    "raw",
    [head_of(MAX_HEAD_BYTES + 1), head_of(65536), b"a" * (MAX_HEAD_BYTES + 1), b"GET /" + b"a" * 65536],
    ids=["by one byte", "64 KiB", "without an end", "in the target"],
)
@pytest.mark.parametrize("chunk", [1000, 1 << 20])
def test_a_longer_head_is_refused_as_soon_as_it_is_too_long(raw: bytes, chunk: int) -> None:
    door, error = refusal(raw, chunk)
    assert error.reason is errors.REQUEST_TOO_LARGE
    assert len(door.ahead) <= MAX_HEAD_BYTES + chunk


def test_what_waits_behind_a_request_is_limited() -> None:
    door = Door()
    door.receive(GET + b"x" * MAX_AHEAD_BYTES)
    assert door.next_request() is not None
    door = Door()
    door.receive(GET + b"x" * (MAX_AHEAD_BYTES + 1))
    with pytest.raises(ConsoleError) as caught:
        door.next_request()
    assert caught.value.reason is errors.REQUEST_TOO_LARGE


# -- noise -------------------------------------------------------------------------------------------------------------

PREFIXES = [raw for raw, _ in GOOD.values()] + list(REFUSED.values())


@settings(deadline=None)
@given(
    prefix=st.sampled_from(PREFIXES), cut=st.integers(0, 200), noise=st.binary(max_size=400), chunk=st.integers(1, 99)
)
@example(prefix=GET, cut=200, noise=b"", chunk=1)
def test_noise_behind_a_good_start_is_never_more_than_refused(
    prefix: bytes, cut: int, noise: bytes, chunk: int
) -> None:
    door = Door()
    result = outcome(door, prefix[:cut] + noise, chunk)
    if isinstance(result, ConsoleError):
        assert result.reason.http_status in (400, 431)
        assert b"".join(door.respond(Response(status=400), date=DATE)).startswith(b"HTTP/1.1 400 ")


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"GET ", b"/", b" HTTP/1.1", b"\r\n", b"Host: x", b"Content-Length: 0", b":", b"\n"])))
def test_requests_are_judged_alike_whole_and_byte_by_byte(pieces: list[bytes]) -> None:
    results = [outcome(Door(), b"".join(pieces), chunk) for chunk in (1000, 1)]
    whole, single = (r.reason if isinstance(r, ConsoleError) else r for r in results)
    assert whole == single


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=64), st.sampled_from([b"", GET, b"GET / HTTP/1.1\r\nA: "]))
def test_memory_stays_bounded_whatever_is_sent(noise: bytes, prefix: bytes) -> None:
    door = Door()
    door.receive(prefix)
    for _ in range(40):
        door.receive((noise * 1024)[:16384])
        try:
            while door.next_request() is not None:
                b"".join(door.respond(Response(status=200), date=DATE))
        except ConsoleError:
            break
    assert len(door.ahead) <= MAX_HEAD_BYTES + MAX_AHEAD_BYTES + 16384


# -- answers -----------------------------------------------------------------------------------------------------------


def asked(raw: bytes = GET) -> Door:
    door = Door()
    door.receive(raw)
    assert door.next_request() is not None
    return door


def test_an_answer_is_these_bytes() -> None:
    response = Response(status=200, body=b"hi", content_type="text/css", headers=(("ETag", "1"),))
    assert b"".join(asked().respond(response, date=DATE)).split(b"\r\n") == [
        b"HTTP/1.1 200 OK",
        b"Date: " + DATE.encode(),
        b"Content-Length: 2",
        b"Content-Type: text/css",
        b"ETag: 1",
        b"X-Content-Type-Options: nosniff",
        b"Referrer-Policy: no-referrer",
        b"Cache-Control: no-store",
        b"",
        b"hi",
    ]


def test_an_answers_own_headers_replace_the_common_ones() -> None:
    response = Response(
        status=204, content_type="", headers=(("cache-control", "public"), ("referrer-policy", "origin"))
    )
    raw = b"".join(asked().respond(response, date=DATE))
    (answer,) = parse_answers(raw)
    assert answer.headers == (
        ("date", DATE),
        ("content-length", "0"),
        ("cache-control", "public"),
        ("referrer-policy", "origin"),
        ("x-content-type-options", "nosniff"),
    )


@pytest.mark.parametrize("status", sorted({r.http_status for r in errors.REASONS.values() if r.http_status}))
def test_every_status_that_is_used_has_its_words(status: int) -> None:
    line = b"".join(asked().respond(Response(status=status), date=DATE)).partition(b"\r\n")[0]
    assert len(line) > len(b"HTTP/1.1 400 ")


def test_head_tells_the_size_and_sends_nothing() -> None:
    door = asked(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    (answer,) = parse_answers(b"".join(door.respond(Response(status=200, body=b"hello"), date=DATE)), "HEAD")
    assert answer.header("content-length") == "5"
    assert door.keeps_alive


def test_what_follows_a_head_request_is_refused_with_words() -> None:
    door = asked(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    b"".join(door.respond(Response(status=200), date=DATE))
    door.receive(b"\0")
    with pytest.raises(ConsoleError):
        door.next_request()
    assert b"".join(door.respond(Response(status=400, body=b"no"), date=DATE)).endswith(b"\r\n\r\nno")


@pytest.mark.parametrize(
    ("raw", "response", "alive"),
    [
        (GET, Response(status=200), True),
        (GET, Response(status=404), True),
        (GET, Response(status=200, close=True), False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", Response(status=200), False),
        (b"GET / HTTP/1.0\r\n\r\n", Response(status=200), False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Response(status=200), False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", Response(status=200), True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", Response(status=200), True),
        (b"CONNECT /x HTTP/1.1\r\nHost: x\r\n\r\n", Response(status=405), True),
    ],
)
def test_the_connection_stays_where_both_sides_want_it(raw: bytes, response: Response, alive: bool) -> None:
    door = asked(raw)
    answer = b"".join(door.respond(response, date=DATE))
    assert door.keeps_alive is alive
    assert (b"connection: close" in answer.lower()) is not alive
    if alive:
        door.receive(GET)
        assert door.next_request() is not None
