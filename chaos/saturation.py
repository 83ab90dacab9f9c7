"""Whether the load generator itself was the bottleneck: then what it measured is its own, not the service's.

A worker reports the share of a core that it used since its last report. One whose reports are near a whole
core in a good part of a phase had users waiting for it, and their latencies say nothing of the service. One
that does not get the core, because others use it, reports little use and begins what is due late; latencies
count from when it was due, so that is in them, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from chaos.verdict import PhaseSpan
from loadtests import metrics
from slo.finding import Finding, Window
from slo.objective import Phase, Selector
from slo.outcome import Outcome
from slo.series import Samples

SATURATED: Final = 0.95
"""Share of a core from which on a worker has nothing left."""
_PART: Final = 0.25
"""Of a phase's reports; single ones may be a collection of garbage, or another process on the core."""


LATE_S: Final = 0.1
"""How late an operation has to begin to count here: what is shorter changes no objective worth having."""
_LATE_PART: Final = 0.05
"""Of a phase's operations."""


def out_of_capacity(
    samples: Samples, history: pa.Table, spans: Mapping[Phase, PhaseSpan]
) -> dict[Phase, str]:
    """The phases in which the generator could not do what was due, with the reason, as a clause."""
    found: dict[Phase, str] = {}
    for phase, share in saturated(samples, spans).items():
        found[phase] = f"a worker used its whole core in {share:.0%} of its reports"
    for phase, share in begun_late(history, spans).items():
        found.setdefault(phase, f"{share:.0%} of what was due was begun over {LATE_S * 1000:.0f} ms late")
    return found


def begun_late(history: pa.Table, spans: Mapping[Phase, PhaseSpan]) -> dict[Phase, float]:
    """The phases in which too much began late, with its share. `history` is as in `loadtests.columns`."""
    if not history.num_rows:
        return {}
    first = history.select(["phase", "intended_start", "start"]).filter(pc.equal(history["attempt"], 0))
    late = pc.greater(pc.subtract(first["start"], first["intended_start"]), LATE_S)
    phases = first["phase"].cast(pa.string())
    counted = pa.table({"phase": phases, "late": late.cast(pa.int64())}).group_by("phase")
    shares = counted.aggregate([("late", "mean")]).to_pylist()
    of = {row["phase"]: row["late_mean"] for row in shares}
    return {phase: of[phase] for phase in spans if of.get(phase, 0.0) >= _LATE_PART}


def saturated(samples: Samples, spans: Mapping[Phase, PhaseSpan]) -> dict[Phase, float]:
    """The phases in which a worker had no time left, with the share of its reports that say so (0 to 1)."""
    found: dict[Phase, float] = {}
    for phase, span in spans.items():
        window = Window(start=span.start, end=span.end, phase=phase)
        for readings in samples.gauges(Selector(metric=metrics.UTILIZATION), window):
            share = sum(reading > SATURATED for reading in readings) / len(readings)
            if share >= _PART:
                found[phase] = max(share, found.get(phase, 0.0))
    return found


def not_the_services(finding: Finding, phases: Mapping[Phase, str]) -> Finding:
    """A breach while the generator was out of capacity may be its own: inconclusive, not failed.

    Counts that must be zero stay: no lack of time makes a reply belong to another request.
    """
    if finding.outcome is not Outcome.FAIL or finding.phase not in phases or finding.kind == "invariant":
        return finding
    reason = f"missed while the generator was out of capacity: {finding.reason}"
    return finding.model_copy(update={"outcome": Outcome.INCONCLUSIVE, "reason": reason})
