"""The suite `graders`, whole, through the command line: faults of judges and indexes, and their remedies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.live.suites import run_suite, told

EXPECTED = {
    "eval-judge-null": ("fail", 1),
    "eval-judge-null-strict": ("pass", 0),
    "eval-search-stale": ("fail", 1),
    "eval-search-stale-careful": ("pass", 0),
}
BREACHED = {
    "eval-judge-null": {"reward-known"},
    "eval-search-stale": {"search-recall", "search-freshness", "reply-pairing", "reward-known"},
}
"""What may fail in each, and nothing else."""
RUNBOOKS = {"eval-judge-null": "judge-unparseable", "eval-search-stale": "search-stale"}


@pytest.mark.timeout(600)
def test_faults_of_judges_and_indexes_are_found(tmp_path: Path) -> None:
    """Each ends as the suite expects, fails by what it says it breaks, and names its runbook."""
    code, verdicts, log = run_suite("graders", tmp_path / "runs")
    shown = told(verdicts, log)
    assert {v.experiment: (str(v.outcome), v.exit_code) for v in verdicts} == EXPECTED, shown
    assert code == 0, shown
    for verdict in verdicts:
        assert not verdict.left_behind
        failed = [f for f in verdict.findings if f.outcome == "fail"]
        assert {f.objective for f in failed} == BREACHED.get(verdict.experiment, set()), shown
        assert {f.phase for f in failed} <= {"fault"}, shown
        if failed:
            assert {f.runbook for f in failed} == {RUNBOOKS[verdict.experiment]}, shown
        (fault,) = verdict.faults
        assert fault.healed, shown
        (folder,) = [path.parent for path in tmp_path.glob(f"runs/*{verdict.run}*/verdict.json")]
        hits = [json.loads(line) for line in (folder / "hits.jsonl").read_text().splitlines()]
        assert len([hit for hit in hits if hit.get("applied")]) == fault.counts["applied"] > 0, shown
        assert {hit["fault"] for hit in hits} == {fault.name}
