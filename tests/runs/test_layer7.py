"""Faults at layer 7, end to end: from the YAML through a run of the demo evals to a verdict that names the cause."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos.journal import FaultHealed, read_events
from chaos.verdict import Verdict
from loadtests.columns import read_table

from .conftest import brownout, run_folder, write_project

ANSWER = {
    "object": "chat.completion",
    "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "I cannot say."}}
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
EXPERIMENT = f"""\
apiVersion: brownout/v1
kind: Experiment
metadata: {{name: wrong-answers}}
spec:
  target: demo-evals
  load: {{profile: eval-chat, arrivals: 40/s, with: {{client: naive, stream: false}}}}
  phases: {{baseline: 3s, fault: 4s, recovery: 1s}}
  faults:
    - name: wrong
      place: model
      type: http_reply
      status: 200
      toxicity: 20%
      where: {{method: POST, path: "/v1/*", json: {{/model: demo-model}}}}
      body: '{json.dumps(ANSWER)}'
  objectives:
    - {{ref: reward-known, phases: [fault]}}
"""
ELSEWHERE = EXPERIMENT.replace('path: "/v1/*"', "path: /v2").replace("wrong-answers", "elsewhere")


def ran(folder: Path, name: str, *, exit_code: int) -> Verdict:
    """The verdict of a run in a project of its own."""
    (folder / "brownout.yaml").write_text("apiVersion: brownout/v1\nkind: Project\n")
    (folder / "chaos/experiments").mkdir(parents=True)
    text = ELSEWHERE if name == "elsewhere" else EXPERIMENT
    (folder / f"chaos/experiments/{name}.yaml").write_text(text)
    started = brownout(folder, "run", name, "--seed", "5")
    assert started.wait(120) == exit_code, started.told()
    return Verdict.model_validate_json((run_folder(folder) / "verdict.json").read_bytes())


@pytest.mark.timeout(180)
def test_a_silent_fault_is_named_by_the_rows_that_it_corrupted(tmp_path: Path) -> None:
    """One answer in five is a wrong one with status 200: each row that offends says so, and no other is struck."""
    verdict = ran(tmp_path, "wrong-answers", exit_code=1)
    folder = run_folder(tmp_path)
    (fault,) = verdict.faults
    hits = [json.loads(line) for line in (folder / "hits.jsonl").read_text().splitlines()]
    counts = next(e.counts for e in read_events(folder / "events.jsonl") if isinstance(e, FaultHealed))

    assert counts["unread"] == 0
    assert 0 < counts["applied"] < counts["matched"]
    assert fault.effect is not None
    assert fault.effect.reason == f"struck {counts['applied']} of {counts['matched']} messages"
    assert len(hits) >= counts["applied"]  # which was counted a moment before the heal
    assert {(hit["fault"], hit["place"]) for hit in hits} == {("wrong", "model")}
    assert [hit["number"] for hit in hits] == list(range(1, len(hits) + 1))
    assert all(hit["applied"] and hit["trace"] for hit in hits)

    (finding,) = (f for f in verdict.findings if f.objective == "reward-known")
    assert finding.outcome == "fail"
    assert finding.rows
    assert all(row["struck_by"] == "wrong" for row in finding.rows)
    struck = {hit["trace"] for hit in hits}
    history = read_table(
        folder / "history", [(span.phase, span.start) for span in verdict.phases]
    ).to_pylist()
    offending = {row["trace_id"] for row in history if row["expected"] is not None and row["reward"] == 0}
    assert offending == struck & {row["trace_id"] for row in history}
    report = (folder / "report.md").read_text()
    assert f"struck {counts['applied']} of {counts['matched']} messages" in report
    assert "struck\\_by" in report


@pytest.mark.timeout(180)
def test_one_that_fits_no_message_leaves_the_run_inconclusive(tmp_path: Path) -> None:
    """All objectives hold, and yet nothing is known of the fault: the proxy counted no message that it fitted."""
    verdict = ran(tmp_path, "elsewhere", exit_code=3)
    (fault,) = verdict.faults
    assert fault.effect is not None
    assert fault.effect.reason.endswith("had no observable effect: `where` fitted no message")
    assert not (run_folder(tmp_path) / "hits.jsonl").read_bytes()


def with_layer7(root: Path, address: str, api: str) -> Path:
    """A project whose experiment has a fault at layer 7, behind a proxy server of its own."""
    write_project(root, 1, address, api)
    path = root / "chaos/experiments/slow-0.yaml"
    text = path.read_text().replace("type: latency, latency: 80ms", "type: http_reply, status: 500")
    path.write_text(text.replace("    - {name: gone, place: web, type: down, at: 1s, for: 1s}\n", ""))
    return root


@pytest.mark.toxiproxy
@pytest.mark.parametrize(
    "command",
    [("validate", "slow-0"), ("validate", "chaos"), ("plan", "slow-0"), ("run", "slow-0")],
    ids=" ".join,
)
def test_a_stock_toxiproxy_is_refused_before_anything_starts(
    tmp_path: Path, toxiproxy_api: str, command: tuple[str, ...]
) -> None:
    """With the place of the fault, what answers there, and the remedy."""
    project = with_layer7(tmp_path, "127.0.0.1:9", toxiproxy_api)
    started = brownout(project, *command)
    assert started.wait() == 2, started.told()
    told = started.told()
    assert "chaos/experiments/slow-0.yaml:9:38: spec.faults[0].type: http_reply is of layer 7" in told
    assert f"at {toxiproxy_api} there is Toxiproxy" in told
    assert "hint: leave out `toxiproxy:`, or point it at `brownout proxy`" in told
    assert not (project / "runs").exists() or not list((project / "runs").iterdir())


@pytest.mark.toxiproxy
def test_the_option_is_asked_too(tmp_path: Path, toxiproxy_api: str) -> None:
    """`--toxiproxy` stands for the target's own."""
    project = with_layer7(tmp_path, "127.0.0.1:9", "http://127.0.0.1:9")
    started = brownout(project, "run", "slow-0", "--toxiproxy", toxiproxy_api)
    assert started.wait() == 2, started.told()
    assert f"at {toxiproxy_api} there is Toxiproxy" in started.told()


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_a_server_that_does_not_answer_is_no_mistake_of_the_document(tmp_path: Path, command: str) -> None:
    """It is said that it could not be told; the document is right."""
    project = with_layer7(tmp_path, "127.0.0.1:9", "http://127.0.0.1:9")
    started = brownout(project, command, "slow-0")
    assert started.wait() == 0, started.told()
    assert "note: whether it can do faults at layer 7 is not known" in started.told()
