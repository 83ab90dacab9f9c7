"""Numbers are short, carry their unit, and do not contradict the outcome."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.report import axis, numbers
from slo.finding import Finding, FindingKind
from slo.outcome import Outcome


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 ms"),
        (0.0000412, "41.2 µs"),
        (0.0041, "4.1 ms"),
        (0.2513, "251 ms"),
        (0.9996, "1 s"),
        (1.2345, "1.23 s"),
        (12.04, "12.0 s"),
        (12, "12 s"),
        (59.97, "1 min"),
        (150, "2 min 30 s"),
        (3599.9, "1 h"),
        (5400, "1 h 30 min"),
    ],
)
def test_seconds(value: float, text: str) -> None:
    """A duration reads in the unit that a person would use."""
    assert numbers.seconds(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(1, "100 %"), (0, "0 %"), (0.94247, "94.2 %"), (0.99996, "99.996 %"), (0.00004, "0.004 %")],
)
def test_percent(share: float, text: str) -> None:
    """A share is 100 % or 0 % only when it is exactly that."""
    assert numbers.percent(share) == text


@given(st.floats(0, 1))
def test_percent_never_hides_a_breach(share: float) -> None:
    """However close to the ends a share is, it is not rounded onto them."""
    assert (numbers.percent(share) == "100 %") == (share == 1)
    assert (numbers.percent(share) == "0 %") == (share == 0)


@pytest.mark.parametrize(
    ("kind", "unit", "value", "text"),
    [
        ("ratio", "1", 0.5, "50.0 %"),
        ("quantile", "s", 0.3, "300 ms"),
        ("recovery", "s", 2.5, "2.5 s"),
        ("invariant", "{reply}", 1241, "1,241"),
        ("level", "By", 1e6, "1,000,000 By"),
        ("effect", "1", 0.1, "10.0 %"),
        ("level", "", None, "–"),
    ],
)
def test_measured(kind: FindingKind, unit: str, value: float | None, text: str) -> None:
    """A finding's value is told in its own unit."""
    finding = Finding(objective="o", kind=kind, phase="fault", outcome=Outcome.PASS, reason="", unit=unit)
    assert numbers.measured(finding, value) == text


@given(st.lists(st.floats(1e-7, 1e5), min_size=1, max_size=20))
def test_duration_axis_holds_its_values(values: list[float]) -> None:
    """Every duration lies on its axis, which has some ticks, not too many, all within it."""
    scale = axis.for_durations(values, 200, 0)
    assert all(scale.low * (1 - 1e-9) <= v <= scale.high * (1 + 1e-9) for v in values)
    assert 1 <= len(scale.ticks) <= 14
    assert all(0 <= scale(v) <= 200 for v in (*values, *scale.ticks))


@given(st.floats(0, 1e9), st.floats(1e-3, 1e6))
def test_linear_axes(highest: float, span: float) -> None:
    """Axes from zero end at a round number not below the highest value; time axes tick within the span."""
    scale = axis.from_zero(highest, 100, 0)
    assert scale.high >= highest * (1 - 1e-9) and 2 <= len(scale.ticks) <= 6
    time = axis.of_time(span, 0, 900, most=12)
    assert 1 <= len(time.ticks) <= 14 and max(time.ticks) <= span * (1 + 1e-6)


@given(st.lists(st.floats(0, 100), max_size=6))
def test_spread_labels(places: list[float]) -> None:
    """Labels are set apart, in order, and stay within bounds when there is room."""
    moved = axis.spread(places, 14, 0, 100)
    order = sorted(range(len(places)), key=places.__getitem__)
    for before, after in pairwise(order):
        assert moved[after] - moved[before] >= 14 - 1e-6
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in moved)
    assert all(map(math.isfinite, moved))
