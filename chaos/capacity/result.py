"""What a search for capacity came to: points, arms, and all of it together. Frozen, and written as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chaos.capacity.search import Standing, Why
from slo.finding import FindingKind
from slo.model import Model

ArmName = Literal["control", "fault"]


class Held(Model):
    """One objective at one point. `interval` is of the share of good observations, and always valid.

    `value` is the objective's own, in `unit`.
    """

    objective: str
    kind: FindingKind
    standing: Standing
    reason: str
    target: str = ""
    value: float | None = None
    unit: str = ""
    interval: tuple[float, float] | None = None
    samples: int = 0
    bad: int = 0


class Quantile(Model):
    """A quantile of the latencies, seconds; it lies between the boundaries `low` and `high` at 95 %."""

    value: float
    low: float | None = None
    high: float | None = None


class Generator(Model):
    """What the load generator did at a point. `busy`: the share of a core that its busiest worker used.

    `out` says how it gave out, where it did.
    """

    arrivals: int = 0
    late: int = 0
    dropped: int = 0
    busy: float | None = None
    out: str = ""


class Point(Model):
    """One rate (arrivals per second), held for `lasted_s` seconds, and what came of it."""

    arm: ArmName
    rate: float
    why: Why
    standing: Standing
    reason: str
    folder: str = Field(description="The name of its run's folder, in `points`.")
    lasted_s: float = 0.0
    operations: int = 0
    good: int = Field(0, description="Operations without an error.")
    goodput_per_s: float = Field(
        0.0, description="Good operations over the time that it took to serve all that came."
    )
    errors: tuple[float, float, float] | None = Field(
        None, description="The share of failed operations, with its 95 % (Wilson) interval."
    )
    p50: Quantile | None = None
    p95: Quantile | None = None
    p99: Quantile | None = None
    piling_up: float | None = Field(
        None, description="The share of the arrivals by which open ones grew; above 0 the rate cannot last."
    )
    generator: Generator = Generator()
    objectives: tuple[Held, ...] = ()
    acted: dict[str, bool] = Field(default_factory=dict, description="Whether each fault was seen to act.")


class Return(Model):
    """Whether a rate that held holds again right after one that did not.

    `took_s` is how long after the overload the objectives held again; None: not within `allowed_s`.
    """

    rate: float
    overload: float
    overloaded_s: float
    allowed_s: float
    standing: Literal["returned", "stayed", "unknown"]
    took_s: float | None = None
    reason: str
    folder: str


class Arm(Model):
    """One curve, and the answer that it gives. Rates are arrivals per second.

    `notes` are what a reader must know to trust the answer.
    """

    arm: ArmName
    faults: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    held: float | None = None
    breached: float | None = None
    narrow: bool = Field(False, description="The two ends are as close as was asked for.")
    returned: Return | None = None
    notes: tuple[str, ...] = ()


class Capacity(Model):
    """A whole search."""

    name: str
    of: str = Field(description="The experiment or the target that was asked about.")
    target: str
    load: str
    seed: int
    precision: float
    point_max_s: float
    confidence: float = Field(description="Of each arm's answer as a whole, over all its points and looks.")
    objectives: tuple[str, ...]
    left_out: tuple[str, ...] = Field((), description="Objectives that a held rate has nothing to say about.")
    highest: float = Field(description="No higher rate was to be tried.")
    arms: tuple[Arm, ...] = ()
    stopped: str = Field("", description="Why the search ended before its time; empty: it did not.")
    summary: str = ""
    exit_code: int
    repeat: str
    started_at: float
    ended_at: float
