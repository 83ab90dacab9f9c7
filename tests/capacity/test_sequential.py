"""The interval that bears many looks."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.capacity.sequential import always_valid, confidence_of_each
from slo.statistics import wilson


@pytest.mark.parametrize("p", [0.5, 0.9, 0.95, 0.99])
def test_looking_after_every_observation_is_wrong_no_more_often_than_it_says(p: float) -> None:
    """At 90 %, of 200 sequences at most a tenth ever leave the true share out; Wilson's leaves out far more."""
    rng = random.Random(f"coverage/{p}")
    ever_out, wilson_out = 0, 0
    for _ in range(200):
        hits, out, out_by_wilson = 0, False, False
        for n in range(1, 301):
            hits += rng.random() < p
            if n % 10 == 0:
                low, high = always_valid(hits, n, 0.9)
                out = out or not low <= p <= high
                low, high = wilson(hits, n, 0.9)
                out_by_wilson = out_by_wilson or not low <= p <= high
        ever_out += out
        wilson_out += out_by_wilson
    assert ever_out <= 20 + 13  # three standard errors of a tenth of 200
    assert wilson_out > 2 * ever_out


@given(n=st.integers(0, 5000), share=st.floats(0, 1), confidence=st.floats(0.5, 0.9999))
def test_it_holds_what_was_seen(n: int, share: float, confidence: float) -> None:
    """The observed share lies in the interval, and the interval within 0 to 1, for any counts."""
    hits = round(share * n)
    low, high = always_valid(hits, n, confidence)
    assert 0 <= low <= high <= 1
    assert n == 0 or low <= hits / n <= high


@given(n=st.integers(1, 2000), share=st.floats(0, 1))
def test_more_confidence_is_a_wider_interval(n: int, share: float) -> None:
    """An interval at 99 % contains the one at 90 %."""
    hits = round(share * n)
    narrow, wide = always_valid(hits, n, 0.9), always_valid(hits, n, 0.99)
    assert wide[0] <= narrow[0] + 1e-12
    assert narrow[1] <= wide[1] + 1e-12


def test_it_ends_are_where_the_averaged_likelihood_says() -> None:
    """Without a miss the lower end p solves p^n = alpha B(n + 1/2, 1/2) / B(1/2, 1/2), to the last digits."""
    from math import exp, lgamma, pi

    n, alpha = 120, 0.05
    mixed = exp(lgamma(n + 0.5) + lgamma(0.5) - lgamma(n + 1)) / pi
    low, high = always_valid(n, n, 1 - alpha)
    assert high == 1.0
    assert low == pytest.approx((alpha * mixed) ** (1 / n), rel=1e-9)


@pytest.mark.parametrize(("hits", "n", "confidence"), [(-1, 5, 0.9), (6, 5, 0.9), (1, 5, 0.0), (1, 5, 1.0)])
def test_counts_that_cannot_be_are_refused(hits: int, n: int, confidence: float) -> None:
    """More hits than observations, and a certainty of 0 or 1, are errors and no interval."""
    with pytest.raises(ValueError, match="expected"):
        always_valid(hits, n, confidence)


def test_decisions_share_the_chance_of_being_wrong() -> None:
    """Of twenty decisions at 95 % together each may be wrong with a chance of one in four hundred."""
    assert confidence_of_each(0.95, 20) == pytest.approx(1 - 0.05 / 20)
