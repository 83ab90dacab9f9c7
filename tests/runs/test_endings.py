"""How runs end, through the command line, with real processes: exit codes, healing, and what they say."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from chaos.journal import outstanding, read_events
from chaos.verdict import Verdict
from tests.runs.conftest import Started, brownout, events_of, living, run_folder, wait_for, write_project


@pytest.fixture
def project(tmp_path: Path, web: str) -> Path:
    """One experiment, on the web service, through the embedded proxy."""
    return write_project(tmp_path / "project", 1, web)


def verdict_of(project: Path) -> Verdict:
    return Verdict.model_validate_json((run_folder(project) / "verdict.json").read_bytes())


def state_mark() -> str:
    return f"BROWNOUT_STATE_DIR={os.environ['BROWNOUT_STATE_DIR']}"


def in_fault(project: Path, run: Started) -> None:
    """Wait until the run's fault is in place."""
    wait_for(
        lambda: "fault-injected" in events_of(project) or run.process.poll() is not None, 40, run.log.name
    )
    assert run.process.poll() is None, run.told()


def nothing_left(project: Path) -> None:
    assert living(state_mark()) == []
    assert outstanding(read_events(run_folder(project) / "events.jsonl")) == []
    assert not list(Path(os.environ["BROWNOUT_STATE_DIR"]).glob("stages/*.json"))


def test_a_run_that_passes(project: Path) -> None:
    """Exit 0, a whole folder, and no process or registry entry left."""
    run = brownout(project, "run", "slow-0", "--seed", "7")
    assert run.wait() == 0, run.told()
    verdict = verdict_of(project)
    assert verdict.seed == 7
    assert verdict.faults[0].healed
    assert verdict.load.operations > 50
    assert verdict.load.dropped == 0
    nothing_left(project)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_heals_first(project: Path, number: signal.Signals, code: int) -> None:
    """SIGINT and SIGTERM heal and exit with their own codes; a second one does not cut the healing short."""
    run = brownout(project, "run", "slow-0")
    in_fault(project, run)
    run.process.send_signal(number)
    run.process.send_signal(number)
    assert run.wait() == code, run.told()
    assert "fault-healed" in events_of(project)
    assert verdict_of(project).exit_code == code
    nothing_left(project)


def test_an_abort_condition_stops_with_4(project: Path) -> None:
    """A stop condition that is no objective ends the run healed, with exit 4, and is named."""
    experiment = project / "chaos/experiments/slow-0.yaml"
    experiment.write_text(experiment.read_text() + "  abort: [{requests: 25}]\n")
    run = brownout(project, "run", "slow-0")
    assert run.wait() == 4, run.told()
    assert "25" in verdict_of(project).reasons[0]
    nothing_left(project)


def test_an_abort_on_an_objective_stops_with_1(project: Path) -> None:
    """An objective under `abort` that is breached ends the run early, with exit 1."""
    experiment = project / "chaos/experiments/slow-0.yaml"
    text = experiment.read_text().replace("fault: 3s", "fault: 20s").replace("at: 1s, for: 1s", "at: 100ms")
    text = text.replace("phases: [baseline]", "phases: [baseline, fault]")
    experiment.write_text(text + "  abort: [{objective: web-good}]\n")
    run = brownout(project, "run", "slow-0")
    assert run.wait() == 1, run.told()
    verdict = verdict_of(project)
    assert verdict.ending == "condition"
    assert verdict.ended_at - verdict.started_at < 20
    nothing_left(project)


