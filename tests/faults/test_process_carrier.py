"""Each fault of a process as a run performs it: known before it is done, in place, healed; at real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from chaos.conductor.perform import Stopped
from chaos.conductor.process_faults import ProcessFaults
from chaos.conductor.processes import NoProcess, Processes
from chaos.conductor.stage import Stage
from chaos.faults.processes.disk import DiskShared
from chaos.faults.processes.identity import NoSuchProcess, ProcessForbidden, lives, process_id, stopped
from chaos.faults.undo import EndsWithRun, RestoreLimit, StartProcess
from chaos.plan import PlannedFault, PlannedProcess
from tests.conductor.conftest import small_plan
from tests.faults.processes.conftest import wait_for

SLEEP = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)")
DEAF = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
)
TYPES: dict[str, dict[str, Any]] = {
    "kill": {},
    "pause": {},
    "slow": {"attributes": {"stopped": 90, "period": 1000}},
    "memory_limit": {"attributes": {"headroom_bytes": 1 << 20}},
    "file_limit": {"attributes": {"headroom_files": 4}},
    "disk_full": {"attributes": {"leave": 0}},
    "no_such_host": {"host": "model.internal"},
}


def planned(kind: str, place: str = "own", **more: Any) -> PlannedFault:
    """A fault as the plan has it."""
    return PlannedFault(
        name=f"{kind}-{place}", place=place, type=kind, inject_at_s=0, heal_at_s=1, effects=(), **more
    )


class World:
    """A stage with a process of its own, one that was there before, and a disk and a hosts file for each."""

    def __init__(self, stage: Stage, tmp_path: Path, disk: Path, command: tuple[str, ...]) -> None:
        self.stage = stage
        self.hosts_file = tmp_path / "hosts"
        self.hosts_file.write_text("127.0.0.1 localhost\n10.0.0.1 model.internal\n")
        self.pid_file = tmp_path / "pid"
        self.disk = disk
        both = {"cwd": str(tmp_path), "disk": str(disk), "hosts_file": str(self.hosts_file)}
        plan = small_plan().model_copy(
            update={
                "services": (),
                "processes": (
                    PlannedProcess(name="own", command=command, **both),
                    PlannedProcess(name="theirs", pid_file=str(self.pid_file), **both),
                    PlannedProcess(name="bare", pid_file=str(self.pid_file), cwd=str(tmp_path)),
                ),
            }
        )
        (tmp_path / "run").mkdir()
        self.processes = Processes(plan, stage, tmp_path / "run")
        self.processes.start()
        out = tmp_path / "run" / "logs" / "process-own.out"
        wait_for(lambda: "up" in out.read_text())  # what strikes it while it starts may kill it
        self.faults = ProcessFaults(self.processes, tmp_path / "run")

    @property
    def own(self) -> int:
        """The pid of the run's own process."""
        return self.stage.pid("process-own")


