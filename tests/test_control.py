"""The page's questions and the proxy's answers: what is understood, what is said, what is too much."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm.control import (
    MAX_NUMBER,
    MAX_TEXT_CHARS,
    MAX_TEXTS,
    WINDOW_S,
    Pace,
    Question,
    Standing,
    read_question,
    write_answer,
)
from trio_cpvm.errors import Phase


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ('{"ping":0}', Question(0, stay=False)),
        ('{"ping": 2147483647}', Question(MAX_NUMBER, stay=False)),
        ('{"stay":12}', Question(12, stay=True)),
        (' {\t"stay" :\n1 }\r\n', Question(1, stay=True)),
        ('{"ping":1}' + " " * (MAX_TEXT_CHARS - 10), Question(1, stay=False)),
    ],
)
def test_questions(text: str, question: Question) -> None:
    assert read_question(text) == question
    assert json.loads(text) == {"stay" if question.stay else "ping": question.number}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "hello",
        "RFB 003.008\n",
        '{"ping":}',
        '{"ping":null}',
        '{"ping":true}',
        '{"ping":-1}',
        '{"ping":2147483648}',
        '{"ping":99999999999}',
        '{"ping":01}',
        '{"ping":1.0}',
        '{"ping":1e3}',
        '{"ping":"1"}',
        '{"ping":١}',
        '{"ping":NaN}',
        '{"ping":[1]}',
        '{"ping":1}x',
        'x{"ping":1}',
        '\ufeff{"ping":1}',
        '{"ping":1,}',
        '{"ping":1,"stay":1}',
        '{"ping":1,"ping":2}',
        '{"PING":1}',
        '{"pong":1}',
        "{'ping':1}",
        '["ping",1]',
        '{"ping":1}' + " " * (MAX_TEXT_CHARS - 9),
        "[" * MAX_TEXT_CHARS,
    ],
)
def test_nothing_else_is_understood(text: str) -> None:
    assert read_question(text) is None


@given(st.text(max_size=300) | st.from_regex(r'\{"(ping|stay)": ?[0-9]{1,12}\}', fullmatch=True))
def test_what_is_understood_is_json_of_one_number(text: str) -> None:
    question = read_question(text)
    if question is not None:
        assert json.loads(text) in ({"ping": question.number}, {"stay": question.number})
        assert 0 <= question.number <= MAX_NUMBER


def test_an_answer_says_how_things_stand() -> None:
    standing = Standing(phase=Phase.RELAY, idle_left_s=299.4567, lifetime_left_s=0.04, host_rtt_s=0.000_449)
    standing = attrs.evolve(standing, drain_left_s=59.96, looks_on=True)
    assert json.loads(write_answer(Question(7, stay=True), standing)) == {
        "pong": 7,
        "phase": "relay",
        "idle_left_s": 299.5,
        "lifetime_left_s": 0.0,
        "host_rtt_ms": 0.4,
        "drain_left_s": 60.0,
        "looks_on": True,
    }


def test_an_answer_says_null_for_what_is_not_known_and_nothing_negative() -> None:
    standing = Standing(phase=Phase.CONNECT, idle_left_s=-0.3)
    assert json.loads(write_answer(Question(0, stay=False), standing)) == {
        "pong": 0,
        "phase": "connect",
        "idle_left_s": 0.0,
        "lifetime_left_s": None,
        "host_rtt_ms": None,
        "drain_left_s": None,
        "looks_on": False,
    }


def test_a_page_that_asks_each_half_second_is_no_flood() -> None:
    pace = Pace()
    assert all(pace.allows(count * 0.5) for count in range(1000))


def test_one_text_too_many_is_noticed() -> None:
    pace = Pace()
    assert all(pace.allows(0.0) for _ in range(MAX_TEXTS))
    assert not pace.allows(WINDOW_S - 0.001)
    assert Pace().allows(0.0)


def test_a_burst_is_forgotten_after_its_window() -> None:
    pace = Pace()
    assert all(pace.allows(1.0) for _ in range(MAX_TEXTS))
    assert all(pace.allows(1.0 + WINDOW_S) for _ in range(MAX_TEXTS))