def test_an_unreachable_service_is_inconclusive(tmp_path: Path) -> None:
    """A service that refuses connections shows no good baseline: exit 3, and nothing is injected."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    project = write_project(tmp_path / "project", 1, address)
    target = project / "chaos/targets/web-0.yaml"
    target.write_text(target.read_text().replace(", health: /", ""))
    run = brownout(project, "run", "slow-0")
    assert run.wait() == 3, run.told()
    assert verdict_of(project).ending == "not-steady"
    assert "fault-pending" not in events_of(project)
    nothing_left(project)


def test_a_generator_that_dies_is_noticed(project: Path) -> None:
    """When Locust is killed in mid-run the run heals, is inconclusive, and says who died."""
    run = brownout(project, "run", "slow-0")
    in_fault(project, run)
    for process in living(state_mark()):
        if "locust" in " ".join(process.cmdline()):
            process.kill()
    assert run.wait() == 3, run.told()
    assert any("locust" in reason for reason in verdict_of(project).reasons)
    nothing_left(project)


def test_a_proxy_that_dies_is_noticed(project: Path) -> None:
    """When the proxy is killed in mid-run the run is inconclusive, never pass."""
    run = brownout(project, "run", "slow-0")
    in_fault(project, run)
    for process in living(state_mark()):
        if "chaos.proxy" in process.cmdline():
            process.kill()
    assert run.wait() == 3, run.told()
    assert any("proxy" in reason for reason in verdict_of(project).reasons)
    nothing_left(project)  # what the proxy carried went with it, and the journal says so


def test_a_keeper_that_dies_is_noticed(project: Path) -> None:
    """When the keeper is killed in mid-run the conductor heals by itself and ends what was started."""
    run = brownout(project, "run", "slow-0")
    in_fault(project, run)
    for process in living(state_mark()):
        if "chaos.keeper" in process.cmdline():
            process.kill()
    assert run.wait() == 3, run.told()
    assert "fault-healed" in events_of(project)
    assert living(state_mark()) == []


def test_both_killed_and_the_next_command_heals(tmp_path: Path, web: str, shared_proxy: str) -> None:
    """Conductor and keeper killed together: the next command heals what they left, processes included."""
    project = write_project(tmp_path / "project", 1, web, shared_proxy)
    run = brownout(project, "run", "slow-0")
    in_fault(project, run)
    victims = [p for p in living(state_mark()) if "chaos.keeper" in p.cmdline()]
    run.process.kill()
    for victim in victims:
        victim.kill()
    run.wait()
    psutil.wait_procs(victims, timeout=20)
    healed = brownout(project, "heal", name="heal")
    assert healed.wait() == 0, healed.told()
    nothing_left(project)


def test_a_busy_target_is_refused(project: Path) -> None:
    """A second run against the same target does not start; it says who holds it."""
    experiment = project / "chaos/experiments/slow-0.yaml"
    experiment.write_text(experiment.read_text().replace("fault: 3s", "fault: 300s"))
    first = brownout(project, "run", "slow-0", name="first")
    in_fault(project, first)
    second = brownout(project, "run", "slow-0", "--out", str(project / "second"), name="second")
    assert second.wait() == 3
    assert "in use by" in second.told()
    first.process.send_signal(signal.SIGTERM)
    assert first.wait() == 143, first.told()


def test_nothing_starts_on_bad_input(project: Path) -> None:
    """Bad input exits 2 with its place, and leaves no run folder."""
    experiment = project / "chaos/experiments/slow-0.yaml"
    experiment.write_text(experiment.read_text().replace("type: latency", "type: latncy"))
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "run", "slow-0"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "slow-0.yaml:9" in done.stderr
    assert "did you mean latency?" in done.stderr
    assert not (project / "runs").exists()


def test_the_proxies_of_a_run_outlive_its_set_up(tmp_path: Path, web: str, shared_proxy: str) -> None:
    """A lease that is shorter than the load takes to start does not cost the run its proxies."""
    project = write_project(tmp_path / "project", 1, web, shared_proxy)
    config = project / "brownout.yaml"
    config.write_text(config.read_text().replace("lease: 2s", "lease: 1s"))
    run = brownout(project, "run", "slow-0")
    # On a machine that stands still for a second the lease runs out, and the run is rightly inconclusive.
    assert run.wait() in (0, 3), run.told()
    judged = [e for e in read_events(run_folder(project) / "events.jsonl") if e.event == "baseline-judged"]
    assert [event.steady for event in judged] == [True], run.told()
    nothing_left(project)


def test_an_out_folder_that_cannot_be_is_bad_input(project: Path) -> None:
    """Where run folders cannot be made nothing starts: exit 2, and the message names the place."""
    (project / "taken").write_text("")
    run = brownout(project, "run", "slow-0", "--out", str(project / "taken" / "runs"))
    assert run.wait() == 2, run.told()
    assert "taken" in run.told()


def test_a_state_folder_that_cannot_be_is_bad_input(project: Path) -> None:
    """Without a registry nothing starts: exit 2, and the message says how to name another."""
    (project / "state").write_text("")
    run = brownout(project, "run", "slow-0", state=project / "state")
    assert run.wait() == 2, run.told()
    assert "BROWNOUT_STATE_DIR" in run.told()


def test_a_disk_that_fills_up_is_inconclusive(project: Path) -> None:
    """When the run's files cannot be written any more it heals, ends, and says why: exit 3, no defect."""
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from chaos.cli import main\n"
        "sys.argv = ['brownout', 'run', 'slow-0']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 3, done.stderr
    assert "cannot be recorded or judged" in done.stderr
    assert living(state_mark()) == []
