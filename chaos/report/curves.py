"""Curves: what a run's telemetry looked like over time, in bins of one width; all that a plot needs.

Rendering depends on `Curves` alone, so that a report can be drawn from any source of samples. A bin in which
nothing was seen holds None, never zero: a gap in the data is drawn as a gap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field, model_validator

from chaos.verdict import PhaseSpan
from loadtests.metrics import ERROR_TYPE, USERS
from slo.finding import Window
from slo.histogram import merged
from slo.model import Model
from slo.objective import Selector
from slo.series import Samples

Track = tuple[float | None, ...]


class Curves(Model):
    """Per time bin: `times` are the bins' beginnings (Unix seconds), `width_s` their width.

    `load` is operations per second, `error_rate` a fraction, the percentiles are seconds, `users` is how many
    were open.
    """

    width_s: float = Field(gt=0)
    times: tuple[float, ...] = ()
    load: Track = ()
    error_rate: Track = ()
    p50: Track = ()
    p95: Track = ()
    p99: Track = ()
    users: Track = ()

    @model_validator(mode="after")
    def _one_value_a_bin(self) -> Curves:
        for name in ("load", "error_rate", "p50", "p95", "p99", "users"):
            if len(getattr(self, name)) != len(self.times):
                raise ValueError(
                    f"{name}: expected {len(self.times)} values, one a bin, got {len(getattr(self, name))}"
                )
        return self

    @property
    def known(self) -> bool:
        """True when any bin holds anything."""
        return any(v is not None for t in (self.load, self.p50, self.users) for v in t)


NO_CURVES = Curves(width_s=1.0)
"""A run that sent no telemetry."""

MOST_BINS = 240
"""More would be finer than a page can show: a longer run gets wider bins."""


def bin_width_s(duration_s: float) -> float:
    """The width of a bin in whole seconds: 1 for runs up to four minutes, then what `MOST_BINS` asks."""
    return float(max(1, math.ceil(duration_s / MOST_BINS)))


def curves(samples: Samples, phases: Sequence[PhaseSpan], metrics: tuple[str, ...]) -> Curves:
    """The curves of the duration histograms `metrics` (seconds) together, from the first phase to the last.

    An observation is in the bin in which it was reported, hence about when its operation ended: a stall shows
    up as a gap in the load, and then as a burst of slow operations. Empty `Curves` without phases.
    """
    if not phases:
        return NO_CURVES
    start, end = min(p.start for p in phases), max(p.end for p in phases)
    width = bin_width_s(end - start)
    times = tuple(start + i * width for i in range(max(1, math.ceil((end - start) / width - 1e-6))))
    bins = [_bin(samples, metrics, Window(start=t, end=min(t + width, max(end, t + 1e-3)))) for t in times]
    load, errors, p50, p95, p99, users = (tuple(track) for track in zip(*bins, strict=True))
    return Curves(
        width_s=width, times=times, load=load, error_rate=errors, p50=p50, p95=p95, p99=p99, users=users
    )


def _bin(samples: Samples, metrics: tuple[str, ...], window: Window) -> Track:
    """Load, error rate, p50, p95, p99 and users of one bin."""
    total = _count(samples, [Selector(metric=m) for m in metrics], window)
    good = _count(samples, [Selector(metric=m, filters={ERROR_TYPE: None}) for m in metrics], window)
    load = None if total is None else total / (window.end - window.start)
    errors = (total - (good or 0.0)) / total if total else None
    parts = (samples.distribution(Selector(metric=m), window) for m in metrics)
    histogram = merged(part for part in parts if part is not None)
    found = [histogram.quantile(q) if histogram else None for q in (0.5, 0.95, 0.99)]
    p50, p95, p99 = (estimate.value if estimate else None for estimate in found)
    users = samples.numbers(Selector(metric=USERS), "last", window)
    return load, errors, p50, p95, p99, math.fsum(users) if users else None


def _count(samples: Samples, selectors: list[Selector], window: Window) -> float | None:
    tallies = [tally for s in selectors if (tally := samples.tally(s, window)) is not None]
    return math.fsum(tally.count for tally in tallies) if tallies else None
