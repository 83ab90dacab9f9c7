"""Progress: what the live view shows of a run, read from its telemetry. Looking changes nothing."""

from __future__ import annotations

from chaos.plan import Plan
from chaos.report.live import LiveView, Snapshot
from chaos.report.reading import value_against_target
from loadtests import metrics
from slo.evaluate import judge_objective
from slo.finding import Window
from slo.histogram import Histogram, merged
from slo.objective import Objective, Phase, Selector
from slo.outcome import Outcome
from slo.series import Samples

EVERY_S = 0.5
SPAN_S = 2.0
"""Rates and quantiles are over the last this many seconds."""


class Progress:
    """Takes snapshots of one run for a view, at most every half second."""

    def __init__(self, plan: Plan, view: LiveView, index: int, total: int) -> None:
        self._plan = plan
        self._view = view
        self._index = index
        self._total = total
        self._last = 0.0

    def note(self, text: str) -> None:
        """Say something that happened."""
        self._view.note(text)

    def update(
        self,
        samples: Samples,
        *,
        started: float,
        phase: Phase | None,
        phase_started: float,
        active: tuple[str, ...],
        now: float,
    ) -> None:
        """Show how things stand at `now` (Unix seconds)."""
        if now - self._last < EVERY_S:
            return
        self._last = now
        recent = Window(start=max(started, now - SPAN_S), end=now)
        latency = self._latency(samples, recent)
        done = latency.count if latency else None
        bad = self._count(samples, recent, failed=True)
        users = samples.number(Selector(metric=metrics.USERS), "last", Window(start=started, end=now))
        p50, p99 = (latency.quantile(0.5), latency.quantile(0.99)) if latency else (None, None)
        self._view.update(
            Snapshot(
                experiment=self._plan.experiment,
                index=self._index,
                total=self._total,
                phase=phase or "starting",
                elapsed_s=now - started,
                total_s=self._plan.cues[-1].at_s,
                users=None if users is None else round(users),
                rate_per_s=done / (recent.end - recent.start) if done and recent.end > recent.start else None,
                p50_s=p50.value if p50 else None,
                p99_s=p99.value if p99 else None,
                error_rate=bad / done if done and bad is not None else None,
                active_faults=active,
                objectives=self._objectives(samples, phase, phase_started, now),
            )
        )

    def _primaries(self) -> set[str]:
        return {metrics.PRIMARY[workload.profile.user] for workload in self._plan.workloads}

    def _latency(self, samples: Samples, window: Window) -> Histogram | None:
        found = [samples.distribution(Selector(metric=metric), window) for metric in self._primaries()]
        return merged([histogram for histogram in found if histogram is not None])

    def _count(self, samples: Samples, window: Window, *, failed: bool) -> float | None:
        total = good = 0.0
        for metric in self._primaries():
            everything = samples.tally(Selector(metric=metric), window)
            fine = samples.tally(Selector(metric=metric, filters={metrics.ERROR_TYPE: None}), window)
            total += everything.count if everything else 0.0
            good += fine.count if fine else 0.0
        return total - good if failed else good

    def _objectives(
        self, samples: Samples, phase: Phase | None, phase_started: float, now: float
    ) -> tuple[tuple[str, Outcome | None, str], ...]:
        rows: list[tuple[str, Outcome | None, str]] = []
        for requirement in self._plan.requirements:
            objective = requirement.objective
            if not isinstance(objective, Objective) or phase not in requirement.phases:
                rows.append((objective.name, None, "judged at the end"))
                continue
            finding = judge_objective(
                objective,
                Window(start=phase_started, end=now, phase=phase),
                samples,
                min_samples=requirement.min_samples,
                runbook=requirement.runbook,
            )
            value = value_against_target(finding) if finding.samples else "no data yet"
            rows.append((objective.name, finding.outcome if finding.samples else None, value))
        return tuple(rows)
