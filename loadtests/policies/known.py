"""The demo environment's own policies, whose rewards are known in advance."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from loadtests.policies.policy import STEPS, UNKNOWN, Expected, JsonObject, Move, Player, Seen
from loadtests.workspace import REWARDS, policy_actions
from loadtests.workspace import Policy as Name


@lru_cache(maxsize=1024)
def _played(policy: Name, seed: int, steps: int) -> tuple[JsonObject, ...]:
    """What a deterministic policy does about a task."""
    return tuple(dict(action) for action in policy_actions(policy, seed, steps, random.Random(0)))


@dataclass(frozen=True, slots=True)
class KnownPlayer:
    """Plays a list of actions; the last one ends the episode, and earns what is known."""

    item: str
    actions: Sequence[JsonObject]
    earned: float
    reset: ClassVar[None] = None
    opening: ClassVar[Expected] = UNKNOWN
    ends: ClassVar[bool] = True
    strict: ClassVar[bool] = False  # a wrong reward is what the check `reward-known` is there to find
    ignore: ClassVar[tuple[str, ...]] = ()

    def move(self, step: int, seen: Seen) -> Move | None:
        """The action of the step."""
        del seen
        if step > len(self.actions):
            return None
        last = step == len(self.actions)
        expected = Expected(reward=self.earned) if last else Expected(at_end=self.earned)
        return Move(self.actions[step - 1], expected)


@dataclass(frozen=True, slots=True)
class KnownPolicy:
    """oracle, null or random."""

    name: Name

    def player(self, task: int, steps: int | None, rng: random.Random) -> Player:
        """The player of a task."""
        most = STEPS if steps is None else steps
        actions: Sequence[JsonObject]
        if self.name == "random":
            actions = [dict(action) for action in policy_actions("random", task, most, rng)]
        else:
            actions = _played(self.name, task, most)
        return KnownPlayer(f"task-{task}", actions, REWARDS[self.name])
