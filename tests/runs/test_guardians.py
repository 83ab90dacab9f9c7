"""Conductor and keeper watch each other: whichever fails, the other heals, and the run does not go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from chaos.journal import FaultHealed, outstanding, read_events
from chaos.verdict import Verdict
from tests.runs.conftest import Started, brownout, events_of, living, run_folder, wait_for, write_project
from tests.runs.servers import proxies_of


def of_the_run(run: Started) -> list[psutil.Process]:
    """The run's processes."""
    return living(f"BROWNOUT_STATE_DIR={state_of(run)}")


def state_of(run: Started) -> Path:
    return run.log.parent / "state"


@pytest.fixture
def run(tmp_path: Path, web: str, any_proxy: str) -> Iterator[Started]:
    """A run in a long fault phase, with one fault in place and another to come much later."""
    project = write_project(tmp_path / "project", 1, web, any_proxy)
    experiment = project / "chaos/experiments/slow-0.yaml"
    text = experiment.read_text().replace("fault: 3s", "fault: 60s").replace("at: 1s, for: 1s", "at: 59s")
    experiment.write_text(text)
    started = brownout(project, "run", "slow-0", state=project / "state")
    wait_for(
        lambda: "fault-injected" in events_of(project) or started.process.poll() is not None, 60, "a fault"
    )
    assert started.process.poll() is None, started.told()
    yield started
    for process in of_the_run(started):
        process.kill()
    started.process.wait()


def test_a_stopped_conductor_injects_no_more(run: Started, any_proxy: str) -> None:
    """Stopped for longer than its lease and continued, it finds all healed, injects nothing, and says so."""
    project = run.log.parent
    run.process.send_signal(signal.SIGSTOP)
    try:
        wait_for(lambda: [p.pid for p in of_the_run(run)] == [run.process.pid], 60, "the keeper is done")
        assert proxies_of(any_proxy) == {}
        events = list(read_events(run_folder(project) / "events.jsonl"))
        assert [e.by for e in events if isinstance(e, FaultHealed)] == ["keeper"]
        assert outstanding(events) == []
    finally:
        run.process.send_signal(signal.SIGCONT)
    assert run.wait() == 3, run.told()
    assert events_of(project).count("fault-pending") == 1
    reasons = Verdict.model_validate_json((run_folder(project) / "verdict.json").read_bytes()).reasons
    # Whichever it sees first: its keeper has ended, or what its lease covered is gone.
    assert any("keeper" in reason or "our lease ran out" in reason for reason in reasons), reasons
    assert proxies_of(any_proxy) == {}
    assert of_the_run(run) == []
    assert not list(state_of(run).glob("stages/*.json"))


def test_a_conductor_without_its_keeper_heals_itself(run: Started, any_proxy: str) -> None:
    """When the keeper is killed the conductor ends the run at once, heals, and leaves no process."""
    project = run.log.parent
    for process in of_the_run(run):
        if "chaos.keeper" in process.cmdline():
            process.kill()
    assert run.wait() == 3, run.told()
    events = list(read_events(run_folder(project) / "events.jsonl"))
    assert [e.by for e in events if isinstance(e, FaultHealed)] == ["conductor"]
    assert outstanding(events) == []
    assert "keeper" in run.told()
    assert proxies_of(any_proxy) == {}
    assert of_the_run(run) == []
    assert not list(state_of(run).glob("stages/*.json"))
