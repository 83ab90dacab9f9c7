"""Faults of processes: what each type does to a process of the target, and what undoes it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from chaos.conductor.processes import END_WITHIN_S, NoProcess, Processes
from chaos.faults.heal import heal as perform_undo
from chaos.faults.processes import containers, disk, hosts, limits, signals
from chaos.faults.processes.identity import lives, pid_in, stopped, tree
from chaos.faults.undo import (
    DeleteFile,
    EndsWithRun,
    ProcessId,
    RestoreHosts,
    RestoreLimit,
    ResumeProcess,
    RunContainers,
    StartProcess,
    Undo,
)
from chaos.plan import PlannedFault
from chaos.statefolder import state_folder

RESOURCES: dict[str, limits.Resource] = {"memory_limit": "memory", "file_limit": "files"}


class ProcessFaults:
    """Faults of processes; see `chaos.conductor.faults.Carrier`."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self._processes = processes
        self._folder = folder
        self._trees: dict[str, tuple[ProcessId, ...]] = {}

    def undo(self, fault: PlannedFault) -> Undo:
        """What will undo it, read off the process as it is now. Raises OSError."""
        match fault.type:
            case "kill" | "restart":
                return self._undo_of_kill(fault.place)
            case "pause" | "slow":
                return self._processes.containers(fault.place) or ResumeProcess(processes=self._tree(fault))
            case "memory_limit" | "file_limit":
                resource = RESOURCES[fault.type]
                return RestoreLimit(resource=resource, limits=limits.limits_of(self._tree(fault), resource))
            case "disk_full":
                return DeleteFile(path=str(disk.filler_in(self._path(fault, "disk"), self._not_to_fill())))
            case "no_such_host":
                return hosts.lines_with(self._path(fault, "hosts_file"), str(fault.host))
        raise NoProcess(f"{fault.type} is no fault of a process")

    def ready(self, fault: PlannedFault, in_s: float) -> None:
        """Look its process and children up, start what slows it: that takes its time. Raises OSError."""
        if fault.type in ("kill", "restart", "pause", "slow") and not self._processes.in_containers(
            fault.place
        ):
            self._trees[fault.name] = self._tree(fault)
        if fault.type == "slow":
            self._processes.ready_throttle(fault, self._trees[fault.name][0])

    def inject(self, fault: PlannedFault, undo: Undo) -> None:
        """Do it. Raises OSError."""
        match fault.type, undo:
            case "kill", _:
                self._kill(fault, undo, signal.Signals[f"SIG{fault.signal or 'KILL'}"], END_WITHIN_S)
            case "restart", _:
                self._kill(fault, undo, signal.SIGTERM, fault.numbers["grace"] / 1000)
                self.heal(fault, undo)
            case "pause", RunContainers():
                containers.pause(undo)
            case "pause", _:
                signals.pause(self._trees[fault.name])
            case "slow", _:
                self._processes.begin_throttle(fault)
            case _, RestoreLimit():
                limits.confine(undo, next(iter(fault.numbers.values())))
            case _, DeleteFile():
                disk.fill(Path(undo.path), fault.numbers["leave"])
            case _, RestoreHosts():
                hosts.take_out(undo)

    def in_place(self, fault: PlannedFault, undo: Undo) -> bool:
        """Whether it is still so. Raises OSError."""
        match undo:
            case _ if fault.type == "restart":
                return True
            case EndsWithRun():
                return not self._processes.own_lives(undo.name)
            case StartProcess():
                return not any(lives(process) for process in undo.processes)
            case RunContainers():
                return all(state != "running" for state in containers.states(undo).values())
            case ResumeProcess() if fault.type == "slow":
                return self._processes.throttled(fault)
            case ResumeProcess():
                return all(stopped(process) for process in undo.processes[:1])
            case RestoreLimit():
                return limits.confined(undo)
            case DeleteFile():
                return Path(undo.path).exists()
            case RestoreHosts():
                return hosts.taken_out(undo)
        return True

    def heal(self, fault: PlannedFault, undo: Undo) -> None:
        """Undo it, and see that it is undone. Raises OSError."""
        if fault.type == "slow":
            self._processes.end_throttle(fault)
        if isinstance(undo, EndsWithRun):
            self._processes.start_own(undo.name)
        else:
            perform_undo(undo)

    def counts(self, fault: PlannedFault) -> dict[str, int]:
        """Nothing counts what a process does not do."""
        return {}

    def _kill(self, fault: PlannedFault, undo: Undo, number: signal.Signals, grace_s: float) -> None:
        match undo:
            case EndsWithRun():
                self._processes.expect_end(undo.name)
                signals.kill(self._trees[fault.name], number, grace_s=grace_s)
                self._processes.await_end(undo.name)
            case RunContainers() if fault.type == "restart":
                containers.restart(undo, grace_s)
            case RunContainers():
                containers.kill(undo, number.name)
            case StartProcess():
                signals.kill(self._trees[fault.name], number, grace_s=grace_s)

    def _undo_of_kill(self, place: str) -> Undo:
        own, process = self._processes.own(place), self._processes.declared(place)
        if own is not None:
            return EndsWithRun(name=own)
        found = self._processes.containers(place)
        if found is not None:
            return found
        if process is None or process.pid_file is None:
            raise NoProcess(f"{place} has no process")
        killed = (pid_in(Path(process.pid_file)),)
        return StartProcess(processes=killed, pid_file=process.pid_file, start=process.start, cwd=process.cwd)

    def _tree(self, fault: PlannedFault) -> tuple[ProcessId, ...]:
        whole = tree(self._processes.root(fault.place))
        if not whole:
            raise NoProcess(f"the process of {fault.place} has ended")
        return whole

    def _path(self, fault: PlannedFault, key: str) -> Path:
        process = self._processes.declared(fault.place)
        path = getattr(process, key, None)
        if path is None:
            raise NoProcess(f"{fault.place} declares no {key}")
        return Path(path)

    def _not_to_fill(self) -> tuple[Path, ...]:
        return (self._folder, state_folder(), Path.home(), Path(os.environ.get("TMPDIR", "/tmp")))  # noqa: S108
