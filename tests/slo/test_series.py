from __future__ import annotations

import time
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from slo.finding import Window
from slo.objective import Selector
from slo.series import HistogramPoint, NumberPoint, Samples, StreamKey

BOUNDS = (0.1, 1.0)
T0 = 1_000_000.0


@dataclass(frozen=True)
class Exported:
    """What a simulated process reports, and what happened in truth: per interval, the counts by bucket."""

    samples: Samples
    truth: list[tuple[int, ...]]


intervals = st.lists(
    st.tuples(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), st.booleans(), st.booleans()
    ),
    min_size=1,
    max_size=30,
)


def exported(
    happened: list[tuple[tuple[int, int, int], bool, bool]], cumulative: bool, key: StreamKey
) -> Exported:
    """A process that counts, and may restart before an interval, or skip the report at its end."""
    samples, total, start = Samples(), (0, 0, 0), T0
    since = (0, 0, 0)
    truth: list[tuple[int, ...]] = []
    samples.add(key, HistogramPoint(T0, T0, 0, 0, BOUNDS, (0, 0, 0), cumulative))
    for index, (counts, restart, skip) in enumerate(happened):
        t = T0 + index + 1
        truth.append(counts)
        unsaid = skip and index + 1 < len(happened)
        if cumulative and restart and not any(since):
            total, start = (0, 0, 0), t - 0.5
        total = tuple(a + b for a, b in zip(total, counts, strict=True))  # type: ignore[assignment]
        since = tuple(a + b for a, b in zip(since, counts, strict=True))  # type: ignore[assignment]
        if unsaid:
            continue
        shown = total if cumulative else since
        samples.add(
            key, HistogramPoint(start if cumulative else 0, t, sum(shown), 0, BOUNDS, shown, cumulative)
        )
        since = (0, 0, 0)
    return Exported(samples, truth)


@given(intervals, st.booleans())
def test_an_increase_is_what_happened(
    happened: list[tuple[tuple[int, int, int], bool, bool]], cumulative: bool
) -> None:
    """Over the whole run the reading equals the truth, through restarts and missed reports."""
    key = StreamKey("step", "s", (("service.instance.id", "a"),))
    run = exported(happened, cumulative, key)
    window = Window(start=T0, end=T0 + len(happened))
    for at_most, upto in ((0.1, 1), (1.0, 2), (None, 3)):
        tally = run.samples.tally(Selector(metric="step", at_most=at_most), window)
        assert tally is not None
        assert tally.count == sum(sum(counts[:upto]) for counts in run.truth)


@given(intervals, st.booleans(), st.integers(0, 30))
def test_two_windows_add_up_to_both(
    happened: list[tuple[tuple[int, int, int], bool, bool]], cumulative: bool, cut: int
) -> None:
    """Cutting a window in two neither loses nor repeats an observation."""
    key = StreamKey("step", "s", (("service.instance.id", "a"),))
    run = exported(happened, cumulative, key)
    end, selector = T0 + len(happened), Selector(metric="step")
    middle = min(T0 + cut, end)
    parts = [
        run.samples.tally(selector, Window(start=a, end=b)) for a, b in ((T0, middle), (middle, end)) if b > a
    ]
    whole = run.samples.tally(selector, Window(start=T0, end=end))
    assert whole is not None
    assert sum(part.count for part in parts if part is not None) == whole.count


@given(st.permutations(range(8)))
def test_the_order_of_instances_does_not_matter(order: list[int]) -> None:
    """Workers report in any order; the sum is the same."""
    samples = Samples()
    for instance in order:
        key = StreamKey("n", "", (("service.instance.id", str(instance)),))
        samples.add(key, NumberPoint(T0, T0, 0, "cumulative"))
        samples.add(key, NumberPoint(T0, T0 + 5, 2**instance, "cumulative"))
    assert samples.number(Selector(metric="n"), "increase", Window(start=T0, end=T0 + 9)) == 255


@given(st.permutations(range(6)), st.booleans())
def test_the_order_of_deltas_does_not_matter(order: list[int], twice: bool) -> None:
    """Deltas that arrive late, or twice, count once, in their own time."""
    samples, key = Samples(), StreamKey("n", "", ())
    for index in [*order, *(order if twice else [])]:
        samples.add(key, NumberPoint(T0 + index, T0 + index + 1, 10**index, "delta"))
    selector = Selector(metric="n")
    assert samples.number(selector, "increase", Window(start=T0, end=T0 + 6)) == 111111
    assert samples.number(selector, "increase", Window(start=T0 + 2, end=T0 + 4)) == 1100


def test_a_distribution_is_of_the_window() -> None:
    """Counts, sum and boundaries are the window's own, over all instances."""
    samples = Samples()
    for name, factor in (("a", 1), ("b", 2)):
        key = StreamKey("step", "s", (("service.instance.id", name),))
        for index in range(5):
            counts = (index * factor, 0, index)
            samples.add(key, HistogramPoint(T0, T0 + index, sum(counts), index * 10.0, BOUNDS, counts))
    whole = samples.distribution(Selector(metric="step"), Window(start=T0 + 1, end=T0 + 3))
    assert whole is not None
    assert (whole.bounds, whole.counts, whole.count, whole.sum) == (BOUNDS, (6, 0, 4), 10, 40)
    assert samples.distribution(Selector(metric="step"), Window(start=T0 + 10, end=T0 + 13)) is None


def test_changed_boundaries_go_on_as_another_stream() -> None:
    """A process that restarts with other buckets loses neither the old counts nor the new ones."""
    samples, key = Samples(), StreamKey("step", "s", ())
    samples.add(key, HistogramPoint(T0, T0 + 1, 3, 0, (1.0,), (3, 0)))
    samples.add(key, HistogramPoint(T0 + 2, T0 + 3, 4, 0, (1.0, 2.0), (4, 0, 0)))
    tally = samples.tally(Selector(metric="step", at_most=1.0), Window(start=T0, end=T0 + 5))
    assert tally is not None
    assert (tally.count, tally.streams) == (7, 2)


def test_units_and_metrics_are_known() -> None:
    """What was reported can be asked for, with its unit."""
    samples = Samples()
    samples.add(StreamKey("step", "s", ()), NumberPoint(0, T0, 1, "gauge"))
    assert samples.metrics() == {"step": "s"}
    assert (samples.unit("step"), samples.unit("other")) == ("s", "")
    assert samples.number(Selector(metric="other"), "max", Window(start=T0, end=T0)) is None


def test_reading_is_quick_far_beyond_a_demo() -> None:
    """A reading bisects: a hundred of them, over 20 streams of 2,000 points, cost next to nothing."""
    samples = Samples()
    for instance in range(20):
        key = StreamKey("step", "s", (("service.instance.id", str(instance)),))
        for index in range(2000):
            samples.add(key, HistogramPoint(T0, T0 + index, index, index, BOUNDS, (index, 0, 0)))
    selector = Selector(metric="step", at_most=1.0)
    began = time.process_time()
    for index in range(100):
        window = Window(start=T0 + index, end=T0 + 1000 + index)
        tally = samples.tally(selector, window)
        assert tally is not None
        assert tally.count == 20 * 1000
    assert time.process_time() - began < 3
