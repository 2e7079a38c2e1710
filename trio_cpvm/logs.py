"""What the daemon's log looks like: one line per event, for people or as JSON, on standard error."""

from __future__ import annotations

import logging
import re
import sys
from typing import TextIO

import structlog

from .config import LogConfig

#: Loggers that would tell of every frame or packet below this level.
_CHATTY = ("trio-websocket", "trio_websocket")
#: Its records are written whatever the level is.
_AUDIT = "trio_cpvm.audit"


def configure_logging(config: LogConfig, stream: TextIO | None = None) -> None:
    """Send every log line of this process to ``stream`` (standard error) in the configured form.

    Tracebacks never show the values of variables: those may be passwords.
    """
    stream = stream if stream is not None else sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=config.format == "json"),
    ]
    if config.format == "json":
        renderer: list[structlog.typing.Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("event"),
            structlog.processors.JSONRenderer(),
        ]
    else:
        whole = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
        )
        renderer = [_printable_values, whole if stream.isatty() else LineRenderer(whole)]
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
    root.setLevel(config.level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.getLogger(_AUDIT).setLevel(logging.INFO)


class LineRenderer:
    """As structlog's ``ConsoleRenderer`` writes without colours, in a third of its time.

    Args:
        whole: what renders the few lines that are not one line: those with tracebacks.
    """

    def __init__(self, whole: structlog.dev.ConsoleRenderer) -> None:
        self._whole = whole

    def __call__(self, logger: structlog.typing.WrappedLogger, name: str, event: structlog.typing.EventDict) -> str:
        if not _NOT_ONE_LINE.isdisjoint(event):
            return self._whole(logger, name, event)
        head = f"{event.pop('timestamp')} [{event.pop('level'):<9}] {event.pop('event')!s:<30}"
        fields = [f"{key}={_shown(event[key])}" for key in sorted(event)]
        return " ".join((head, *fields)).rstrip(" ")


_NOT_ONE_LINE = frozenset({"exc_info", "exception", "stack", "logger", "logger_name"})
_NEEDS_QUOTES = re.compile(r"[ \t=\r\n\"']")


def _shown(value: object) -> str:
    return value if isinstance(value, str) and _NEEDS_QUOTES.search(value) is None else repr(value)


def printable(text: str) -> str:
    """A text of somebody else's, such that it neither begins a new line nor does anything to a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _printable_values(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}
