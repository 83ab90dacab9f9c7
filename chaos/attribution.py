"""Which fault did what: each fault's effect, told apart from those of the faults beside it.

A fault is credited only with what its own coming changed: the time in which it was in place is held against
one in which exactly the other faults were (the baseline, when there were none). Where there is no such time,
the proxy's own count of it is the evidence; without that, the fault cannot be told apart. What answers
nothing while it is in place (a process that is paused) is seen in what comes right after it. A fault of which
the proxy counted that it struck nothing did nothing, whatever the telemetry shows; at layer 7 its count of
messages is the evidence, unless the experiment asks for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from chaos.evidence import Evidence
from chaos.journal import Event, FaultFailed, FaultHealed, FaultInjected
from chaos.plan import Plan, PlannedFault
from chaos.verdict import FaultReport, PhaseSpan
from slo.evidence import judge_effect
from slo.finding import Finding, Window
from slo.objective import Phase
from slo.outcome import Outcome
from slo.wording import counted

SHORTEST_S = 0.9
"""Windows shorter than this hold too few reports (the load sends one every 500 ms) to be compared."""
LINGERS_S = 1.2
"""What a fault held back to its end is reported within this time after it (two reports of the load)."""
RUNBOOK = "fault-without-effect"


@dataclass(frozen=True)
class _Placed:
    """A fault as it happened; `until` is its heal, or the end of the journal."""

    fault: PlannedFault
    injected: float | None = None
    healed: float | None = None
    until: float = 0.0
    failed: str = ""
    counts: Mapping[str, int] | None = None
    in_vain: int = 0

    @property
    def struck_nothing(self) -> bool:
        """Whether the proxy counts, and counted nothing."""
        return bool(self.counts) and not (self.counts or {}).get("applied", 1)

    def window(self) -> Window:
        """When it was in place."""
        return Window(start=self.injected or 0.0, end=self.until)


def fault_reports(
    evidence: Evidence, spans: Mapping[Phase, PhaseSpan], in_vain: Mapping[str, int]
) -> tuple[FaultReport, ...]:
    """Every fault of the plan, with the finding of its effect where it was injected or refused.

    `in_vain` is how many messages each fault at layer 7 struck without an effect, by the record.
    """
    placed = [_placed(fault, evidence.events, in_vain.get(fault.name, 0)) for fault in evidence.plan.faults]
    return tuple(_report(one, placed, evidence, spans) for one in placed)


def _placed(fault: PlannedFault, events: Iterable[Event], in_vain: int) -> _Placed:
    injected = healed = counts = None
    failed, last = "", 0.0
    for event in events:
        last = event.t
        match event:
            case FaultInjected() if event.fault == fault.name:
                injected = event.t
            case FaultFailed() if event.fault == fault.name:
                failed = event.reason
            case FaultHealed() if event.fault == fault.name:
                healed, counts = event.t, event.counts
            case _:
                pass
    return _Placed(fault, injected, healed, last if healed is None else healed, failed, counts, in_vain)


def _report(
    placed: _Placed, everything: list[_Placed], evidence: Evidence, spans: Mapping[Phase, PhaseSpan]
) -> FaultReport:
    fault, effect = placed.fault, None
    if placed.injected is not None and "baseline" in spans:
        effect = _warned(placed, _effect(placed, everything, evidence, spans["baseline"]))
    elif placed.failed:
        effect = _unseen(placed, f"fault {fault.name} could not be injected: {placed.failed}")
    return FaultReport(
        name=fault.name,
        place=fault.place,
        type=fault.type,
        stream=fault.stream,
        toxicity=fault.toxicity,
        attributes={
            name: float(value) if isinstance(value, int) and not fault.layer7 else value
            for name, value in fault.attributes.items()
        },
        where=fault.where,
        means=_means(fault),
        injected_at=placed.injected,
        healed_at=placed.healed,
        healed=placed.healed is not None,
        effect=effect,
        counts=dict(placed.counts or {}),
    )


def _means(fault: PlannedFault) -> str:
    if fault.commands is not None:
        return " ".join(fault.commands.inject)
    return fault.host or (f"SIG{fault.signal}" if fault.signal else "")


def _effect(placed: _Placed, everything: list[_Placed], evidence: Evidence, baseline: PhaseSpan) -> Finding:
    fault = placed.fault
    lead = f"fault {fault.name} at {fault.place} had no observable effect"
    if placed.struck_nothing:
        return _unseen(placed, f"{lead}: {_why_nothing(placed)}")
    if fault.layer7 and not fault.effects:
        return _by_own_count(placed)
    rivals = [
        other
        for other in everything
        if other is not placed and _may_be_confused(placed, other, evidence.plan)
    ]
    contrast = _contrast(placed, rivals, Window(start=baseline.start, end=baseline.end))
    if contrast is None:
        return _by_count(placed, rivals)
    before, during = contrast
    found: list[Finding] = []
    for window in (during, *_with_aftermath(during, placed, everything)):
        judged = [judge_effect(effect, evidence.samples, before, window) for effect in fault.effects]
        best = next((f for f in judged if f.outcome.passes), None)
        if best is not None:
            changed = {"objective": f"effect/{fault.name}", "phase": "fault", "window": window}
            return best.model_copy(update=changed)
        found = found or judged
    return _unseen(placed, f"{lead}: {'; '.join(f.reason for f in found)}", found[0])


def _with_aftermath(during: Window, placed: _Placed, everything: list[_Placed]) -> Iterable[Window]:
    """The window and what came right after the heal, where it ends with that and no other fault came."""
    if placed.healed is None or during.end != placed.healed:
        return
    others = [o.injected for o in everything if o.injected is not None and o.injected >= during.end]
    end = min([during.end + LINGERS_S, *others])
    if end > during.end:
        yield during.model_copy(update={"end": end})


def _unseen(placed: _Placed, reason: str, found: Finding | None = None) -> Finding:
    """The finding of a fault that was not seen to act, with the numbers of `found`."""
    base = found or Finding(
        objective="", kind="effect", phase="fault", outcome=Outcome.INCONCLUSIVE, reason=""
    )
    return base.model_copy(
        update={
            "objective": f"effect/{placed.fault.name}",
            "phase": "fault",
            "reason": reason,
            "runbook": RUNBOOK,
            "window": placed.window() if placed.injected is not None else None,
        }
    )


def _why_nothing(placed: _Placed) -> str:
    """What the proxy counted of a fault that did nothing."""
    if not placed.fault.layer7:
        return "the proxy counted that it struck nothing"
    counts = placed.counts or {}
    matched, unread = counts.get("matched", 0), counts.get("unread", 0)
    fitted = "`where` fitted " if placed.fault.where else "there came "
    if not matched:
        said = f"{fitted}no message"
    elif placed.in_vain:
        said = f"{fitted}{counted(matched, 'message')}, and it struck {placed.in_vain} of them in vain"
    else:
        said = f"{fitted}{counted(matched, 'message')}, and none was struck"
    return f"{said}; {_not_read(unread)}" if unread else said


def _not_read(unread: int) -> str:
    what = counted(unread, "connection or message", "connections or messages")
    return f"{what} could not be read: no HTTP/1.1?"


def _warned(placed: _Placed, effect: Finding) -> Finding:
    """With a warning where some of what passed could not be read, which is never left out in silence."""
    unread = (placed.counts or {}).get("unread", 0)
    if not unread or not effect.outcome.passes:
        return effect
    reason = f"{effect.reason}; it may have missed some, as {_not_read(unread)}"
    return effect.model_copy(update={"outcome": Outcome.WARN, "reason": reason})


def _by_own_count(placed: _Placed) -> Finding:
    """Of a fault at layer 7 the proxy knows what it did: what corrupts in silence shows nowhere else."""
    fault, counts = placed.fault, placed.counts or {}
    if not counts:
        return _unseen(placed, f"whether fault {fault.name} struck anything is not known: no count was read")
    applied = counts["applied"]
    reason = f"struck {applied} of {counted(counts.get('matched', 0), 'message')}"
    if placed.in_vain:
        reason += f" ({placed.in_vain} more in vain: there was nothing for it to do)"
    return Finding(
        objective=f"effect/{fault.name}",
        kind="effect",
        phase="fault",
        outcome=Outcome.PASS,
        reason=reason,
        samples=counts.get("matched", 0),
        window=placed.window(),
    )


def _by_count(placed: _Placed, rivals: list[_Placed]) -> Finding:
    """What the proxy's own count says, where telemetry cannot tell the fault from its rivals."""
    fault, counts = placed.fault, placed.counts or {}
    others = ", ".join(rival.fault.name for rival in rivals)
    if counts.get("applied", 0) > 0 and counts.get("connections", 0) > 0:
        reason = (
            f"the proxy counted that it acted {counts['applied']} times on {counts['connections']} "
            f"connections (in telemetry it cannot be told apart from {others})"
        )
        return Finding(
            objective=f"effect/{fault.name}",
            kind="effect",
            phase="fault",
            outcome=Outcome.PASS,
            reason=reason,
            samples=counts["connections"],
            window=placed.window(),
        )
    return _unseen(
        placed,
        f"the effect of fault {fault.name} cannot be told apart from that of {others}: give it "
        f"{SHORTEST_S:g} s or more without them, or them as much without it",
    )


