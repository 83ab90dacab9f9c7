"""Runs whose load is a program, alone and beside simulated users; through the command line."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from chaos.journal import PartDied, read_events
from chaos.verdict import Verdict
from loadtests.columns import FILE
from tests.runs.conftest import Started, brownout, events_of, living, run_folder, wait_for, write_project
from tests.runs.test_endings import nothing_left, state_mark

PROGRAM = """
import sys, urllib.request
from pathlib import Path

url, out = sys.argv[1:]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
cases = []
for number in range(20):
    with opener.open(f"{url}/item-{number}") as reply:
        right = reply.read() == b"ok"
    cases.append(f'<testcase name="item-{number}">{"" if right else "<failure/>"}</testcase>')
Path(out, "report.xml").write_text(f"<testsuite>{''.join(cases)}</testsuite>")
print("done", flush=True)
"""
FOR_EVER = "import time; print('up', flush=True); time.sleep(600)"

PROFILE = """\
apiVersion: brownout/v1
kind: LoadProfile
metadata: {{name: items}}
spec:
  user: command
  service: web
  with:
    argv: ["{python}", ask.py, "${{url}}", "${{out}}"]
    grace: 200ms
    log: {{format: junit}}
"""
EXPERIMENT = """\
apiVersion: brownout/v1
kind: Experiment
metadata: {{name: asked}}
spec:
  target: web-0
  load: [{load}]
  phases: {{baseline: {phase}, fault: {phase}, recovery: {phase}}}
  faults:
    - {{name: other, place: web, type: http_reply, status: 200, body: "no", toxicity: 50%}}
  objectives:
    - {{ref: score-invariance, runbook: env-slow, phases: [fault]}}
"""


@pytest.fixture
def project(tmp_path: Path, web: str) -> Path:
    """A project whose load is a program that asks for twenty items."""
    root = write_project(tmp_path / "project", 1, web)
    config = f"apiVersion: brownout/v1\nkind: Project\nlease: 2s\nallow_commands: ['{sys.executable}']\n"
    (root / "brownout.yaml").write_text(config)
    (root / "ask.py").write_text(PROGRAM)
    (root / "loadtests/profiles/items.yaml").write_text(PROFILE.format(python=sys.executable))
    experiment(root, "{profile: items}")
    return root


def experiment(root: Path, load: str, phase: str = "6s") -> None:
    """Write the experiment, with this load."""
    (root / "chaos/experiments/asked.yaml").write_text(EXPERIMENT.format(load=load, phase=phase))


def verdict_of(project: Path) -> Verdict:
    return Verdict.model_validate_json((run_folder(project) / "verdict.json").read_bytes())


def up(project: Path, run: Started) -> None:
    """Wait until the program of the baseline runs."""

    def printed() -> bool:
        logs = (
            list((project / "runs").glob("*/logs/items-0-baseline.out"))
            if (project / "runs").is_dir()
            else []
        )
        return any(log.stat().st_size for log in logs) or run.process.poll() is not None

    wait_for(printed, 60, "the program is up")
    assert run.process.poll() is None, run.told()


@pytest.mark.parametrize("beside", ["alone", "beside users"])
def test_a_changed_score_fails_a_run(project: Path, beside: str) -> None:
    """A program's own scores are compared by item between phases; simulated users may run beside it."""
    if beside != "alone":
        experiment(project, "{profile: items}, {profile: web}")
    run = brownout(project, "run", "asked", "--seed", "7")
    assert run.wait(120) == 1, run.told()
    verdict = verdict_of(project)
    finding = next(f for f in verdict.findings if f.objective == "score-invariance")
    assert finding.samples == 20
    assert finding.bad
    assert verdict.load.dropped == 0
    assert verdict.load.arrivals == 3 if beside == "alone" else verdict.load.arrivals > 50
    hits = (run_folder(project) / "hits.jsonl").read_text().splitlines()
    items = [hit for hit in map(json.loads, hits) if "item-" in json.dumps(hit)]
    assert not items or len(items) == finding.bad
    assert (run_folder(project) / "history" / FILE).exists()
    nothing_left(project)


def test_a_program_that_ends_no_phase_is_not_steady(project: Path) -> None:
    """A program that has not ended within the baseline gives nothing to compare with: nothing is injected."""
    (project / "ask.py").write_text(FOR_EVER)
    experiment(project, "{profile: items}", "1s")
    run = brownout(project, "run", "asked")
    assert run.wait(120) == 3, run.told()
    reasons = " ".join(verdict_of(project).reasons)
    assert "no operation of items was seen in the baseline" in reasons
    assert "fault-injected" not in events_of(project)
    nothing_left(project)


def test_a_signal_ends_the_program(project: Path) -> None:
    """SIGINT ends the run, and with it the program that it runs."""
    (project / "ask.py").write_text(FOR_EVER)
    experiment(project, "{profile: items}", "60s")
    run = brownout(project, "run", "asked")
    up(project, run)
    run.process.send_signal(signal.SIGINT)
    assert run.wait() == 130, run.told()
    nothing_left(project)


@pytest.mark.parametrize("victim", ["conductor", "commands"])
def test_a_killed_part_leaves_no_program(project: Path, victim: str) -> None:
    """Whoever is killed, the conductor or the process that runs the programs: no program outlives the run."""
    (project / "ask.py").write_text(FOR_EVER)
    experiment(project, "{profile: items}", "60s")
    run = brownout(project, "run", "asked")
    up(project, run)
    if victim == "conductor":
        run.process.kill()
        run.wait()
    else:
        (worker,) = [p for p in living(state_mark()) if "loadtests.commands" in p.cmdline()]
        worker.kill()
        assert run.wait() == 3, run.told()
        events = read_events(run_folder(project) / "events.jsonl")
        assert [event.part for event in events if isinstance(event, PartDied)] == ["commands"]
    wait_for(lambda: not living(state_mark()), 40, "everything has ended")
