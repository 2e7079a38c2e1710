"""Answers in CloudStack's words."""

from __future__ import annotations

import json

import pytest

from trio_cpvm import errors
from trio_cpvm.access.answers import ERROR_RESPONSE, RESPONSE, endpoint_answer, error_answer
from trio_cpvm.errors import ConsoleError


@pytest.mark.parametrize(
    ("base", "host", "port", "path"),
    [
        ("https://console.example.com", "console.example.com", "443", "websockify"),
        ("http://[::1]:8080", "::1", "8080", "websockify"),
        ("http://h/some/where", "h", "80", "some/where/websockify"),
    ],
)
def test_a_console_for_browsers_and_for_other_clients(base: str, host: str, port: str, path: str) -> None:
    answer = endpoint_answer(f"{base}/novnc?token=T%2B", "T+", "E")
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert json.loads(answer.body) == {
        "createconsoleendpointresponse": {
            "consoleendpoint": {
                "success": True,
                "url": f"{base}/novnc?token=T%2B",
                "websocket": {"host": host, "port": port, "path": path, "token": "T+", "extra": "E"},
            }
        }
    }


def test_what_there_is_not_is_not_named() -> None:
    endpoint = json.loads(endpoint_answer("http://h/novnc?token=T", "T").body)[RESPONSE]["consoleendpoint"]
    assert "extra" not in endpoint["websocket"]
    legacy = json.loads(endpoint_answer("http://h/x").body)[RESPONSE]["consoleendpoint"]
    assert legacy == {"success": True, "url": "http://h/x"}


@pytest.mark.parametrize("name", [RESPONSE, ERROR_RESPONSE])
def test_errors_have_cloudstacks_fields(name: str) -> None:
    answer = error_answer(ConsoleError(errors.MACHINE_NOT_FOUND, "for the log"), name)
    assert answer.status == 404
    assert json.loads(answer.body) == {
        name: {
            "uuidList": [],
            "errorcode": 404,
            "errortext": errors.MACHINE_NOT_FOUND.text,
            "reason": "machine-not-found",
        }
    }
