"""The demo services' log: JSON lines on stderr, by structlog; what libraries log goes the same way.

The standard library's root logger is the one way out, so that uvicorn's and OpenTelemetry's lines have the
form of our own. No line per request, unless asked for.
"""

from __future__ import annotations

import asyncio
import logging
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger

_LINE_PER_CONNECTION = ("uvicorn.error",)
"""uvicorn logs each WebSocket's opening and closing there at level info, beside what matters."""


class _Stopping(logging.Filter):
    """Drops what uvicorn says of requests that our own stop has cut off: no error, and a traceback each."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a request that was cancelled."""
        return not (record.exc_info and record.exc_info[0] is asyncio.CancelledError)


def configure(service: str, *, access_log: bool) -> None:
    """Send everything that is logged in this process to stderr, a JSON object a line, named `service`."""

    def name(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=()),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        name,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Stopping())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    if not access_log:
        for logger in _LINE_PER_CONNECTION:
            logging.getLogger(logger).setLevel(logging.WARNING)
