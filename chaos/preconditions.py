"""What has to be so for a verdict to mean anything; what is not so is a finding, and never passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chaos.journal import (
    BaselineJudged,
    ConditionMet,
    Event,
    FaultLost,
    HealFailed,
    HistoryLost,
    HitsMissed,
    LoadStopped,
    PartDied,
    SetupFailed,
    WorkerLost,
)
from chaos.plan import Plan
from chaos.verdict import Ending, FaultReport, LoadReport, PhaseSpan
from slo.finding import Finding
from slo.objective import Phase
from slo.outcome import Outcome


def preconditions(
    plan: Plan,
    events: tuple[Event, ...],
    spans: Mapping[Phase, PhaseSpan],
    ending: Ending,
    faults: Iterable[FaultReport],
    load: LoadReport,
    too_busy: Mapping[Phase, str],
    unreadable: int = 0,
) -> tuple[Finding, ...]:
    """The preconditions that do not hold, as findings.

    `too_busy`: the phases in which the generator was out of capacity, and why; `unreadable`: how many lines
    of `hits.jsonl` are.
    """
    return (
        *_of_the_ending(plan, events, ending),
        *_of_the_faults(faults, spans, ending),
        *_of_the_load(events, load, too_busy, spans),
        *_of_the_hits(events, unreadable),
    )


def _not_met(
    name: str, phase: str, reason: str, *, runbook: str | None = None, outcome: Outcome = Outcome.INCONCLUSIVE
) -> Finding:
    return Finding(
        objective=name, kind="precondition", phase=phase, outcome=outcome, reason=reason, runbook=runbook
    )


def _of_the_ending(plan: Plan, events: tuple[Event, ...], ending: Ending) -> Iterable[Finding]:
    for event in events:
        match event:
            case SetupFailed():
                yield _not_met("set-up", "set-up", f"set-up failed: {event.reason}")
            case PartDied():
                yield _not_met(
                    f"part/{event.part}", "run", f"{event.part} ended during the run: {event.reason}"
                )
            case BaselineJudged(steady=False):
                missed = [f for f in event.findings if not f.outcome.passes]
                worst = [f for f in missed if f.outcome is Outcome.FAIL] or missed
                why = "; ".join(f.reason for f in worst)
                yield _not_met(
                    "baseline",
                    "baseline",
                    f"the baseline was not steady, so nothing was injected: {why}",
                    runbook="baseline-not-steady",
                )
            case HealFailed() if any(fault.name == event.subject for fault in plan.faults):
                stayed = f"fault {event.subject} could not be healed in time: it disturbed what came after"
                yield _not_met(
                    f"heal/{event.subject}", "run", f"{stayed}: {event.reason}", runbook="heal-incomplete"
                )
            case FaultLost():
                lost = f"fault {event.fault} was gone before it was healed: was its proxy restarted?"
                yield _not_met(f"effect/{event.fault}", "fault", lost)
            case ConditionMet():
                breached = event.objective is not None
                yield _not_met(
                    "abort",
                    "run",
                    f"stopped by a condition: {event.condition}",
                    outcome=Outcome.FAIL if breached else Outcome.INCONCLUSIVE,
                )
            case _:
                pass
    match ending:
        case "died":
            yield _not_met("run", "run", "the run died before it ended: its journal has no last line")
        case "overran":
            yield _not_met("run", "run", f"the run outlived its time ({plan.deadline_s:g} s)")
        case "interrupted" | "terminated" | "stopped":
            yield _not_met("run", "run", f"the run was {ending} before its plan ended")
        case _:
            pass


def _of_the_faults(
    faults: Iterable[FaultReport], spans: Mapping[Phase, PhaseSpan], ending: Ending
) -> Iterable[Finding]:
    for fault in faults:
        if fault.effect is None and ("fault" in spans or ending == "completed"):
            why = "was never injected" if fault.injected_at is None else "has no baseline to compare with"
            yield _not_met(f"effect/{fault.name}", "fault", f"fault {fault.name} {why}")


def _of_the_load(
    events: tuple[Event, ...],
    load: LoadReport,
    too_busy: Mapping[Phase, str],
    spans: Mapping[Phase, PhaseSpan],
) -> Iterable[Finding]:
    if load.dropped:
        yield _not_met(
            "load",
            "run",
            f"the generator was out of capacity: {load.dropped} of {load.arrivals} arrivals were dropped; "
            f"add workers, raise max_in_flight or lower the rate",
        )
    yield from _of_the_workers(events, load)
    if any(isinstance(e, LoadStopped) and not e.complete for e in events) and spans:
        yield _not_met("load", "run", "the generator ended without its last report: its numbers may be short")
    for phase, why in too_busy.items():
        yield _not_met(
            "load",
            phase,
            f"the generator was out of capacity in the phase {phase}: {why}, so latencies may be its own; "
            "add workers, give it a machine of its own, or lower the rate",
        )


def _of_the_workers(events: tuple[Event, ...], load: LoadReport) -> Iterable[Finding]:
    """What went with a worker is in no number: it may have been what would have failed."""
    gone = [event for event in events if isinstance(event, WorkerLost)]
    for event in gone:
        reason = f"worker {event.worker} was lost ({event.reason}) with {event.open} open users; "
        if event.survivors:
            after_s = event.resumed - event.since
            reason += f"its share was taken over {after_s:.1f} s after its last report"
        else:
            reason += "it was the last one"
        if event is gone[-1]:
            reason += f"; in all {load.lost} of {load.arrivals} arrivals were lost"
        yield _not_met(f"worker/{event.worker}", "run", reason)
    for other in events:
        if isinstance(other, HistoryLost):
            reason = f"the history of worker {other.worker} did not come in ({other.reason}): "
            reason += f"{other.attempts} attempts that its reports counted cannot be looked at"
            yield _not_met(f"history/{other.worker}", "run", reason)


def _of_the_hits(events: tuple[Event, ...], unreadable: int) -> Iterable[Finding]:
    """What the record of struck messages lacks: the verdict does not rest on it, but its explanations do."""
    for event in events:
        if isinstance(event, HitsMissed):
            lacks = f"at least {event.missed} messages that were struck" if event.missed else "some, perhaps"
            why = f": {event.reason}" if event.reason else ", which came faster than they were read"
            reason = f"the record of what was struck at {event.place} (hits.jsonl) lacks {lacks}{why}"
            yield _not_met(f"hits/{event.place}", "run", reason, outcome=Outcome.WARN)
    if unreadable:
        reason = (
            f"{unreadable} of the lines of hits.jsonl cannot be read: the run was killed, or its disk full"
        )
        yield _not_met("hits", "run", reason, outcome=Outcome.WARN)
