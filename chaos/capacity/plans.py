"""The plans of a search: one for each point, made from the plan of the experiment. Pure.

A point is a run like any other, with fewer phases: what is measured has a phase of its own, in which the rate
and the faults are there from its first moment to its last. The control arm's is `baseline`. The fault arm has
a short baseline first, which the fault's effect is told from, and is measured in `fault`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaos.capacity.result import ArmName
from chaos.capacity.standing import askable
from chaos.documents.faults import PROCESS_TYPES
from chaos.documents.models import AbortObjective
from chaos.plan import Plan, PlannedFault
from chaos.planning import DRAIN_MARGIN_S, SET_UP_MARGIN_S, cues_of
from loadtests.arrivals import Spike
from slo.objective import Phase
from slo.quantities import PerSecond, Seconds

_NO_PHASE_S = 0.0
_BY_SIGNAL = ("kill", "restart", "pause", "slow")


@dataclass(frozen=True)
class Ground:
    """What all points of a search share: the experiment's plan, the load whose rate is searched (an index of
    the plan's workloads), and the faults of the fault arm."""

    plan: Plan
    load: int
    faults: tuple[PlannedFault, ...]

    @property
    def workload(self) -> str:
        """The name of that load."""
        return self.plan.workloads[self.load].name

    @property
    def profile(self) -> str:
        """Its kind of user."""
        return self.plan.workloads[self.load].profile.user


def measured_phase(arm: ArmName) -> Phase:
    """The phase in which an arm's points are measured."""
    return "baseline" if arm == "control" else "fault"


def point_plan(ground: Ground, arm: ArmName, rate: float, *, warm_s: float, hold_s: float) -> Plan:
    """The plan that holds `rate` arrivals per second for `hold_s` seconds; the fault arm warms up first."""
    return _plan(ground, arm, rate, warm_s=warm_s, hold_s=hold_s)


def return_plan(
    ground: Ground,
    arm: ArmName,
    *,
    rate: float,
    overload: float,
    warm_s: float,
    overload_s: float,
    allowed_s: float,
) -> Plan:
    """The plan that goes from `rate` to `overload` and back, within one phase.

    The overload begins `warm_s` seconds into the measured phase; the fault arm has a baseline of as much.
    """
    before_s = warm_s if arm == "control" else 2 * warm_s
    spike = Spike.model_validate(
        {
            "shape": "spike",
            "base": PerSecond(rate),
            "peak": PerSecond(overload),
            "at": Seconds(before_s),
            "for": Seconds(overload_s),
        }
    )
    hold_s = warm_s + overload_s + allowed_s
    return _plan(ground, arm, spike, warm_s=warm_s, hold_s=hold_s)


def _plan(ground: Ground, arm: ArmName, arrivals: float | Spike, *, warm_s: float, hold_s: float) -> Plan:
    phase = measured_phase(arm)
    phases: dict[Phase, float] = (
        {"baseline": hold_s} if arm == "control" else {"baseline": warm_s, "fault": hold_s}
    )
    faults = () if arm == "control" else tuple(_throughout(fault, warm_s, hold_s) for fault in ground.faults)
    cues = cues_of({"baseline": _NO_PHASE_S, "fault": _NO_PHASE_S, "recovery": _NO_PHASE_S, **phases}, faults)
    workloads = list(ground.plan.workloads)
    varied = workloads[ground.load]
    profile = varied.profile.model_copy(update={"arrivals": arrivals, "users": None})
    workloads[ground.load] = varied.model_copy(update={"profile": profile})
    return ground.plan.model_copy(
        update={
            "phases": phases,
            "faults": faults,
            "workloads": tuple(workloads),
            "requirements": tuple(
                r.model_copy(update={"phases": (phase,)}) for r in ground.plan.requirements if askable(r)
            ),
            "cues": tuple(cue for cue in cues if cue.action != "phase" or cue.subject in phases),
            # a breach is decided here, by an interval that bears many looks
            "aborts": tuple(a for a in ground.plan.aborts if not isinstance(a, AbortObjective)),
            "deadline_s": sum(phases.values()) + SET_UP_MARGIN_S + DRAIN_MARGIN_S,
        }
    )


def _throughout(fault: PlannedFault, begin_s: float, hold_s: float) -> PlannedFault:
    return fault.model_copy(update={"inject_at_s": begin_s, "heal_at_s": begin_s + hold_s})


def clashes(faults: Sequence[PlannedFault]) -> tuple[str, str] | None:
    """Two faults that cannot be in place at one time, since there is one of what they take; or None."""
    taken: dict[tuple[str, str], str] = {}
    for fault in faults:
        if fault.type == "down" or fault.type in PROCESS_TYPES:
            what = "signals" if fault.type in _BY_SIGNAL else fault.type
            if (fault.place, what) in taken:
                return taken[fault.place, what], fault.name
            taken[fault.place, what] = fault.name
    return None
