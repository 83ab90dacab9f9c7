"""Judging: evidence in, verdict out. Pure, so that the same evidence always gives the same verdict.

What is not known never passes: a phase that was not reached, a fault without evidence that it acted, a load
that the generator could not deliver, a journal without an end are findings of their own (`precondition`).
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from chaos.attribution import fault_reports
from chaos.evidence import Evidence
from chaos.exits import Exit, exit_for
from chaos.hits import explained
from chaos.journal import (
    ArrivalsEnded,
    ConditionMet,
    Event,
    FaultHealed,
    FaultPending,
    HealFailed,
    PartDied,
    PhaseStarted,
    ProxyServerReady,
    RunEnded,
    RunStarted,
    outstanding,
)
from chaos.plan import Plan
from chaos.preconditions import preconditions
from chaos.saturation import not_the_services, out_of_capacity
from chaos.verdict import Ending, LoadReport, PhaseSpan, Verdict
from loadtests import metrics
from probes.episodes import judge_invariant
from slo.evaluate import judge_objective
from slo.finding import Finding, Window
from slo.objective import (
    Invariant,
    Level,
    Objective,
    Phase,
    Quantile,
    Ratio,
    Recovery,
    Requirement,
    Selector,
)
from slo.outcome import Outcome, worst
from slo.recovery import judge_recovery
from slo.series import Samples


def judge(evidence: Evidence) -> Verdict:
    """The verdict on a run, from its evidence alone."""
    plan, events = evidence.plan, evidence.events
    ending = _ending(events)
    spans = phase_spans(events)
    reached = bool(spans) or ending == "completed"
    required = [f for r in plan.requirements for f in _require(r, evidence, spans)] if reached else []
    causes = explained(required, evidence.hits)
    required = list(causes.findings)
    faults = fault_reports(evidence, spans, causes.in_vain)
    load = load_report(evidence)
    too_busy = out_of_capacity(evidence.samples, evidence.history, spans)
    before = preconditions(plan, events, spans, ending, faults, load, too_busy, causes.unreadable)
    if ending != "completed" and plan.faults and not any(isinstance(e, FaultPending) for e in events):
        required = [_undisturbed(finding) for finding in required]
        before = tuple(_undisturbed(finding) for finding in before)
    elif any(isinstance(e, PartDied) and e.part not in _BREAKS_NOTHING for e in events):
        required = [_broken(finding, last=next(reversed(spans), None)) for finding in required]
    required = [not_the_services(finding, too_busy) for finding in required]
    effects = [fault.effect for fault in faults if fault.effect is not None]
    findings = (*before, *effects, *required)
    outcome = _outcome(findings, ending)
    left = tuple(_left_behind(events))
    started = next((e for e in events if isinstance(e, RunStarted)), None)
    server = next((e for e in events if isinstance(e, ProxyServerReady)), None)
    return Verdict(
        run=evidence.run,
        experiment=plan.experiment,
        hypothesis=plan.hypothesis,
        target=plan.target,
        outcome=outcome,
        exit_code=_exit(outcome, ending, events, left),
        ending=ending,
        reasons=_reasons(findings, outcome),
        seed=plan.seed,
        repeat=started.repeat if started else "",
        started_at=events[0].t if events else 0.0,
        ended_at=events[-1].t if events else 0.0,
        proxy=server.server if server else "",
        phases=tuple(spans.values()),
        findings=findings,
        faults=faults,
        load=load,
        left_behind=left,
    )


def judge_baseline(plan: Plan, samples: Samples, window: Window) -> tuple[bool, tuple[Finding, ...]]:
    """Whether the baseline is steady: there was load, and no objective of the baseline misses its target.

    An interval that still straddles a target because the baseline is short does not stop the run, as long as
    what was seen meets it; the finding itself stays inconclusive.
    """
    findings = []
    steady = True
    for r in plan.requirements:
        if isinstance(r.objective, Objective) and "baseline" in r.phases:
            finding = judge_objective(r.objective, window, samples, min_samples=1, runbook=r.runbook)
            findings.append(finding)
            steady = steady and _meets(r.objective, finding)
    for workload in plan.workloads:
        metric = metrics.PRIMARY[workload.profile.user]
        if not samples.tally(Selector(metric=metric, filters={metrics.WORKLOAD: workload.name}), window):
            findings.append(
                Finding(
                    objective=f"load/{workload.name}",
                    kind="precondition",
                    phase="baseline",
                    outcome=Outcome.INCONCLUSIVE,
                    reason=f"no operation of {workload.name} was seen in the baseline ({metric})",
                )
            )
            steady = False
    return steady, tuple(findings)


def _meets(objective: Objective, finding: Finding) -> bool:
    """Whether what was seen meets the target, however wide its interval is; nothing seen does not."""
    if finding.value is None or finding.outcome is Outcome.FAIL:
        return False
    match objective.indicator:
        case Ratio(target=target):
            return finding.value >= target
        case Quantile(at_most=at_most):
            return finding.value <= at_most
        case Level():
            return finding.outcome.passes


_ENDS_A_PHASE = (PhaseStarted, ArrivalsEnded, ConditionMet, PartDied)


def phase_spans(events: Iterable[Event]) -> dict[Phase, PhaseSpan]:
    """When each phase really was; the last one ends where arrivals stopped, or with the journal."""
    spans: dict[Phase, PhaseSpan] = {}
    current: PhaseStarted | None = None
    last = 0.0
    for event in events:
        if isinstance(event, _ENDS_A_PHASE) and current is not None:
            spans[current.phase] = PhaseSpan(phase=current.phase, start=current.t, end=event.t)
            current = None
        if isinstance(event, PhaseStarted):
            current = event
        last = event.t
    if current is not None:
        spans[current.phase] = PhaseSpan(phase=current.phase, start=current.t, end=last)
    return spans


def _ending(events: tuple[Event, ...]) -> Ending:
    return next((event.ending for event in events if isinstance(event, RunEnded)), "died")


def _require(requirement: Requirement, evidence: Evidence, spans: dict[Phase, PhaseSpan]) -> list[Finding]:
    return [_judge_in(requirement, phase, evidence, spans) for phase in requirement.phases]


def _undisturbed(finding: Finding) -> Finding:
    """A breach of a run that injected nothing says nothing of the fault: inconclusive, not failed."""
    if finding.outcome is not Outcome.FAIL:
        return finding
    reason = f"missed before any fault was injected: {finding.reason}"
    return finding.model_copy(update={"outcome": Outcome.INCONCLUSIVE, "reason": reason})


_BREAKS_NOTHING = ("locust", "locust-master", "commands", "receiver", "journal")
"""Parts whose death does not break what clients see; a proxy's, a service's or the keeper's does."""