Make = Callable[..., World]


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a world; `disk` is asked for only where it is needed, as root has to mount it."""
    with Stage(60.0) as stage:
        made: list[World] = []

        def make(*, command: tuple[str, ...] = SLEEP, disk: bool = False) -> World:
            folder = request.getfixturevalue("own_disk") if disk else tmp_path
            made.append(World(stage, tmp_path, folder, command))
            return made[-1]

        yield make
        for one in made:
            one.processes.close()


@pytest.fixture
def theirs() -> Iterator[subprocess.Popen[bytes]]:
    """A process that was there before."""
    with subprocess.Popen(SLEEP, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process
        process.kill()


@pytest.mark.parametrize("kind", TYPES)
def test_a_fault_is_in_place_from_its_injection_to_its_heal(world: Make, kind: str) -> None:
    """Not before, not after, and healing twice is no error; the undo is known before anything is done."""
    one = world(disk=kind == "disk_full")
    fault = planned(kind, **TYPES[kind])
    undo = one.faults.undo(fault)
    one.faults.ready(fault, 0.25)
    if kind != "slow":  # whose throttle is there already, and does nothing yet
        assert not one.faults.in_place(fault, undo)
    assert not stopped(process_id(one.own))
    one.faults.inject(fault, undo)
    assert one.faults.in_place(fault, undo)
    if kind == "slow":
        wait_for(lambda: stopped(process_id(one.own)))
    one.faults.heal(fault, undo)
    assert not one.faults.in_place(fault, undo) or kind == "slow"
    one.faults.heal(fault, undo)
    assert lives(process_id(one.own))
    assert not stopped(process_id(one.own))
    one.stage.check()


def test_a_killed_process_of_the_run_is_started_again_in_the_same_way(world: Make) -> None:
    """With its environment and folder, under another pid; that it ended surprises nobody, its next end does."""
    one = world()
    before, environment = one.own, psutil.Process(one.own).environ()
    fault = planned("kill")
    undo = one.faults.undo(fault)
    assert undo == EndsWithRun(name="process-own")
    one.faults.ready(fault, 0.25)
    one.faults.inject(fault, undo)
    one.stage.check()
    with pytest.raises(NoProcess, match="process-own has ended"):
        one.processes.root("own")
    one.faults.heal(fault, undo)
    assert one.own != before
    wait_for(lambda: psutil.Process(one.own).environ() == environment)  # once it has become the program
    one.stage.check()
    os.kill(one.own, signal.SIGKILL)
    wait_for(lambda: not one.stage.lives("process-own"))
    with pytest.raises(Stopped):
        one.stage.check()


def test_a_restart_is_done_when_it_is_injected(world: Make) -> None:
    """A process that ignores SIGTERM is killed after the grace, and lives again; healing changes nothing more."""
    one = world(command=DEAF)
    before = one.own
    fault = planned("restart", attributes={"grace": 100})
    undo = one.faults.undo(fault)
    one.faults.ready(fault, 0.25)
    one.faults.inject(fault, undo)
    after = one.own
    assert after != before
    assert one.faults.in_place(fault, undo)
    one.faults.heal(fault, undo)
    assert one.own == after


def test_what_was_killed_between_arming_and_injection_is_no_success(
    world: Make, theirs: subprocess.Popen[bytes]
) -> None:
    """A process that is gone before its time has not been killed, paused or confined by the fault."""
    one = world()
    one.pid_file.write_text(str(theirs.pid))
    ready = []
    for kind in ("kill", "pause", "file_limit"):
        fault = planned(kind, "theirs", **TYPES[kind])
        ready.append((fault, one.faults.undo(fault)))
        one.faults.ready(fault, 0.25)
    theirs.kill()
    theirs.wait()
    for fault, undo in ready:
        with pytest.raises(OSError, match=f"process {theirs.pid}"):
            one.faults.inject(fault, undo)
        if not isinstance(undo, StartProcess):
            one.faults.heal(fault, undo)


def test_a_process_that_is_not_there_is_told(world: Make, theirs: subprocess.Popen[bytes]) -> None:
    """No pid file, a dead pid, our own pid: refused before anything is done."""
    one = world()
    for kind in ("kill", "pause", "slow", "memory_limit"):
        fault = planned(kind, "theirs", **TYPES[kind])
        one.pid_file.unlink(missing_ok=True)
        with pytest.raises(FileNotFoundError):
            one.faults.undo(fault)
        for pid in (os.getpid(), os.getppid(), 1):
            one.pid_file.write_text(str(pid))
            with pytest.raises(ProcessForbidden):
                one.faults.undo(fault)
        one.pid_file.write_text("999999999")
        with pytest.raises(NoSuchProcess):
            one.faults.undo(fault)


def test_what_the_target_does_not_say_is_told(world: Make, theirs: subprocess.Popen[bytes]) -> None:
    """A place without disk, hosts file, or process."""
    one = world()
    for kind, said in (("disk_full", "declares no disk"), ("no_such_host", "declares no hosts_file")):
        with pytest.raises(NoProcess, match=said):
            one.faults.undo(planned(kind, "bare", **TYPES[kind]))
    with pytest.raises(NoProcess, match="gone has no process"):
        one.faults.undo(planned("pause", "gone"))


def test_a_disk_that_the_run_itself_uses_is_refused(world: Make) -> None:
    """The file system of the root, the run folder, the user's state or the temporary files is not filled."""
    one = world()
    with pytest.raises(DiskShared, match="is on the same file system as"):
        one.faults.undo(planned("disk_full", **TYPES["disk_full"]))


def test_a_run_folder_on_the_disk_is_refused(world: Make, tmp_path: Path) -> None:
    """A journal that could not be written any more would leave everything in doubt."""
    one = world(disk=True)
    (one.disk / "run").mkdir()
    faults = ProcessFaults(one.processes, one.disk / "run")
    with pytest.raises(DiskShared, match=f"as {one.disk}/run"):
        faults.undo(planned("disk_full", **TYPES["disk_full"]))


def test_the_limits_of_all_the_tree_are_known(world: Make) -> None:
    """Children are confined and restored with their parent."""
    code = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        "print('up', flush=True); time.sleep(600)"
    )
    one = world(command=(sys.executable, "-c", code))
    wait_for(lambda: len(psutil.Process(one.own).children()) == 1)
    undo = one.faults.undo(planned("file_limit", **TYPES["file_limit"]))
    assert isinstance(undo, RestoreLimit)
    assert len(undo.limits) == 2


def test_a_process_of_the_run_ends_with_it_whatever_state_it_is_in(world: Make) -> None:
    """Paused and never healed, it is still ended."""
    one = world()
    fault = planned("pause")
    undo = one.faults.undo(fault)
    one.faults.ready(fault, 0.25)
    one.faults.inject(fault, undo)
    pid = one.own
    one.processes.close()
    assert not psutil.pid_exists(pid)
