"""Requests as values: headers and query parameters."""

from __future__ import annotations

import pytest

from trio_cpvm.http import Request, Response


def asking(query: str) -> Request:
    return Request(method="GET", path="/", query=query)


@pytest.mark.parametrize(
    ("query", "raw", "decoded"),
    [
        ("token=abc", "abc", "abc"),
        ("a=1&token=abc&b=2", "abc", "abc"),
        ("token=a%2Bb%3D", "a%2Bb%3D", "a+b="),
        ("token=a+b", "a+b", "a+b"),
        ("token=a=b==", "a=b==", "a=b=="),
        ("token=first&token=second", "first", "first"),
        ("token=%ff%zz", "%ff%zz", "\ufffd%zz"),
        ("token=", "", ""),
        ("token", "", ""),
        ("", None, None),
        ("Token=abc", None, None),
        ("xtoken=abc&tokenx=abc", None, None),
        ("%74oken=abc", None, None),
        ("a?token=abc", None, None),
    ],
)
def test_parameters_are_taken_as_they_are_or_decoded(query: str, raw: str | None, decoded: str | None) -> None:
    assert asking(query).raw_parameter("token") == raw
    assert asking(query).parameter("token") == decoded


HEADERS = (("host", "a"), ("accept", "x, y"), ("cookie", "1"), ("accept", " ,z\t,"))


@pytest.mark.parametrize(
    ("name", "value", "items"),
    [
        ("host", "a", ["a"]),
        ("accept", "x, y,  ,z\t,", ["x", "y", "z"]),
        ("origin", None, []),
    ],
)
def test_lines_of_one_header_are_one_list(name: str, value: str | None, items: list[str]) -> None:
    request = Request(method="GET", path="/", headers=HEADERS)
    assert request.header(name) == value
    assert request.header_items(name) == items


def test_values_do_not_print_what_may_be_secret() -> None:
    request = Request(method="GET", path="/novnc", query="token=SECRET", headers=(("cookie", "SECRET"),))
    assert "SECRET" not in repr(request)
    assert "/novnc" in repr(request)
    assert "SECRET" not in repr(Response(status=200, body=b"SECRET"))
