"""Holding rates: each point, wait and return is a run with a folder of its own, performed like any other.

Invariant: after a rate that did not hold nothing is measured before the service is quiet, or it is said that
it was not; so one point does not spoil the next.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from chaos.capacity.plans import Ground, measured_phase, point_plan, return_plan
from chaos.capacity.reading import read_point
from chaos.capacity.result import ArmName, Point, Return
from chaos.capacity.search import Ask
from chaos.capacity.watch import PointWatch, QuietWatch, ReturnWatch, least_s, returned
from chaos.conductor.interrupts import Interrupts
from chaos.conductor.perform import Performance
from chaos.conductor.run import Run
from chaos.conductor.stage import Stage
from chaos.evidence import Evidence, gather
from chaos.exits import Exit
from chaos.journal import PartDied
from chaos.judge import phase_spans
from chaos.outcomes import conclude
from chaos.plan import Plan
from chaos.progress import Progress
from chaos.report.live import LiveView
from chaos.sizing import workers_here
from chaos.verdict import Ending, Verdict
from slo.outcome import Outcome
from slo.series import Samples

QUIET_WITHIN_S = 20.0
OVERLOAD_S = 5.0
PROBES_PER_S = 2.0
WARM_S = 2.0
WARM_MOST_S = 10.0

_EXITS: dict[Ending, Exit] = {
    "interrupted": Exit.INTERRUPTED,
    "terminated": Exit.TERMINATED,
    "stopped": Exit.STOPPED,
    "condition": Exit.STOPPED,
}
_GOES_ON: tuple[Ending, ...] = ("completed", "not-steady", "part-died")
"""Endings of one run after which the search may go on: a service died of the rate, perhaps."""


class SearchStopped(Exception):
    """The search cannot go on; what was found until then stands."""

    def __init__(self, why: str, code: Exit) -> None:
        super().__init__(why)
        self.why = why
        self.code = code


@dataclass
class Holder:
    """Performs the runs of one search.

    `base_s` is the latency (median, seconds) of a service that has little to do, once it is known. `most` is
    the share of the arrivals by which open operations may grow where a rate is narrowed down.
    """

    ground: Ground
    stage: Stage
    interrupts: Interrupts
    folder: Path
    experiment_yaml: str
    repeat: str
    confidence: float
    most: float
    shortest_s: float
    longest_s: float
    start: float
    view: Callable[[], AbstractContextManager[LiveView]]
    workers: int | None = None
    base_s: float | None = None
    runs: int = 0

    @property
    def warm_s(self) -> float:
        """How long the fault arm's baseline is: enough for some operations to end."""
        return min(WARM_MOST_S, max(WARM_S, 5 * (self.base_s or 0.0)))

    def point(self, arm: ArmName, ask: Ask) -> Point:
        """Hold a rate. Raises SearchStopped."""
        most = self.most if ask.why != "bracket" else max(self.most, 0.1)
        warm_s = max(self.warm_s, min(WARM_MOST_S, 5 / ask.rate))
        plan = point_plan(self.ground, arm, ask.rate, warm_s=warm_s, hold_s=self.longest_s)
        watch = PointWatch(
            self.ground,
            arm,
            rate=ask.rate,
            confidence=self.confidence,
            most=most,
            least_s=least_s(ask.rate, most, self.shortest_s, self.longest_s),
        )
        folder, evidence, verdict = self._run(plan, f"{arm}-{ask.rate:g}", watch)
        return read_point(
            self.ground,
            arm,
            ask,
            evidence,
            verdict,
            folder=folder,
            confidence=self.confidence,
            most=most,
        )

    def wait_until_quiet(self) -> bool:
        """Ask a little until the service answers as at first, for a bounded time. Raises SearchStopped."""
        rate = min(PROBES_PER_S, self.start)
        plan = point_plan(self.ground, "control", rate, warm_s=0.0, hold_s=QUIET_WITHIN_S)
        watch = QuietWatch(self.ground, rate, self.base_s)
        self._run(plan, "quiet", watch)
        if self.base_s is None:
            self.base_s = watch.p50_s
        return watch.quiet

    def returning(self, arm: ArmName, *, rate: float, overload: float, capacity: float) -> Return:
        """Go from `rate` to `overload` and back at once, and see whether the objectives hold again.

        The time allowed is twice what a plain queue would need to work off what piled up, at `capacity`.
        Raises SearchStopped.
        """
        warm_s = self.warm_s
        backlog_s = OVERLOAD_S * max(0.0, overload - capacity) / max(capacity - rate, 0.05 * capacity)
        needed_s = 5.0 + 2 * backlog_s
        allowed_s = min(self.longest_s, needed_s)
        plan = return_plan(
            self.ground,
            arm,
            rate=rate,
            overload=overload,
            warm_s=warm_s,
            overload_s=OVERLOAD_S,
            allowed_s=allowed_s,
        )
        after_s = warm_s + OVERLOAD_S
        watch = ReturnWatch(self.ground, arm, after_s=after_s, allowed_s=allowed_s, rate=rate)
        folder, evidence, _ = self._run(plan, f"{arm}-return-{rate:g}", watch)
        span = phase_spans(evidence.events).get(measured_phase(arm))
        outcome, took_s, reason = (
            (Outcome.INCONCLUSIVE, None, "its run ended before it came to it")
            if span is None
            else returned(
                plan.requirements, evidence.samples, span.start + after_s, span.end, allowed_s, rate
            )
        )
        stayed = outcome is Outcome.FAIL and allowed_s >= needed_s
        return Return(
            rate=rate,
            overload=overload,
            overloaded_s=OVERLOAD_S,
            allowed_s=allowed_s,
            standing="returned" if outcome is Outcome.PASS else "stayed" if stayed else "unknown",
            took_s=took_s,
            reason=reason,
            folder=folder,
        )

    def _run(
        self, plan: Plan, name: str, watch: Callable[[Performance, Samples, float], None]
    ) -> tuple[str, Evidence, Verdict]:
        self.runs += 1
        name = f"{self.runs:02}-{name}"
        folder = self.folder / "points" / name
        plan = plan.model_copy(update={"workers": self.workers or workers_here(plan)})
        with self.view() as view:
            run = Run(
                plan,
                name=f"{self.folder.name}-{name}",
                folder=folder,
                experiment_yaml=self.experiment_yaml,
                repeat=self.repeat,
                stage=self.stage,
                interrupts=self.interrupts,
                progress=Progress(plan, view, 1, 1),
                watch=watch,
            )
            ending = run.conduct()
        verdict = conclude(folder)
        if self.stage.unhealed:
            raise SearchStopped(
                "something injected may still be in place: `brownout heal`", Exit.HEAL_INCOMPLETE
            )
        evidence = gather(folder)
        if ending not in _GOES_ON or _part_of_ours(self.ground, evidence):
            why = verdict.reasons[0] if verdict.reasons else f"a run ended by {ending}"
            raise SearchStopped(why, _EXITS.get(ending, Exit.INCONCLUSIVE))
        return name, evidence, verdict


def _part_of_ours(ground: Ground, evidence: Evidence) -> bool:
    """Whether something ended that is no service: a service may end by its load, and that is an answer."""
    services = {service.demo.process for service in ground.plan.services if service.demo is not None}
    return any(isinstance(e, PartDied) and e.part not in services for e in evidence.events)
