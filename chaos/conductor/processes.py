"""The processes of a run's target: those that the run starts, and how faults reach each of them.

A process of the run (a demo service, a `command`) is the keeper's child and ends with the run; it is started
again by the conductor. The others are found by their pid file, or as the containers of a compose service.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from chaos.conductor.ready import ready_line
from chaos.conductor.stage import Stage
from chaos.faults.heal import heal as perform_undo
from chaos.faults.processes import commands, containers, disk, hosts, limits, signals, throttle
from chaos.faults.processes.identity import lives, pid_in, process_id, stopped, tree
from chaos.faults.undo import (
    DeleteFile,
    EndsWithRun,
    ProcessId,
    RestoreHosts,
    RestoreLimit,
    ResumeProcess,
    RunCommand,
    RunContainers,
    StartProcess,
    Undo,
)
from chaos.plan import Commands, Plan, PlannedFault, PlannedProcess
from chaos.statefolder import state_folder

END_WITHIN_S = 30.0
READY_WITHIN_S = 15.0
RESOURCES: dict[str, limits.Resource] = {"memory_limit": "memory", "file_limit": "files"}


class NoProcess(OSError):
    """The place has no process that the fault could touch."""


class Processes:
    """The processes that faults of `plan` may touch; `start` starts those that are commands."""

    def __init__(self, plan: Plan, run: str, stage: Stage, folder: Path) -> None:
        self._declared = {process.name: process for process in plan.processes}
        self._demos = {service.name: service.demo.process for service in plan.services if service.demo}
        self._run = run
        self._stage = stage
        self._folder = folder
        self._started: list[str] = []

    def start(self) -> None:
        """Start every command. Raises KeeperLost."""
        for process in self._declared.values():
            if process.command is not None:
                argv = list(process.command)
                if process.hosts_file is not None:
                    launcher = [sys.executable, "-m", "chaos.faults.processes.own_hosts"]
                    argv = [*launcher, process.hosts_file, "--", *argv]
                name = self._name(process)
                env = {**self._stage.keeper.environment, **process.env}
                self._stage.spawn(name, argv, env, self._folder / "logs", cwd=process.cwd)
                self._started.append(name)

    def close(self) -> None:
        """End every command."""
        for name in reversed(self._started):
            self._stage.stop(name)
        self._started.clear()

    def declared(self, place: str) -> PlannedProcess | None:
        """What the target says of the process; None for a demo service."""
        return self._declared.get(place)

    def own(self, place: str) -> str | None:
        """The stage's name for the process at `place`; None when it is not the run's own."""
        process = self._declared.get(place)
        if process is None:
            return self._demos.get(place)
        return self._name(process) if process.command is not None else None

    def root(self, place: str) -> ProcessId:
        """The process itself. Raises NoProcess, NoSuchProcess, ProcessForbidden, OSError."""
        own, process = self.own(place), self._declared.get(place)
        if own is not None:
            if not self._stage.lives(own):
                raise NoProcess(f"{own} has ended")
            return process_id(self._stage.pid(own))
        if process is not None and process.pid_file is not None:
            return pid_in(Path(process.pid_file))
        raise NoProcess(f"{place} has no process that a signal could reach")

    def in_containers(self, place: str) -> bool:
        """Whether it is a compose service."""
        process = self._declared.get(place)
        return process is not None and process.compose is not None

    def containers(self, place: str) -> RunContainers | None:
        """Its containers, where it is a compose service. Raises OSError."""
        process = self._declared.get(place)
        if process is None or process.compose is None:
            return None
        return containers.containers_of(process.compose, process.project)

    def expect_end(self, name: str) -> None:
        """From here on the end of a process of the run is no surprise."""
        self._stage.expect_end(name)

    def await_end(self, name: str) -> None:
        """Wait until a process of the run has ended, and the keeper knows. Raises NotReady."""
        self._stage.await_end(name, END_WITHIN_S)

    def start_own(self, name: str) -> None:
        """Start a process of the run again, as it was, unless it lives. Raises OSError."""
        if not self._stage.lives(name):
            self._stage.start_again(name)

    def own_lives(self, name: str) -> bool:
        """Whether a process of the run is there."""
        return self._stage.lives(name)

    def ready_throttle(self, fault: PlannedFault, process: ProcessId) -> None:
        """Start the process that will slow `process` down; that it ends is a surprise. Raises KeeperLost."""
        argv = [sys.executable, "-m", "chaos.faults.processes.throttle", f"{process.pid}/{process.started}"]
        period = fault.attributes["period"]
        argv += [str(period * fault.attributes["stopped"] / 100), str(period)]
        self._stage.spawn(self._throttle(fault), argv, None, self._folder / "logs")

    def begin_throttle(self, fault: PlannedFault) -> None:
        """Let it begin, once it is ready. Raises NotReady, KeeperLost."""
        name = self._throttle(fault)
        ready_line(name, self._folder / "logs", lambda: self._stage.lives(name), within_s=READY_WITHIN_S)
        self._stage.keeper.write(name, throttle.BEGIN)

    def end_throttle(self, fault: PlannedFault) -> None:
        """End it."""
        self._stage.stop(self._throttle(fault))

    def throttled(self, fault: PlannedFault) -> bool:
        """Whether it runs."""
        return self._stage.lives(self._throttle(fault))

    @staticmethod
    def _throttle(fault: PlannedFault) -> str:
        return f"throttle-{fault.name}"

    @staticmethod
    def _name(process: PlannedProcess) -> str:
        return f"process-{process.name}"


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
                self._kill(fault, undo, signal.SIGTERM, fault.attributes["grace"] / 1000)
                self.heal(fault, undo)
            case "pause", RunContainers():
                containers.pause(undo)
            case "pause", _:
                signals.pause(self._trees[fault.name])
            case "slow", _:
                self._processes.begin_throttle(fault)
            case _, RestoreLimit():
                limits.confine(undo, next(iter(fault.attributes.values())))
            case _, DeleteFile():
                disk.fill(Path(undo.path), fault.attributes["leave"])
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


class CommandFaults:
    """Faults that are commands; see `chaos.conductor.faults.Carrier`."""

    def undo(self, fault: PlannedFault) -> Undo:
        """Run its `heal`."""
        own = self._of(fault)
        return RunCommand(heal=own.heal, check=own.check, cwd=own.cwd, timeout_s=own.timeout_s)

    def ready(self, fault: PlannedFault, in_s: float) -> None:
        """Nothing needs to be done before its time."""

    def inject(self, fault: PlannedFault, undo: Undo) -> None:
        """Run its `inject`. Raises CommandFailed."""
        own = self._of(fault)
        commands.run(own.inject, cwd=own.cwd, timeout_s=own.timeout_s)

    def in_place(self, fault: PlannedFault, undo: Undo) -> bool:
        """What its `check` says; without one it is taken to be there. Raises CommandFailed."""
        own = self._of(fault)
        return own.check is None or commands.succeeds(own.check, cwd=own.cwd, timeout_s=own.timeout_s)

    def heal(self, fault: PlannedFault, undo: Undo) -> None:
        """Run its `heal`, and see by its `check` that it is gone. Raises CommandFailed."""
        perform_undo(undo)

    def counts(self, fault: PlannedFault) -> dict[str, int]:
        """Nothing is counted."""
        return {}

    @staticmethod
    def _of(fault: PlannedFault) -> Commands:
        if fault.commands is None:
            raise NoProcess(f"{fault.name} has no commands")
        return fault.commands
