"""The suite `tools`, whole, through the command line: tool calls whose replies are lost, and the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.live.suites import run_suite, told

EXPECTED = {"eval-tool-reply-lost": ("fail", 1), "eval-tool-reply-lost-careful": ("pass", 0)}


@pytest.mark.timeout(600)
def test_tools_that_are_executed_twice_are_found(tmp_path: Path) -> None:
    """Without keys only the executions tell; with them each call happens once. Both have the same calls struck."""
    code, verdicts, log = run_suite("tools", tmp_path / "runs")
    shown = told(verdicts, log)
    assert {v.experiment: (str(v.outcome), v.exit_code) for v in verdicts} == EXPECTED, shown
    assert code == 0, shown
    for verdict in verdicts:
        assert not verdict.left_behind
        careful = verdict.experiment.endswith("-careful")
        failed = [f for f in verdict.findings if f.outcome == "fail"]
        assert {f.objective for f in failed} == (set() if careful else {"exactly-once"}), shown
        assert {f.runbook for f in failed} <= {"tools-executed-twice"}, shown
        (fault,) = verdict.faults
        assert fault.healed, shown
        (folder,) = [path.parent for path in tmp_path.glob(f"runs/*{verdict.run}*/verdict.json")]
        hits = [json.loads(line) for line in (folder / "hits.jsonl").read_text().splitlines()]
        assert sum(bool(hit.get("applied")) for hit in hits) == fault.counts["applied"] > 0, shown
        rows = pq.read_table(folder / "history" / "history.parquet").to_pylist()
        asked = [row for row in rows if row["operation"] == "executions" and row["outcome"] == "ok"]
        recorded = [row for row in rows if row["operation"] == "record" and row["final"]]
        assert {row["nonce"] for row in asked} <= {row["nonce"] for row in recorded}
        assert "error" not in {row["outcome"] for row in recorded}, "no call reports an error"
        assert (max(row["reward"] for row in asked) > 1) is not careful
