"""A query as form data: decoded once, and refused where two readers could differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm import errors
from trio_cpvm.access.parameters import MAX_PARAMETERS, read_parameters
from trio_cpvm.errors import ConsoleError


def test_values_are_decoded_as_forms_are() -> None:
    parameters = read_parameters("vm=a%20b+c%2Bd&&empty=&bare&apiKey=K&x=1=2")
    assert parameters.pairs == (
        ("vm", "a b c+d"),
        ("empty", ""),
        ("bare", ""),
        ("apiKey", "K"),
        ("x", "1=2"),
    )
    assert parameters.get("vm") == "a b c+d"
    assert parameters.get("apikey") == "K"
    assert (parameters.has("bare"), parameters.has("none"), parameters.get("none")) == (True, False, "")


def test_it_does_not_print_what_it_holds() -> None:
    assert "geheim" not in repr(read_parameters("signature=geheim"))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("vm=1&vm=2", "twice"),
        ("vm=1&VM=1", "twice"),
        ("apikey=1&%61piKey=2", "twice"),
        ("vm=%ff", "UTF-8"),
        ("%ff=1", "UTF-8"),
        ("&".join(f"a{i}" for i in range(MAX_PARAMETERS + 1)), "more than"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(query: str, words: str) -> None:
    with pytest.raises(ConsoleError) as caught:
        read_parameters(query)
    assert caught.value.reason is errors.BAD_REQUEST
    assert words in caught.value.detail


@given(st.text(st.sampled_from("aA=&%+f1é\0;"), max_size=40))
def test_any_text_is_read_or_refused(query: str) -> None:
    try:
        parameters = read_parameters(query)
    except ConsoleError:
        return
    assert all(parameters.get(name.lower()) == value for name, value in parameters.pairs if name.isascii())
