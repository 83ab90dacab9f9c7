"""A plan: an experiment as timed cues, sorted; a dry run, a golden test and documentation in one. Pure data.

`make_plan` is a function of the resolved experiment, the seed and nothing else. Only the conductor performs
a plan.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chaos.documents.models import Abort
from loadtests.profile import LoadProfileSpec
from slo.effect import Effect
from slo.model import Model
from slo.objective import Phase, Requirement

Action = Literal["phase", "inject", "heal", "end"]


class Cue(Model):
    """One thing to do, `at_s` seconds after the baseline has begun. `subject` names a phase or a fault."""

    at_s: float
    action: Action
    subject: str


class PlannedService(Model):
    """A service of the target: `demo` is a shipped service to start, `address` host:port of a running one."""

    name: str
    demo: str | None = None
    address: str | None = None
    health: str | None = None


class PlannedProxy(Model):
    """A proxy to put in place. `service` names what it stands before; else `upstream` is host:port."""

    name: str
    listen: str = "127.0.0.1:0"
    service: str | None = None
    upstream: str | None = None


class PlannedFault(Model):
    """A fault with everything that its injection needs, in the proxy's own units.

    `type` is a toxic type or `down`. `attributes` are Toxiproxy's: integers, milliseconds (`slicer.delay` in
    microseconds, `bandwidth.rate` in kB/s). Times are seconds after the baseline has begun.
    """

    name: str
    place: str
    type: str
    stream: Literal["downstream", "upstream"] = "downstream"
    toxicity: float = 1.0
    attributes: dict[str, int] = Field(default_factory=dict)
    inject_at_s: float
    heal_at_s: float
    effects: tuple[Effect, ...] = Field(description="Any one of them seen is evidence that the fault acted.")


class PlannedWorkload(Model):
    """A load profile aimed at a place (a proxy's name)."""

    name: str
    place: str
    profile: LoadProfileSpec


class Plan(Model):
    """All that a run will do, touch and be judged by."""

    experiment: str
    hypothesis: str = ""
    target: str
    seed: int
    toxiproxy: str | None = None
    lease_s: float
    deadline_s: float = Field(description="A run that takes longer than this has outlived its time.")
    phases: dict[Phase, float]
    services: tuple[PlannedService, ...]
    proxies: tuple[PlannedProxy, ...]
    workloads: tuple[PlannedWorkload, ...]
    boundaries: dict[str, tuple[float, ...]]
    faults: tuple[PlannedFault, ...]
    requirements: tuple[Requirement, ...]
    aborts: tuple[Abort, ...] = ()
    cues: tuple[Cue, ...]
