"""A policy that is a Python function of the user's own: `function(observation, rng, step)`.

It is given what the last reply observed, a generator that is the episode's own, and the step's number (from
1); it returns the action, or None to stop. It runs in the Locust process, between greenlets, so it must not
block for long.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from loadtests.policies.policy import STEPS, UNKNOWN, Expected, Move, Player, Seen

Function = Callable[[dict[str, Any], random.Random, int], Mapping[str, Any] | None]


class NoAction(TypeError):
    """What a function returned is no action."""


@dataclass(frozen=True, slots=True)
class OwnPlayer:
    """Asks the function for each move."""

    function: Function
    rng: random.Random
    steps: int
    item: str
    reset: ClassVar[None] = None
    opening: ClassVar[Expected] = UNKNOWN
    ends: ClassVar[bool] = False
    strict: ClassVar[bool] = False
    ignore: ClassVar[tuple[str, ...]] = ()

    def move(self, step: int, seen: Seen) -> Move | None:
        """What the function says. Raises NoAction; whatever it raises, too."""
        if step > self.steps:
            return None
        action = self.function(seen.observation, self.rng, step)
        if action is None:
            return None
        if not isinstance(action, Mapping):
            raise NoAction(f"expected an action (a dict) or None, got {type(action).__name__}")
        return Move(dict(action))


@dataclass(frozen=True, slots=True)
class OwnPolicy:
    """Calls one function for all episodes."""

    function: Function

    def player(self, task: int, steps: int | None, rng: random.Random) -> Player:
        """The player of a task, with a generator of its own: what it draws changes nothing else."""
        own = random.Random(rng.getrandbits(64))
        return OwnPlayer(self.function, own, STEPS if steps is None else steps, f"task-{task}")
