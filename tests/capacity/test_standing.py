"""Where an objective stands at a rate."""

from __future__ import annotations

import pytest

from chaos.capacity.search import Standing
from chaos.capacity.standing import so_far, together
from slo.finding import Window
from slo.objective import Level, Objective, Ratio, Requirement, Selector
from slo.series import HistogramPoint, NumberPoint, Samples, StreamKey

T0 = 1_000_000.0
WINDOW = Window(start=T0, end=T0 + 10, phase="baseline")


def required(indicator: Ratio | Level, min_samples: int = 1) -> Requirement:
    objective = Objective(name="it", indicator=indicator)
    return Requirement(objective=objective, phases=("baseline",), min_samples=min_samples, runbook="env-slow")


RATIO = Ratio(good=Selector(metric="op", at_most=1.0), total=Selector(metric="op"), target=0.95)


def standing(good: int, bad: int, *, open_: int = 0, min_samples: int = 1) -> Standing:
    samples, key = Samples(), StreamKey("op", "s", (("brownout.phase", "baseline"),))
    samples.add(key, HistogramPoint(T0, T0 + 5, good + bad, 0, (1.0,), (good, bad)))
    requirement = required(RATIO, min_samples)
    return so_far([requirement], WINDOW, samples, confidence=0.95, open_=open_)[0].standing


def test_a_share_is_decided_where_the_interval_is_on_one_side() -> None:
    """All of 120 good is enough for 95 %, of 73 (which one look would take) it is not; half of 60 is a breach."""
    assert standing(120, 0) == "holds"
    assert standing(73, 0) == "unknown"
    assert standing(30, 30) == "breached"
    assert standing(0, 0) == "unknown"


@pytest.mark.parametrize(("good", "bad", "decided"), [(200, 0, "holds"), (100, 20, "breached")])
def test_what_is_open_counts_against_what_would_be_said(good: int, bad: int, decided: Standing) -> None:
    """A few open operations leave it decided; so many that they could turn it round leave it unknown."""
    assert standing(good, bad, open_=1) == decided
    assert standing(good, bad, open_=100) == "unknown"


def test_fewer_samples_than_asked_for_decide_nothing() -> None:
    """`min_samples` holds here as everywhere."""
    assert standing(120, 0, min_samples=121) == "unknown"


def test_a_level_that_only_its_end_decides_is_not_breached_on_the_way() -> None:
    """The last value may come down again; the largest does not."""
    samples = Samples()
    samples.add(StreamKey("held", "1", ()), NumberPoint(0, T0 + 5, 9, "gauge"))
    found = []
    for aggregation in ("last", "max"):
        level = Level(source=Selector(metric="held"), aggregation=aggregation, op="lte", bound=8)
        found.append(so_far([required(level)], WINDOW, samples, confidence=0.95, open_=0)[0].standing)
    assert found == ["unknown", "breached"]


def test_one_breach_is_a_breach_and_one_doubt_a_doubt() -> None:
    """Of several objectives the worst counts, and of none nothing is known."""
    assert together(["holds", "unknown", "breached"]) == "breached"
    assert together(["holds", "unknown"]) == "unknown"
    assert together(["holds", "holds"]) == "holds"
    assert together([]) == "unknown"