def _broken(finding: Finding, *, last: Phase | None) -> Finding:
    """A breach in the phase in which our own proxy or service died may be that death's: inconclusive."""
    if finding.outcome is not Outcome.FAIL or finding.phase != last or finding.kind == "invariant":
        return finding
    reason = f"missed in the phase in which a part of the run died: {finding.reason}"
    return finding.model_copy(update={"outcome": Outcome.INCONCLUSIVE, "reason": reason})


def _judge_in(
    requirement: Requirement, phase: Phase, evidence: Evidence, spans: dict[Phase, PhaseSpan]
) -> Finding:
    what, samples, runbook = requirement.objective, requirement.min_samples, requirement.runbook
    span = spans.get(phase)
    if span is None:
        kind = what.indicator.kind if isinstance(what, Objective) else what.kind
        return Finding(
            objective=what.name,
            kind=kind,
            phase=phase,
            outcome=Outcome.INCONCLUSIVE,
            reason=f"the {phase} phase was not reached",
            runbook=runbook,
        )
    window = Window(start=span.start, end=span.end, phase=phase)
    match what:
        case Objective():
            return judge_objective(what, window, evidence.samples, min_samples=samples, runbook=runbook)
        case Invariant():
            return judge_invariant(what, evidence.history, phase, min_samples=samples, runbook=runbook)
        case Recovery():
            healed = max((e.t for e in evidence.events if isinstance(e, FaultHealed)), default=span.start)
            return judge_recovery(
                what, evidence.samples, healed, span.end, min_samples=samples, runbook=runbook
            )


