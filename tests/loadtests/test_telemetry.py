from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from loadtests.instruments import MOST_STREAMS, Counter, Distribution
from loadtests.users.clock import Phases

BOUNDS = (0.1, 0.2, 0.4)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_each_observation_is_in_the_bucket_that_ends_at_or_above_it(values: list[float]) -> None:
    """A threshold on a boundary is counted exactly: what is equal to it is below it."""
    distribution = Distribution("m", "s", ("a",), BOUNDS, "")
    for value in values:
        distribution.record(value, ("x",))
    metric = distribution.metric(1, 2)
    assert metric is not None
    (point,) = metric.data.data_points
    edges = pairwise((float("-inf"), *BOUNDS, float("inf")))
    expected = [sum(low < value <= high for value in values) for low, high in edges]
    assert list(point.bucket_counts) == expected
    assert (point.count, point.min, point.max) == (len(values), min(values), max(values))


def test_streams_are_bounded_and_nothing_is_lost() -> None:
    """Past the bound further attribute sets share one stream, which is marked; every observation counts."""
    counter = Counter("m", "1", ("a",), "")
    distribution = Distribution("m", "s", ("a",), BOUNDS, "")
    for number in range(MOST_STREAMS + 50):
        counter.add((str(number),))
        distribution.record(0.1, (str(number),))
    for metric in (counter.metric(1, 2), distribution.metric(1, 2)):
        assert metric is not None
        points = metric.data.data_points
        assert len(points) == MOST_STREAMS + 1
        (shared,) = [point for point in points if point.attributes == {"otel.metric.overflow": True}]
        assert getattr(shared, "count", None) or shared.value == 50


def test_absent_attributes_are_absent() -> None:
    """An error type is there exactly when there was an error: nothing stands for none."""
    counter = Counter("m", "1", ("phase", "error.type"), "")
    counter.add(("fault", None))
    counter.add(("fault", "timeout"))
    metric = counter.metric(1, 2)
    assert metric is not None
    assert [point.attributes for point in metric.data.data_points] == [
        {"phase": "fault"},
        {"phase": "fault", "error.type": "timeout"},
    ]


def test_a_moment_belongs_to_the_last_phase_that_had_begun() -> None:
    """Phases may be announced late or out of order; before the first there is `before`."""
    phases = Phases()
    assert phases.at(5.0) == "before"
    phases.begin("fault", 20.0)
    phases.begin("baseline", 10.0)
    assert [phases.at(moment) for moment in (9.9, 10.0, 19.9, 20.0, 99.0)] == [
        "before",
        "baseline",
        "baseline",
        "fault",
        "fault",
    ]
