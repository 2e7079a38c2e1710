"""The log: its two forms, what stays out of it, and that no secret of a whole session gets into it."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.conftest import take_lines_with_secrets
from tests.helpers import KEY, NOW, PASSWORD, TARGET, make_front, make_site, read_to_end, url, within
from trio_cpvm.config import LogConfig
from trio_cpvm.logger import get_logger
from trio_cpvm.logs import configure_logging, whole_lines
from trio_cpvm.models import ConsoleTarget, Secret
from trio_cpvm.paced_log import PacedLog
from trio_cpvm.site import PublicSite
from trio_cpvm.testing import (
    RfbClient,
    RfbRefused,
    ScriptedVncServer,
    UpgradeRefused,
    connected,
    http_get,
    open_websocket,
)
from trio_cpvm.token import TokenKey, mint_token

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

timely = within(600)

log = get_logger("trio_cpvm.test")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Logging is the process's; the next test finds it as it was."""
    loggers = [logging.getLogger(name) for name in ("", "trio-websocket", "trio_websocket", "trio_cpvm.audit")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def configured(form: str, level: str = "debug") -> io.StringIO:
    """Log to memory from here on."""
    stream = io.StringIO()
    logging.getLogger("trio_cpvm").setLevel(logging.NOTSET)  # the watch over all tests looks at more
    configure_logging(LogConfig(level=level, format=form), stream)
    return stream


def records(stream: io.StringIO) -> list[dict[str, object]]:
    """JSON lines, each with its timestamp checked and taken out."""
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    for record in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", record.pop("timestamp"))
    return found


def test_people_get_one_line_per_event() -> None:
    stream = configured("console")
    log.info("session started", session="ab12", name="Web 1", view_only=False)
    when, rest = stream.getvalue().split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+", when)
    assert re.fullmatch(r"\[info {5}\] session started +name='Web 1' session=ab12 view_only=False\n", rest)


def test_programs_get_one_json_object_per_event() -> None:
    stream = configured("json")
    log.info("session started", session="ab12", name='a"\n\x1bä', bytes_up=3, after_s=0.5)
    assert len(stream.getvalue().splitlines()) == 1
    assert records(stream) == [
        {
            "event": "session started",
            "level": "info",
            "session": "ab12",
            "name": 'a"\n\x1bä',
            "bytes_up": 3,
            "after_s": 0.5,
        }
    ]


def test_other_libraries_lines_have_the_same_form() -> None:
    stream = configured("json")
    logging.getLogger("other").warning("it is %s", "late", extra={"seconds": 3})
    assert records(stream) == [{"event": "it is late", "level": "warning", "seconds": 3}]
    stream = configured("console")
    logging.getLogger("other").warning("it is %s", "late", extra={"seconds": 3})
    assert re.search(r" \[warning  \] it is late +seconds=3\n$", stream.getvalue())


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
@pytest.mark.parametrize("form", ["console", "json"])
def test_audit_records_are_written_at_every_level(level: str, form: str) -> None:
    stream = configured(form, level)
    get_logger("trio_cpvm.audit").info("session ended", session="ab12")
    assert len(stream.getvalue().splitlines()) == 1
    assert "session ended" in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_says_how_much_is_logged(level: str, events: list[str]) -> None:
    stream = configured("json", level)
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(name)
    assert [record["event"] for record in records(stream)] == events


@timely
async def test_of_a_session_nothing_but_the_record_is_left_at_level_error(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    stream = configured("json", "error")
    site = make_site(dial=ScriptedVncServer(password=PASSWORD).start(nursery).dial)
    async with connected(make_front(site).handle) as connection:
        client = RfbClient(await open_websocket(connection, url("/websockify")))
        await client.handshake()
        await client.aclose()
    await trio.testing.wait_all_tasks_blocked()
    (record,) = records(stream)
    assert (record["event"], record["level"], record["reason"]) == ("session ended", "info", "closed-by-user")


def test_logging_is_configured_anew_each_time() -> None:
    before, stream = configured("json"), configured("json")
    log.info("once")
    assert before.getvalue() == ""
    assert len(records(stream)) == 1


@pytest.mark.parametrize("value", ["a\nb", "a\r\nb", "\x1b[2J", "\x9b31m", "\u2028", "\u202e", "\0", "\ud800"])
def test_no_text_makes_a_line_of_its_own_or_reaches_the_terminal(value: str) -> None:
    stream = configured("console")
    log.info("session started", name=value, nested=[value])
    logging.getLogger("other").warning("it said %s", value)
    assert len(stream.getvalue().splitlines()) == 2
    assert all(char.isprintable() or char == "\n" for char in stream.getvalue())


# -- what stays out ----------------------------------------------------------------------------------------------------


def fail_with(argument: str) -> None:
    local = argument
    raise RuntimeError("bug", len(local))


@pytest.mark.parametrize("form", ["console", "json"])
def test_tracebacks_show_no_values(form: str) -> None:
    stream = configured(form)
    try:
        fail_with(PASSWORD)
    except RuntimeError:
        log.exception("internal error", session="ab12")
    said = stream.getvalue()
    assert "Traceback" in said
    assert "in fail_with" in said
    assert "RuntimeError" in said
    assert PASSWORD not in said
    if form == "json":
        assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("level", "said"),
    [("debug", ["warning", "error"]), ("info", ["warning", "error"]), ("error", ["error"])],
)
def test_the_websocket_library_tells_no_more_than_its_warnings(level: str, said: list[str]) -> None:
    stream = configured("json", level)
    library = logging.getLogger("trio-websocket")
    for name in ("debug", "info", "warning", "error"):
        getattr(library, name)(name)
    assert [record["event"] for record in records(stream)] == said


EXTRA = "3xtra-s3cret"
SPELLED = attrs.evolve(
    TARGET,
    extra_token=Secret(EXTRA),
    ticket=Secret("tick3t-s3cret"),
    tunnel_session=Secret("tunn3l-s3cret"),
)


def spellings(token: str) -> set[str]:
    url_safe = token.replace("+", "-").replace("/", "_")
    return {token, token.rstrip("="), quote(token), quote(token, safe=""), url_safe, url_safe.rstrip("=")}


async def everything_that_happens_to_a_token(site: PublicSite, target: ConsoleTarget) -> set[str]:
    """Good and bad pages, a console, a wrong password, refusals and broken requests; the tokens that were used."""
    front = make_front(site)
    paths = {
        name: url("", one).removeprefix("?token=")
        for name, one in {
            "good": target,
            "expired": attrs.evolve(target, not_after=NOW - 60),
            "wrong password": attrs.evolve(target, session_uuid="2", password=Secret("wr0ng-pa55")),
        }.items()
    }
    for token in (*paths.values(), paths["good"][:-9]):
        for path in ("/novnc", "/novnc/status", "/websockify", "/nowhere"):
            for extra in (EXTRA, "wrong"):
                async with connected(front.handle) as stream:
                    await http_get(stream, f"{path}?token={token}&extra={extra}")
    for line in ("HTTP/1.1 x", "HTTP/1.1\r\nHost: a\r\nHost: b", "HTTP/1.1\r\nHost: x\r\nContent-Length: 1", "\0"):
        async with connected(front.handle) as stream:
            await stream.send_all(f"GET /novnc?token={paths['good']}&extra={EXTRA} {line}\r\n\r\n".encode())
            await read_to_end(stream)
    for name, origin in (("good", "http://evil.test"), ("good", None), ("good", None), ("wrong password", None)):
        async with connected(front.handle) as stream:
            try:
                path = f"/websockify?token={paths[name]}&extra={EXTRA}"
                client = RfbClient(await open_websocket(stream, path, origin=origin))
                await client.handshake()
                await client.type_text("s3cret-input")
                await client.aclose()
            except (UpgradeRefused, RfbRefused):
                continue
    return set(paths.values())


@timely
@pytest.mark.parametrize("form", ["console", "json"])
async def test_no_secret_of_a_whole_session_is_logged(
    form: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    stream = configured(form)
    host = ScriptedVncServer(password=PASSWORD)
    site = make_site(dial=host.start(nursery).dial)
    site.refusals = PacedLog(per_s=1000)
    tokens = await everything_that_happens_to_a_token(site, SPELLED)
    said = stream.getvalue()
    for event in ("session started", "console open", "session ended", "console refused", "page refused", "request"):
        assert event in said
    for slug in ("token-used", "token-expired", "token-invalid", "extra-token-mismatch", "upstream-auth-failed"):
        assert slug in said
    key_bytes = [KEY.key, KEY.iv, KEY.gcm_key]
    secrets = {
        PASSWORD,
        "wr0ng-pa55",
        EXTRA,
        "tick3t-s3cret",
        "tunn3l-s3cret",
        "s3cret-input",
        *(base64.b64encode(raw).decode().rstrip("=") for raw in key_bytes),
        *(raw.hex() for raw in key_bytes),
        *(repr(raw)[2:-1] for raw in key_bytes),
    }
    for token in tokens:
        secrets |= spellings(token)
        secrets.add(token[:40])
    assert [secret for secret in secrets if secret in said] == []
    assert mint_token(SPELLED, KEY) not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("how", ["field", "event", "token", "key", "traceback"])
def test_the_watch_over_all_tests_sees_a_secret(how: str) -> None:
    password = "correct horse"
    target = ConsoleTarget(host="192.0.2.5", port=5900, password=Secret(password))
    key = TokenKey.generate()
    log.info("harmless", target=target, key=key)
    assert not take_lines_with_secrets()
    match how:
        case "field":
            log.debug("connecting", password=password)
        case "event":
            log.debug(f"connecting with {password}")  # noqa: G004 -- that is what must not go unseen
        case "token":
            log.debug("page asked for", path=f"/novnc?token={mint_token(target, key)}")
        case "key":
            log.debug("key read", text=key.to_json())
        case "traceback":
            try:
                raise ValueError(f"no login with {password}")
            except ValueError:
                log.exception("internal error")
    assert len(take_lines_with_secrets()) == 1


def test_a_line_with_a_traceback_is_structlogs_own() -> None:
    stream = configured("console")
    try:
        raise ZeroDivisionError("by nothing")
    except ZeroDivisionError:
        log.exception("internal error", session="ab12")
    first, *traceback = stream.getvalue().splitlines()
    assert re.search(r"\[error {4}\] internal error +session=ab12$", first)
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback[-1] == "ZeroDivisionError: by nothing"


# -- several processes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_worker_s_lines_name_it(form: str) -> None:
    stream = io.StringIO()
    configure_logging(LogConfig(format=form), stream, worker=3)
    log.warning("hello", detail="x")
    assert ('"worker": 3' if form == "json" else "worker=3") in stream.getvalue()


def test_records_are_told_once_they_are_written_and_nothing_else_is() -> None:
    stream, told = io.StringIO(), list[tuple[str, int]]()

    def tell(session: str) -> None:
        told.append((session, len(stream.getvalue())))

    configure_logging(LogConfig(level="error", format="json"), stream, on_record=tell)
    log.error("session ended", session="other")
    get_logger("trio_cpvm.audit").info("session ended", session="5f1c0a")
    assert told == [("5f1c0a", len(stream.getvalue()))]


def test_each_line_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []

    class Counted(io.FileIO):
        def write(self, data: Buffer) -> int:
            written.append(len(memoryview(data)))
            return super().write(data)

    monkeypatch.setattr(io, "FileIO", Counted)
    with (tmp_path / "log").open("w", encoding="utf-8") as file:
        configure_logging(LogConfig(format="json"), whole_lines(file))
        log.warning("short")
        log.warning("long", detail="\N{SNOWMAN}" * 20_000)
        assert (tmp_path / "log").read_text("utf-8").count("\n") == 2
    assert written == [len(line) for line in (tmp_path / "log").read_bytes().splitlines(keepends=True)]
