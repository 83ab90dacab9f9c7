"""Faults of processes go when their conductor does: by the keeper, or by `brownout heal` when that died too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from chaos.faults.processes import disk, hosts, limits, signals
from chaos.faults.processes.identity import lives, pid_in, process_id, stopped, tree
from chaos.faults.processes.throttle import BEGIN
from chaos.faults.undo import (
    DeleteFile,
    EndsWithRun,
    ProcessId,
    ProcessUndo,
    RestoreLimit,
    ResumeProcess,
    RunCommand,
    StartProcess,
)
from chaos.healing import heal_run
from chaos.journal import FaultHealed, FaultInjected, FaultPending, Journal, outstanding, read_events
from chaos.keeper.handle import Keeper
from chaos.registry import MARKER
from tests.keeper.conftest import wait_for

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
# A `start`: leaves a service running in a session of its own, and its pid in a file.
STARTS = """
import os, sys, time
pid = os.fork()
if pid == 0:
    os.setsid()
    time.sleep(600)
with open(sys.argv[1], "w") as out:
    out.write(str(pid))
os._exit(0)
"""


@pytest.fixture
def target() -> Iterator[ProcessId]:
    """A process that is not the run's, once it is up: what confines it while it starts would end it."""
    code = "import time; print('up', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process_id(process.pid)
        process.kill()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A run's journal."""
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "events.jsonl"


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Keeper]:
    """A keeper as a run has it: with the run's mark, and an environment that is for the run's processes alone."""
    keeper = Keeper(60.0, environment={MARKER: f"undos-{tmp_path.name}", "ONLY_FOR_THE_RUN": "1"})
    yield keeper
    keeper.close()


def hold(keeper: Keeper, undo: ProcessUndo, journal: Path) -> None:
    """Journal the intent, and have the keeper hold the undo."""
    pending(undo, journal)
    keeper.hold("run/f", undo, journal, FaultHealed(fault="f"))


def pending(undo: ProcessUndo, journal: Path) -> None:
    """Journal that a fault is about to be injected."""
    written = Journal(journal)
    written.record(FaultPending(fault="f", undo=undo))
    written.close()


def abandoned(keeper: Keeper, journal: Path) -> None:
    """The conductor goes; the journal then says that the keeper has healed."""
    keeper.answered("run/f")
    keeper.close()
    events = list(read_events(journal))
    assert outstanding(events) == []
    assert [event.by for event in events if isinstance(event, FaultHealed)] == ["keeper"]


def test_a_paused_process_goes_on(kept: Keeper, target: ProcessId, journal: Path) -> None:
    """SIGSTOP does not outlive the conductor."""
    hold(kept, ResumeProcess(processes=(target,)), journal)
    signals.pause((target,))
    abandoned(kept, journal)
    assert lives(target)
    assert not stopped(target)


def test_a_slowed_process_goes_on(kept: Keeper, target: ProcessId, journal: Path, tmp_path: Path) -> None:
    """Neither the throttle nor its last stop outlives the conductor."""
    hold(kept, ResumeProcess(processes=(target,)), journal)
    argv = [sys.executable, "-m", "chaos.faults.processes.throttle", f"{target.pid}/{target.started}"]
    throttle = process_id(kept.spawn("throttle", [*argv, "9000", "10000"], logs=tmp_path))
    kept.write("throttle", BEGIN)
    wait_for(lambda: stopped(target))
    abandoned(kept, journal)
    assert not lives(throttle)
    assert lives(target)
    assert not stopped(target)


def test_a_confined_process_has_its_limits_back(kept: Keeper, target: ProcessId, journal: Path) -> None:
    """Limits are given back as they were."""
    before = psutil.Process(target.pid).rlimit(psutil.RLIMIT_NOFILE)
    undo = RestoreLimit(resource="files", limits=limits.limits_of(tree(target), "files"))
    hold(kept, undo, journal)
    limits.confine(undo, 0)
    abandoned(kept, journal)
    assert psutil.Process(target.pid).rlimit(psutil.RLIMIT_NOFILE) == before


def test_a_killed_process_is_started_again_as_nobodys(
    kept: Keeper, target: ProcessId, journal: Path, tmp_path: Path
) -> None:
    """It outlives keeper and run, bears neither's mark or environment, and takes signals as any process does."""
    file = tmp_path / "pid"
    file.write_text(str(target.pid))
    start = (sys.executable, "-c", STARTS, str(file))
    hold(kept, StartProcess(processes=(target,), pid_file=str(file), start=start, cwd=str(tmp_path)), journal)
    signals.kill((target,), signal.SIGKILL)
    abandoned(kept, journal)
    back = pid_in(file)
    try:
        assert back != target
        environment = psutil.Process(back.pid).environ()
        assert MARKER not in environment
        assert "ONLY_FOR_THE_RUN" not in environment
        assert ignored(back.pid) & {signal.SIGINT, signal.SIGHUP, signal.SIGTERM} == set()
    finally:
        os.kill(back.pid, signal.SIGKILL)
        wait_for(lambda: not lives(back))