def load_report(evidence: Evidence) -> LoadReport:
    """What the generator did over the whole run: arrivals by its telemetry, operations by its history."""
    arrivals = dict.fromkeys(("served", "late", "dropped", "lost"), 0)
    if evidence.events:
        window = Window(start=evidence.events[0].t, end=evidence.events[-1].t)
        for state in arrivals:
            selector = Selector(metric=metrics.ARRIVALS, filters={metrics.ARRIVAL_STATE: state})
            tally = evidence.samples.tally(selector, window)
            arrivals[state] = round(tally.count) if tally else 0
    history = evidence.history
    return LoadReport(
        arrivals=sum(arrivals.values()),
        dropped=arrivals["dropped"],
        lost=arrivals["lost"],
        late=arrivals["late"],
        operations=_rows(pc.equal(history["final"], True)),
        retries=_rows(pc.greater(history["attempt"], 0)),
        unfinished=_rows(pc.equal(history["outcome"], "unfinished")),
    )


def _rows(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _outcome(findings: tuple[Finding, ...], ending: Ending) -> Outcome:
    outcomes = [finding.outcome for finding in findings]
    if ending != "completed":
        outcomes.append(Outcome.INCONCLUSIVE)
    return worst(outcomes)


_ENDING_EXITS: dict[Ending, Exit] = {
    "interrupted": Exit.INTERRUPTED,
    "terminated": Exit.TERMINATED,
    "stopped": Exit.STOPPED,
}


def _exit(outcome: Outcome, ending: Ending, events: Iterable[Event], left: tuple[str, ...]) -> Exit:
    if left:
        return Exit.HEAL_INCOMPLETE
    if ending == "condition":
        met = next((e for e in events if isinstance(e, ConditionMet)), None)
        return exit_for(outcome) if met is not None and met.objective is not None else Exit.STOPPED
    return _ENDING_EXITS.get(ending) or exit_for(outcome)


def _left_behind(events: tuple[Event, ...]) -> Iterable[str]:
    """What the journal says was begun and not undone, unless its proxy ended with the run."""
    ours = {e.api for e in events if isinstance(e, ProxyServerReady) and e.ours}
    ended = any(isinstance(e, RunEnded) for e in events)
    failed = {e.subject: e.reason for e in events if isinstance(e, HealFailed)}
    for item in outstanding(events):
        if not (ended and item.undo.server in ours):
            why = failed.get(item.key, "the run died before it was healed")
            yield f"{item.key} at {item.undo.where}: {why}; `brownout heal` tries again"


def _reasons(findings: tuple[Finding, ...], outcome: Outcome) -> tuple[str, ...]:
    """The sentences of the findings that decided, or, when all passed, what that rests on."""
    deciding = [f for f in findings if f.outcome is outcome]
    if outcome.passes:
        seen = sum(f.kind == "effect" and f.outcome.passes for f in findings)
        held = sum(f.kind not in ("effect", "precondition") for f in findings)
        return (f"{held} of {held} findings hold; {seen} fault{'s' if seen != 1 else ''} seen to act",)
    also = [f for f in findings if outcome is Outcome.FAIL and f.outcome is Outcome.INCONCLUSIVE]
    return tuple(dict.fromkeys(f"{f.objective}: {f.reason}" for f in [*deciding, *also]))
