from __future__ import annotations

import bisect
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.evaluate import quantile_interval
from slo.histogram import Histogram, OffBoundary, boundary_index, merged
from slo.statistics import wilson

BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5)
observations = st.lists(st.floats(0.001, 5, allow_nan=False), min_size=1, max_size=200)


def histogram(values: list[float], bounds: tuple[float, ...] = BOUNDS) -> Histogram:
    counts = [0.0] * (len(bounds) + 1)
    for value in values:
        counts[bisect.bisect_left(bounds, value)] += 1
    return Histogram(bounds, tuple(counts), float(len(values)), math.fsum(values))


@given(observations, st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_that_is_said(values: list[float], q: float) -> None:
    """The nearest-rank quantile of the raw values lies in the estimate's bucket, and so does the estimate."""
    exact = sorted(values)[max(0, math.ceil(q * len(values) - 1e-9) - 1)]
    estimate = histogram(values).quantile(q)
    assert estimate is not None
    assert estimate.lower < exact <= estimate.upper
    assert estimate.lower <= estimate.value <= estimate.upper


@given(observations, st.sampled_from(BOUNDS), st.floats(0.01, 0.99))
def test_a_quantile_is_at_most_x_exactly_when_enough_are(values: list[float], x: float, q: float) -> None:
    """p(q) <= x holds exactly when a share of at least q is <= x: judging by counting rests on it."""
    whole = histogram(values)
    estimate = whole.quantile(q)
    assert estimate is not None
    assert (estimate.upper <= x) == (whole.at_most(x) >= q * whole.count - 1e-9 * whole.count)


@given(observations, observations)
def test_merging_counts_everything_once(a: list[float], b: list[float]) -> None:
    """Merged histograms hold all observations, and agree with one histogram of them all."""
    both = merged([histogram(a), histogram(b, (0.25, 1.0, 4.0))])
    assert both is not None
    assert both.bounds == (0.25, 1.0)
    assert both.counts == histogram(a + b, (0.25, 1.0)).counts
    assert both.count == len(a) + len(b)


@given(observations, st.floats(0.05, 0.95))
def test_the_interval_of_a_quantile_is_what_counting_rules_out(values: list[float], q: float) -> None:
    """A boundary passes as a threshold from the interval's upper end on, and fails up to the lower."""
    whole = histogram(values)
    interval = quantile_interval(whole, q)
    if interval is None:
        return
    for bound in BOUNDS:
        low, high = wilson(whole.at_most(bound), whole.count)
        assert (low >= q) == (bound >= interval[1])
        assert (high < q) == (bound <= interval[0])


def test_above_the_last_boundary_nothing_is_claimed() -> None:
    """A quantile in the overflow bucket is known to be above the last boundary, and no more."""
    estimate = histogram([9.0] * 10).quantile(0.5)
    assert estimate is not None
    assert (estimate.value, estimate.lower, estimate.upper) == (2.5, 2.5, math.inf)
    assert quantile_interval(histogram([9.0] * 100), 0.5) is None


def test_an_empty_histogram_has_no_quantile() -> None:
    """Nothing observed is None, not zero."""
    assert histogram([]).quantile(0.5) is None
    assert quantile_interval(histogram([]), 0.5) is None
    assert merged([]) is None


def test_a_histogram_without_buckets_knows_its_count_only() -> None:
    """One bucket for everything: a count and nothing else."""
    bare = Histogram((), (5.0,), 5.0, 10.0)
    with pytest.raises(OffBoundary, match="single bucket"):
        bare.at_most(1.0)
    assert bare.above(-math.inf) == 5


def test_a_threshold_off_the_boundaries_names_those_around_it() -> None:
    """The error says where the threshold could be moved to."""
    with pytest.raises(
        OffBoundary, match=r"no bucket boundary at 0.3 \(the nearest boundaries are 0.25 and 0.5\)"
    ):
        histogram([1.0]).at_most(0.3, "step")
    with pytest.raises(OffBoundary, match=r"lowest boundary is 0.1") as caught:
        histogram([1.0]).at_most(0.01)
    assert (caught.value.below, caught.value.above) == (None, 0.1)


@given(st.floats(1e-3, 1e3))
def test_a_boundary_survives_decimal_rounding(bound: float) -> None:
    """A threshold that was written in decimal, or came as 32-bit-rounded sums, still meets its boundary."""
    assert boundary_index((bound,), bound * (1 + 1e-12)) == 0
    assert boundary_index((bound,), bound * 1.001) is None