def ignored(pid: int) -> set[int]:
    """The signals that a process ignores (proc_pid_status(5), SigIgn)."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(next(line for line in status.splitlines() if line.startswith("SigIgn:")).split()[1], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_what_the_run_starts_takes_signals_too(kept: Keeper, tmp_path: Path) -> None:
    """A service that reloads on SIGHUP, or ends on SIGINT, does so under test as elsewhere."""
    code = "import time; print('up', flush=True); time.sleep(600)"
    pid = kept.spawn("service", [sys.executable, "-c", code], logs=tmp_path)
    wait_for(lambda: (tmp_path / "service.out").read_text())
    assert ignored(pid) & {signal.SIGINT, signal.SIGHUP, signal.SIGTERM} == set()
    os.kill(kept.pid, signal.SIGHUP)
    os.kill(kept.pid, signal.SIGINT)
    os.kill(pid, signal.SIGINT)
    assert kept.exited.get(timeout=30)[0] == "service"


def test_a_process_of_the_run_needs_no_healing(kept: Keeper, journal: Path, tmp_path: Path) -> None:
    """A killed one is not started for nobody: the journal is closed, and nothing lives."""
    pid = kept.spawn("service", SLEEP, logs=tmp_path)
    hold(kept, EndsWithRun(name="service"), journal)
    os.kill(pid, signal.SIGKILL)
    abandoned(kept, journal)
    assert not psutil.pid_exists(pid)


def test_a_full_disk_is_emptied(kept: Keeper, journal: Path, tmp_path: Path) -> None:
    """The file that fills it goes."""
    filler = tmp_path / disk.FILLER
    hold(kept, DeleteFile(path=str(filler)), journal)
    filler.write_bytes(b"x" * 1000)
    abandoned(kept, journal)
    assert not filler.exists()


def test_a_name_resolves_again(kept: Keeper, journal: Path, tmp_path: Path) -> None:
    """The lines of the hosts file are put back."""
    path = tmp_path / "hosts"
    text = "10.0.0.1 model # \xe9\n10.0.0.2 db\n"
    path.write_text(text, "latin-1")
    undo = hosts.lines_with(path, "model")
    hold(kept, undo, journal)
    hosts.take_out(undo)
    abandoned(kept, journal)
    assert path.read_text("latin-1") == text


def test_what_a_command_did_is_undone(kept: Keeper, journal: Path, tmp_path: Path) -> None:
    """Its heal is run, in its folder."""
    (tmp_path / "broken").touch()
    undo = RunCommand(
        heal=("rm", "-f", "broken"), check=("test", "-e", "broken"), cwd=str(tmp_path), timeout_s=30
    )
    hold(kept, undo, journal)
    abandoned(kept, journal)
    assert not (tmp_path / "broken").exists()


# A conductor that registers a run, has a fault held, and waits to be killed.
CONDUCTOR = """
import sys, time
from pathlib import Path
from chaos.faults.processes import signals
from chaos.faults.processes.identity import process_id
from chaos.faults.undo import ResumeProcess
from chaos.journal import FaultHealed, FaultPending, Journal
from chaos.keeper.handle import Keeper
from chaos.registry import MARKER, Registration
registration = Registration()
keeper = Keeper(60.0, environment={MARKER: registration.stage.stage}, pass_fds=[registration.keeper_fd])
run = Path(sys.argv[1])
registration.add_run(run)
target = process_id(int(sys.argv[2]))
undo = ResumeProcess(processes=(target,))
Journal(run / "events.jsonl").record(FaultPending(fault="f", undo=undo))
keeper.hold("run/f", undo, run / "events.jsonl", FaultHealed(fault="f"))
signals.pause((target,))
print(keeper.pid, flush=True)
time.sleep(600)
"""


def test_the_next_command_heals_when_conductor_and_keeper_died(target: ProcessId, journal: Path) -> None:
    """`brownout heal` lets a process go on that a run stopped and nobody else remembers."""
    conductor = subprocess.Popen(
        [sys.executable, "-c", CONDUCTOR, str(journal.parent), str(target.pid)], stdout=subprocess.PIPE
    )
    assert conductor.stdout is not None
    keeper = process_id(int(conductor.stdout.readline()))
    os.kill(keeper.pid, signal.SIGKILL)  # first: it would heal
    conductor.kill()
    conductor.wait()
    conductor.stdout.close()
    wait_for(lambda: not lives(keeper))
    assert stopped(target)
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "heal"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not stopped(target)
    assert outstanding(read_events(journal)) == []


def test_a_run_is_healed_by_its_folder(target: ProcessId, journal: Path) -> None:
    """Whether or not the registry knows it; and a second time there is nothing to do."""
    pending(ResumeProcess(processes=(target,)), journal)
    signals.pause((target,))
    report = heal_run(journal.parent)
    assert (report.done, report.left) == (["run: f healed"], [])
    assert not stopped(target)
    assert heal_run(journal.parent).done == []


def test_what_cannot_be_healed_is_told_with_its_place(journal: Path, tmp_path: Path) -> None:
    """What, where and why; the journal says that it was tried, and that it is still to be done."""
    in_the_way = tmp_path / disk.FILLER
    in_the_way.mkdir()
    undos: dict[str, ProcessUndo] = {
        "disk": DeleteFile(path=str(in_the_way)),
        "gone": StartProcess(
            processes=(), pid_file=str(tmp_path / "pid"), start=None, cwd=str(tmp_path), within_s=0.1
        ),
        "tool": RunCommand(heal=("ls", str(tmp_path / "no")), cwd=str(tmp_path), timeout_s=30),
    }
    written = Journal(journal)
    for name, undo in undos.items():
        written.record(FaultPending(fault=name, undo=undo))
        written.record(FaultInjected(fault=name))
    written.close()
    report = heal_run(journal.parent)
    assert report.done == []
    tool, gone, full = (str(left) for left in report.left)  # last injected first
    assert full.startswith(f"run: disk at {in_the_way} may still be in place: ")
    assert gone == (
        f"run: gone at the process of {tmp_path}/pid may still be in place: "
        f"its supervisor has not brought the process of {tmp_path}/pid back within 0.1 s"
    )
    assert tool.startswith(f"run: tool at ls {tmp_path}/no may still be in place: `ls {tmp_path}/no` ended")
    assert {item.key for item in outstanding(read_events(journal))} == set(undos)
