"""A finding: one objective judged over one window, with the numbers that it rests on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from slo.model import Model
from slo.outcome import Outcome

FindingKind = Literal["ratio", "quantile", "level", "invariant", "recovery", "effect", "precondition"]


class Window(Model):
    """A stretch of time, in Unix seconds.

    With `phase` set, series that carry the attribute `brownout.phase` are selected by it, so that an
    operation counts in the phase of its intended start however late it ended; every other series is
    selected by time.
    """

    start: float
    end: float
    phase: str | None = None


class Finding(Model):
    """One objective judged over one window.

    `value` and `interval` are in `unit`: a fraction for ratios, seconds for recoveries, a count for
    invariants. `interval` is the 95 % interval that the outcome rests on, where there is one. `samples` is
    how many observations were seen. `rows` are offending examples (at most 20), oldest first.
    """

    objective: str
    kind: FindingKind
    phase: str
    outcome: Outcome
    reason: str
    target: str = ""
    value: float | None = None
    interval: tuple[float, float] | None = None
    unit: str = ""
    samples: int = 0
    bad: int | None = None
    runbook: str | None = None
    window: Window | None = None
    rows: tuple[dict[str, JsonValue], ...] = Field(default=())
