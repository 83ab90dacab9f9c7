"""A worker: one process that runs the programs of its plan, from its first report to its last.

Invariant: every program that was begun is in the history and in the metrics before the last report says that
both are complete, and none is left running. It ends by itself soon after its stdin has ended, or a signal.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from loadtests.commands.book import Book
from loadtests.commands.schedule import Clock, Schedule
from loadtests.commands.telemetry import Telemetry
from loadtests.commands.workload import CommandWorkload
from loadtests.history import FLUSH_S, Header, HistoryWriter
from loadtests.options.command import CommandProfile
from loadtests.profile import LoadPlan, Workload

EX_SOFTWARE: Final = 70
_LOG = logging.getLogger(__name__)


class NotACommand(ValueError):
    """A workload of the plan is for a Locust process to perform: which."""


class Worker:
    """Performs a plan of commands. `run` returns its exit code when all is written down and reported."""

    def __init__(self, plan: LoadPlan) -> None:
        """Open the history and prepare the workloads; nothing is started.

        Raises:
            NotACommand, MissingVariable: the plan cannot be performed here.
            OSError: the history's folder cannot be written to.
        """
        self._plan = plan
        self._clock = Clock()
        self._schedule = Schedule(self._clock)
        name = plan.worker or f"{socket.gethostname()}-{os.getpid()}"
        folder = Path(plan.history)
        folder.mkdir(parents=True, exist_ok=True)
        self._telemetry = Telemetry(plan.otlp_endpoint, name, plan.boundaries, plan.export_interval_s)
        self._book = Book(
            HistoryWriter(folder, Header(plan.run, plan.arm, name)), self._telemetry, f"{plan.run}/{plan.arm}"
        )
        self._harvests: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._healthy = True
        self._defects = 0
        self._done = threading.Event()
        self._workloads = [self._workload(workload, folder.parent) for workload in plan.workloads]

    def run(self, control: BinaryIO) -> int:
        """Report ready, obey `control`, run the programs, finish."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._hurry())
        listener = threading.Thread(
            target=self._schedule.hear, args=(control, self._plan.drain_s), name="control", daemon=True
        )
        runners = [
            threading.Thread(target=self._guarded, args=(each.run,), name=each.name, daemon=True)
            for each in self._workloads
        ]
        harvester = threading.Thread(target=self._keep_harvesting, name="harvest", daemon=True)
        flusher = threading.Thread(target=self._keep_flushing, name="flush", daemon=True)
        self._telemetry.begin()
        for thread in (harvester, flusher, listener, *runners):
            thread.start()
        for thread in runners:
            thread.join()
        self._harvests.put(None)
        harvester.join()
        self._done.set()
        flusher.join()
        return self._finish()

    def _hurry(self) -> None:
        """A signal: end now. In a thread of its own, for what a signal interrupts may hold the same lock."""
        threading.Thread(target=self._schedule.stop, args=(0.0,), daemon=True).start()

    def _finish(self) -> int:
        try:
            self._book.close()
        except OSError as error:
            _LOG.error("history: %s", error)
            self._healthy = False
        self._telemetry.close(complete=self._healthy)
        return EX_SOFTWARE if self._defects else 0

    def _keep_harvesting(self) -> None:
        while (work := self._harvests.get()) is not None:
            self._guarded(work)
            self._telemetry.send()  # a phase may be judged as soon as it is over

    def _keep_flushing(self) -> None:
        while not self._done.wait(FLUSH_S):
            try:
                self._book.flush()
            except OSError as error:
                self._fail(error)
                return

    def _guarded(self, work: Callable[[], None]) -> None:
        """A defect, or a full disk, must not leave the rest undone, nor pass for work that was done."""
        try:
            work()
        except OSError as error:
            self._fail(error)
        except Exception:
            self._defects += 1
            self._healthy = False
            _LOG.exception("a defect in the command worker")

    def _fail(self, error: OSError) -> None:
        """Without its history nothing that it does counts."""
        _LOG.error("history: %s", error)
        self._healthy = False
        self._schedule.stop(0.0)

    def _workload(self, workload: Workload, folder: Path) -> CommandWorkload:
        profile = workload.profile
        if not isinstance(profile, CommandProfile):
            raise NotACommand(f"{workload.name}: a {profile.user} user is for a Locust process")
        return CommandWorkload(
            workload.name,
            workload.url,
            profile.with_,
            folder=folder,
            seed=self._plan.seed,
            run=self._plan.run,
            clock=self._clock,
            schedule=self._schedule,
            book=self._book,
            telemetry=self._telemetry,
            harvest=self._harvests.put,
        )
