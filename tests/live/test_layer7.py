"""The suite `layer7`, whole, through the command line: faults that change scores, and their remedies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.live.suites import run_suite, told

EXPECTED = {
    "eval-stream-cut": ("fail", 1),
    "eval-stream-cut-careful": ("pass", 0),
    "eval-empty-completion": ("fail", 1),
    "eval-rate-limit-storm": ("fail", 1),
    "eval-rate-limit-storm-retry-after": ("pass", 0),
    "eval-overloaded-529": ("pass", 0),
    "env-stale-observation": ("fail", 1),
    "env-reward-dropped": ("fail", 1),
}
BREACHED = {
    "eval-stream-cut": {"stream-completeness", "reward-known"},
    "eval-empty-completion": {"reward-known"},
    "eval-rate-limit-storm": {"chat-success", "retry-amplification"},
    "env-stale-observation": {"reply-pairing"},
    "env-reward-dropped": {"reward-known"},
}
"""What may fail in each, and nothing else: but for the rate limit no client reports an error."""
RUNBOOKS = {
    "eval-stream-cut": "eval-stream-cut",
    "eval-empty-completion": "empty-completions",
    "eval-rate-limit-storm": "rate-limited",
    "env-stale-observation": "stale-replies",
    "env-reward-dropped": "rewards-missing",
}


@pytest.mark.timeout(900)
def test_faults_that_change_scores_are_found(tmp_path: Path) -> None:
    """Each ends as the suite expects, names its runbook, and has the record of every message that was struck."""
    code, verdicts, log = run_suite("layer7", tmp_path / "runs")
    shown = told(verdicts, log)
    assert {v.experiment: (str(v.outcome), v.exit_code) for v in verdicts} == EXPECTED, shown
    assert code == 0, shown
    for verdict in verdicts:
        assert not verdict.left_behind
        failed = [f for f in verdict.findings if f.outcome == "fail"]
        assert {f.objective for f in failed} <= BREACHED.get(verdict.experiment, set()), shown
        if verdict.experiment in RUNBOOKS:
            assert RUNBOOKS[verdict.experiment] in {f.runbook for f in failed}, shown
        (fault,) = verdict.faults
        assert fault.healed, shown
        (folder,) = [path.parent for path in tmp_path.glob(f"runs/*{verdict.run}*/verdict.json")]
        hits = [json.loads(line) for line in (folder / "hits.jsonl").read_text().splitlines()]
        applied = [hit for hit in hits if hit.get("applied")]
        assert len(applied) == fault.counts["applied"] > 0, shown
        assert {hit["fault"] for hit in hits} == {fault.name}
