"""Shares: the two numbers, hits out of n, that a ratio and a quantile are judged by.

A quantile is a share in disguise: p95 <= x holds exactly when at least 95 % of the observations are <= x.
"""

from __future__ import annotations

from dataclasses import dataclass

from slo.finding import Window
from slo.objective import Quantile, Ratio, Selector
from slo.series import Samples


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `n` observations are good; `target` is the share that must be."""

    hits: float
    n: float
    target: float

    @property
    def value(self) -> float:
        """The point estimate, a fraction. Raises ZeroDivisionError of no observations."""
        return self.hits / self.n

    @property
    def meets(self) -> bool:
        """Whether the point estimate meets the target; never without observations."""
        return self.n > 0 and self.hits >= self.target * self.n - 1e-9 * self.n


def read_share(indicator: Ratio | Quantile, window: Window, samples: Samples) -> Share | str:
    """The share over the window, or a sentence part that says what was missing.

    Raises:
        OffBoundary: a threshold is no bucket boundary.
    """
    if isinstance(indicator, Quantile):
        within = indicator.source.model_copy(update={"at_most": indicator.at_most})
        total, good = samples.tally(indicator.source, window), samples.tally(within, window)
        if total is None or good is None:
            return samples.missing(indicator.source)
        return Share(good.count, total.count, indicator.quantile)
    total = samples.tally(indicator.total, window)
    if total is None:
        return samples.missing(indicator.total)
    counted = indicator.good or indicator.bad
    assert counted is not None, "Ratio validates that one of good and bad is given"  # noqa: S101
    part = samples.tally(counted, window)
    if part is None and _unheard(counted, indicator.total, samples):
        return samples.missing(counted)
    hits = part.count if part is not None else 0.0
    if hits > total.count:
        side = "good" if indicator.good else "bad"
        return (
            f"{hits:g} {side} ones were counted of {total.count:g} in total: {counted.metric} and "
            f"{indicator.total.metric} do not count the same things"
        )
    return Share(hits if indicator.good else total.count - hits, total.count, indicator.target)


def _unheard(part: Selector, total: Selector, samples: Samples) -> bool:
    """Whether a part without data is unknown, not zero: its metric is another one, and was never reported."""
    return part.metric != total.metric and part.metric not in samples.metrics()
