"""A fault is credited with what its own coming changed, and with nothing else."""

from __future__ import annotations

from chaos.evidence import Evidence
from chaos.journal import (
    ArrivalsEnded,
    Event,
    FaultHealed,
    FaultInjected,
    LoadStopped,
    PhaseStarted,
    RunEnded,
)
from chaos.judge import judge
from chaos.plan import PlannedFault
from loadtests import metrics
from loadtests.columns import SCHEMA
from slo.finding import Finding
from slo.series import HistogramPoint, Samples, StreamKey
from tests.judge.test_judge import BOUNDS, T0, plan

Spans = dict[str, tuple[float, float]]


def run(
    spans: Spans, slow: tuple[float, float], counts: dict[str, dict[str, int]] | None = None
) -> dict[str, Finding]:
    """Effects by fault, when steps were slow from `slow[0]` to `slow[1]` (seconds after the baseline began)."""
    base = plan("baseline")
    template = base.faults[0]
    faults: list[PlannedFault] = [template.model_copy(update={"name": name}) for name in spans]
    events: list[Event] = [PhaseStarted(phase="baseline", t=T0), PhaseStarted(phase="fault", t=T0 + 3)]
    for name, (start, end) in spans.items():
        events.append(FaultInjected(fault=name, t=T0 + start))
        events.append(FaultHealed(fault=name, t=T0 + end, counts=(counts or {}).get(name, {})))
    events.sort(key=lambda event: event.t)
    events += [
        ArrivalsEnded(t=T0 + 12),
        LoadStopped(complete=True, t=T0 + 12),
        RunEnded(ending="completed", t=T0 + 13),
    ]
    key = StreamKey(metrics.STEP_DURATION, "s", ((metrics.WORKLOAD, "episodes"), ("service.name", "load")))
    samples = Samples()
    totals = [0.0] * 5
    for tick in range(121):
        at = tick / 10
        totals[2 if slow[0] < at <= slow[1] else 0] += 10
        samples.add(key, HistogramPoint(T0 - 1, T0 + at, sum(totals), 0.0, BOUNDS, tuple(totals)))
    evidence = Evidence(
        run="r",
        plan=base.model_copy(update={"faults": tuple(faults)}),
        events=tuple(events),
        samples=samples,
        history=SCHEMA.empty_table(),
    )
    return {report.name: report.effect for report in judge(evidence).faults if report.effect is not None}


def test_a_fault_alone_is_held_against_the_baseline() -> None:
    """One fault: what changed since the baseline is its doing."""
    assert run({"a": (3, 9)}, slow=(3, 9))["a"].outcome.passes
    assert not run({"a": (3, 9)}, slow=(20, 21))["a"].outcome.passes


def test_one_in_the_midst_of_another_is_held_against_the_other_alone() -> None:
    """A fault within another's time is credited only with what changed when it came."""
    effects = run({"long": (3, 9), "idle": (5, 7)}, slow=(3, 9))
    assert effects["long"].outcome.passes
    assert not effects["idle"].outcome.passes


def test_two_at_the_very_same_time_cannot_be_told_apart() -> None:
    """Without a count, two faults that always overlap are no evidence for either."""
    effects = run({"a": (3, 9), "b": (3, 9)}, slow=(3, 9))
    assert not any(effect.outcome.passes for effect in effects.values())
    assert "cannot be told apart from that of b" in effects["a"].reason


def test_the_proxys_count_tells_them_apart() -> None:
    """One that struck nothing is no rival, and is not credited with the other's effect."""
    counts = {
        "real": {"connections": 9, "bytes": 9, "applied": 40},
        "idle": {"connections": 0, "bytes": 0, "applied": 0},
    }
    effects = run({"real": (3, 9), "idle": (3, 9)}, slow=(3, 9), counts=counts)
    assert effects["real"].outcome.passes
    assert not effects["idle"].outcome.passes
    assert "struck nothing" in effects["idle"].reason


def test_counts_alone_are_evidence_where_telemetry_cannot_tell() -> None:
    """Two that always overlap and were both counted to act have both acted."""
    counted = {"connections": 9, "bytes": 9, "applied": 40}
    effects = run({"a": (3, 9), "b": (3, 9)}, slow=(3, 9), counts={"a": counted, "b": counted})
    assert all(effect.outcome.passes for effect in effects.values())
    assert "40 times on 9 connections" in effects["a"].reason