def _may_be_confused(placed: _Placed, other: _Placed, plan: Plan) -> bool:
    """Whether both were in place at once, and reach load that is read for the evidence of both."""
    if placed.injected is None or other.injected is None or other.struck_nothing:
        return False
    overlap = min(placed.until, other.until) - max(placed.injected, other.injected)
    return overlap > 0 and bool(_workloads(placed.fault, plan) & _workloads(other.fault, plan))


def _workloads(fault: PlannedFault, plan: Plan) -> set[str]:
    """The load at the fault's place; all of it, if none is there."""
    there = {workload.name for workload in plan.workloads if workload.place == fault.place}
    return there or {workload.name for workload in plan.workloads}


def _contrast(placed: _Placed, rivals: list[_Placed], baseline: Window) -> tuple[Window, Window] | None:
    """A window without and one with the fault, the same rivals in place in both; the longest such pair."""
    if not rivals:
        return baseline, placed.window()
    own = placed.fault.name
    spans = {r.fault.name: r.window() for r in (placed, *rivals)}
    cuts = sorted({edge for span in spans.values() for edge in (span.start, span.end)})
    segments = [
        (Window(start=a, end=b), {name for name, s in spans.items() if s.start <= a and b <= s.end})
        for a, b in pairwise(cuts)
        if b - a >= SHORTEST_S
    ]
    pairs = [
        (without, during)
        for during, active in segments
        if own in active
        for without, others in [(baseline, set[str]()), *segments]
        if others == active - {own}
    ]
    return max(pairs, key=lambda pair: min(w.end - w.start for w in pair), default=None)
