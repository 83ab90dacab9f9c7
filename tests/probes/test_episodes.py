from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.columns import SCHEMA
from probes.episodes import CHECKS, MOST_ROWS, judge_invariant
from slo.finding import Finding
from slo.objective import Invariant
from slo.outcome import Outcome

ROW: dict[str, Any] = {
    "run": "r",
    "arm": "fault",
    "worker": "w0",
    "workload": "env",
    "phase": "fault",
    "user": 0,
    "episode": 0,
    "step": 1,
    "attempt": 0,
    "final": True,
    "nonce": "n",
    "reply_nonce": "n",
    "operation": "step",
    "start": 0.0,
    "outcome": "ok",
    "done": False,
}


def history(rows: list[dict[str, Any]]) -> pa.Table:
    """A history as it is read, with the columns left out here empty."""
    return pa.Table.from_pylist([{**ROW, **row} for row in rows], schema=SCHEMA)


def judged(check: str, rows: list[dict[str, Any]], min_samples: int = 1) -> Finding:
    invariant = Invariant(name=f"my-{check}", check=check)
    table = history(rows)
    finding = judge_invariant(invariant, table, "fault", min_samples=min_samples, runbook="stale-replies")
    assert Finding.model_validate_json(finding.model_dump_json()) == finding
    return finding


steps = st.lists(
    st.fixed_dictionaries(
        {
            "worker": st.sampled_from(["w0", "w1"]),
            "episode": st.sampled_from([None, 0, 1]),
            "item": st.sampled_from([None, "i0", "i1"]),
            "phase": st.sampled_from(["baseline", "fault"]),
            "nonce": st.sampled_from(["", "a", "b", None]),
            "reply_nonce": st.sampled_from(["", "a", "b", None]),
            "outcome": st.sampled_from(["ok", "error", "unfinished"]),
            "final": st.booleans(),
            "done": st.sampled_from([True, False, None]),
            "reward": st.sampled_from([None, 0.0, 1.0, float("nan")]),
            "expected": st.sampled_from([None, 1.0]),
        }
    ),
    max_size=40,
)


@given(steps)
def test_pairing_counts_what_a_loop_would(rows: list[dict[str, Any]]) -> None:
    """The columns give what going through the rows one by one gives."""
    found = CHECKS["reply-pairing"](history(rows))
    seen = [r for r in rows if r["outcome"] == "ok" and r["nonce"] and r["reply_nonce"]]
    wrong = [r for r in seen if r["nonce"] != r["reply_nonce"]]
    assert (found.observations, found.violations) == (len(seen), len(wrong))

    def clusters(part: list[dict[str, Any]]) -> int:
        return len(
            {("item", r["item"]) if r["episode"] is None else (r["worker"], r["episode"]) for r in part}
        )

    assert (found.clusters, found.struck) == (clusters(seen), clusters(wrong))


@given(steps)
def test_rewards_count_what_a_loop_would(rows: list[dict[str, Any]]) -> None:
    """A finished episode without its reward, or with NaN, is a violation like one with a wrong reward."""
    found = CHECKS["reward-known"](history(rows))
    good = [r for r in rows if r["final"] and r["outcome"] == "ok" and r["expected"] is not None]
    seen = [r for r in good if r["reward"] is not None or r["episode"] is not None]
    assert found.observations == len(seen)
    assert found.violations == sum(r["reward"] != r["expected"] for r in seen)


def test_a_violation_fails_however_few_there_are() -> None:
    """One reply that belongs to another request is enough, and it is shown."""
    rows = [{"nonce": f"n{i}", "reply_nonce": f"n{i}", "episode": i // 2} for i in range(10)]
    rows[3]["reply_nonce"] = "n2"
    finding = judged("reply-pairing", rows, min_samples=1000)
    assert finding.outcome is Outcome.FAIL
    assert finding.reason == (
        "1 of 10 replies belonged to another request, in 1 of 5 episodes or items; none may"
    )
    assert (finding.value, finding.samples, finding.bad) == (1.0, 10, 1)
    assert [(row["nonce"], row["reply_nonce"]) for row in finding.rows] == [("n3", "n2")]
    assert finding.runbook == "stale-replies"


def test_offending_rows_are_the_oldest_ones() -> None:
    """Twenty rows are shown, oldest first, whatever the order in which workers wrote them."""
    rows = [{"nonce": "a", "reply_nonce": "b", "start": float((i * 37) % 100)} for i in range(100)]
    finding = judged("reply-pairing", rows)
    assert [row["start"] for row in finding.rows] == [float(i) for i in range(MOST_ROWS)]


def test_a_pass_says_what_it_bounds() -> None:
    """Steps of one episode are one cluster: 1,000 clean steps of 10 episodes bound little."""
    rows = [{"episode": i % 10} for i in range(1000)]
    finding = judged("reply-pairing", rows, min_samples=1000)
    assert finding.outcome is Outcome.PASS
    assert finding.reason == (
        "no violation in 1000 replies from 10 episodes or items: the rate is below 25.89 % at 95 %"
    )


def test_too_few_are_inconclusive() -> None:
    """Fewer observations than asked for never pass."""
    finding = judged("reply-pairing", [{}] * 5, min_samples=6)
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert "5 replies from 1 episode or item, and at least 6 are needed" in finding.reason


@pytest.mark.parametrize(
    "rows",
    [[], [{"phase": "baseline"}], [{"reply_nonce": ""}], [{"reply_nonce": None, "outcome": "error"}]],
)
def test_nothing_to_check_is_inconclusive(rows: list[dict[str, Any]]) -> None:
    """An empty history, another phase, a service that echoes nothing: no pass."""
    finding = judged("reply-pairing", rows)
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert finding.value is None
    assert "no data" in finding.reason


def test_a_wrong_reward_fails_and_an_honest_failure_does_not() -> None:
    """Episodes that end as failed are honest; one whose client took another reward for good is not."""
    taken = {"done": True, "expected": 1.0}
    rows = [
        {**taken, "reward": 1.0},
        {**taken, "reward": 1.0 - 1e-9},
        {"expected": 1.0, "outcome": "error", "error_type": "timeout"},
        {**taken, "reward": 0.5, "item": "wrong"},
        {**taken, "reward": None, "item": "missing"},
        {**taken, "reward": float("nan"), "item": "nan"},
        {**taken, "reward": 0.0, "final": False},
        {"expected": 1.0, "reward": 0.0, "done": False, "item": "shifted"},
        {"expected": 1.0, "reward": None, "episode": None, "operation": "chat"},
    ]
    finding = judged("reward-known", [{"episode": i, "start": float(i), **row} for i, row in enumerate(rows)])
    assert finding.outcome is Outcome.FAIL
    assert (finding.samples, finding.bad) == (6, 4)
    assert [row["item"] for row in finding.rows] == ["wrong", "missing", "nan", "shifted"]
    assert json.loads(finding.model_dump_json())["rows"][2]["reward"] == "nan"


def test_an_unknown_check_is_an_error() -> None:
    """A name that no checker has is not passed over."""
    with pytest.raises(KeyError, match="no-such"):
        judge_invariant(
            Invariant(name="x", check="no-such"), history([]), "fault", min_samples=1, runbook=None
        )
