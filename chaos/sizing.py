"""How many load processes a plan needs.

A second process costs 1 to 2 CPU-seconds to start, and a core that the service under test may need as well,
so there is one unless the planned peak rate asks for more.
"""

from __future__ import annotations

import os
from math import ceil
from typing import Final

from chaos.plan import Plan, PlannedWorkload
from loadtests.arrivals import intensities

CPU_S: Final = {"http": 0.0005, "replay": 0.0005, "episode": 0.0009, "chat": 0.006, "command": 0.0}
"""CPU-seconds of one operation, rounded up from what a worker was measured to use; else `PLAIN_CPU_S`."""
PLAIN_CPU_S: Final = 0.001
UTILIZATION: Final = 0.5
"""The share of a core that a worker may use at the peak: above it latencies begin to be the worker's own."""


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_here(plan: Plan) -> int:
    """As many as the planned rate needs, at most one for each core."""
    return min(cores(), workers_needed(plan))


def workers_needed(plan: Plan) -> int:
    """How many workers hold the peak of all workloads together at `UTILIZATION`."""
    return max(1, ceil(round(sum(map(_cores_of, plan.workloads)) / UTILIZATION, 9)))


def _cores_of(workload: PlannedWorkload) -> float:
    """The share of a core that a workload takes at its peak, about."""
    profile = workload.profile
    if profile.arrivals is None:
        return 0.0  # users that come again when they are done, or at times of their own, bound themselves
    peak = max(each.peak for each in intensities(profile.arrivals).values())
    return peak * _operations(workload) * CPU_S.get(profile.user, PLAIN_CPU_S)


def _operations(workload: PlannedWorkload) -> int:
    """How many operations one arrival performs, as its options say."""
    options = workload.profile.with_
    steps = getattr(options, "steps", None)
    if isinstance(steps, int):
        return steps + 2
    for name in ("steps", "requests", "turns", "items"):
        several = getattr(options, name, None)
        if isinstance(several, int):
            return several
        if isinstance(several, tuple | list) and several:
            return len(several)
    return 1
