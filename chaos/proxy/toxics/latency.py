"""Delays data by `latency` ms, give or take a uniform `jitter` ms, and keeps the order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chaos.proxy.toxics.stage import Ends, HoldingStage

if TYPE_CHECKING:
    from random import Random

    from chaos.proxy.toxics.toxic import Toxic

_HELD_MAX: Final = 32 * 1024 * 1024  # Toxiproxy's 1,024 chunks of at most 32 KiB


class Latency(HoldingStage):
    """The toxic `latency`: delays count from the arrival, so latencies in a chain add up.

    The end of a stream follows the data before it; on an idle link it is not delayed.
    """

    __slots__ = ("last", "random")

    def __init__(self, toxic: Toxic, pipe: Ends) -> None:
        super().__init__(toxic, pipe)
        self.limit_bytes = _HELD_MAX
        self.last = 0.0
        self.random: Random | None = None

    def enqueue(self, data: bytes, at: float) -> None:
        """Draw the delay of this chunk; it goes no sooner than the one before it."""
        attributes = self.toxic.attributes
        delay_ms = float(attributes["latency"])
        jitter = attributes["jitter"]
        if jitter:
            if self.random is None:
                self.random = self.pipe.generator(self.toxic)
            delay_ms += self.random.uniform(-jitter, jitter)
        if delay_ms > 0:
            self.toxic.counts.applied += 1
            at += delay_ms / 1000
        self.last = max(at, self.last)
        super().enqueue(data, self.last)

    def due(self) -> float:
        """The head's arrival plus its delay."""
        return self.queue[0][1]

    def update(self) -> None:
        """What is held goes at once, so nothing has to wait for it."""
        super().update()
        self.last = 0.0
