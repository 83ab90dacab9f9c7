"""What a reader of a verdict asks, answered once for all renderers; pure functions of the verdict.

No renderer decides what a verdict means: outcome, reasons and findings are shown as they were judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos.documents.faults import LAYER7_TYPES, PROCESS_TYPES
from chaos.faults.layer7 import attributes_in_words, messages_in_words
from chaos.report import numbers
from chaos.report.curves import NO_CURVES, Curves
from chaos.report.runbook import RunbookExcerpt
from chaos.report.style import mark
from chaos.verdict import FaultReport, Verdict
from slo.finding import Finding
from slo.objective import Objective, Quantile, Ratio, Recovery, Requirement
from slo.outcome import Outcome

ENDINGS: Final[dict[str, str]] = {
    "completed": "ran to its planned end",
    "condition": "stopped by one of its abort conditions",
    "stopped": "stopped by a person",
    "interrupted": "interrupted (SIGINT)",
    "terminated": "terminated (SIGTERM)",
    "setup-failed": "set-up failed, before anything was injected",
    "not-steady": "stopped before any injection: the baseline was not steady",
    "part-died": "stopped: a process that it depends on died",
    "overran": "stopped: it outlived its time",
    "died": "its own process died without a word",
}


@dataclass(frozen=True)
class Threshold:
    """A line on the latency plot: a duration (seconds) that an objective sets for some phases."""

    label: str
    seconds: float
    phases: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """All that a report is made of.

    `folder` is where it will lie: links to runbooks are relative to it. `targets` is by objective, see
    there; `environment` is what the run ran on, as it is to be shown.
    """

    verdict: Verdict
    folder: Path
    curves: Curves = NO_CURVES
    runbooks: Mapping[str, RunbookExcerpt] = field(default_factory=dict)
    thresholds: tuple[Threshold, ...] = ()
    targets: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def thresholds(requirements: Iterable[Requirement]) -> tuple[Threshold, ...]:
    """The durations that objectives set: a quantile's limit, or that up to which a ratio counts as good."""
    found: dict[Threshold, None] = {}
    for requirement in requirements:
        judged = requirement.objective
        objective = judged.objective if isinstance(judged, Recovery) else judged
        if not isinstance(objective, Objective) or objective.unit not in ("", "s"):
            continue
        indicator, phases = objective.indicator, tuple(requirement.phases)
        if isinstance(indicator, Quantile):
            label = f"{objective.name}: p{indicator.quantile * 100:g} ≤ {numbers.seconds(indicator.at_most)}"
            found[Threshold(label, indicator.at_most, phases)] = None
        elif isinstance(indicator, Ratio) and indicator.good and indicator.good.at_most is not None:
            limit = indicator.good.at_most
            share = numbers.percent(indicator.target, decimals=0)
            label = f"{objective.name}: {share} ≤ {numbers.seconds(limit)}"
            found[Threshold(label, limit, phases)] = None
    return tuple(found)


def targets(requirements: Iterable[Requirement]) -> dict[str, float]:
    """The numbers that ratios (fractions) and quantiles (the metric's unit) have to keep, by objective."""
    found: dict[str, float] = {}
    for objective in (requirement.objective for requirement in requirements):
        match objective:
            case Objective(indicator=Ratio(target=target)):
                found[objective.name] = target
            case Objective(indicator=Quantile(at_most=at_most)):
                found[objective.name] = at_most
            case _:
                pass
    return found


def headline(verdict: Verdict) -> str:
    """The weightiest reason; where none was given, what the outcome means."""
    return verdict.reasons[0] if verdict.reasons else mark(verdict.outcome).meaning


def ending(verdict: Verdict) -> str:
    """How the run ended, in words."""
    return ENDINGS.get(verdict.ending, verdict.ending)


def objectives(verdict: Verdict) -> list[Finding]:
    """The findings but for those that tell of faults' effects, which are shown with their faults."""
    return [f for f in verdict.findings if f.kind != "effect"]


def effects(verdict: Verdict) -> list[Finding]:
    """The effect findings: of each fault, and those of the verdict that no fault carries; each once."""
    found = [fault.effect for fault in verdict.faults if fault.effect is not None]
    return found + [f for f in verdict.findings if f.kind == "effect" and f not in found]


def seen(effect: Finding) -> str:
    """Whether the fault acted, in words."""
    return "acted" if effect.outcome.passes else "not seen"


def not_passing(verdict: Verdict) -> list[Finding]:
    """The findings that failed, then those that are inconclusive; of objectives before those of effects."""
    findings = [*objectives(verdict), *effects(verdict)]
    return [f for o in (Outcome.FAIL, Outcome.INCONCLUSIVE) for f in findings if f.outcome is o]


