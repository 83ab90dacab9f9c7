"""The load port on Locust: a process, driven by lines on its stdin and heard through its telemetry."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from chaos.conductor.ready import NotReady, wait_until
from chaos.conductor.stage import Stage
from chaos.keeper.handle import KeeperLost
from loadtests import runner
from loadtests.profile import LoadPlan
from slo.objective import Phase

START_WITHIN_S = 30.0
FLUSH_S = 6.0
"""The last report is tried twice, two seconds each."""
NAME = "locust"


class LocustLoad:
    """A Locust process that belongs to one run. `heard(metric)` tells whether it has sent that metric."""

    def __init__(
        self,
        stage: Stage,
        plan: LoadPlan,
        folder: Path,
        heard: Callable[[str], bool],
    ) -> None:
        self._stage = stage
        self._plan = plan
        self._heard = heard
        self._folder = folder
        self._alive = False

    def start(self) -> None:
        """Start the process, which then waits for its first phase. Raises KeeperLost."""
        path = self._folder / "load.json"
        path.write_text(self._plan.model_dump_json(by_alias=True, indent=2))
        Path(self._plan.history).mkdir(exist_ok=True)
        self._stage.spawn(NAME, runner.locust_command(path), runner.environment(path), self._folder / "logs")
        self._alive = True

    def wait_ready(self, check: Callable[[], None]) -> None:
        """Until its first telemetry has come; `check` is called on the way. Raises NotReady."""

        def ready() -> bool:
            check()
            return self._heard(runner.READY_METRIC)

        hint = f"see {self._folder / 'logs' / (NAME + '.err')}"
        wait_until("the load generator", ready, within_s=START_WITHIN_S, hint=hint)

    def begin(self, phase: Phase, at: float) -> None:
        """Announce a phase. A generator that is gone is noticed by its exit, not here."""
        with contextlib.suppress(KeeperLost):
            self._stage.keeper.write(NAME, runner.phase_line(phase, at))

    def stop(self) -> bool:
        """End arrivals, wait for the last numbers, end the process."""
        if not self._alive:
            return False
        self._alive = False
        self._stage.expect_end(NAME)

        def ended() -> bool:
            return self._heard(runner.FINAL_METRIC) or not self._stage.lives(NAME)

        try:
            self._stage.keeper.write(NAME, runner.stop_line())
            wait_until(
                "the load generator's last report",
                ended,
                within_s=self._plan.drain_s + FLUSH_S,
            )
        except (KeeperLost, NotReady):
            pass  # whether its last report has come is asked once more below
        self._stage.stop(NAME)
        return self._heard(runner.FINAL_METRIC)
