"""The worker's clock, and which phase a moment belongs to."""

from __future__ import annotations

import time
from bisect import bisect_right

BEFORE = "before"


class Clock:
    """Unix seconds that never jump: the system's clock is read once, and then the monotonic one."""

    def __init__(self) -> None:
        self._offset = time.time() - time.perf_counter()

    def now(self) -> float:
        """Unix seconds."""
        return self._offset + time.perf_counter()


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

    def at(self, moment: float) -> str:
        """The phase of an operation that was due at `moment`: the last one that had begun by then."""
        index = bisect_right(self._starts, moment)
        return self._names[index - 1] if index else BEFORE
