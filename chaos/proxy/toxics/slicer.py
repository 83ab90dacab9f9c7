"""Cuts data into pieces of about `average_size` bytes, `delay` microseconds apart."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chaos.proxy.toxics.stage import Ends, HoldingStage

if TYPE_CHECKING:
    from random import Random

    from chaos.proxy.toxics.toxic import Toxic


class Slicer(HoldingStage):
    """The toxic `slicer`: halves a chunk, give or take `size_variation`, until its parts are small enough."""

    one_a_turn = True
    __slots__ = ("free_at", "random")

    def __init__(self, toxic: Toxic, pipe: Ends) -> None:
        super().__init__(toxic, pipe)
        self.limit_chunks = 1 << 30  # bytes are the bound: one chunk may be cut into very many pieces
        self.free_at = 0.0
        self.random: Random | None = None

    def enqueue(self, data: bytes, at: float) -> None:
        """Queue the pieces of `data`."""
        cuts = self._cuts(len(data))
        self.toxic.counts.applied += len(cuts) - 1
        start = 0
        for cut in cuts:
            super().enqueue(data[start:cut], at)
            start = cut

    def _cuts(self, size: int) -> list[int]:
        """Where the pieces end; without recursion, as small pieces of large chunks would nest deeply."""
        average, variation = self.toxic.attributes["average_size"], self.toxic.attributes["size_variation"]
        if variation and self.random is None:
            self.random = self.pipe.generator(self.toxic)
        ends: list[int] = []
        todo = [(0, size)]
        while todo:
            start, end = todo.pop()
            if end - start - average <= variation:
                ends.append(end)
                continue
            middle = start + (end - start) // 2
            if self.random is not None and variation:
                middle += self.random.randrange(-variation, variation)
            # A piece is never empty, however the variation falls: an empty one would never be sent.
            middle = min(max(middle, start + 1), end - 1)
            todo.append((middle, end))
            todo.append((start, middle))
        return ends

    def due(self) -> float:
        """`delay` after the piece before; counted on from its due time, so that the average is right."""
        return self.free_at

    def take(self) -> tuple[bytes, float]:
        """The next piece."""
        delay_s = self.toxic.attributes["delay"] / 1e6
        now = time.monotonic()
        self.free_at = max(self.free_at, now - 0.002) + delay_s
        return super().take()

    def update(self) -> None:
        """What is held goes at once."""
        self.free_at = 0.0
        super().update()
