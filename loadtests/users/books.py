"""What the users of a locustfile written by hand write into: one history and one telemetry for each process.

Invariant: they are made in the process that has the users (Locust forks its workers first), and closed when
Locust quits, so nothing that was done is lost but by a kill.

History goes to a folder if one is given (`history`, or BROWNOUT_HISTORY), metrics to an OTLP/HTTP receiver if
BROWNOUT_OTLP_ENDPOINT names one. Locust's own events are fired in any case.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from pathlib import Path
from typing import Any, Final

import gevent

from loadtests.history import FIELDS, FLUSH_S, ROW, Ended, Has, Header, HistoryWriter
from loadtests.users.clock import Clock, Phases
from loadtests.users.connect import Broken
from loadtests.users.operation import Desk
from loadtests.users.telemetry import Telemetry

HISTORY: Final = "BROWNOUT_HISTORY"
ENDPOINT: Final = "BROWNOUT_OTLP_ENDPOINT"
RUN: Final = "locust"
PHASE: Final = "load"
EXPORT_S: Final = 0.5

_AT = {name: index for index, (name, _) in enumerate(FIELDS)}
_FLAGS, _WORKLOAD, _OPERATION = _AT["flags"], _AT["workload"], _AT["operation"]
_DUE, _END, _RECEIVED = _AT["intended_start"], _AT["end"], _AT["bytes_received"]
_OUTCOME, _ERROR = _AT["outcome"], _AT["error_type"]
_FINAL = int(Has.FINAL)
_LOG = logging.getLogger(__name__)


class Rows(HistoryWriter):
    """A history that tells Locust of each operation's last row; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, header: Header, environment: Any) -> None:
        """Raises OSError."""
        self._environment = environment
        self._texts: dict[int, str] = {}
        self._types: dict[int, str] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            super().__init__(folder, header)
            return
        with tempfile.TemporaryDirectory() as nowhere:
            super().__init__(Path(nowhere), header)
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.dup2(null, self._fd, inheritable=False)
        finally:
            os.close(null)

    def intern(self, text: str | None) -> int:
        """As its base does, and remembers what the id stands for."""
        number = super().intern(text)
        if text is not None:
            self._texts[number] = text
        return number

    def called(self, workload: str, request_type: str) -> None:
        """What Locust shall call the requests of a workload."""
        self._types[self.intern(workload)] = request_type

    def append_packed(self, row: bytes) -> None:
        """As its base does, and fires Locust's event. Raises OSError."""
        super().append_packed(row)
        fields = ROW.unpack(row)
        if fields[_FLAGS] & _FINAL and fields[_OUTCOME] != Ended.UNFINISHED:
            self._fire(fields)

    def _fire(self, fields: tuple[Any, ...]) -> None:
        failed = fields[_OUTCOME] == Ended.ERROR
        self._environment.events.request.fire(
            request_type=self._types.get(fields[_WORKLOAD], ""),
            name=self._texts.get(fields[_OPERATION], ""),
            response_time=max(fields[_END] - fields[_DUE], 0.0) * 1000,
            response_length=fields[_RECEIVED],
            exception=Broken(self._texts.get(fields[_ERROR], "")) if failed else None,
            context={},
            start_time=fields[_DUE],
            url=None,
            response=None,
        )


class Books:
    """The books of one process."""

    def __init__(self, environment: Any, folder: str | None) -> None:
        """Raises OSError."""
        runner = environment.runner
        self.run = RUN
        self.worker = int(getattr(runner, "worker_index", 0) or 0)
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self.clock = Clock()
        self._phases = Phases()
        self._phases.begin(PHASE, 0.0)
        self._environment = environment
        endpoint = os.environ.get(ENDPOINT, "")
        self._rows = Rows(Path(folder) if folder else None, Header(RUN, "fault", self.name), environment)
        self._telemetry = Telemetry(endpoint or "http://127.0.0.1:4318", self.name, {}, self.clock.now())
        self._exporting = bool(endpoint)
        self._keeping = [gevent.spawn(self._keep_flushing)]
        if self._exporting:
            self._keeping.append(gevent.spawn(self._keep_exporting))
        environment.events.quit.add_listener(self._close)  # `quitting` comes before its users have ended

    def desk(self, workload: str, request_type: str) -> Desk:
        """Where the users of one class write."""
        self._rows.called(workload, request_type)
        return Desk(workload, self.clock, self._phases, self._telemetry, self._rows)

    def _keep_flushing(self) -> None:
        while True:
            gevent.sleep(FLUSH_S)
            try:
                self._rows.flush()
            except OSError as error:  # without its history nothing that it does counts
                _LOG.error("history: %s", error)
                self._environment.process_exit_code = 1
                gevent.spawn(self._environment.runner.quit)
                return

    def _keep_exporting(self) -> None:
        while True:
            gevent.sleep(EXPORT_S)
            self._telemetry.export(self.clock.now())

    def _close(self, **_: Any) -> None:
        """Locust has quit: its users have ended."""
        gevent.killall(self._keeping, block=True)
        try:
            self._rows.close()
        except OSError as error:
            _LOG.error("history: %s", error)
        if self._exporting:
            self._telemetry.export(self.clock.now())
        self._telemetry.shutdown()


_books: dict[str | None, Books] = {}


def books_of(environment: Any, history: str | None) -> Books:
    """The books of this process that are kept in `history`, or where the environment says. Raises OSError."""
    folder = history or os.environ.get(HISTORY) or None
    if folder not in _books:
        _books[folder] = Books(environment, folder)
    return _books[folder]
