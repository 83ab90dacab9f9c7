"""What must hold: objectives as the evaluator sees them, whatever document they were written in.

An *objective* is a ratio, a quantile or a level over OpenTelemetry metrics; an *invariant* is a count over
the history that must be zero; a *recovery* asks how soon after the heal an objective holds again. A
*requirement* is one of them used in an experiment: in which phases, over how many samples, with which
runbook.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from slo.model import Model

Phase = Literal["baseline", "fault", "recovery"]
PHASES: tuple[Phase, ...] = ("baseline", "fault", "recovery")

Filter = str | list[str] | None
"""An attribute's wanted value, any of several, or None: the attribute must be absent."""


class Selector(Model):
    """Which points of a metric to count.

    `filters` maps attribute names (a point's own, or its resource's) to a wanted value; `at_most` (histograms
    only, in the metric's unit) counts the observations in the buckets up to that boundary.
    """

    metric: str = Field(min_length=1, max_length=255)
    filters: dict[str, Filter] = Field(default_factory=dict)
    at_most: float | None = None


class Ratio(Model):
    """good / total must be at least `target` (a fraction); where `bad` is given instead, good is the rest."""

    kind: Literal["ratio"] = "ratio"
    good: Selector | None = None
    bad: Selector | None = None
    total: Selector
    target: float = Field(gt=0, le=1)

    @model_validator(mode="after")
    def _one_side(self) -> Ratio:
        if (self.good is None) is (self.bad is None):
            raise ValueError("expected exactly one of good and bad")
        return self


class Quantile(Model):
    """The `quantile` of a histogram must be at most `at_most` (the metric's unit).

    Judged by counting: p95 <= x holds exactly when at least 95 % of the observations are <= x. Nothing is
    interpolated, so `at_most` has to lie on a bucket boundary.
    """

    kind: Literal["quantile"] = "quantile"
    source: Selector
    quantile: float = Field(gt=0, lt=1)
    at_most: float


class Level(Model):
    """A number (gauge or sum) must compare with `bound`: its largest, smallest or last value, or increase."""

    kind: Literal["level"] = "level"
    source: Selector
    aggregation: Literal["max", "min", "last", "increase"]
    op: Literal["lte", "lt", "gte", "gt"]
    bound: float


Indicator = Annotated[Ratio | Quantile | Level, Field(discriminator="kind")]


class Objective(Model):
    """An SLO: its name, what it says in words, and the indicator that decides it."""

    kind: Literal["objective"] = "objective"
    name: str
    description: str = ""
    unit: str = ""
    indicator: Indicator


class Invariant(Model):
    """A count over the history that must be zero; `check` names the checker in `probes`."""

    kind: Literal["invariant"] = "invariant"
    name: str
    description: str = ""
    check: str


class Recovery(Model):
    """After the last heal `objective` holds within `within_s`: `windows` windows of `window_s` in a row."""

    kind: Literal["recovery"] = "recovery"
    name: str
    description: str = ""
    objective: Objective
    within_s: float = Field(gt=0)
    window_s: float = Field(gt=0)
    windows: int = Field(ge=1)


Judged = Annotated[Objective | Invariant | Recovery, Field(discriminator="kind")]


class Requirement(Model):
    """One objective as an experiment uses it. `runbook` is the name of a file in `runbooks/`."""

    objective: Judged
    phases: tuple[Phase, ...]
    min_samples: int = Field(ge=1)
    runbook: str
