"""Histograms with explicit buckets: merging, counting up to a boundary, quantiles with what is known of them.

Invariant: nothing is counted that the buckets do not say. A threshold is counted only where it is a bucket
boundary (`OffBoundary` otherwise), and a quantile is a bucket first: interpolation is for display alone.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate


class OffBoundary(ValueError):
    """A threshold that is no bucket boundary of the histogram it is to be counted in."""

    def __init__(self, metric: str, at_most: float, bounds: Sequence[float]) -> None:
        self.metric = metric
        self.at_most = at_most
        at = bisect_left(bounds, at_most)
        self.below: float | None = bounds[at - 1] if at else None
        self.above: float | None = bounds[at] if at < len(bounds) else None
        super().__init__(
            f"{metric} has no bucket boundary at {at_most:g} ({self._around()}), so how many observations "
            f"are at most {at_most:g} is not known; move the threshold onto one, or give it one there"
        )

    def _around(self) -> str:
        if self.below is None and self.above is None:
            return "it has a single bucket"
        if self.below is None:
            return f"its lowest boundary is {self.above:g}"
        if self.above is None:
            return f"its highest boundary is {self.below:g}"
        return f"the nearest boundaries are {self.below:g} and {self.above:g}"


def boundary_index(bounds: Sequence[float], value: float) -> int | None:
    """The index of `value` among `bounds`, or None; equal within one part in 10^9 (decimal to binary)."""
    at = bisect_left(bounds, value)
    for index in (at, at - 1):
        if 0 <= index < len(bounds) and math.isclose(bounds[index], value, rel_tol=1e-9, abs_tol=1e-12):
            return index
    return None


@dataclass(frozen=True, slots=True)
class Estimate:
    """Where a quantile lies: in the bucket (lower, upper]; `value` is interpolated, for display.

    `upper` is infinite in the overflow bucket; `value` is then `lower`, as Prometheus' histogram_quantile
    has it.
    """

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations by bucket: `counts[i]` of them in (bounds[i-1], bounds[i]], the last above all bounds."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    count: float
    sum: float

    def at_most(self, value: float, metric: str = "the histogram") -> float:
        """How many observations are <= `value`. Raises OffBoundary unless that is a bucket boundary."""
        index = boundary_index(self.bounds, value)
        if index is None:
            raise OffBoundary(metric, value, self.bounds)
        return math.fsum(self.counts[: index + 1])

    def above(self, value: float) -> float:
        """How many observations are > `value`, which must be a boundary, or infinite, or minus infinite."""
        if value == math.inf:
            return 0.0
        if value == -math.inf or (self.bounds and value < self.bounds[0]):
            return self.count
        return self.count - self.at_most(value)

    def quantile(self, q: float) -> Estimate | None:
        """The bucket that the `q`-quantile (0 < q < 1) lies in; None of an empty histogram.

        It is the first bucket by whose upper boundary at least q of the observations are counted.
        """
        if self.count <= 0:
            return None
        rank = q * self.count - 1e-9 * self.count
        before = 0.0
        for index, (bucket, upto) in enumerate(zip(self.counts, accumulate(self.counts), strict=True)):
            if bucket > 0 and upto >= rank:
                lower, upper = self._edges(index)
                if not (math.isfinite(lower) and math.isfinite(upper)):
                    return Estimate(lower if math.isfinite(lower) else upper, lower, upper)
                share = min(1.0, max(0.0, (q * self.count - before) / bucket))
                return Estimate(lower + (upper - lower) * share, lower, upper)
            before = upto
        return None

    def _edges(self, index: int) -> tuple[float, float]:
        if index == 0:
            upper = self.bounds[0] if self.bounds else math.inf
            return (0.0 if upper > 0 else -math.inf), upper
        return self.bounds[index - 1], self.bounds[index] if index < len(self.bounds) else math.inf


def on_bounds(histogram: Histogram, bounds: tuple[float, ...]) -> Histogram:
    """`histogram` with its buckets joined so that only `bounds`, a subset of its own, remain."""
    if histogram.bounds == bounds:
        return histogram
    counts = [0.0] * (len(bounds) + 1)
    uppers = (*histogram.bounds, math.inf)
    for upper, count in zip(uppers, histogram.counts, strict=True):
        counts[bisect_left(bounds, upper)] += count
    return Histogram(bounds, tuple(counts), histogram.count, histogram.sum)


def merged(histograms: Iterable[Histogram]) -> Histogram | None:
    """All observations together, on the boundaries that every one of them has; None of no histograms."""
    parts = list(histograms)
    if not parts:
        return None
    shared = set(parts[0].bounds).intersection(*(part.bounds for part in parts[1:]))
    bounds = parts[0].bounds if len(shared) == len(parts[0].bounds) else tuple(sorted(shared))
    parts = [on_bounds(part, bounds) for part in parts]
    columns = zip(*(part.counts for part in parts), strict=True)
    return Histogram(
        bounds,
        tuple(math.fsum(column) for column in columns),
        math.fsum(part.count for part in parts),
        math.fsum(part.sum for part in parts),
    )
