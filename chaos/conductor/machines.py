"""The load port on other machines: a Locust master here, and workers that come to it with a token.

Invariant: the run waits for the workers that were asked for, and for nobody else. A worker that is lost is
gone by its own lease before the others take over, and whatever of it did not come in is journalled.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chaos.conductor.crew import Crew
from chaos.conductor.ready import POLL_S, NotReady, tail, wait_until
from chaos.conductor.stage import Stage
from chaos.conductor.telemetry import Telemetry
from chaos.journal import HistoryLost, Journal, WorkerJoined, WorkerRefused
from chaos.keeper.handle import KeeperLost
from chaos.plan import PlannedMaster
from loadtests import machines, runner
from loadtests.machines import MasterPlan, Told
from loadtests.profile import LoadPlan
from loadtests.seal import bearer, checked_token
from probes.otlp import Receiver
from slo.objective import Phase

NAME: Final = "locust-master"
JOIN_WITHIN_S: Final = 300.0
"""How long workers may take to come: somebody may be starting them by hand."""
WORKER_LEASE_S: Final = 5.0
"""How long a worker goes on unheard at most: so long its share may be served by nobody."""
READY_WITHIN_S: Final = 30.0
STALLED_S: Final = 15.0
"""A history of which nothing has come in for so long is not waited for."""


class RemoteLoad:
    """A master that belongs to one run, and the workers that it admits."""

    def __init__(
        self,
        stage: Stage,
        plan: LoadPlan,
        folder: Path,
        *,
        telemetry: Telemetry,
        journal: Journal,
        master: PlannedMaster,
        token: str,
        lease_s: float,
    ) -> None:
        self._stage = stage
        self._plan = plan
        self._folder = folder
        self._telemetry = telemetry
        self._journal = journal
        self._master = master
        self._token = token
        self._lease_s = lease_s
        self._receiver: Receiver | None = None
        self._crew: Crew | None = None
        self._alive = False
        self._joined: dict[str, None] = {}
        self._lost: list[Told] = []
        self._settled: dict[str, str] = {}
        """By worker, why its history did not come in; an empty text where it did."""
        self._read = 0

    def start(self) -> None:
        """Start the receiver for the workers, and their master. Raises KeeperLost, OSError."""
        key = checked_token(self._token)
        token = bearer(key, self._plan.run)
        self._receiver = Receiver(self._telemetry.receive, host=self._master.host, token=token).start()
        Path(self._plan.history).mkdir(exist_ok=True)
        plan = MasterPlan(
            host=self._master.host,
            port=self._master.port,
            workers=self._master.workers,
            lease_s=self._lease_s,
            load=self._plan.model_copy(update={"otlp_endpoint": self._receiver.endpoint}),
        )
        path = self._folder / "load.json"
        path.write_text(plan.model_dump_json(by_alias=True, indent=2))
        environment = machines.master_environment(path, self._token)
        self._stage.spawn(NAME, machines.master_command(), environment, self._folder / "logs")
        self._alive = True

    def wait_ready(self, check: Callable[[], None]) -> None:
        """Until all workers have come and reported; `check` is called on the way. Raises NotReady."""

        def joined() -> bool:
            self._look(check)
            self._lost.clear()  # another may come instead, as long as not all are there
            return len(self._joined) >= self._master.workers

        log = self._folder / "logs" / f"{NAME}.err"
        asked = f"{self._master.workers} workers at {self._master.host}:{self._master.port}"
        wait_until(asked, joined, within_s=JOIN_WITHIN_S, hint=f"start `brownout worker` there; see {log}")
        self._crew = crew = Crew(
            self._joined, journal=self._journal, telemetry=self._telemetry, say=self._say
        )

        def ready() -> bool:
            self._look(check)
            for told in self._lost:
                raise NotReady(f"worker {told.worker} was lost before all were ready: {told.reason}")
            return crew.heard(runner.READY_METRIC)

        what = f"the first reports of {len(crew.members)} workers to {self._plan_endpoint}"
        wait_until(what, ready, within_s=READY_WITHIN_S, hint="is it reachable from their machines?")

    def check(self) -> None:
        """Notice workers that are lost, while a run is on. Raises Stopped when none is left."""
        self._read_events()
        while self._crew is not None and self._lost:
            told = self._lost.pop(0)
            if told.worker in self._crew.members:
                self._settled.setdefault(told.worker, told.reason)
                self._crew.lose(told.worker, told.reason, gone_by=told.gone_by)

    def begin(self, phase: Phase, at: float) -> None:
        """Announce a phase."""
        if self._crew is not None:
            self._crew.tell(runner.phase_line(phase, at))

    def stop(self) -> bool:
        """End arrivals, wait for the last numbers and the histories, end the master."""
        if not self._alive:
            self._close()
            return False
        self._alive = False
        self._stage.expect_end(NAME)
        if self._crew is not None:
            self._crew.tell(runner.stop_line())
            self._collect(self._crew)
        self._stage.stop(NAME)
        self._read_events()
        self._close()
        for worker in self._joined if self._crew is not None else ():
            if reason := self._settled.get(worker, "it did not come in time"):
                attempts = self._telemetry.attempts(worker)
                self._journal.record(HistoryLost(worker=worker, reason=reason, attempts=attempts))
        return self._crew is not None and self._crew.heard(runner.FINAL_METRIC)

    @property
    def _plan_endpoint(self) -> str:
        return self._receiver.endpoint if self._receiver is not None else ""

    def _collect(self, crew: Crew) -> None:
        """Until each worker's history is here, or nothing has come in for a while."""
        moved, size = time.monotonic() + self._plan.drain_s + runner.STOP_WITHIN_S, -1
        while self._stage.lives(NAME) and any(worker not in self._settled for worker in crew.members):
            self._read_events()
            for told in self._lost:
                self._settled.setdefault(told.worker, told.reason)
            now = self._collected_bytes()
            if now != size:
                moved, size = max(moved, time.monotonic()), now
            if time.monotonic() - moved > STALLED_S:
                return
            time.sleep(POLL_S)

    def _collected_bytes(self) -> int:
        sizes = 0
        for path in Path(self._plan.history).iterdir():
            with contextlib.suppress(OSError):  # it is given its name at the end
                sizes += path.stat().st_size
        return sizes

    def _look(self, check: Callable[[], None]) -> None:
        check()
        if not self._stage.lives(NAME):
            log = self._folder / "logs" / f"{NAME}.err"
            raise NotReady(f"{NAME} {self._stage.how_ended(NAME)}; the end of {log}:\n{tail(log)}")
        self._read_events()

    def _read_events(self) -> None:
        """What the master has told since we last looked."""
        path = self._folder / "logs" / f"{NAME}.out"
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            if line.startswith(b"{"):
                self._take(Told.model_validate_json(line))

    def _take(self, told: Told) -> None:
        match told.event:
            case "joined":
                self._joined[told.worker] = None
                self._journal.record(
                    WorkerJoined(
                        worker=told.worker,
                        machine=told.machine,
                        offset_s=told.offset_s,
                        error_s=told.error_s,
                    )
                )
            case "refused":
                self._journal.record(WorkerRefused(who=told.worker, reason=told.reason))
            case "lost" | "left":
                if self._crew is None:
                    self._joined.pop(told.worker, None)
                self._lost.append(told)
            case "collected":
                self._settled[told.worker] = ""
            case "uncollected":
                self._settled.setdefault(told.worker, told.reason)
            case "listening":
                pass

    def _say(self, worker: str, line: str) -> None:
        with contextlib.suppress(KeeperLost):
            self._stage.keeper.write(NAME, machines.to_line(worker, line))

    def _close(self) -> None:
        if self._receiver is not None:
            self._receiver.stop()
            self._receiver = None
