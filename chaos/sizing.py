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
from loadtests.options.episode import EpisodeProfile
from loadtests.options.grader import GraderProfile
from loadtests.options.http import HttpProfile
from loadtests.options.tools import ToolsProfile
from loadtests.policies.draws import StepsDrawn
from loadtests.profile import LoadProfileSpec

CPU_S: Final[dict[str, float]] = {
    "episode": 0.0006,
    "chat": 0.0045,
    "tools": 0.0009,
    "grader": 0.0015,
    "search": 0.0021,
    "http": 0.0006,
    "replay": 0.0005,
    "command": 0.0,
}
"""CPU-seconds of one operation, rounded up from what a worker was measured to use; else `PLAIN_CPU_S`.

Requests that are the same for everybody take a tenth of what `http` says, but not every profile is of those.
"""
PLAIN_CPU_S: Final = 0.001
UTILIZATION: Final = 0.5
"""The share of a core that a worker may use at the peak: above it latencies begin to be the worker's own."""


_STEPS: Final = 10
"""Of an episode whose profile does not say."""


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
    return peak * _operations(profile) * CPU_S.get(profile.user, PLAIN_CPU_S)


def _operations(profile: LoadProfileSpec) -> float:
    """How many operations one arrival performs, about."""
    match profile:
        case EpisodeProfile():
            return 1 + _steps(profile.with_.steps)
        case HttpProfile():
            return len(profile.with_.steps)
        case ToolsProfile():
            return profile.with_.calls + 2
        case GraderProfile():
            return profile.with_.repeat
        case _:
            return 1


def _steps(steps: int | StepsDrawn | None) -> float:
    if isinstance(steps, StepsDrawn):
        return steps.mean or ((steps.from_ or 1) + (steps.to or 1)) / 2
    return _STEPS if steps is None else steps
