"""What could not be healed keeps runs from being started that it may disturb, and no others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.faults.undo import EnableProxy
from chaos.healing import left_by
from chaos.journal import FaultHealed, FaultInjected, FaultPending, Journal
from tests.healing.test_healing import register_and_die
from tests.runs.conftest import write_project

GONE = "http://127.0.0.1:1"
"""Nothing listens there."""
ELSEWHERE = "http://127.0.0.1:2"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two targets, web-0 and web-1; a dead run against web-0 left a fault on a server that is gone."""
    project = write_project(tmp_path / "project", 2, "127.0.0.1:9")
    dead = tmp_path / "dead"
    dead.mkdir()
    (dead / "plan.json").write_text(json.dumps({"target": "web-0", "lease_s": 2}))
    journal = Journal(dead / "events.jsonl")
    journal.record(FaultPending(fault="far", undo=EnableProxy(api=GONE, proxy="web")))
    journal.record(FaultInjected(fault="far"))
    journal.close()
    register_and_die(dead)
    return project


def run(project: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chaos", "run", *args],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "args",
    [("slow-0",), ("slow-1", "--toxiproxy", "http://localhost:1")],
    ids=["the same target", "the same proxy server"],
)
def test_a_run_that_may_be_disturbed_is_refused(project: Path, args: tuple[str, ...]) -> None:
    """Exit 5 and nothing started; the message says what is in the way, where, and what to do about it."""
    refused = run(project, *args)
    assert refused.returncode == 5, refused.stderr
    assert "is not started" in refused.stderr
    assert f"far at {GONE}" in refused.stderr
    assert "brownout heal" in refused.stderr
    assert "--despite-leftovers" in refused.stderr
    assert not (project / "runs").exists() or not list((project / "runs").iterdir())


@pytest.mark.parametrize(
    "args",
    [("slow-1", "--toxiproxy", ELSEWHERE), ("slow-0", "--toxiproxy", GONE, "--despite-leftovers")],
    ids=["another target and server", "the user knows better"],
)
def test_others_are_started(project: Path, args: tuple[str, ...]) -> None:
    """A run that it does not concern is started, and one whose user says so (both then find no server)."""
    started = run(project, *args)
    assert started.returncode == 3, started.stderr
    assert f"far at {GONE}" in started.stderr  # it is told of all the same
    assert len(list((project / "runs").iterdir())) == 1


def test_a_folder_tells_what_its_run_left(tmp_path: Path) -> None:
    """By its journal alone: the fault, where it is, whom it concerns; nothing once it is healed."""
    (tmp_path / "plan.json").write_text(json.dumps({"target": "web-0", "lease_s": 2}))
    journal = Journal(tmp_path / "events.jsonl")
    journal.record(FaultPending(fault="far", undo=EnableProxy(api=GONE, proxy="web")))
    (left,) = left_by(tmp_path)
    assert (left.targets, left.server) == (("web-0",), GONE)
    assert f"far at {GONE}" in str(left)
    journal.record(FaultHealed(fault="far"))
    journal.close()
    assert left_by(tmp_path) == []
