"""The faults port of a run: whatever carries a fault, the keeper holds its undo before it is injected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from chaos.faults.undo import Undo
from chaos.journal import FaultHealed
from chaos.keeper.handle import Keeper
from chaos.plan import PlannedFault


class Carrier(Protocol):
    """What can put faults of some types in place. Every method may raise OSError; see `ports.Faults`."""

    def undo(self, fault: PlannedFault) -> Undo:
        """What will take `fault` away again."""
        ...

    def ready(self, fault: PlannedFault) -> None:
        """All that can be done before its time."""
        ...

    def inject(self, fault: PlannedFault, undo: Undo) -> None:
        """Put it in place."""
        ...

    def in_place(self, fault: PlannedFault, undo: Undo) -> bool:
        """Whether it is still there."""
        ...

    def heal(self, fault: PlannedFault, undo: Undo) -> None:
        """Undo it, and see that it is gone."""
        ...

    def counts(self, fault: PlannedFault) -> dict[str, int]:
        """What was counted of it."""
        ...


def held_as(run: str, fault: str) -> str:
    """The keeper's key: runs of one suite may use the same names, and one of them may be unhealed."""
    return f"{run}/{fault}"


class KeptFaults:
    """Faults of one run, each with `carrier(fault)`, all held by the keeper while they may be in place."""

    def __init__(
        self, carrier: Callable[[PlannedFault], Carrier], keeper: Keeper, *, run: str, journal: Path
    ) -> None:
        self._carrier = carrier
        self._keeper = keeper
        self._run = run
        self._journal = journal
        self._undos: dict[str, tuple[PlannedFault, Undo]] = {}

    def undo(self, fault: PlannedFault) -> Undo:
        """What will take it away again."""
        undo = self._carrier(fault).undo(fault)
        self._undos[fault.name] = (fault, undo)
        return undo

    def arm(self, fault: PlannedFault, undo: Undo) -> None:
        """Have the keeper hold the undo. Raises OSError."""
        self._keeper.hold(held_as(self._run, fault.name), undo, self._journal, FaultHealed(fault=fault.name))
        self._carrier(fault).ready(fault)

    def inject(self, fault: PlannedFault, undo: Undo) -> None:
        """Put it in place. Raises OSError or ValueError."""
        self._carrier(fault).inject(fault, undo)

    def in_place(self, fault: PlannedFault) -> bool:
        """Whether it is still there. Raises OSError."""
        return self._carrier(fault).in_place(fault, self._undos[fault.name][1])

    def heal(self, fault: str, undo: Undo) -> None:
        """Undo and verify, then let the keeper forget it. Raises OSError when it may still be in place."""
        planned = self._undos[fault][0]
        self._carrier(planned).heal(planned, undo)
        self._keeper.release(held_as(self._run, fault))

    def counts(self, fault: PlannedFault) -> dict[str, int]:
        """What was counted of it; empty where nothing counts."""
        return self._carrier(fault).counts(fault)
