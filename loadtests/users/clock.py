"""The worker's clock, and which phase a moment belongs to."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BEFORE = "before"


class Clock:
    """Unix seconds that never jump: the system's clock is read once, and then the monotonic one."""

    def __init__(self) -> None:
        self._offset = time.time() - time.perf_counter()

    def now(self) -> float:
        """Unix seconds."""
        return self._offset + time.perf_counter()

    def adjust(self, by_s: float) -> None:
        """Go by another's clock from now on; before anything has been timed, as this is a jump."""
        self._offset += by_s


class Offset(NamedTuple):
    """How far another's clock is ahead of ours, and how far off that may be at most (both in seconds)."""

    offset_s: float
    error_s: float

    @classmethod
    def of(cls, sent: float, theirs: float, received: float) -> Offset:
        """From one question: when it was sent and its answer came, by our clock, and what time it told.

        The other's clock was read somewhere in between: as RFC 5905 (section 8) has it, with one reading.
        """
        return cls(theirs - (sent + received) / 2, (received - sent) / 2)


def best_offset(offsets: Iterable[Offset]) -> Offset:
    """The one whose answer took the shortest: it can be the least wrong. Raises ValueError: there is none."""
    return min(offsets, key=lambda offset: offset.error_s)


class Phases:
    """The phases that the conductor has announced, by their starts."""

    def __init__(self) -> None:
        self._starts: list[float] = []
        self._names: list[str] = []

    def begin(self, name: str, start: float) -> None:
        """A phase holds from `start` on (Unix seconds) until the next one starts."""
        at = bisect_right(self._starts, start)
        self._starts.insert(at, start)
        self._names.insert(at, name)

    def __len__(self) -> int:
        """How many have been announced."""
        return len(self._starts)

    def name(self, index: int) -> str:
        """The name of the `index`-th, by their starts."""
        return self._names[index]

    def start(self, index: int) -> float:
        """The start of the `index`-th, in Unix seconds."""
        return self._starts[index]

    def at(self, moment: float) -> str:
        """The phase of an operation that was due at `moment`: the last one that had begun by then."""
        index = bisect_right(self._starts, moment)
        return self._names[index - 1] if index else BEFORE

    def all_at(self, moments: npt.NDArray[np.float64]) -> tuple[tuple[str, ...], npt.NDArray[np.intp]]:
        """As `at`, of many moments: the phases' names, and for each moment the index of its own."""
        return (BEFORE, *self._names), np.searchsorted(np.array(self._starts, float), moments, side="right")
