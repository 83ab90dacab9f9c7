"""What the keeper holds of one fault: how to undo it, and what to journal once it is undone."""

from __future__ import annotations

import contextlib
from pathlib import Path

from chaos.faults.undo import Undo
from chaos.journal import FaultHealed, Journal, ProxyRemoved, outstanding, read_events
from slo.model import Model


class Held(Model):
    """An undo, the journal that it belongs to, and the event that says it was done."""

    undo: Undo
    journal: str
    event: FaultHealed | ProxyRemoved

    def write_down(self) -> None:
        """Append the event to the journal, whose writer may be dead, unless it says so already."""
        path = Path(self.journal)
        if not path.exists():
            return  # the run folder was deleted: nobody is left to read it
        with contextlib.suppress(ValueError):
            if not any(item.done == self.event for item in outstanding(read_events(path))):
                return
        journal = Journal(path)
        try:
            journal.record(self.event.model_copy(update={"by": "keeper"}))
        finally:
            journal.close()
