"""Intervals for shares and counts: what a finite number of observations says about a rate.

Pure arithmetic on floats, no dependency. Every formula carries its source.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

CONFIDENCE = 0.95
"""Of every two-sided interval and one-sided bound that a verdict rests on."""


def z_for(confidence: float) -> float:
    """The two-sided standard normal quantile: 1.95996... for 0.95. Raises ValueError outside (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, got {confidence:g}")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _check_share(hits: float, n: float) -> None:
    if not (n > 0 and 0 <= hits <= n and math.isfinite(n)):
        raise ValueError(f"expected 0 <= hits <= n and n > 0, got hits={hits:g}, n={n:g}")


def wilson(hits: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The Wilson score interval of a share, as fractions.

    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22
    (1927), 209-212; recommended for all n by Brown, Cai and DasGupta, "Interval Estimation for a Binomial
    Proportion", Statistical Science 16 (2001), 101-133, equation (4).

    Raises:
        ValueError: unless 0 <= hits <= n and n > 0.
    """
    _check_share(hits, n)
    z2 = z_for(confidence) ** 2
    share = hits / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2) / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    lower = 0.0 if hits == 0 else max(0.0, centre - half)
    upper = 1.0 if hits == n else min(1.0, centre + half)
    return lower, upper


def samples_to_decide(share: float, target: float, confidence: float = CONFIDENCE) -> int | None:
    """How many observations, at this observed share, put the whole Wilson interval on one side of `target`.

    The interval excludes p exactly when |share - p| > z sqrt(p (1 - p) / n) (Wilson 1927: it inverts the
    score test), so n = z^2 p (1 - p) / (share - p)^2, rounded up. None when no number would: they are equal,
    or the target is 0 or 1 and cannot be surpassed.
    """
    if share == target or not 0 < target < 1:
        return None
    needed = z_for(confidence) ** 2 * target * (1 - target) / (share - target) ** 2
    return max(1, math.ceil(needed)) if needed < 1e12 else None


def difference(
    hits_a: float, n_a: float, hits_b: float, n_b: float, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The interval of share b minus share a, of two independent samples.

    Source: R. G. Newcombe, "Interval Estimation for the Difference between Independent Proportions",
    Statistics in Medicine 17 (1998), 873-890, method 10 (hybrid score, without continuity correction).

    Raises:
        ValueError: unless 0 <= hits <= n and n > 0 in both.
    """
    lower_a, upper_a = wilson(hits_a, n_a, confidence)
    lower_b, upper_b = wilson(hits_b, n_b, confidence)
    a, b = hits_a / n_a, hits_b / n_b
    delta = b - a
    below = math.hypot(b - lower_b, upper_a - a)
    above = math.hypot(upper_b - b, a - lower_a)
    return max(-1.0, delta - below), min(1.0, delta + above)


def upper_bound(hits: int, n: int, confidence: float = CONFIDENCE) -> float:
    """The exact one-sided upper bound of a rate (Clopper-Pearson): the p with P(X <= hits) = 1 - confidence.

    Without a hit it is 1 - (1 - confidence)^(1/n), at 95 % just below 3/n: the rule of three.
    Sources: C. J. Clopper and E. S. Pearson, Biometrika 26 (1934), 404-413; J. A. Hanley and
    A. Lippman-Hand, "If Nothing Goes Wrong, Is Everything All Right?", JAMA 249 (1983), 1743-1745.

    Raises:
        ValueError: unless 0 <= hits <= n and n > 0.
    """
    _check_share(hits, n)
    if hits == n:
        return 1.0
    if hits == 0:
        return -math.expm1(math.log1p(-confidence) / n)
    return _falling_root(lambda p: binomial_cdf(hits, n, p) - (1 - confidence))


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X <= k) for X ~ Binomial(n, p), summed in logarithms, so that large n does not underflow early."""
    if p <= 0:
        return 1.0
    if p >= 1:
        return 1.0 if k >= n else 0.0
    log_p, log_q = math.log(p), math.log1p(-p)
    base = math.lgamma(n + 1)
    terms = (
        math.exp(base - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * log_p + (n - i) * log_q)
        for i in range(k + 1)
    )
    return min(1.0, math.fsum(terms))


def rule_of_three(n: int) -> float:
    """The familiar 3/n (at most 1): above it no rate lies, at 95 %, when none was seen in n > 0."""
    _check_share(0, n)
    return min(1.0, 3 / n)


def _falling_root(function: Callable[[float], float]) -> float:
    """Where a function that falls from above 0 at p=0 to below 0 at p=1 crosses zero, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if function(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
