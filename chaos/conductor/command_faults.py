"""Faults that are commands: any other tool, driven by what the experiment says to run."""

from __future__ import annotations

from chaos.faults.heal import heal as perform_undo
from chaos.faults.processes import commands
from chaos.faults.undo import (
    RunCommand,
    Undo,
)
from chaos.plan import Commands, PlannedFault


class NoCommands(ValueError):
    """A command fault without its commands: no plan of ours has one."""


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
            raise NoCommands(f"{fault.name} has no commands")
        return fault.commands
