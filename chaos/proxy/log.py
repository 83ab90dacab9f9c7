"""The proxy's log: JSON lines on stderr, by structlog, written by a thread of its own.

The data path never waits for a reader of stderr, and the start does not wait for structlog's import (0.2 s,
more than all the rest). What does not fit into the queue is counted, and the count is logged.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_QUEUED_MAX: Final = 10_000
_RETRY_S: Final = 0.5


class Log:
    """Events with fields. Close it to have everything written."""

    def __init__(self) -> None:
        self._queue: queue.Queue[dict[str, object] | None] = queue.Queue(_QUEUED_MAX)
        self.defects = 0
        """How often something went wrong that should not be able to."""
        self.dropped = 0
        """Lines that found the queue full."""
        self._told = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._started = False

    def start(self) -> None:
        """Begin to write."""
        self._started = True
        self._thread.start()

    def info(self, event: str, **fields: object) -> None:
        """Something went as it should."""
        self._put("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something did not."""
        self._put("warning", event, fields)

    def defect(self, what: str, error: BaseException | None) -> None:
        """Something went wrong that should not be able to: counted, and told with where."""
        self.defects += 1
        trace = "".join(traceback.format_exception(error)) if error is not None else ""
        self._put("error", "defect", {"what": what, "traceback": trace})

    def _put(self, level: str, event: str, fields: dict[str, object]) -> None:
        stamp = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
        try:
            self._queue.put_nowait({"timestamp": stamp, "level": level, "event": event, **fields})
        except queue.Full:
            self.dropped += 1

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what is queued, for at most `timeout_s`."""
        if self._started:
            try:
                self._queue.put_nowait(None)
            except queue.Full:
                return
            self._thread.join(timeout_s)

    def _write(self) -> None:
        logger = _logger()
        while (entry := self._queue.get()) is not None:
            event = str(entry.pop("event"))
            try:
                logger.info(event, **entry)
                if self.dropped != self._told:
                    dropped, self._told = self.dropped - self._told, self.dropped
                    logger.info("log-lines-dropped", level="warning", lines=dropped)
            except OSError:
                return  # nobody reads stderr any more


def _logger() -> FilteringBoundLogger:
    """Try until it can be imported: a proxy that has run out of descriptors cannot open a file."""
    while True:
        try:
            import structlog

            renderer = structlog.processors.JSONRenderer()
            logger: FilteringBoundLogger = structlog.wrap_logger(
                structlog.PrintLogger(sys.stderr), processors=[renderer]
            )
            return logger
        except OSError:
            time.sleep(_RETRY_S)
