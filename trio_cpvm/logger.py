"""Where every module gets its logger: structured events on top of the standard library's logging.

Nothing is configured here: as a library the package stays silent below WARNING, and ``logs`` gives the daemon its form.
"""

from __future__ import annotations

import logging
from typing import TypeAlias, cast

import structlog

Logger: TypeAlias = structlog.stdlib.BoundLogger


def get_logger(name: str) -> Logger:
    """A logger for events with fields; ``name`` as for ``logging.getLogger``."""
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return cast("Logger", logger)
