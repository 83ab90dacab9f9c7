"""Fakes of the conductor's ports, shipped so that plans can be tested without a world.

Time passes only when somebody waits for it, so a run of an hour takes no time. The fakes are held to the same
contract tests as the real ports.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from chaos.faults.undo import RemoveToxic, Undo
from chaos.plan import PlannedFault
from slo.objective import Phase

API = "http://127.0.0.1:8474"


@dataclass
class FakeClock:
    """A clock that stands still until someone waits; `at` are things that happen at a time (Unix seconds)."""

    time: float = 1_000_000.0
    at: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def now(self) -> float:
        """The time."""
        return self.time

    def wait(self, until: float, wake: threading.Event) -> None:
        """Jump to `until`, or to the first happening on the way that sets `wake`."""
        for when, happen in sorted(self.at, key=lambda pair: pair[0]):
            if self.time < when <= until:
                self.time = when
                happen()
                if wake.is_set():
                    return
        if not wake.is_set():
            self.time = max(self.time, until)


@dataclass
class FakeFaults:
    """Faults that are only remembered. Names in `refuse` fail to inject, in `silent` are injected without an
    answer, in `stubborn` fail to heal."""

    refuse: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    stubborn: frozenset[str] = frozenset()
    present: list[str] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def undo(self, fault: PlannedFault) -> Undo:
        """As for a toxic."""
        return RemoveToxic(api=API, proxy=fault.place, toxic=fault.name)

    def arm(self, fault: PlannedFault, undo: Undo, in_s: float) -> None:
        """Nothing needs to be done."""

    def inject(self, fault: PlannedFault, undo: Undo) -> float | None:
        """Remember it. Raises OSError for the refused and the silent."""
        self.calls.append(("inject", fault.name))
        if fault.name in self.refuse:
            raise OSError(f"{fault.name} refused")
        self.present.append(fault.name)
        if fault.name in self.silent:
            raise TimeoutError(f"{fault.name}: no answer")
        return None

    def in_place(self, fault: PlannedFault) -> bool:
        """Whether it is remembered."""
        return fault.name in self.present

    def heal(self, fault: str, undo: Undo) -> None:
        """Forget it; idempotent. Raises OSError for the stubborn."""
        self.calls.append(("heal", fault))
        if fault in self.stubborn:
            raise OSError(f"{fault} cannot be reached")
        if fault in self.present:
            self.present.remove(fault)

    def counts(self, fault: PlannedFault) -> dict[str, int]:
        """Nothing is counted."""
        return {}


@dataclass
class FakeLoad:
    """A load that only notes its phases."""

    phases: list[tuple[Phase, float]] = field(default_factory=list)
    stopped: int = 0

    def begin(self, phase: Phase, at: float) -> None:
        """Note the phase."""
        self.phases.append((phase, at))

    def stop(self) -> bool:
        """Note the stop; the last numbers are always in."""
        self.stopped += 1
        return True
