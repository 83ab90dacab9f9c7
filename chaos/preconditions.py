"""What has to be so for a verdict to mean anything; what is not so is a finding, and never passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chaos.journal import (
    BaselineJudged,
    ConditionMet,
    Event,
    FaultLost,
    HealFailed,
    HitsMissed,
    LoadStopped,
    PartDied,
    SetupFailed,
)
from chaos.plan import Plan
from chaos.verdict import Ending, FaultReport, LoadReport, PhaseSpan
from loadtests import metrics
from slo.finding import Finding, Window
from slo.objective import Phase, Selector
from slo.outcome import Outcome
from slo.series import Samples

SATURATED = 0.95
"""The share of a core above which a worker's latencies are its own, not the service's."""


def preconditions(
    plan: Plan,
    events: tuple[Event, ...],
    spans: Mapping[Phase, PhaseSpan],
    ending: Ending,
    faults: Iterable[FaultReport],
    load: LoadReport,
    samples: Samples,
    unreadable: int = 0,
) -> tuple[Finding, ...]:
    """The preconditions that do not hold, as findings; `unreadable` is how many lines of `hits.jsonl` are."""
    return (
        *_of_the_ending(plan, events, ending),
        *_of_the_faults(faults, spans, ending),
        *_of_the_load(events, load, samples, spans),
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
    events: tuple[Event, ...], load: LoadReport, samples: Samples, spans: Mapping[Phase, PhaseSpan]
) -> Iterable[Finding]:
    if load.dropped:
        yield _not_met(
            "load",
            "run",
            f"the generator was out of capacity: {load.dropped} of {load.arrivals} arrivals were dropped; "
            f"add workers, raise max_in_flight or lower the rate",
        )
    if any(isinstance(e, LoadStopped) and not e.complete for e in events) and spans:
        yield _not_met("load", "run", "the generator ended without its last report: its numbers may be short")
    if spans:
        window = Window(start=min(s.start for s in spans.values()), end=max(s.end for s in spans.values()))
        busy = samples.number(Selector(metric=metrics.UTILIZATION), "last", window)
        if busy is not None and busy > SATURATED:
            yield _not_met(
                "load",
                "run",
                f"a load worker used {busy:.0%} of a core: latencies may be the generator's own; add workers",
                outcome=Outcome.WARN,
            )


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
