"""What plays an episode: a policy makes a player for each, and the player says one move after the other.

Invariant: a player sees what its client took for the replies, and nothing else; what it draws comes from the
episode's own generator. A policy is shared by all episodes of a worker and keeps nothing of any.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

JsonObject = dict[str, Any]

STEPS: Final = 10
"""The most steps of an episode where neither the options nor the policy say how many."""


class Seen(NamedTuple):
    """What a reply said: the observation, the reward and whether the episode is over (None: not said)."""

    observation: JsonObject
    reward: float | None
    done: bool | None


NOTHING: Final = Seen({}, None, None)
"""Before the reply to the reset."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a reply is known to say in advance. None: not known.

    `reward` is taken where the client takes the reply; `at_end` only where the reply ends the episode.
    `done` and `digest` (of the observation) are what a recorded reply said.
    """

    reward: float | None = None
    at_end: float | None = None
    done: bool | None = None
    digest: str | None = None

    def mismatch(self, seen: Seen, digest: str | None, tolerance: float) -> str | None:
        """What `seen` says otherwise than was recorded, or None."""
        if self.reward is not None and not (
            seen.reward is not None and abs(seen.reward - self.reward) <= tolerance
        ):
            return f"reward: expected {self.reward:g}, got {seen.reward}"
        if self.done is not None and bool(seen.done) is not self.done:
            return f"done: expected {self.done}, got {seen.done}"
        if self.digest is not None and digest != self.digest:
            return f"observation: expected {self.digest}, got {digest}"
        return None


UNKNOWN: Final = Expected()


@dataclass(frozen=True, slots=True)
class Move:
    """One action, and what is known of its reply."""

    action: JsonObject
    expected: Expected = UNKNOWN


class Player(Protocol):
    """One episode's player."""

    @property
    def item(self) -> str | None:
        """What the episode is about, the same in every run."""

    @property
    def reset(self) -> JsonObject | None:
        """What the reset carries, in place of the options' own; None: what the options say."""

    @property
    def opening(self) -> Expected:
        """What is known of the reply to the reset."""

    @property
    def ends(self) -> bool:
        """Whether the last move is known to end the episode."""

    @property
    def strict(self) -> bool:
        """Whether a careful client fails an episode whose replies say otherwise than is known."""

    @property
    def ignore(self) -> tuple[str, ...]:
        """What digests of observations leave out, as JSON pointers into them."""

    def move(self, step: int, seen: Seen) -> Move | None:
        """The move of a step (from 1), seeing the reply before it; None: no more."""


class Policy(Protocol):
    """Makes the players of a workload."""

    def player(self, task: int, steps: int | None, rng: random.Random) -> Player:
        """The player of an episode with the seed `task`. `steps` is how many at most, None: not said."""