def runbooks_to_follow(verdict: Verdict) -> dict[str, list[Finding]]:
    """Runbook names with the findings that call for them: of failed objectives first, each name once.

    An objective of which too little is known calls for more samples, not for the runbook of its breach.
    """
    called: dict[str, list[Finding]] = {}
    for finding in not_passing(verdict):
        breached = finding.outcome is Outcome.FAIL or finding.kind in ("effect", "precondition")
        if finding.runbook and breached:
            called.setdefault(finding.runbook, []).append(finding)
    return called


def origin(verdict: Verdict) -> float:
    """Time zero of a report (Unix seconds): the first phase's start; without phases, the run's."""
    return min((p.start for p in verdict.phases), default=verdict.started_at)


def fault_window(verdict: Verdict, fault: FaultReport) -> str:
    """When the fault was in place, in seconds after the baseline began."""
    if fault.injected_at is None:
        return "never injected"
    zero = origin(verdict)
    begun = f"{fault.injected_at - zero:.1f} s"
    if fault.healed_at is None:
        return f"from {begun}, no end recorded"
    return f"{fault.injected_at - zero:.1f} to {fault.healed_at - zero:.1f} s"


def fault_state(fault: FaultReport) -> tuple[bool, str]:
    """Whether all is well with its heal, and that in words."""
    if fault.healed:
        return True, "healed, verified gone"
    if fault.injected_at is None:
        return True, "never injected"
    return False, "not verified gone"


_UNITS: Final[dict[str, str]] = {
    "latency": "ms",
    "jitter": "ms",
    "timeout": "ms",
    "delay": "ms",
    "rate": "kB/s",
    "bytes": "B",
    "average_size": "B",
    "size_variation": "B",
    "grace": "ms",
    "period": "ms",
    "stopped": "%",
    "headroom_bytes": "B",
    "leave": "B",
}


def disturbance(fault: FaultReport) -> str:
    """The fault's type and attributes, with Toxiproxy's units: `latency 250 ms, jitter 250 ms`."""
    if fault.type in LAYER7_TYPES:
        told = ", ".join(attributes_in_words(fault.type, fault.attributes))
        return f"{fault.type}: {told}" if told else fault.type
    parts = []
    for key, value in fault.attributes.items():
        unit = "µs" if (fault.type, key) == ("slicer", "delay") else _UNITS.get(key, "")
        number = f"{value:g}" if isinstance(value, int | float) else value
        parts.append(f"{key.replace('_', ' ')} {number} {unit}".rstrip())
    told = ", ".join([*([fault.means] if fault.means else []), *parts])
    if fault.type in fault.attributes:
        return told
    return f"{fault.type}: {told}" if told else fault.type


def reach(fault: FaultReport) -> str:
    """Whom the fault strikes: its stream, and its toxicity where it is less than all connections."""
    if fault.type == "down":
        return "all connections"
    if fault.type in PROCESS_TYPES:
        return "the process"
    if fault.type == "command":
        return "what its command touches"
    if fault.type in LAYER7_TYPES:
        return f"{fault.stream}, {messages_in_words(fault.where, fault.toxicity)}"
    struck = "" if fault.toxicity >= 1 else f", {numbers.percent(fault.toxicity, decimals=0)} of connections"
    return f"{fault.stream}{struck}"


def counts(fault: FaultReport) -> str:
    """What the proxy counted: `connections 40, delayed 1,210`."""
    return ", ".join(f"{name.replace('_', ' ')} {numbers.count(n)}" for name, n in fault.counts.items())


def load_sentence(verdict: Verdict) -> str:
    """What the generator did, in one line."""
    load = verdict.load
    if not (load.arrivals or load.operations):
        return "no load was generated"
    parts = [numbers.plural(load.arrivals, "arrival"), numbers.plural(load.operations, "operation")]
    parts.append(numbers.plural(load.retries, "retry", "retries"))
    for number, word in ((load.late, "late"), (load.dropped, "dropped"), (load.unfinished, "unfinished")):
        if number:
            parts.append(f"{numbers.count(number)} {word}")
    return ", ".join(parts)


def value_against_target(finding: Finding) -> str:
    """`62.1 % (target ≥ 99 %)`."""
    value = numbers.measured(finding, finding.value)
    return f"{value} (target {finding.target})" if finding.target else value


def columns(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """The rows' keys, in order of first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))


def cell(value: object) -> str:
    """One value of an offending row, as text."""
    if value is None:
        return numbers.UNKNOWN
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
