"""Several load processes on one machine: shared evenly, and gone on without one that dies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from chaos.documents.problems import BadInput
from chaos.journal import ArrivalsEnded, LoadStopped, PartDied, PhaseStarted, WorkerLost, read_events
from chaos.remote import read_token, remote
from loadtests.machines import master_command, worker_command
from tests.runs.conftest import Started, brownout, events_of, living, run_folder, wait_for, write_project

WITHIN_S = 90.0


def started(project: Path, workers: int) -> Started:
    """A run of the project's experiment by so many workers."""
    return brownout(project, "run", "slow-0", "--workers", str(workers), state=project.parent / "state")


def locusts(project: Path) -> list[psutil.Process]:
    """The load processes of a project's run, in the order of their names."""
    mark = f"BROWNOUT_STATE_DIR={project.parent / 'state'}"
    found = [process for process in living(mark) if "locust" in process.cmdline()]
    return sorted(found, key=lambda process: process.environ()["BROWNOUT_LOAD_PLAN"])


def events(project: Path, kind: type[Any]) -> list[Any]:
    """The journal's events of a kind."""
    return [event for event in read_events(run_folder(project) / "events.jsonl") if isinstance(event, kind)]


def verdict(project: Path) -> Any:
    """The verdict, as it is on disk."""
    return json.loads((run_folder(project) / "verdict.json").read_text())


def test_a_run_goes_on_without_a_worker_that_dies_and_says_so(tmp_path: Path, web: str) -> None:
    """It is noticed, the others take its share over within a second, and what was lost is counted."""
    project = write_project(tmp_path / "project", 1, web)
    run = started(project, 3)
    wait_for(lambda: "fault-injected" in events_of(project), WITHIN_S, "the fault")
    two = locusts(project)
    assert len(two) == 3
    two[1].kill()
    assert run.wait(WITHIN_S) == 3, run.told()
    (lost,) = events(project, WorkerLost)
    assert lost.reason == "killed by signal 9"
    assert len(lost.survivors) == 2
    load = verdict(project)["load"]
    assert load["lost"] > 0
    began = events(project, PhaseStarted)[0].t
    (ended,), (stopped,) = events(project, ArrivalsEnded), events(project, LoadStopped)
    assert stopped.complete, "the survivors sent their last reports"
    due = [20 * (event.t - began) for event in (ended, stopped)]
    assert due[0] - 5 <= load["arrivals"] <= due[1] + 5, "no arrival is unaccounted for"
    reasons = {f["objective"]: f["reason"] for f in verdict(project)["findings"]}
    assert "its share was taken over" in reasons[f"worker/{lost.worker}"]


def test_a_run_without_any_worker_ends(tmp_path: Path, web: str) -> None:
    """When the last of them has died there is no load: the run stops, heals, and is inconclusive."""
    project = write_project(tmp_path / "project", 1, web)
    run = started(project, 2)
    wait_for(lambda: "fault-injected" in events_of(project), WITHIN_S, "the fault")
    for process in locusts(project):
        process.kill()
    assert run.wait(WITHIN_S) == 3, run.told()
    assert len(events(project, WorkerLost)) == 2
    assert [event.part for event in events(project, PartDied)] == ["locust"]
    assert "fault-healed" in events_of(project)


def test_what_cannot_be_meant_of_other_machines_is_refused(tmp_path: Path) -> None:
    """A wildcard, an address that is not ours, no count, no token, a token that others can read, or a short one."""
    token, short = tmp_path / "token", tmp_path / "short"
    token.write_text("a token of the tests, long enough")
    token.chmod(0o644)
    short.touch(0o600)
    short.write_text("short")
    refused: list[tuple[str, str, int | None, Path | None]] = [
        ("every interface", "0.0.0.0:5557", 1, token),
        ("every interface", "[::]:5557", 1, token),
        ("every interface", "*:5557", 1, token),
        ("cannot be listened on", "192.0.2.1:5557", 1, token),
        ("expected HOST:PORT", "127.0.0.1:nowhere", 1, token),
        ("how many worker processes", "127.0.0.1:5557", None, token),
        ("others than its owner", "127.0.0.1:5557", 1, token),
        ("expected at least 16", "127.0.0.1:5557", 1, short),
        ("cannot be read", "127.0.0.1:5557", 1, tmp_path / "none"),
    ]
    for why, bind, workers, path in refused:
        with pytest.raises(BadInput, match=why):
            remote(bind, workers, path, everywhere=False)
    with pytest.raises(BadInput, match="is not set"):
        read_token(None, {})
    token.chmod(0o600)
    assert remote("0.0.0.0:5557", 1, token, everywhere=True).address.everywhere, "asked for twice"


def test_the_token_of_a_run_is_in_no_file_and_no_argument(tmp_path: Path) -> None:
    """Neither the words that repeat a run nor its plan hold it."""
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("a token of the tests, long enough")
    asked = remote("127.0.0.1:5557", 1, token, everywhere=False)
    assert "a token of" not in repr(asked)
    assert "a token of" not in " ".join(asked.words)
    assert "a token of" not in " ".join(master_command() + worker_command())


def test_options_that_contradict_each_other_are_refused(tmp_path: Path, web: str) -> None:
    """Load comes from here or from elsewhere; what belongs together is asked for together."""
    project = write_project(tmp_path / "project", 1, web)
    here = ("--master-bind", "127.0.0.1:5557")
    refused = {
        "need --master-bind": ("--remote-workers", "1"),
        "from elsewhere": (*here, "--remote-workers", "1", "--workers", "2"),
    }
    for why, words in refused.items():
        run = brownout(project, "run", "slow-0", *words, state=tmp_path / "state")
        assert run.wait(WITHIN_S) == 2, run.told()
        assert why in " ".join(run.told().split()), run.told()
    assert not (project / "runs").exists()
