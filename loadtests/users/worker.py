"""A worker: one Locust process at its plan, from its first report to its last.

Invariant: every operation that was begun is in the history and in the metrics before the last report says
that both are complete. Whoever started the worker ends it by a line on its stdin or by closing it; either way
it ends by itself, soon.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import gevent
from gevent.event import Event

from loadtests.history import FLUSH_S, Header, HistoryWriter
from loadtests.profile import LoadPlan, Workload
from loadtests.users.arrival import Identity
from loadtests.users.clock import Clock, Phases
from loadtests.users.dispatch import Arriving, arriving
from loadtests.users.kinds import user_of
from loadtests.users.operation import Desk
from loadtests.users.share import Epochs, Gap
from loadtests.users.telemetry import Telemetry

FINAL_TRIES: Final = 2
FINISH_WITHIN_S: Final = 6.0
"""How long ending takes at most once nothing is drained any more: the last report's time-outs, and some."""
_POLL_S: Final = 0.02
_LOG = logging.getLogger(__name__)


class Worker:
    """Performs a plan. `run` returns when all is written down and reported."""

    def __init__(self, plan: LoadPlan, clock: Clock | None = None, bearer: str | None = None) -> None:
        """Open the history and prepare the users; nothing is connected to.

        `clock` goes by the conductor's; `bearer` is the token that its receiver asks for.

        Raises:
            BadUrl: a workload's URL.
            OSError: the history's folder cannot be written to.
        """
        self.plan = plan
        self.started = False
        self.finished = Event()
        self.complete = False
        """Whether the last report arrived, with all of the history on disk."""
        self._clock = clock or Clock()
        self._phases = Phases()
        self._name = plan.worker or f"{socket.gethostname()}-{os.getpid()}"
        self._epochs = Epochs(self._name, plan.members)
        folder = Path(plan.history)
        folder.mkdir(parents=True, exist_ok=True)
        self._history = HistoryWriter(folder, Header(plan.run, plan.arm, self._name))
        self._telemetry = Telemetry(
            plan.otlp_endpoint, self._name, plan.boundaries, self._clock.now(), bearer
        )
        self._dispatchers = [self._dispatcher(workload) for workload in plan.workloads]
        self._telemetry.before_report.append(self._flush)  # no report counts what is not on disk
        self._begin = Event()
        self._start = 0.0
        self._stop = Event()
        self._stopped_at = 0.0
        self._drain_until = 0.0
        self._healthy = True
        self._busy = (time.perf_counter(), time.process_time())
        self._telemetry.utilization.set(0.0)

    @property
    def defects(self) -> int:
        """Users that ended by a defect of ours."""
        return sum(dispatcher.defects for dispatcher in self._dispatchers)

    @property
    def history(self) -> Path:
        """The file of its history."""
        return self._history.path

    # --- what the conductor says

    def phase(self, name: str, start: float) -> None:
        """A phase holds from `start` (Unix seconds) on; the first one starts the arrivals."""
        self._phases.begin(name, start)
        if not self._begin.is_set():
            self._start = start
            self._begin.set()

    def share(self, start: float, members: tuple[str, ...], gaps: tuple[Gap, ...] = ()) -> None:
        """From `start` (Unix seconds) on `members` share the arrivals; what is in `gaps` is lost.

        One that is not among them any more has been given up by the others, and stops.
        """
        if self._name not in members:
            _LOG.error("the others go on without this worker: it stops")
            self.hurry()
            return
        self._epochs.begin(start, members, gaps)

    def stop(self, *, drain: bool) -> None:
        """End arrivals now; with `drain` open operations may finish, without they end now too.

        Once draining, the end of stdin changes nothing: whoever said stop may close it.
        """
        now = self._clock.now()
        if not self._stop.is_set():
            self._stopped_at = now
            self._drain_until = now + (self.plan.drain_s if drain else 0.0)
            self._stop.set()
            self._begin.set()

    def hurry(self) -> None:
        """End now, even while draining; `finished` is set when that is done."""
        self.stop(drain=False)
        self._drain_until = 0.0

    # --- the work

    def run(self, control: Callable[[Worker], object]) -> None:
        """Report ready, obey `control` (which runs beside it and tells it things), serve, finish."""
        self.started = True
        gc.collect()
        gc.freeze()  # what is there now stays: collections then look only at what users leave
        flusher = gevent.spawn(self._keep_flushing)
        self._export()
        exporter = gevent.spawn(self._keep_exporting)
        listener = gevent.spawn(control, self)
        try:
            self._serve()
        finally:
            gevent.killall([flusher, listener], block=True)
            try:
                self._finish(exporter)
            finally:
                self.finished.set()

    def _serve(self) -> None:
        self._begin.wait()
        dispatching = [
            gevent.spawn(dispatcher.run, self._start, self._stop, lambda: self._stopped_at)
            for dispatcher in self._dispatchers
            if not self._stop.is_set()
        ]
        self._stop.wait()
        gevent.joinall(dispatching)
        while self._clock.now() < self._drain_until and any(d.open for d in self._dispatchers):
            gevent.sleep(_POLL_S)
        for dispatcher in self._dispatchers:
            dispatcher.end()

    def _finish(self, exporter: gevent.Greenlet) -> None:
        """Close the history, then send the last report, which vouches for it."""
        exporter.kill(block=False)  # its report may hang; the last one waits only until it has let go
        try:
            self._history.close()
        except OSError as error:
            _LOG.error("history: %s", error)
            self._healthy = False
        if self._healthy:
            self._telemetry.final.set(1)
        self.complete = any(self._export() for _ in range(FINAL_TRIES)) and self._healthy
        self._telemetry.shutdown()

    def _keep_flushing(self) -> None:
        while self._healthy:
            gevent.sleep(FLUSH_S)
            self._flush()

    def _flush(self) -> None:
        try:
            self._history.flush()
        except OSError as error:  # without its history nothing that it does counts
            _LOG.error("history: %s", error)
            self._healthy = False
            self.stop(drain=False)

    def _keep_exporting(self) -> None:
        due = time.perf_counter()
        while True:
            due = max(due + self.plan.export_interval_s, time.perf_counter())
            gevent.sleep(due - time.perf_counter())
            self._export()

    def _export(self) -> bool:
        for dispatcher in self._dispatchers:
            self._telemetry.users.set(dispatcher.open, (dispatcher.desk.workload,))
        self._measure_itself()
        return self._telemetry.export(self._clock.now())

    def _measure_itself(self) -> None:
        """The share of a core since it was measured last; over a mere moment it would say nothing."""
        wall, cpu = time.perf_counter(), time.process_time()
        elapsed = wall - self._busy[0]
        if elapsed >= self.plan.export_interval_s / 2:
            self._telemetry.utilization.set((cpu - self._busy[1]) / elapsed)
            self._busy = (wall, cpu)

    def _dispatcher(self, workload: Workload) -> Arriving:
        plan = self.plan
        desk = Desk(workload.name, self._clock, self._phases, self._telemetry, self._history)
        identity = Identity(plan.seed, f"{plan.run}/{plan.arm}", self._name, workload.name)
        schedule = random.Random(f"{plan.seed}/{workload.name}/schedule")
        share = self._epochs.share(
            lambda due: desk.telemetry.arrivals.add((desk.phases.at(due), desk.workload, "lost"))
        )
        return arriving(desk, user_of(desk, workload), workload.profile, identity, schedule, share)
