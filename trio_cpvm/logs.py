"""What the daemon's log looks like: one line per event, for people or as JSON, on standard error."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable
from typing import TextIO

import structlog

from .config import LogConfig

#: Loggers that would tell of every frame or packet below this level.
_CHATTY = ("trio-websocket", "trio_websocket")
#: The logger of the audit records. Its records are written whatever the level is.
AUDIT = "trio_cpvm.audit"


def configure_logging(
    config: LogConfig,
    stream: TextIO | None = None,
    *,
    worker: int | None = None,
    on_record: Callable[[str], None] | None = None,
) -> None:
    """Send every log line of this process to ``stream`` (standard error) in the configured form.

    Tracebacks never show the values of variables: those may be passwords.

    Args:
        config: the form.
        stream: where to.
        worker: which of several processes this is; every line names it.
        on_record: told the session of each audit record, once that has been written.
    """
    stream = stream if stream is not None else sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=config.format == "json"),
    ]
    if worker is not None:
        shared.append(_names_worker(worker))
    if config.format == "json":
        renderer: list[structlog.typing.Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("event"),
            structlog.processors.JSONRenderer(),
        ]
    else:
        renderer = [
            _printable_values,
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(),
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shared, *renderer],
        )
    )
    # Nobody is shown which line of which file, thread or process wrote a record ("Optimization" in logging's HOWTO).
    logging._srcfile = None  # noqa: SLF001 -- it is documented there
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    if on_record is not None:
        root.addHandler(_RecordsTold(on_record))
    root.setLevel(config.level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.getLogger(AUDIT).setLevel(logging.INFO)


class _RecordsTold(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == AUDIT and isinstance(record.msg, dict):
            self._tell(str(record.msg.get("session")))


def whole_lines(stream: TextIO) -> TextIO:
    """The same file, to which every line goes in one write: other processes write there, too."""
    raw = io.FileIO(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(raw, stream.encoding, "backslashreplace", write_through=True)


def _names_worker(worker: int) -> structlog.typing.Processor:
    def add(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["worker"] = worker
        return event

    return add


def printable(text: str) -> str:
    """A text of somebody else's, such that it neither begins a new line nor does anything to a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _printable_values(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}
