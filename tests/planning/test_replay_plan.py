"""What a plan shows of a recording."""

from __future__ import annotations

from pathlib import Path

from chaos.documents.project import find_project
from chaos.documents.resolve import resolve
from chaos.plan import Plan
from chaos.plan_view import plan_text
from chaos.planning import make_plan

FILES = {
    "brownout.yaml": "apiVersion: brownout/v1\nkind: Project\n",
    "loadtests/profiles/again.yaml": """\
apiVersion: brownout/v1
kind: LoadProfile
metadata: {name: again}
spec: {user: replay, service: api, with: {file: logs/access.log, speed: 2, bad_lines: 50%}}
""",
    "chaos/targets/here.yaml": """\
apiVersion: brownout/v1
kind: Target
metadata: {name: here}
spec: {services: {api: {url: "http://127.0.0.1:9"}}}
""",
    "slo/objectives/ok.yaml": """\
apiVersion: brownout/v1
kind: Invariant
metadata: {name: ok, annotations: {brownout.dev/runbook: r}}
spec: {check: reply-pairing}
""",
    "runbooks/r.md": "# R\n",
    "chaos/experiments/x.yaml": """\
apiVersion: brownout/v1
kind: Experiment
metadata: {name: x}
spec:
  target: here
  load: {profile: again}
  phases: {baseline: 3s, fault: 3s, recovery: 3s}
  faults: [{name: f, place: api, type: latency, latency: 250ms}]
  objectives: [{ref: ok}]
""",
    "logs/access.log": "".join(
        f'10.0.0.1 - - [31/Jan/2026:12:00:{second:02} +0000] "{method} /?key=hunter2 HTTP/1.1" 200 5\n'
        for second, method in ((0, "GET"), (4, "POST"), (10, "HEAD"))
    )
    + "nonsense\n",
}


def test_a_recordings_lines_are_counted_in_the_plan(tmp_path: Path) -> None:
    """How many requests there are, over what time, and what is left out and why; none of them themselves."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    plan = make_plan(resolve("x", project=find_project(tmp_path)), 1, 10)
    shown = plan_text(plan)
    assert "again: replay users at their own times at api" in shown
    for words in (
        "access.log (common): 2 requests of 4 lines, over 5s (2 times as fast as recorded)",
        "left out: 1 bad line (first: line 4), 1 of another method",
    ):
        assert words in shown
    assert Plan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan
    assert "hunter2" not in plan.model_dump_json()
