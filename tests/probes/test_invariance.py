"""Scores of the same item in two phases: what is a change, what cannot be compared, and that both are told."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from loadtests.columns import SCHEMA
from probes.episodes import CHECKS, judge_invariant
from slo.finding import Finding
from slo.objective import Invariant
from slo.outcome import Outcome

ROW: dict[str, Any] = {
    "run": "r",
    "arm": "fault",
    "worker": "w",
    "workload": "eval",
    "phase": "baseline",
    "user": 0,
    "item": "i0",
    "step": 1,
    "attempt": 0,
    "final": True,
    "operation": "exact",
    "start": 0.0,
    "outcome": "ok",
    "reward": 1.0,
}


def history(rows: list[dict[str, Any]]) -> pa.Table:
    """A history as it is read, with the columns left out here empty."""
    return pa.Table.from_pylist([{**ROW, **row} for row in rows], schema=SCHEMA)


def judged(rows: list[dict[str, Any]], min_samples: int = 1) -> Finding:
    """What the check says of the fault phase."""
    invariant = Invariant(name="same", check="score-invariance")
    return judge_invariant(invariant, history(rows), "fault", min_samples=min_samples, runbook="r")


def both(item: str, before: float | None, after: float | None, **more: Any) -> list[dict[str, Any]]:
    """An item's rows in the baseline and in the fault phase."""
    rows = [("baseline", before), ("fault", after)]
    return [{"item": item, "phase": phase, "reward": reward, **more} for phase, reward in rows]


def test_a_score_that_changed_fails_and_shows_its_item() -> None:
    """One item that scores otherwise under the fault fails the check, and its row is shown."""
    finding = judged([*both("i0", 1.0, 1.0), *both("i1", 1.0, 0.0), *both("i2", 0.0, 0.0)])
    assert (finding.outcome, finding.samples, finding.bad) == (Outcome.FAIL, 3, 1)
    assert [(row["item"], row["phase"]) for row in finding.rows] == [("i1", "fault")]
    assert "1 of 3 scores came out otherwise than in the baseline" in finding.reason


def test_a_score_that_rose_has_changed_too() -> None:
    """A wrong answer that is suddenly right is as wrong a measurement."""
    assert judged(both("i0", 0.0, 1.0)).outcome is Outcome.FAIL


def test_nothing_changed_passes_and_says_what_that_bounds() -> None:
    """The bound rests on items, not on their repeats."""
    rows = [row for n in range(30) for step in (1, 2) for row in both(f"i{n}", 1.0, 1.0, step=step)]
    finding = judged(rows)
    assert (finding.outcome, finding.samples) == (Outcome.PASS, 60)
    assert "60 scores from 30 episodes or items" in finding.reason
    assert "below 9.503 %" in finding.reason


def test_what_cannot_be_compared_is_told() -> None:
    """A missing score is no equal one: it is counted, whether the item failed or never came."""
    rows = [*both("i0", 1.0, 1.0), *both("i1", 1.0, None, outcome="ok"), {"item": "i2", "phase": "baseline"}]
    finding = judged(rows)
    assert (finding.outcome, finding.samples) == (Outcome.PASS, 1)
    assert "2 of the 3 scores of the baseline have none in this phase" in finding.reason


def test_no_item_in_common_is_inconclusive() -> None:
    """Scores of other items say nothing: there is no data, and no pass."""
    finding = judged([{"item": "i0", "phase": "baseline"}, {"item": "i1", "phase": "fault"}])
    assert (finding.outcome, finding.samples) == (Outcome.INCONCLUSIVE, 0)
    assert "no data" in finding.reason


def test_an_item_that_varies_by_itself_is_left_out() -> None:
    """An item whose scores differ within the baseline proves nothing; it is left out, and counted."""
    varying = [{"item": "i0", "reward": 0.0}, *both("i0", 1.0, 0.0)]
    finding = judged([*varying, *both("i1", 1.0, 1.0)])
    assert (finding.outcome, finding.samples) == (Outcome.PASS, 1)
    assert "1 of 2 differ within the baseline already" in finding.reason


def test_scores_are_compared_by_scorer_workload_and_repeat() -> None:
    """An item's scores by two scorers, in two workloads, or of two repeats, are not each other's."""
    rows = [
        *both("i0", 1.0, 1.0),
        *both("i0", 0.0, 0.0, operation="other"),
        *both("i0", 0.0, 0.0, workload="other"),
        *both("i0", 0.0, 0.0, step=2),
        *both("i0", 0.0, 0.0, step=None),
    ]
    finding = judged(rows)
    assert (finding.outcome, finding.samples) == (Outcome.PASS, 5)


def test_not_a_number_is_no_score_like_another() -> None:
    """A score that becomes NaN has changed; one that was NaN from the start cannot be compared."""
    assert judged(both("i0", 1.0, float("nan"))).outcome is Outcome.FAIL
    assert judged(both("i0", float("nan"), float("nan"))).outcome is Outcome.INCONCLUSIVE


rows = st.lists(
    st.fixed_dictionaries(
        {
            "phase": st.sampled_from(["before", "baseline", "fault", "recovery"]),
            "workload": st.sampled_from(["a", "b"]),
            "operation": st.sampled_from(["x", "y"]),
            "item": st.sampled_from(["i0", "i1", None]),
            "step": st.sampled_from([1, 2, None]),
            "outcome": st.sampled_from(["ok", "error", "unfinished"]),
            "final": st.booleans(),
            "reward": st.sampled_from([None, 0.0, 1.0, 1.0 + 1e-9, float("nan")]),
        }
    ),
    max_size=40,
)


@given(rows)
def test_it_counts_what_a_loop_would(drawn: list[dict[str, Any]]) -> None:
    """The columns give what going through the rows one by one gives."""
    scored = [r for r in drawn if r["final"] and r["item"] and r["reward"] is not None]
    scored = [r for r in scored if r["outcome"] != "unfinished"]

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in ("workload", "operation", "item", "step"))

    seen = violated = 0
    for row in scored:
        own = [r["reward"] for r in scored if r["phase"] == "baseline" and key(r) == key(row)]
        if row["phase"] != "fault" or not own or not max(own) - min(own) <= 1e-6 or any(r != r for r in own):
            continue
        seen += 1
        violated += not abs(row["reward"] - own[0]) <= 1e-6
    found = CHECKS["score-invariance"](history(drawn), "fault")
    assert (found.observations, found.violations) == (seen, violated)
