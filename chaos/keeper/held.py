"""What the keeper holds of one fault: how to undo it, and what to journal once it is undone."""

from __future__ import annotations

import os
import time
from pathlib import Path

from chaos.faults.undo import Undo
from chaos.journal import FaultHealed, ProxyRemoved
from slo.model import Model


class Held(Model):
    """An undo, the journal that it belongs to, and the event that says it was done."""

    undo: Undo
    journal: str
    event: FaultHealed | ProxyRemoved

    def write_down(self) -> None:
        """Append the event to the journal, whose writer may be dead. One write: lines do not mix."""
        stamped = self.event.model_copy(update={"t": time.time(), "by": "keeper"})
        path = Path(self.journal)
        if not path.exists():
            return
        line = stamped.model_dump_json().encode() + b"\n"
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            size = os.fstat(fd).st_size
            torn = size > 0 and path.read_bytes()[-1:] != b"\n"
            os.write(fd, b"\n" + line if torn else line)
        finally:
            os.close(fd)
