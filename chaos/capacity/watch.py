"""What ends a point before its time: it is decided, or it is plain that it will not be. Looks on, no more.

What is seen while a point is held only ends it. What it came to is read once all operations have ended.
"""

from __future__ import annotations

from chaos.capacity import growth
from chaos.capacity.plans import Ground, measured_phase
from chaos.capacity.reading import busiest
from chaos.capacity.result import ArmName
from chaos.capacity.standing import so_far, together
from chaos.conductor.perform import Performance, Stopped
from chaos.saturation import SATURATED
from loadtests import metrics
from slo.finding import Window
from slo.objective import Objective, Recovery, Requirement, Selector
from slo.outcome import Outcome
from slo.recovery import judge_recovery
from slo.series import Samples

HOPELESS = 0.5
"""Where open operations grow by a larger share of the arrivals, the rest of a point's time is spared."""
HOPELESS_AFTER_S = 5.0
BREACH_AFTER_S = 2.0
RECENT_S = 2.0
BACK_WINDOWS = 3


def least_s(rate: float, most: float, shortest_s: float, longest_s: float) -> float:
    """How long a rate is held before it may count as held.

    So long that a growth by the share `most` of the arrivals would show: the last two thirds of the time,
    over which growth is read, have to let open operations rise by what chance does not explain.
    """
    return min(longest_s, max(shortest_s, 1.5 * growth.LEAST_RISE / (most * rate)))


class _Watch:
    """Calls `look` twice a second, once the measured phase is on."""

    def __init__(self, ground: Ground, arm: ArmName) -> None:
        self.ground = ground
        self.phase = measured_phase(arm)
        self._looked = 0.0

    def __call__(self, performance: Performance, samples: Samples, now: float) -> None:
        """To be called on and on. Raises Stopped when nothing more is to be seen."""
        since = performance.phase_started.get(self.phase)
        if performance.phase != self.phase or since is None or now - self._looked < growth.EVERY_S:
            return
        self._looked = now
        window = Window(start=since, end=now, phase=self.phase)
        if self.look(performance, samples, window):
            raise Stopped("completed")

    def look(self, performance: Performance, samples: Samples, window: Window) -> bool:
        """Whether nothing more is to be seen."""
        raise NotImplementedError


class PointWatch(_Watch):
    """Ends a point when its objectives are decided, or the generator or the queue is beyond hope."""

    def __init__(
        self, ground: Ground, arm: ArmName, *, rate: float, confidence: float, most: float, least_s: float
    ) -> None:
        super().__init__(ground, arm)
        self._rate = rate
        self._confidence = confidence
        self._most = most
        self._least_s = least_s

    def look(self, performance: Performance, samples: Samples, window: Window) -> bool:
        """Whether the point is decided."""
        lasted_s = window.end - window.start
        if lasted_s < BREACH_AFTER_S:
            return False
        primary = metrics.PRIMARY[self.ground.profile]
        open_ = growth.to_come(samples, self.ground.workload, primary, window)
        found = so_far(
            performance.plan.requirements, window, samples, confidence=self._confidence, open_=open_
        )
        standing = together(each.standing for each in found)
        if standing == "breached":
            return True
        piling_up = growth.piling_up(samples, self.ground.workload, window, self._rate)
        if lasted_s >= HOPELESS_AFTER_S and ((piling_up or 0.0) > HOPELESS or _saturated(samples, window)):
            return True
        steady = piling_up is not None and piling_up <= self._most
        return standing == "holds" and steady and lasted_s >= self._least_s


def _saturated(samples: Samples, window: Window) -> bool:
    busy = busiest(samples, window)
    return busy is not None and busy > SATURATED


class QuietWatch(_Watch):
    """Ends a wait when the service is quiet: few are open, none fails, and latencies are at their base.

    Without a base (seconds) it ends after some operations, and `p50_s` is one from then on.
    """

    def __init__(self, ground: Ground, rate: float, base_s: float | None) -> None:
        super().__init__(ground, "control")
        self._rate = rate
        self._base_s = base_s
        self.quiet = False
        self.p50_s: float | None = None

    def look(self, performance: Performance, samples: Samples, window: Window) -> bool:
        """Whether it is quiet."""
        del performance
        span_s = max(RECENT_S, 4 / self._rate)
        if window.end - window.start < span_s:
            return False
        recent = Window(start=window.end - span_s, end=window.end)
        every = Selector(
            metric=metrics.PRIMARY[self.ground.profile], filters={metrics.WORKLOAD: self.ground.workload}
        )
        fine = every.model_copy(update={"filters": {**every.filters, metrics.ERROR_TYPE: None}})
        latency, good = samples.distribution(every, recent), samples.tally(fine, recent)
        middle = latency.quantile(0.5) if latency else None
        if latency is None or middle is None or good is None or good.count < latency.count:
            return False
        open_ = growth.open_now(samples, self.ground.workload, window)
        base_s = self._base_s if self._base_s is not None else middle.value
        if latency.count < 3 or open_ > 2 + 2 * base_s * self._rate:
            return False
        self.p50_s = middle.value
        self.quiet = middle.value <= 2 * base_s + 0.02
        return self.quiet


class ReturnWatch(_Watch):
    """Ends a return when the objectives hold again, `after_s` seconds into the measured phase."""

    def __init__(
        self, ground: Ground, arm: ArmName, *, after_s: float, allowed_s: float, rate: float
    ) -> None:
        super().__init__(ground, arm)
        self._after_s = after_s
        self._allowed_s = allowed_s
        self._rate = rate

    def look(self, performance: Performance, samples: Samples, window: Window) -> bool:
        """Whether they hold again."""
        back = window.start + self._after_s
        if window.end < back:
            return False
        outcome, _, _ = returned(
            performance.plan.requirements, samples, back, window.end, self._allowed_s, self._rate
        )
        return outcome is Outcome.PASS


def returned(
    requirements: tuple[Requirement, ...],
    samples: Samples,
    back: float,
    until: float,
    allowed_s: float,
    rate: float,
) -> tuple[Outcome, float | None, str]:
    """Whether all objectives held again within `allowed_s` of `back`, after how long, and in words."""
    worst, took_s, reasons = Outcome.PASS, 0.0, []
    seen = False
    for requirement in requirements:
        objective = requirement.objective
        if not isinstance(objective, Objective) or objective.indicator.kind == "level":
            continue
        seen = True
        recovery = Recovery(
            name=objective.name,
            objective=objective,
            within_s=allowed_s,
            window_s=max(1.0, 4 / rate),
            windows=BACK_WINDOWS,
        )
        finding = judge_recovery(recovery, samples, back, until, min_samples=1, runbook=None)
        took_s = max(took_s, finding.value or 0.0)
        reasons.append(finding.reason)
        if finding.outcome is Outcome.FAIL or worst is Outcome.PASS:
            worst = finding.outcome
    if not seen:
        return Outcome.INCONCLUSIVE, None, "no objective over shares of operations tells"
    return worst, took_s if worst is Outcome.PASS else None, "; ".join(reasons)
