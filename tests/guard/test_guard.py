"""The guard's promises: each kind of condition is met exactly when it says so."""

from __future__ import annotations

import pytest

from chaos.documents.models import AbortAfter, AbortObjective, AbortRequests, AbortThreshold, AbortTokens
from chaos.guard import Guard
from loadtests import metrics
from slo.series import HistogramPoint, NumberPoint, Samples, StreamKey
from tests.judge.test_judge import T0, plan, samples


def guard(*aborts: object) -> Guard:
    return Guard(plan("baseline", "fault").model_copy(update={"aborts": aborts}))


def counted(metric: str, value: float, kind: str = "cumulative") -> Samples:
    made = Samples()
    key = StreamKey(metric, "1", ())
    made.add(key, NumberPoint(T0 - 1, T0, 0, kind))  # type: ignore[arg-type]
    made.add(key, NumberPoint(T0 - 1, T0 + 1, value, kind))  # type: ignore[arg-type]
    return made


def test_after() -> None:
    """`after` is met when so much time has passed since the baseline began."""
    watch = guard(AbortAfter(after="10s"))
    assert watch.check(Samples(), T0, "fault", T0 + 3, T0 + 9.9) is None
    met = watch.check(Samples(), T0, "fault", T0 + 3, T0 + 10)
    assert met is not None
    assert met.objective is None
    assert "10s" in met.condition


@pytest.mark.parametrize(("sent", "met"), [(99, False), (100, True)])
def test_requests(sent: int, met: bool) -> None:
    """`requests` counts tries on the wire, retries included."""
    found = guard(AbortRequests(requests=100)).check(counted(metrics.ATTEMPTS, sent), T0, "fault", T0, T0 + 2)
    assert (found is not None) is met


@pytest.mark.parametrize(("spent", "met"), [(999.0, False), (1000.0, True)])
def test_tokens(spent: float, met: bool) -> None:
    """`tokens` adds up what the replies' usage says, not how many replies there were."""
    made = Samples()
    key = StreamKey(metrics.TOKEN_USAGE, "{token}", ())
    made.add(key, HistogramPoint(T0 - 1, T0, 0, 0, (1.0,), (0, 0)))
    made.add(key, HistogramPoint(T0 - 1, T0 + 1, 10, spent, (1.0,), (0, 10)))
    found = guard(AbortTokens(tokens=1000)).check(made, T0, "fault", T0, T0 + 2)
    assert (found is not None) is met


@pytest.mark.parametrize("kind", ["cumulative", "gauge"])
@pytest.mark.parametrize(("value", "met"), [(5.0, False), (5.5, True)])
def test_threshold(kind: str, value: float, met: bool) -> None:
    """`above` compares the increase of a sum, and the value of a gauge."""
    watch = guard(AbortThreshold(metric="x", above=5))
    assert (watch.check(counted("x", value, kind), T0, "fault", T0, T0 + 2) is not None) is met


def test_an_objective_is_looked_for_in_its_own_phases() -> None:
    """A breach stops the run in a phase in which the objective is required, and only there."""
    watch = guard(AbortObjective(objective="step-goodness"))
    bad = samples(bad_in=["fault", "recovery"])
    met = watch.check(bad, T0, "fault", T0 + 3, T0 + 9)
    assert met is not None
    assert met.objective == "step-goodness"
    assert watch.check(bad, T0, "recovery", T0 + 9, T0 + 12) is None
    assert watch.check(samples(), T0, "fault", T0 + 3, T0 + 9) is None


def test_no_data_meets_no_condition() -> None:
    """What has not been seen stops nothing."""
    watch = guard(
        AbortRequests(requests=1),
        AbortTokens(tokens=1),
        AbortThreshold(metric="x", above=0),
        AbortObjective(objective="step-goodness"),
    )
    assert watch.check(Samples(), T0, "baseline", T0, T0 + 1) is None


def test_counting_costs_its_streams_and_not_their_points() -> None:
    """A count is read at the window's ends: ten times a second, points by the million are not all looked at."""

    class Costly(Samples):
        def numbers(self, *_: object) -> list[float]:
            raise AssertionError("every point was looked at")

    made = Costly()
    key = StreamKey(metrics.ATTEMPTS, "1", ())
    made.add(key, NumberPoint(T0 - 1, T0, 0, "cumulative"))
    made.add(key, NumberPoint(T0 - 1, T0 + 1, 100, "cumulative"))
    watch = guard(AbortRequests(requests=100))
    assert watch.check(made, T0, "fault", T0, T0 + 2) is not None
