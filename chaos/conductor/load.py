"""The load port on Locust: processes on this machine, told by their stdin, heard by their telemetry."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

from chaos.conductor.crew import Crew
from chaos.conductor.ready import NotReady, tail, wait_until
from chaos.conductor.stage import Stage
from chaos.conductor.telemetry import Telemetry
from chaos.journal import Journal
from chaos.keeper.handle import KeeperLost
from loadtests import runner
from loadtests.profile import LoadPlan
from slo.objective import Phase

START_WITHIN_S = 30.0
FLUSH_S = 6.0
"""The last report is tried twice, two seconds each."""
NAME = "locust"


class LocustLoad:
    """Locust processes that belong to one run: `workers` of them share its arrivals.

    With several a run goes on without one that ends, and says so; the end of the only one ends the run.
    """

    def __init__(
        self,
        stage: Stage,
        plan: LoadPlan,
        folder: Path,
        *,
        telemetry: Telemetry,
        journal: Journal,
        workers: int = 1,
    ) -> None:
        self._stage = stage
        self._plan = plan
        self._folder = folder
        self._telemetry = telemetry
        host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname()).strip("-") or "host"
        numbered = range(1, workers + 1)
        self._processes = {
            f"{host}-{os.getpid()}-{n}": NAME if workers == 1 else f"{NAME}-{n}" for n in numbered
        }
        self._crew = Crew(self._processes, journal=journal, telemetry=telemetry, say=self._say)
        self._alive = False

    def start(self) -> None:
        """Start the processes, which then wait for their first phase. Raises KeeperLost."""
        Path(self._plan.history).mkdir(exist_ok=True)
        for worker, process in self._processes.items():
            plan = self._plan.model_copy(update={"worker": worker, "members": tuple(self._processes)})
            name = "load.json" if process == NAME else f"load-{process.removeprefix(NAME + '-')}.json"
            path = self._folder / name
            path.write_text(plan.model_dump_json(by_alias=True, indent=2))
            command, environment = runner.locust_command(path), runner.environment(path)
            self._stage.spawn(process, command, environment, self._folder / "logs")
            self._alive = True
            if len(self._processes) > 1:
                self._stage.expect_end(process)  # `check` sees to it

    def wait_ready(self, check: Callable[[], None]) -> None:
        """Until the first telemetry of each has come; `check` is called on the way. Raises NotReady."""

        def ready() -> bool:
            check()
            for process in self._processes.values():
                if not self._stage.lives(process):
                    log = self._folder / "logs" / f"{process}.err"
                    how = self._stage.how_ended(process)
                    raise NotReady(f"{process} was not ready: {how}; the end of {log}:\n{tail(log)}")
            return self._crew.heard(runner.READY_METRIC)

        hint = f"see {self._folder / 'logs'}/{NAME}*.err"
        wait_until("the load generator", ready, within_s=START_WITHIN_S, hint=hint)

    def check(self) -> None:
        """Notice workers that have ended, while a run is on. Raises Stopped when none is left."""
        if len(self._processes) == 1:
            return  # the stage expects it to live
        for worker in self._crew.members:
            process = self._processes[worker]
            if not self._stage.lives(process):
                self._crew.lose(worker, self._stage.how_ended(process))

    def begin(self, phase: Phase, at: float) -> None:
        """Announce a phase. A generator that is gone is noticed by its exit, not here."""
        self._crew.tell(runner.phase_line(phase, at))

    def stop(self) -> bool:
        """End arrivals, wait for the last numbers, end the processes."""
        if not self._alive:
            return False
        self._alive = False
        for process in self._processes.values():
            self._stage.expect_end(process)

        def ended() -> bool:
            return all(
                self._telemetry.heard(runner.FINAL_METRIC, worker)
                or not self._stage.lives(self._processes[worker])
                for worker in self._crew.members
            )

        with contextlib.suppress(NotReady):  # whether the last reports have come is asked once more below
            self._crew.tell(runner.stop_line())
            what, within_s = "the load generator's last report", self._plan.drain_s + FLUSH_S
            wait_until(what, ended, within_s=within_s)
        for process in self._processes.values():
            self._stage.stop(process)
        return self._crew.heard(runner.FINAL_METRIC)

    def _say(self, worker: str, line: str) -> None:
        with contextlib.suppress(KeeperLost):
            self._stage.keeper.write(self._processes[worker], line)
