"""What supervisor and workers say to each other: every message comes back as it was, however its bytes arrive."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import PASSWORD, TARGET
from trio_cpvm.asking import Asking, PlainTarget, plain_target
from trio_cpvm.models import ConsoleTarget, Secret
from trio_cpvm.workers import messages
from trio_cpvm.workers.messages import (
    MAX_MESSAGE_BYTES,
    Admit,
    Admitted,
    Details,
    Done,
    End,
    Ended,
    Look,
    MayResume,
    Message,
    NotAMessage,
    Ping,
    Reader,
    Refused,
    SessionDetails,
    Start,
    Take,
    Truth,
    Waits,
    decode,
    encode,
    session_details,
)

ASKING = Asking(
    client="192.0.2.9",
    target=plain_target(TARGET),
    guesser="192.0.2.9",
    single_use=True,
    late_s=0.0,
    lives_s=60.5,
    window_s=30.0,
)
SOME = [
    Start(1, "[server]", "[server]\n", "/etc/c.toml", [["token", "192.0.2.1", 7]], [[5, True]], 6, 7),  # type: ignore[list-item]
    Ping(),
    Done(),
    Truth(None),
    Refused("token-used", "d", "", 0),
    Look(ASKING),
    MayResume(ASKING),
    Admit("5f1c0a", ASKING),
    Admitted(True, False),
    End("5f1c0a", "replaced", "by \ud800 \U0001f600", "bob"),
    Ended("5f1c0a", "killed", "", 1, 2**40, 0.5, True, "", None),
    Waits("token", "2001:db8::/64", 60),
    Take([]),
    Details(3, [[1, None, "x"]]),
]


@pytest.mark.parametrize("message", SOME, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    data = encode(message, 7)
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    assert decode(data[4:]) == (7, message)


def test_every_message_can_be_made_of_its_values() -> None:
    for name, kind in Message.by_name.items():
        assert kind.__name__ == name
        assert getattr(messages, name) is kind


@given(st.lists(st.integers(1, 40), max_size=30))
def test_however_the_bytes_are_cut(cuts: Sequence[int]) -> None:
    data = b"".join(encode(message, -number) for number, message in enumerate(SOME))
    reader, found, start = Reader(), list[tuple[int, Message]](), 0
    for length in [*cuts, len(data)]:
        found += reader.receive(data[start : start + length])
        start += length
    assert found == [(-number, message) for number, message in enumerate(SOME)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"nonsense",
        b"\xff",
        b"[" * 100_000,
        b'["Ping"]',
        b'["Ping", "1"]',
        b'["Ping", 1, 2]',
        b'["Message", 0, 1]',
        b'["Nobody", 0]',
        b'[["Ping"], 0]',
        b'["Admit", 0]',
        b'["Admit", 0, "x", 1, 2]',
        b'["Truth", 0]',
    ],
)
def test_what_is_no_message(body: bytes) -> None:
    with pytest.raises(NotAMessage):
        decode(body)


def test_nothing_is_waited_for_that_is_too_long() -> None:
    with pytest.raises(NotAMessage):
        list(Reader().receive((MAX_MESSAGE_BYTES + 1).to_bytes(4, "big")))


def test_details_of_sessions_keep_their_order() -> None:
    details = SessionDetails(
        id="a",
        phase="relay",
        name="n",
        security=None,
        transport="",
        looks_on=False,
        idle_s=1.0,
        idle_left_s=None,
        lifetime_left_s=None,
        host_rtt_s=None,
        opened_after_s=0.1,
        bytes_up=1,
        bytes_down=2,
    )
    values = json.loads(json.dumps(attrs.astuple(details, recurse=False)))
    assert session_details(values) == details
    with pytest.raises(NotAMessage):
        session_details(values[:-1])


# -- nothing secret ----------------------------------------------------------------------------------------------------


def test_a_target_that_may_hold_secrets_is_not_sent() -> None:
    with pytest.raises(TypeError):
        encode(Look(attrs.evolve(ASKING, target=TARGET)))


def test_no_secret_is_in_a_plain_target() -> None:
    secret = Secret("S3CRET")
    target = ConsoleTarget(
        host="192.0.2.5",
        port=5900,
        username="S3CRET",
        password=secret,
        ticket=secret,
        tunnel_session=secret,
        extra_token=secret,
        websocket_url="wss://host/S3CRET?ticket=S3CRET",
    )
    for one in (target, attrs.evolve(target, websocket_url="", tunnel_url="https://host/S3CRET")):
        plain = plain_target(one)
        sent = encode(Look(attrs.evolve(ASKING, target=plain)))[4:].decode()
        assert "S3CRET" not in sent
        assert PASSWORD not in sent
        assert plain.viewer_key == plain_target(attrs.evolve(one, password=None)).viewer_key
        assert plain.viewer_key != plain_target(attrs.evolve(one, websocket_url="wss://other/")).viewer_key
    assert plain_target(TARGET) == PlainTarget(
        viewer_key="vm-1",
        session_uuid="uuid-1",
        needs_new_viewer=False,
        view_only=False,
        user="",
        vm_id="vm-1",
        name="Web 1",
        host="192.0.2.5",
        port=5901,
        address="192.0.2.5:5901",
    )
    assert cast("Admit", decode(encode(Admit("x", ASKING))[4:])[1]).asking == ASKING
