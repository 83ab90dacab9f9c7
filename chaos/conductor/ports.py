"""The ports through which the conductor touches the world; the fakes in `chaos.testing` keep them honest."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from chaos.faults.undo import Undo
from chaos.plan import PlannedFault
from slo.objective import Phase


class Clock(Protocol):
    """Time, in Unix seconds, that never runs backwards."""

    def now(self) -> float:
        """The time."""
        ...

    def wait(self, until: float, wake: threading.Event) -> None:
        """Return at `until`, or earlier when `wake` is set."""
        ...


class Faults(Protocol):
    """Injects and heals faults."""

    def undo(self, fault: PlannedFault) -> Undo:
        """What will take `fault` away again; known before anything is done. Raises OSError."""
        ...

    def arm(self, fault: PlannedFault, undo: Undo, in_s: float) -> None:
        """All that can be done `in_s` seconds before its time; from here on somebody else holds the undo.

        Raises OSError or ValueError; what may have been done is healed in any case.
        """
        ...

    def inject(self, fault: PlannedFault, undo: Undo) -> float | None:
        """Put `fault` in place, after `arm`, or see that it is; how many seconds late it was, if known.

        Raises OSError or ValueError when it is refused or goes unanswered.
        """
        ...

    def in_place(self, fault: PlannedFault) -> bool:
        """Whether it is still there. Raises OSError when nobody answers."""
        ...

    def heal(self, fault: str, undo: Undo) -> None:
        """Take it away and verify that it is gone; idempotent. Raises OSError when it may still be there."""
        ...

    def counts(self, fault: PlannedFault) -> dict[str, int]:
        """What was counted of it; empty where nothing counts."""
        ...


class Load(Protocol):
    """A generator that is up and waits for its first phase."""

    def begin(self, phase: Phase, at: float) -> None:
        """Operations due at or after `at` (Unix seconds) belong to `phase`; the first starts arrivals."""
        ...

    def stop(self) -> bool:
        """No more arrivals; open operations are given their time. True when the last numbers have come in."""
        ...


class WallClock:
    """The machine's clock, anchored once so that a step of the wall clock cannot turn a run around."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Unix seconds."""
        return time.monotonic() + self._offset

    def wait(self, until: float, wake: threading.Event) -> None:
        """Sleep to within a fraction of a millisecond of `until`."""
        wake.wait(max(0.0, until - self.now()))
