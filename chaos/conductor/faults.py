"""The faults port of a run: whatever carries a fault, the keeper holds its undo before it is injected."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from chaos.faults.toxiproxy import ProxyFailed, ProxyRefused, ProxyUnreachable
from chaos.faults.undo import Undo
from chaos.journal import FaultHealed
from chaos.keeper.handle import Keeper
from chaos.plan import PlannedFault


class Carrier(Protocol):
    """What can put faults of some types in place. Every method may raise OSError; see `ports.Faults`."""

    def undo(self, fault: PlannedFault) -> Undo:
        """What will take `fault` away again."""
        ...

    def ready(self, fault: PlannedFault, in_s: float) -> None:
        """All that can be done `in_s` seconds before its time."""
        ...

    def inject(self, fault: PlannedFault, undo: Undo) -> float | None:
        """Put it in place, or see that it is; how many seconds late it was, if known."""
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
        self,
        carrier: Callable[[PlannedFault], Carrier],
        keeper: Keeper,
        *,
        run: str,
        journal: Path,
        own_proxy: str | None = None,
        took_along: Callable[[Undo], bool] = lambda _: False,
    ) -> None:
        """`own_proxy` is the keeper's name for the proxy server, where the run started that itself, and
        `took_along` tells whether it has ended and taken a fault along."""
        self._carrier = carrier
        self._keeper = keeper
        self._run = run
        self._journal = journal
        self._own_proxy = own_proxy
        self._took_along = took_along
        self._unanswered: set[str] = set()
        self._undos: dict[str, tuple[PlannedFault, Undo]] = {}

    def undo(self, fault: PlannedFault) -> Undo:
        """What will take it away again."""
        undo = self._carrier(fault).undo(fault)
        self._undos[fault.name] = (fault, undo)
        return undo

    def arm(self, fault: PlannedFault, undo: Undo, in_s: float) -> None:
        """Have the keeper hold the undo, and do what can be done ahead. Raises OSError or ValueError."""
        carrier = self._own_proxy if undo.server is not None else None
        event = FaultHealed(fault=fault.name)
        self._keeper.hold(self._key(fault), undo, self._journal, event, carrier=carrier)
        with self._noting_answers(fault):
            self._carrier(fault).ready(fault, in_s)

    def inject(self, fault: PlannedFault, undo: Undo) -> float | None:
        """Put it in place; how late it was, if known. Raises OSError or ValueError.

        A conductor that was stopped for longer than its lease has lost its keeper, and injects no more.
        """
        self._keeper.assure()
        with self._noting_answers(fault):
            late_s = self._carrier(fault).inject(fault, undo)
        self._keeper.answered(self._key(fault))
        return late_s

    def in_place(self, fault: PlannedFault) -> bool:
        """Whether it is still there. Raises OSError."""
        return self._carrier(fault).in_place(fault, self._undos[fault.name][1])

    def heal(self, fault: str, undo: Undo) -> None:
        """Undo and verify, then let the keeper forget it. Raises OSError when it may still be in place.

        The keeper goes on holding one whose injection went unanswered: it may come yet.
        """
        planned = self._undos[fault][0]
        try:
            self._carrier(planned).heal(planned, undo)
        except OSError:
            if not self._took_along(undo):
                raise
        if fault not in self._unanswered:
            self._keeper.release(self._key(planned))

    def counts(self, fault: PlannedFault) -> dict[str, int]:
        """What was counted of it; empty where nothing counts."""
        return self._carrier(fault).counts(fault)

    def _key(self, fault: PlannedFault) -> str:
        return held_as(self._run, fault.name)

    @contextlib.contextmanager
    def _noting_answers(self, fault: PlannedFault) -> Iterator[None]:
        try:
            yield
        except (ProxyFailed, ProxyRefused):
            raise  # an answer, too
        except ProxyUnreachable:
            self._unanswered.add(fault.name)
            self._keeper.answered(self._key(fault), known=False)
            raise
