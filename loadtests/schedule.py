"""When the users of a workload are due, one after another, for as long as anybody asks. Pure.

Invariant: due times follow from the rates, the seed and the times at which phases began, and from nothing
that happens in between; every worker that draws them draws the same. An arrival's ordinal tells its draws.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from math import inf
from typing import Final, Literal

from loadtests.intensity import Intensity

PER_PHASE: Final = 1 << 28
"""Where each phase has rates of its own, its ordinals start at a multiple of this: so none depends on how
many users came in an earlier one, which was longer or shorter."""


class Schedule:
    """The next user is number `ordinal`, due at `due` (Unix seconds; infinite when nobody comes any more)."""

    def __init__(
        self,
        intensities: Mapping[str | None, Intensity],
        process: Literal["constant", "poisson"],
        rng: random.Random,
    ) -> None:
        """`intensities` by phase, or one for the whole run by the key None. Draws from `rng`."""
        self.due = inf
        self.ordinal = 0
        self.by_phase = None not in intensities
        self._intensities = intensities
        self._seeds = {name: rng.getrandbits(64) for name in intensities}
        self._poisson = process == "poisson"
        self._begun = 0
        self._rng = rng
        self._intensity: Intensity | None = None
        self._origin = 0.0
        self._expected = 0.0

    def begin(self, phase: str, start: float) -> None:
        """A phase begins at `start` (Unix seconds). The first one begins the whole run."""
        key = phase if self.by_phase else None
        if key not in self._intensities or (key is None and self._intensity is not None):
            return
        self._intensity = self._intensities[key]
        self._origin = start
        self._rng = random.Random(self._seeds[key])
        self._expected = self._gap() if self._poisson else 0.0
        self.ordinal = self._begun * PER_PHASE
        self._begun += 1
        self.due = start + self._intensity.due(self._expected)

    def advance(self) -> None:
        """Go on to the user after this one."""
        if self._intensity is None:
            return
        self.ordinal += 1
        self._expected += self._gap() if self._poisson else 1.0
        self.due = self._origin + self._intensity.due(self._expected)

    def _gap(self) -> float:
        return self._rng.expovariate(1.0)


class Recorded:
    """A schedule of times that are known: `offsets`, in order, in seconds from the first phase's start."""

    def __init__(self, offsets: Iterator[float]) -> None:
        self.due = inf
        self.ordinal = 0
        self.by_phase = False
        self._offsets = offsets
        self._origin: float | None = None

    def begin(self, phase: str, start: float) -> None:
        """A phase begins at `start` (Unix seconds). The first one begins the whole run."""
        del phase
        if self._origin is None:
            self._origin = start
            self.due = start + next(self._offsets, inf)

    def advance(self) -> None:
        """Go on to the user after this one."""
        if self._origin is not None:
            self.ordinal += 1
            self.due = self._origin + next(self._offsets, inf)
