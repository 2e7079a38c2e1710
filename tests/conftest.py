"""What holds for every test: nothing secret is logged, at any level.

Every ``Secret``, every token key and every token that comes into being in this process is remembered, and each log line
of the package, debug lines as well, is searched for them. What the daemons of ``tests/real`` log, in processes of their
own, is searched by ``real/daemon.py``.
"""

from __future__ import annotations

import base64
import logging
import re
import traceback
from collections.abc import Iterator

import pytest

from trio_cpvm.models import Secret
from trio_cpvm.token import TokenKey

#: Shorter ones are found in any text.
SHORTEST = 6
#: Tokens have more characters than that, in either alphabet of base64; nothing else that is logged has.
_TOKEN = re.compile(r"[A-Za-z0-9+/_%=-]{90,}")

#: Made by the running test, and when its module was imported.
_secrets: set[str] = set()
_lines: list[str] = []


def _remember(text: str) -> None:
    if len(text) >= SHORTEST and len(set(text)) > 2:
        _secrets.add(text)


def _watch_what_is_made() -> None:
    make_secret = Secret.__init__
    check_key = TokenKey.__attrs_post_init__

    def init(self: Secret, text: str) -> None:
        make_secret(self, text)
        _remember(text)

    def post_init(self: TokenKey) -> None:
        check_key(self)
        for raw in (self.key, self.iv, self.gcm_key):
            for text in (raw.hex(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()):
                _remember(text.rstrip("="))

    Secret.__init__ = init  # type: ignore[method-assign]
    TokenKey.__attrs_post_init__ = post_init  # type: ignore[method-assign]


def _watch_what_is_logged() -> None:
    make_record = logging.getLogRecordFactory()

    def make(*args: object, **kwargs: object) -> logging.LogRecord:
        record: logging.LogRecord = make_record(*args, **kwargs)
        if (record.name or "").startswith("trio_cpvm"):  # nameless ones are copies of others
            said = [repr(record.msg), repr(record.args)]
            if isinstance(record.msg, dict):  # a text as it is, not as Python spells it
                said += [str(value) for value in record.msg.values()]
            if record.exc_info:
                said += traceback.format_exception(record.exc_info[1])
            _lines.append("\n".join(said))
        return record

    logging.setLogRecordFactory(make)


_watch_what_is_made()
_watch_what_is_logged()


def take_lines_with_secrets() -> list[str]:
    """What has been logged since the test began, or since the last call, with something secret in it."""
    found = [line for line in _lines if _TOKEN.search(line) or any(secret in line for secret in _secrets)]
    _lines.clear()
    return found


@pytest.fixture(autouse=True)
def nothing_secret_is_logged() -> Iterator[None]:
    """Every line of the test, down to debug, whatever level the test itself looks at."""
    package = logging.getLogger("trio_cpvm")
    before = set(_secrets)
    package.setLevel(logging.DEBUG)
    _lines.clear()
    yield
    package.setLevel(logging.NOTSET)
    found = take_lines_with_secrets()
    _secrets.intersection_update(before)
    assert not found, f"secrets in the log: {found}"
