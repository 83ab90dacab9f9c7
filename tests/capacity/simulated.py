"""Services and generators as functions of the rate, and points held on them as the real ones are."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from chaos.capacity.search import Answer, Limits, Standing, Trial, answer, following
from chaos.capacity.sequential import always_valid, confidence_of_each

Good = Callable[[float], float]
"""The share of good operations at a rate."""


@dataclass(frozen=True)
class Simulated:
    """`good` by rate; above `generator` the generator gives out. A point ends after `most` operations."""

    good: Good
    target: float = 0.95
    generator: float = math.inf
    most: int = 3000
    look_every: int = 40

    def standing(self, rate: float, confidence: float, rng: random.Random) -> Standing:
        """Hold a rate: look again and again until it is decided, or the time is over."""
        if rate > self.generator:
            return "generator"
        hits = 0
        good = self.good(rate)
        for n in range(1, self.most + 1):
            hits += rng.random() < good
            if n % self.look_every == 0:
                low, high = always_valid(hits, n, confidence)
                if low >= self.target:
                    return "holds"
                if high < self.target:
                    return "breached"
        return "unknown"


def searched(service: Simulated, limits: Limits, rng: random.Random) -> tuple[list[Trial], Answer]:
    """A whole search."""
    confidence = confidence_of_each(0.95, limits.most)
    trials: list[Trial] = []
    while (ask := following(trials, limits)) is not None:
        assert limits.lowest <= ask.rate <= limits.highest
        trials.append(Trial(ask.rate, service.standing(ask.rate, confidence, rng)))
        assert len(trials) <= limits.most, "the search does not end"
    return trials, answer(trials)


def cliff(capacity: float) -> Good:
    """All is good up to the capacity, and beyond it what is served of what comes."""
    return lambda rate: 1.0 if rate <= capacity else 0.6 * capacity / rate


def slope(capacity: float, target: float = 0.95) -> Good:
    """The share of good operations falls gently, and is at the target where the rate is the capacity."""
    return lambda rate: max(0.0, 1 - (1 - target) * (rate / capacity) ** 4)
