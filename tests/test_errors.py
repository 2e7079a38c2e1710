"""The table of reasons: what other people's scripts rely on, and that every row has words for people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_cpvm import errors
from trio_cpvm.errors import MAX_CLOSE_REASON_BYTES, REASONS, ConsoleError, close_reason, sanitise_text

#: slug: (HTTP status before 101, WebSocket close code after it). Names and numbers are a contract.
CONTRACT = {
    "token-missing": (400, None),
    "token-invalid": (403, None),
    "token-expired": (403, None),
    "token-used": (403, None),
    "source-ip-mismatch": (403, None),
    "extra-token-mismatch": (403, None),
    "origin-refused": (403, None),
    "too-many-sessions": (503, None),
    "draining": (503, 4412),
    "upstream-unreachable": (None, 4502),
    "upstream-timeout": (None, 4504),
    "upstream-forbidden": (None, 4403),
    "upstream-auth-failed": (None, 4401),
    "upstream-auth-blocked": (None, 4429),
    "upstream-tls-failed": (None, 4495),
    "upstream-protocol": (None, 4500),
    "idle-timeout": (None, 4408),
    "lifetime-reached": (None, 4410),
    "replaced": (None, 4409),
    "killed": (None, 4411),
    "closed-by-guest": (None, 1000),
    "closed-by-user": (None, 1000),
}


@pytest.mark.parametrize("slug", CONTRACT)
def test_the_contract_is_kept(slug: str) -> None:
    assert (REASONS[slug].http_status, REASONS[slug].close_code) == CONTRACT[slug]


def test_every_reason_can_be_told_somewhere() -> None:
    for reason in REASONS.values():
        assert reason.http_status or reason.close_code


def test_every_reason_has_a_sentence_and_advice_and_no_text_lacks_a_reason() -> None:
    path = Path(errors.__file__).parent / "messages" / "en.json"
    assert json.loads(path.read_text("utf-8")).keys() == REASONS.keys()
    for reason in REASONS.values():
        assert reason.text.endswith(".")
        assert reason.advice.endswith(".")
        assert len(f"{reason.slug}: {reason.text}".encode()) <= MAX_CLOSE_REASON_BYTES


def test_the_public_text_holds_the_servers_words_and_not_the_logs() -> None:
    error = ConsoleError(errors.UPSTREAM_AUTH_FAILED, "for the log", server_text="Authentication failed")
    assert error.public_text == f"{errors.UPSTREAM_AUTH_FAILED.text} It said: Authentication failed"
    assert str(error) == "upstream-auth-failed: for the log"


def test_the_public_text_names_the_user_whose_doing_it_was() -> None:
    error = ConsoleError(errors.REPLACED, "by session 12 from 192.0.2.1", by="alice")
    assert error.public_text == f"{errors.REPLACED.text} By: alice"
    whole = f"{errors.REPLACED.slug}: {ConsoleError(errors.REPLACED, by='x' * 64).public_text}"
    assert close_reason(whole) == whole


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"Authentication failed\0", "Authentication failed"),
        (b"\x1b[31mred\x1b[0m\r\n\ttext", "[31mred [0m text"),
        ("a\u202eb\u2066c", "a b c"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("x" * 500, "x" * 199 + "…"),
        ("", ""),
    ],
)
def test_a_servers_words_are_made_fit_to_be_shown(raw: bytes | str, text: str) -> None:
    assert sanitise_text(raw) == text


@given(st.binary(max_size=1000))
def test_no_words_of_a_server_can_steer_a_terminal(raw: bytes) -> None:
    text = sanitise_text(raw)
    assert text.isprintable()
    assert len(text) <= 200


@given(st.text(max_size=300))
def test_a_close_reason_always_fits(text: str) -> None:
    cut = close_reason(text)
    assert len(cut.encode()) <= MAX_CLOSE_REASON_BYTES
    assert cut == text or text.startswith(cut[:-1])
