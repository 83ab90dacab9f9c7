from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.statistics import (
    binomial_cdf,
    difference,
    rule_of_three,
    samples_to_decide,
    upper_bound,
    wilson,
    z_for,
)

counts = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [  # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_published_values(hits: int, n: int, low: float, high: float) -> None:
    """The Wilson interval is the published one, to the four digits that are printed."""
    assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


@given(counts)
def test_wilson_inverts_the_score_test(pair: tuple[int, int]) -> None:
    """Both ends of the interval are exactly z standard errors (of their own share) from what was observed."""
    hits, n = pair
    z = z_for(0.95)
    for end in wilson(hits, n):
        if 0 < end < 1:
            error = math.sqrt(end * (1 - end) / n)
            assert abs(hits / n - end) == pytest.approx(z * error, rel=1e-6, abs=1e-9)


@given(counts)
def test_wilson_holds_the_share_and_mirrors(pair: tuple[int, int]) -> None:
    """The observed share lies in its interval, which lies in [0, 1], and misses mirror hits."""
    hits, n = pair
    low, high = wilson(hits, n)
    assert 0 <= low <= hits / n <= high <= 1
    mirrored = wilson(n - hits, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


@given(counts, st.floats(0.01, 0.99))
def test_so_many_samples_decide(pair: tuple[int, int], target: float) -> None:
    """With as many samples as are said to decide, at the same share, the interval excludes the target."""
    hits, n = pair
    needed = samples_to_decide(hits / n, target)
    if needed is not None:
        low, high = wilson(hits / n * needed, needed)
        assert not low < target - 1e-9 < target + 1e-9 < high


def test_a_target_met_exactly_is_never_decided() -> None:
    """No number of samples is promised where the share is the target, or the target is all."""
    assert samples_to_decide(0.95, 0.95) is None
    assert samples_to_decide(0.5, 1.0) is None
    assert samples_to_decide(1.0, 0.95) == 73


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [  # Newcombe 1998, "Interval estimation for the difference", table II, method 10
        ((48, 80), (56, 70), 0.0524, 0.3339),
        ((3, 10), (9, 10), 0.1705, 0.8090),
        ((0, 20), (10, 10), 0.6791, 1.0000),
    ],
)
def test_the_difference_agrees_with_published_values(
    a: tuple[int, int], b: tuple[int, int], low: float, high: float
) -> None:
    """Newcombe's interval is the published one."""
    assert difference(*a, *b) == pytest.approx((low, high), abs=5e-5)


@given(counts, counts)
def test_the_difference_is_antisymmetric(a: tuple[int, int], b: tuple[int, int]) -> None:
    """Swapping the samples mirrors the interval, and it holds the observed difference."""
    low, high = difference(*a, *b)
    assert difference(*b, *a) == pytest.approx((-high, -low), abs=1e-12)
    assert low - 1e-12 <= b[0] / b[1] - a[0] / a[1] <= high + 1e-12


@given(st.integers(1, 10**7))
def test_no_violation_bounds_the_rate_by_three_over_n(n: int) -> None:
    """The exact bound of a zero count satisfies (1 - p)^n = 0.05, and 3/n is just above it."""
    bound = upper_bound(0, n)
    assert math.exp(n * math.log1p(-bound)) == pytest.approx(0.05, rel=1e-6)
    assert bound <= rule_of_three(n)


@given(st.integers(2, 300).flatmap(lambda n: st.tuples(st.integers(1, n - 1), st.just(n))))
def test_the_upper_bound_is_where_so_few_become_unlikely(pair: tuple[int, int]) -> None:
    """Clopper-Pearson's bound is the rate at which at most that many hits have a probability of 5 %."""
    hits, n = pair
    assert binomial_cdf(hits, n, upper_bound(hits, n)) == pytest.approx(0.05, rel=1e-6)


@given(st.integers(1, 60), st.floats(0.001, 0.999))
def test_the_binomial_distribution_is_its_definition(n: int, p: float) -> None:
    """The cumulative probability agrees with the plain sum, and ends at 1."""
    for k in (0, n // 2, n):
        plain = sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))
        assert binomial_cdf(k, n, p) == pytest.approx(plain, rel=1e-9)
    assert (binomial_cdf(0, n, 0.0), binomial_cdf(0, n, 1.0), binomial_cdf(n, n, 1.0)) == (1.0, 0.0, 1.0)


@pytest.mark.parametrize(("hits", "n"), [(1, 0), (-1, 5), (6, 5), (0, math.inf)])
def test_impossible_counts_are_refused(hits: float, n: float) -> None:
    """Counts that cannot be are an error, not a number."""
    with pytest.raises(ValueError, match="expected 0 <= hits <= n"):
        wilson(hits, n)
    with pytest.raises(ValueError, match="confidence"):
        z_for(1.0)
