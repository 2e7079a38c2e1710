"""XenServer's CONNECT, sans-I/O: the request byte for byte, and the answer however it is cut."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm import errors
from trio_cpvm.errors import ConsoleError
from trio_cpvm.http.tunnel import MAX_HEAD_BYTES, TunnelAnswer, tunnel
from trio_cpvm.models import Secret

SESSION = Secret("OpaqueRef:99")
OK = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nCache-Control: no-cache, no-store\r\n\r\n"


def request(target: str, host: str = "xen.test", session: str = "OpaqueRef:99") -> bytes:
    return f"CONNECT {target} HTTP/1.0\r\nHost: {host}\r\nCookie: session_id={session}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "sent"),
    [
        ("http://xen.test/console?ref=1", "xen.test", 80, False, request("/console?ref=1")),
        ("https://xen.test/console?ref=1", "xen.test", 443, True, request("/console?ref=1")),
        ("HTTPS://Xen.TEST:8443/c", "xen.test", 8443, True, request("/c")),
        ("https://xen.test/console", "xen.test", 443, True, request("/console")),
        ("https://xen.test", "xen.test", 443, True, request("/")),
        ("https://xen.test?a=b", "xen.test", 443, True, request("/?a=b")),
        ("https://xen.test/a%2Fb?ref=OpaqueRef%3A1%2D2", "xen.test", 443, True, request("/a/b?ref=OpaqueRef:1-2")),
        ("https://10.0.0.5/c#part", "10.0.0.5", 443, True, request("/c", "10.0.0.5")),
        ("https://[FD00::5]:444/c", "fd00::5", 444, True, request("/c", "[fd00::5]")),
        ("https://root:pw@xen.test/c", "xen.test", 443, True, request("/c")),
        ("https://xen.test/console?a=b&c=d?e", "xen.test", 443, True, request("/console?a=b&c=d?e")),
        ("https://xen.test/c\r\nX: y", "xen.test", 443, True, None),
        ("https://xen.test/c?x=\ty", "xen.test", 443, True, request("/c?x=y")),
    ],
)
def test_the_request_is_cloudstacks(url: str, host: str, port: int, tls: bool, sent: bytes | None) -> None:
    if sent is None:
        with pytest.raises(ConsoleError):
            tunnel(url, SESSION)
        return
    where = tunnel(url, SESSION)
    assert (where.host, where.port, where.tls, where.request) == (host, port, tls, sent)


def test_the_session_does_not_print() -> None:
    assert "OpaqueRef" not in repr(tunnel("https://xen.test/c", SESSION))


def test_no_session_is_an_empty_cookie() -> None:
    assert tunnel("https://xen.test/c", None).request == request("/c", session="")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "xen.test/console",
        "//xen.test/console",
        "ftp://xen.test/c",
        "https://",
        "https:///c",
        "https://[/c",
        "https://[::1/c",
        "https://xen.test:99999/c",
        "https://xen.test:x/c",
        "https://xen.test:-1/c",
        "https://xen.test/c%0d%0aX:%20y",
        "https://xen.test/c%0aX",
        "https://xen.test/c%00",
        "https://xen.test/c?x=%0D%0A%0D%0AGET",
        "https://xen.test/a b",
        "https://xen.test/a%20b",
        "https://xen.test/\u00fc",
        "https://xen.test/%C3%BC",
        "https://xen.test/\0",
        "https://xen.test/\x7f",
        "https://x\u00e9n.test/",
        "https://xen .test/",
    ],
)
def test_a_url_that_no_request_may_have_is_refused(url: str) -> None:
    with pytest.raises(ConsoleError) as caught:
        tunnel(url, SESSION)
    assert caught.value.reason is errors.UPSTREAM_PROTOCOL
    assert "OpaqueRef" not in caught.value.detail


@pytest.mark.parametrize("session", ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "a;b=c", "a\tb", "\u00fc", "\x7f", "\x1f"])
def test_a_session_that_no_cookie_may_have_is_refused(session: str) -> None:
    with pytest.raises(ConsoleError) as caught:
        tunnel("https://xen.test/c", Secret(session))
    assert caught.value.reason is errors.UPSTREAM_PROTOCOL
    assert session not in caught.value.detail


def read(chunks: Iterable[bytes]) -> bytes | None:
    """What came behind the head; ``None`` while it is not complete."""
    answer, rest, done = TunnelAnswer(), b"", False
    for chunk in chunks:
        if done:
            rest += chunk
        elif answer.receive(chunk):
            rest, done = answer.rest, True
    return rest if done else None


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


GOOD = {
    "XenServer": OK,
    "one header": b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n",
    "no headers": b"HTTP/1.1 200 OK\r\n\r\n",
    "no phrase": b"HTTP/1.1 200\r\n\r\n",
    "an empty phrase": b"HTTP/1.1 200 \r\n\r\n",
    "another phrase": b"HTTP/1.1 200 Connection established\r\n\r\n",
    "bytes that are no text": b"HTTP/1.1 200 \xff\xfe\r\nX: \0\xff\r\n\r\n",
    "as large as may be": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * (MAX_HEAD_BYTES - 24) + b"\r\n\r\n",
}


@pytest.mark.parametrize("rest", [b"", b"RFB 003.003\n", b"\r\n\r\n", b"HTTP/1.1 500 no\r\n\r\n"])
@pytest.mark.parametrize("head", GOOD.values(), ids=GOOD.keys())
def test_a_good_answer_and_what_comes_behind_it(head: bytes, rest: bytes) -> None:
    assert read([head + rest]) == rest
    assert read(bytewise(head + rest)) == rest
    assert read([head, rest]) == rest
    assert read([head[:-1]]) is None


def test_any_cut_in_two() -> None:
    for i in range(len(OK) + 13):
        data = OK + b"RFB 003.003\n"
        assert read([data[:i], data[i:]]) == b"RFB 003.003\n"


BAD = {
    "forbidden": (b"HTTP/1.1 403 Forbidden\r\n\r\n<html>no</html>", "the tunnel was refused: 403 Forbidden"),
    "internal": (b"HTTP/1.1 500 Internal Server Error\r\nA: b\r\n\r\n", "500 Internal Server Error"),
    "unauthorised": (b"HTTP/1.1 401\r\n\r\n", "the tunnel was refused: 401"),
    "another success": (b"HTTP/1.1 204 No Content\r\n\r\n", "204 No Content"),
    "a redirection": (b"HTTP/1.1 302 Found\r\nLocation: https://x/\r\n\r\n", "302 Found"),
    "an early hint": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, "100 Continue"),
    "a phrase that is none": (b"HTTP/1.1 403 \x1b[31m\x00" + b"x" * 500 + b"\r\n\r\n", "403 [31m x"),
    "RFB": (b"RFB 003.003\n", "no HTTP: 'RFB 003.003'"),
    "TLS": (b"\x15\x03\x01\0\2\2\x28", "no HTTP"),
    "lower case": (b"http/1.1 200 OK\r\n\r\n", "no HTTP"),
    "two digits": (b"HTTP/1.1 20 OK\r\n\r\n", "no HTTP"),
    "four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", "no HTTP"),
    "no status": (b"HTTP/1.1\r\n\r\n", "no HTTP"),
    "a blank line first": (b"\r\n" + OK, "no HTTP"),
    "no end": (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * MAX_HEAD_BYTES, "no HTTP"),
    "no line": (b"HTTP/" + b"1" * MAX_HEAD_BYTES, "no HTTP"),
}


@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_answer_is_named_for_the_log(data: bytes, words: str) -> None:
    for chunks in ([data], bytewise(data)):
        with pytest.raises(ConsoleError) as caught:
            read(chunks)
        assert caught.value.reason is errors.UPSTREAM_PROTOCOL
        assert caught.value.detail.isprintable()
        assert len(caught.value.detail) < 200
        assert words in caught.value.detail or len(chunks) > 1


def test_garbage_is_not_waited_for() -> None:
    answer = TunnelAnswer()
    with pytest.raises(ConsoleError):
        answer.receive(b"S")


def test_bare_line_feeds_end_no_head() -> None:
    assert read([b"HTTP/1.1 200 OK\n\nRFB"]) is None


def cut(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    chunks = []
    for size in sizes:
        chunks.append(data[:size])
        data = data[size:]
    return [chunk for chunk in [*chunks, data] if chunk]


@given(
    st.sampled_from([*GOOD.values(), *(data for data, _ in BAD.values())]),
    st.integers(0, 200),
    st.binary(max_size=300),
    st.lists(st.integers(1, 50), max_size=20),
)
def test_noise_behind_a_valid_prefix(head: bytes, keep: int, noise: bytes, sizes: list[int]) -> None:
    """Whatever comes, it is a tunnel, a refusal, or not complete; never more is kept than the limit and one chunk."""
    data = head[:keep] + noise
    outcomes = []
    for chunks in ([data], cut(data, sizes)):
        answer, fed, outcome = TunnelAnswer(), 0, "incomplete"
        for chunk in chunks:
            fed += len(chunk)
            try:
                if answer.receive(chunk):
                    outcome = f"rest {answer.rest + data[fed:]!r}"
                    break
            except ConsoleError as error:
                outcome = error.reason.slug
                break
            assert len(answer._buffer) <= MAX_HEAD_BYTES
        outcomes.append(outcome)
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].startswith(("rest ", "incomplete", "upstream-protocol"))


@pytest.mark.parametrize("size", [1, 7, 1000, 4096, 5000])
def test_an_endless_head_is_not_kept(size: int) -> None:
    answer, fed = TunnelAnswer(), 0
    with pytest.raises(ConsoleError):  # noqa: PT012 -- that it comes in time is what is tested
        while fed <= MAX_HEAD_BYTES + size:
            fed += size
            assert not answer.receive(OK[:17] + b"x" * size if fed == size else b"x" * size)
    assert len(answer._buffer) <= MAX_HEAD_BYTES + size + 17


@given(st.text(max_size=60), st.text(max_size=30))
def test_any_text_is_a_safe_request_or_none(url: str, session: str) -> None:
    for whole in (url, f"https://{url}", f"https://xen.test/{url}"):
        try:
            where = tunnel(whole, Secret(session))
        except ConsoleError:
            continue
        lines = where.request.split(b"\r\n")
        assert [line.partition(b" ")[0] for line in lines] == [b"CONNECT", b"Host:", b"Cookie:", b"", b""]
        assert lines[0].count(b" ") == 2
        assert not set(where.request) & set(b"\0\x7f\t")
        assert where.request.count(b"\n") == 4
