"""The load port on programs: a process that runs them, driven and heard as Locust's are. And both as one."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from chaos.conductor.ready import NotReady, tail, wait_until
from chaos.conductor.stage import Stage
from chaos.conductor.telemetry import Telemetry
from chaos.keeper.handle import KeeperLost
from loadtests import runner
from loadtests.options.command import CommandProfile
from loadtests.profile import LoadPlan
from slo.objective import Phase

NAME = "commands"
START_WITHIN_S = 30.0
READ_BACK_S = 30.0
"""How long the programs' logs may take to be read back, once they have ended."""


class Generator(Protocol):
    """A load generator of a run; see `chaos.conductor.load.LocustLoad`."""

    def start(self) -> None:
        """Start it. Raises KeeperLost."""
        ...

    def wait_ready(self, check: Callable[[], None]) -> None:
        """Until it waits for its first phase. Raises NotReady."""
        ...

    def check(self) -> None:
        """Notice, while a run is on, what it has lost. Raises Stopped."""
        ...

    def begin(self, phase: Phase, at: float) -> None:
        """Announce a phase."""
        ...

    def stop(self) -> bool:
        """End it; whether its last numbers have come."""
        ...


class CommandLoad:
    """The process that runs the programs of one run. Its end during the run ends the run."""

    def __init__(self, stage: Stage, plan: LoadPlan, folder: Path, *, telemetry: Telemetry) -> None:
        host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname()).strip("-") or "host"
        self._worker = f"{host}-{os.getpid()}-{NAME}"
        self._stage = stage
        self._plan = plan.model_copy(update={"worker": self._worker, "members": ()})
        self._folder = folder
        self._telemetry = telemetry
        self._alive = False
        profiles = [w.profile for w in plan.workloads if isinstance(w.profile, CommandProfile)]
        self._grace_s = max((profile.with_.grace for profile in profiles), default=0.0)

    def start(self) -> None:
        """Start the process, which then waits for its first phase. Raises KeeperLost."""
        path = self._folder / "commands.json"
        path.write_text(self._plan.model_dump_json(by_alias=True, indent=2))
        Path(self._plan.history).mkdir(exist_ok=True)
        command, environment = runner.commands_command(path), runner.environment(path)
        self._stage.spawn(NAME, command, environment, self._folder / "logs")
        self._alive = True

    def wait_ready(self, check: Callable[[], None]) -> None:
        """Until its first telemetry has come; `check` is called on the way. Raises NotReady."""
        log = self._folder / "logs" / f"{NAME}.err"

        def ready() -> bool:
            if not self._stage.lives(NAME):
                how = self._stage.how_ended(NAME)
                self._stage.expect_end(NAME)
                raise NotReady(f"{NAME} was not ready: {how}; the end of {log}:\n{tail(log)}")
            check()
            return self._telemetry.heard(runner.READY_METRIC, self._worker)

        wait_until("the process that runs the commands", ready, within_s=START_WITHIN_S, hint=f"see {log}")

    def check(self) -> None:
        """Nothing more than what the stage sees to: its process is expected to live."""

    def begin(self, phase: Phase, at: float) -> None:
        """Announce a phase. A process that is gone is noticed by its exit, not here."""
        with contextlib.suppress(KeeperLost):
            self._stage.keeper.write(NAME, runner.phase_line(phase, at))

    def stop(self) -> bool:
        """Let programs end, or end them; wait for the last numbers, end the process."""
        if not self._alive:
            return False
        self._alive = False
        self._stage.expect_end(NAME)

        def ended() -> bool:
            heard = self._telemetry.heard(runner.FINAL_METRIC, self._worker)
            return heard or not self._stage.lives(NAME)

        with contextlib.suppress(KeeperLost, NotReady):  # whether the last report came is asked below
            self._stage.keeper.write(NAME, runner.stop_line())
            within_s = self._plan.drain_s + self._grace_s + READ_BACK_S
            wait_until("the last report of the commands", ended, within_s=within_s)
        self._stage.stop(NAME)
        return self._telemetry.heard(runner.FINAL_METRIC, self._worker)


class Generators:
    """All load generators of a run, as one."""

    def __init__(self, parts: Sequence[Generator]) -> None:
        self._parts = tuple(parts)

    def start(self) -> None:
        """Start all of them. Raises KeeperLost."""
        for part in self._parts:
            part.start()

    def wait_ready(self, check: Callable[[], None]) -> None:
        """Until each waits for its first phase. Raises NotReady."""
        for part in self._parts:
            part.wait_ready(check)

    def check(self) -> None:
        """Notice, while a run is on, what they have lost. Raises Stopped."""
        for part in self._parts:
            part.check()

    def begin(self, phase: Phase, at: float) -> None:
        """Announce a phase to each."""
        for part in self._parts:
            part.begin(phase, at)

    def stop(self) -> bool:
        """End them, one after the other; whether the last numbers of each have come."""
        complete = [part.stop() for part in self._parts]  # each of them, whatever the others say
        return all(complete)


def generators(
    plan: LoadPlan, *, locust: Callable[[LoadPlan], Generator], commands: Callable[[LoadPlan], Generator]
) -> Generators:
    """What a plan's workloads need, each made for its part of the plan."""
    programs = tuple(w for w in plan.workloads if isinstance(w.profile, CommandProfile))
    others = tuple(w for w in plan.workloads if not isinstance(w.profile, CommandProfile))
    parts = [
        make(plan.model_copy(update={"workloads": own}))
        for make, own in ((locust, others), (commands, programs))
        if own
    ]
    return Generators(parts)
