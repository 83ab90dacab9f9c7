"""Whether open operations pile up, read from the load's gauge."""

from __future__ import annotations

import random

import pytest

from chaos.capacity.growth import open_now, piling_up, to_come
from chaos.capacity.watch import least_s
from loadtests import metrics
from slo.finding import Window
from slo.series import NumberPoint, Samples, StreamKey

T0 = 1_000_000.0


def gauge(levels: list[list[float]]) -> Samples:
    """Open arrivals of two workers, reported every half second."""
    samples = Samples()
    for worker, values in enumerate(levels):
        attributes = ((metrics.WORKLOAD, "web"), ("service.instance.id", str(worker)))
        key = StreamKey(metrics.USERS, "{user}", attributes)
        for index, value in enumerate(values):
            samples.add(key, NumberPoint(0, T0 + 0.25 + index / 2, value, "gauge"))
    return samples


def test_a_queue_that_grows_is_told_by_the_share_that_it_keeps() -> None:
    """At 40/s, of which 36/s are served, open operations grow by a tenth of the arrivals."""
    rng = random.Random(1)
    half = [2 + 2.0 * index / 2 + rng.random() for index in range(40)]
    found = piling_up(gauge([half, half]), "web", Window(start=T0, end=T0 + 20), 40)
    assert found == pytest.approx(0.1, abs=0.01)


def test_what_only_wavers_does_not_grow() -> None:
    """Open operations that go up and down by chance are no growth, at any of many draws."""
    for seed in range(50):
        rng = random.Random(seed)
        levels = [float(rng.randrange(4)) for _ in range(40)]
        found = piling_up(gauge([levels]), "web", Window(start=T0, end=T0 + 20), 40)
        assert found is not None and found < 0.025


def test_a_moment_says_nothing_of_growth() -> None:
    """Over a second or two no slope is read: None, not 0."""
    assert piling_up(gauge([[1.0, 5.0, 9.0]]), "web", Window(start=T0, end=T0 + 1.5), 40) is None
    assert piling_up(Samples(), "web", Window(start=T0, end=T0 + 30), 40) is None


def test_the_lower_the_rate_the_longer_it_is_held() -> None:
    """A growth of 2.5 % of the arrivals has to show: at 6/s that takes 30 s, at 600/s the shortest time."""
    assert least_s(6, 0.025, 4, 60) == pytest.approx(30)
    assert least_s(600, 0.025, 4, 60) == 4
    assert least_s(0.1, 0.025, 4, 60) == 60


def test_what_is_still_to_come_counts_with_all_its_operations() -> None:
    """Three open arrivals of six operations each may bring eighteen more."""
    samples = gauge([[1.0], [2.0]])
    for metric, count in ((metrics.ARRIVALS, 5.0), ("ops", 30.0)):
        key = StreamKey(metric, "1", ((metrics.WORKLOAD, "web"),))
        samples.add(key, NumberPoint(T0, T0 + 0.3, count, "cumulative"))
    window = Window(start=T0, end=T0 + 1)
    assert open_now(samples, "web", window) == 3
    assert to_come(samples, "web", "ops", window) == 18
