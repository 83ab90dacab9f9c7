"""What the generator did to itself is never taken for the service."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pytest

from chaos.judge import judge
from loadtests import metrics
from loadtests.columns import SCHEMA
from slo.outcome import Outcome
from slo.series import NumberPoint, Samples, StreamKey
from tests.judge.test_judge import T0, evidence, samples


def with_utilization(seen: Samples, worker: str, readings: dict[float, float]) -> Samples:
    """The samples, and what a worker reports of itself: the share of a core, by seconds since the beginning."""
    key = StreamKey(metrics.UTILIZATION, "1", (("service.instance.id", worker),))
    for at, reading in sorted(readings.items()):
        seen.add(key, NumberPoint(0.0, T0 + at, reading, "gauge"))
    return seen


def busy(begin: float, end: float) -> dict[float, float]:
    """Readings every half second, of a whole core from `begin` to `end`."""
    return {n / 2: 0.99 if begin <= n / 2 < end else 0.3 for n in range(24)}


def test_a_breach_while_the_generator_is_saturated_is_inconclusive() -> None:
    """Latencies and errors of a phase in which a worker had no time left may be its own: no failure."""
    verdict = judge(evidence(seen=with_utilization(samples(bad_in=["fault"]), "w1", busy(3, 9))))
    assert (verdict.outcome, verdict.exit_code) == (Outcome.INCONCLUSIVE, 3)
    assert any("the generator was out of capacity" in reason for reason in verdict.reasons)
    assert not [f for f in verdict.findings if f.outcome is Outcome.FAIL]


def test_one_worker_of_several_is_enough() -> None:
    """The users of one saturated worker are in the same numbers as all others: no pass either."""
    seen = with_utilization(samples(), "w1", busy(0, 0))
    verdict = judge(evidence(seen=with_utilization(seen, "w2", busy(0, 3))))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any("add workers" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("readings", [busy(4, 5), busy(0, 0)])
def test_a_moment_is_no_saturation(readings: dict[float, float]) -> None:
    """A second at full use, such as a collection of garbage takes, says nothing about the other five."""
    assert judge(evidence(seen=with_utilization(samples(), "w1", readings))).outcome is Outcome.PASS


def test_a_breach_in_another_phase_stays_one() -> None:
    """Saturation in the recovery phase does not excuse what failed under the fault."""
    verdict = judge(evidence(seen=with_utilization(samples(bad_in=["fault"]), "w1", busy(9, 12))))
    assert verdict.outcome is Outcome.FAIL


def history(late: dict[str, int], n: int = 100) -> pa.Table:
    """`n` first tries in each phase, so many of which began half a second late; all retries began late."""
    rows = [
        {
            "phase": phase,
            "attempt": attempt,
            "intended_start": T0 + begin,
            "start": T0 + begin + (0.5 if attempt or i < late.get(phase, 0) else 0.001),
            "outcome": "ok",
            "final": attempt == 1,
        }
        for phase, begin in (("baseline", 1), ("fault", 4), ("recovery", 10))
        for i in range(n)
        for attempt in (0, 1)
    ]
    return pa.Table.from_pylist([{name: row.get(name) for name in SCHEMA.names} for row in rows], SCHEMA)


def test_a_breach_of_what_was_begun_late_is_inconclusive() -> None:
    """A generator that did not get the core reports little use: that it began late says so all the same."""
    late = dataclasses.replace(evidence(seen=samples(bad_in=["fault"])), history=history({"fault": 20}))
    verdict = judge(late)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any("20% of what was due was begun over 100 ms late" in reason for reason in verdict.reasons)


def test_a_few_late_beginnings_and_late_retries_are_none() -> None:
    """A retry begins late by design, and one operation in fifty late changes no objective."""
    late = dataclasses.replace(evidence(seen=samples(bad_in=["fault"])), history=history({"fault": 2}))
    assert judge(late).outcome is Outcome.FAIL
