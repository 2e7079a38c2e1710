"""What the daemon's log looks like: one line per event, for people or as JSON, on standard error."""

from __future__ import annotations

import logging
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
    root.setLevel(config.level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.getLogger(_AUDIT).setLevel(logging.INFO)


def printable(text: str) -> str:
    """A text of somebody else's, such that it neither begins a new line nor does anything to a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _printable_values(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}
