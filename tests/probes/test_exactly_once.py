"""The invariant `exactly-once`: what is a violation, and the nearest thing that is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.episodes import CHECKS
from slo.outcome import Outcome
from tests.probes.test_episodes import history, judged

ASKED: dict[str, Any] = {"operation": "executions", "reward": 1.0, "done": True}


@pytest.mark.parametrize(
    ("row", "observed", "violated"),
    [
        ({}, 1, 0),
        ({"reward": 2.0}, 1, 1),
        ({"reward": 2.0, "done": False}, 1, 1),
        ({"reward": 0.0}, 1, 1),
        ({"reward": 0.0, "done": False}, 1, 0),
        ({"done": False}, 1, 0),
        ({"reward": 0.5}, 1, 1),
        ({"reward": -1.0, "done": False}, 1, 1),
        ({"reward": float("nan")}, 1, 1),
        ({"reward": None}, 0, 0),
        ({"done": None}, 0, 0),
        ({"outcome": "error"}, 0, 0),
        ({"outcome": "unfinished"}, 0, 0),
        ({"operation": "step", "reward": 2.0}, 0, 0),
    ],
    ids=str,
)
def test_what_is_a_violation(row: dict[str, Any], observed: int, violated: int) -> None:
    """Twice is one; never is one only for who takes it for done; what was not told is not observed."""
    found = CHECKS["exactly-once"](history([{**ASKED, **row}]))
    assert (found.observations, found.violations) == (observed, violated)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "operation": st.sampled_from(["executions", "record"]),
                "reward": st.sampled_from([None, 0.0, 1.0, 2.0]),
                "done": st.sampled_from([None, True, False]),
                "outcome": st.sampled_from(["ok", "error"]),
                "episode": st.sampled_from([0, 1, None]),
                "item": st.sampled_from(["i0", "i1"]),
            }
        ),
        max_size=30,
    )
)
def test_it_counts_what_a_loop_would(rows: list[dict[str, Any]]) -> None:
    """The columns give what going through the rows one by one gives, by session and by item."""
    found = CHECKS["exactly-once"](history(rows))
    told = [
        row
        for row in rows
        if row["operation"] == "executions"
        and row["outcome"] == "ok"
        and None not in (row["reward"], row["done"])
    ]
    wrong = [row for row in told if row["reward"] > 1 or (row["reward"] < 1 and row["done"])]
    assert (found.observations, found.violations) == (len(told), len(wrong))
    assert found.clusters == len(
        {row["episode"] if row["episode"] is not None else row["item"] for row in told}
    )


def test_it_passes_over_enough_sessions_only() -> None:
    """Calls of one session are one cluster, and the reason says what is bounded."""
    rows = [{**ASKED, "episode": i % 10} for i in range(100)]
    finding = judged("exactly-once", rows, min_samples=30)
    assert finding.outcome is Outcome.PASS
    assert "in 100 calls from 10 episodes or items" in finding.reason


def test_a_history_without_calls_never_passes() -> None:
    """No data is no pass."""
    assert judged("exactly-once", [{"operation": "step"}]).outcome is Outcome.INCONCLUSIVE
