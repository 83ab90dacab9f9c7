"""Limits each connection to `rate` kB/s (1,000 bytes per second)."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from chaos.proxy.toxics.stage import Ends, HoldingStage

if TYPE_CHECKING:
    from chaos.proxy.toxics.toxic import Toxic


class Bandwidth(HoldingStage):
    """The toxic `bandwidth`: data goes when the time that it takes has passed, in pieces of at most 100 ms.

    At rate 0 nothing goes, for ever, and the sender feels it once the buffer (64 KiB) is full.
    """

    __slots__ = ("head_due", "line_free")

    def __init__(self, toxic: Toxic, pipe: Ends) -> None:
        super().__init__(toxic, pipe)
        self.line_free = 0.0
        self.head_due: float | None = None

    def _piece(self) -> int:
        rate: int = self.toxic.attributes["rate"]
        return max(1, min(len(self.queue[0][0]), rate * 100))

    def due(self) -> float:
        """When the line has carried the head's next piece."""
        if self.head_due is None:
            rate = self.toxic.attributes["rate"]
            self.toxic.counts.applied += 1
            seconds = self._piece() / (rate * 1000) if rate else math.inf
            self.head_due = max(self.line_free, time.monotonic()) + seconds
        return self.head_due

    def take(self) -> tuple[bytes, float]:
        """The head's next piece."""
        self.line_free = self.due()
        self.head_due = None
        size = self._piece()
        data, at = self.queue[0]
        if size == len(data):
            self.queue.popleft()
        else:
            self.queue[0] = (data[size:], at)
            data = data[:size]
        self.held -= size
        return data, at

    def update(self) -> None:
        """What is held goes at once; the line starts afresh at the new rate."""
        self.head_due = None
        self.line_free = 0.0
        super().update()
