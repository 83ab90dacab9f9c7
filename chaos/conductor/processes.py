"""The processes of a run's target: those that the run starts, and how each of them is found.

A process of the run (a demo service, a `command`) is the keeper's child and ends with the run; it is started
again by the conductor. The others are found by their pid file, or as the containers of a compose service.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chaos.conductor.ready import ready_line
from chaos.conductor.stage import Stage
from chaos.faults.processes import containers, throttle
from chaos.faults.processes.identity import pid_in, process_id
from chaos.faults.undo import (
    ProcessId,
    RunContainers,
)
from chaos.plan import Plan, PlannedFault, PlannedProcess

END_WITHIN_S = 30.0
READY_WITHIN_S = 15.0


class NoProcess(OSError):
    """The place has no process that the fault could touch."""


class Processes:
    """The processes that faults of `plan` may touch; `start` starts those that are commands."""

    def __init__(self, plan: Plan, stage: Stage, folder: Path) -> None:
        self._declared = {process.name: process for process in plan.processes}
        self._demos = {service.name: service.demo.process for service in plan.services if service.demo}
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
        period = fault.numbers["period"]
        argv += [str(period * fault.numbers["stopped"] / 100), str(period)]
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
