"""An interval that may be looked at after every observation, so that a point ends as soon as it is decided.

An interval for one look (Wilson's) that is asked again and again until it decides is wrong far more often
than it says. This one holds at all times at once: the chance that it ever leaves out the true share, at any
look whatever, is at most 1 - confidence.

Source: H. Robbins, "Statistical Methods Related to the Law of the Iterated Logarithm", Annals of Mathematical
Statistics 41 (1970), 1397-1409 (the likelihood ratio averaged over a Beta prior is a martingale, and J.
Ville's inequality of 1939 bounds the chance that it ever exceeds 1/alpha); as a confidence sequence: S. R.
Howard, A. Ramdas, J. McAuliffe and J. Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
sequences", Annals of Statistics 49 (2021), 1055-1080. The prior here is Jeffreys', Beta(1/2, 1/2).
"""

from __future__ import annotations

import math

PRIOR = 0.5
_HALVINGS = 44


def always_valid(hits: float, n: float, confidence: float) -> tuple[float, float]:
    """The interval of a share after `hits` of `n` observations, at whatever time one looks.

    It is every p with B(hits + 1/2, n - hits + 1/2) / B(1/2, 1/2) < p^hits (1 - p)^(n - hits) / alpha.
    Without an observation it is 0 to 1.

    Raises:
        ValueError: unless 0 <= hits <= n and 0 < confidence < 1.
    """
    if not (0 <= hits <= n and math.isfinite(n)):
        raise ValueError(f"expected 0 <= hits <= n, got hits={hits:g}, n={n:g}")
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, got {confidence:g}")
    if n == 0:
        return 0.0, 1.0
    misses = n - hits
    mixed = _log_beta(hits + PRIOR, misses + PRIOR) - _log_beta(PRIOR, PRIOR)
    least = mixed + math.log1p(-confidence)  # the log likelihood that a share must reach to stay in
    share = hits / n
    lower = 0.0 if not hits else _crossing(hits, misses, least, outside=0.0, inside=share)
    upper = 1.0 if not misses else _crossing(hits, misses, least, outside=1.0, inside=share)
    return lower, upper


def confidence_of_each(confidence: float, decisions: int) -> float:
    """What each of so many decisions needs for all of them together to be right with `confidence`.

    Bonferroni's inequality: the chances of being wrong add up at most.
    """
    return 1 - (1 - confidence) / max(1, decisions)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_likelihood(p: float, hits: float, misses: float) -> float:
    value = 0.0
    if hits:
        value += hits * math.log(p) if p > 0 else -math.inf
    if misses:
        value += misses * math.log1p(-p) if p < 1 else -math.inf
    return value


def _crossing(hits: float, misses: float, least: float, *, outside: float, inside: float) -> float:
    """Where the likelihood, which falls on both sides of the observed share, reaches `least`.

    What is returned lies on the outer side of the crossing, so that rounding never narrows the interval.
    """
    for _ in range(_HALVINGS):
        middle = (outside + inside) / 2
        if _log_likelihood(middle, hits, misses) < least:
            outside = middle
        else:
            inside = middle
    return outside
