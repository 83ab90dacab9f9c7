"""A policy that is a list of actions in the profile, for any environment's action schema.

Texts in an action may hold templates (`loadtests.templates`): `${seed}`, `${step}` (from 1), and of the last
reply `${reward}`, `${done}` and `${observation.KEY}`, as deep as it goes. A text that is one template alone
becomes the value itself, so a number stays a number.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar, Final

from pydantic import Field, JsonValue, model_validator

from loadtests.policies.policy import UNKNOWN, Expected, JsonObject, Move, Player, Seen
from loadtests.templates import BadTemplate, JsonTemplate, json_template
from slo.model import Model

NAMES: Final = ("seed", "step", "reward", "done", "observation")
"""What templates of an action may name."""


class ScriptedStep(Model):
    """One action, as the environment's schema wants it, and what it is known to earn."""

    action: dict[str, JsonValue] = Field(
        description="May hold templates: ${seed}, ${step}, ${reward}, ${done}, ${observation.key}."
    )
    reward: float | None = Field(None, description="What the reply's reward has to be.")
    done: bool | None = Field(None, description="Whether the reply has to end the episode.")

    @model_validator(mode="after")
    def _known_templates(self) -> ScriptedStep:
        if fault := template_fault(self.action, NAMES):
            raise ValueError(f"action has a wrong template: {fault}")
        return self


def template_fault(value: object, names: tuple[str, ...]) -> str | None:
    """What is wrong with the templates of a value that may name `names`, or None."""
    try:
        template = json_template(value)
    except BadTemplate as error:
        return str(error)
    unknown = [name for name in template.names if name.root not in names]
    if not unknown:
        return None
    return f"expected a template of {', '.join(f'${{{name}}}' for name in names)}, got ${{{unknown[0]}}}"


@dataclass(frozen=True, slots=True)
class _Line:
    """A step of the script, ready to be filled in."""

    action: JsonTemplate
    expected: Expected


@dataclass(frozen=True, slots=True)
class ScriptedPlayer:
    """Plays a script, over again where the episode is longer."""

    lines: tuple[_Line, ...]
    task: int
    steps: int
    item: str
    reset: ClassVar[None] = None
    opening: ClassVar[Expected] = UNKNOWN
    ends: ClassVar[bool] = False
    strict: ClassVar[bool] = True
    ignore: ClassVar[tuple[str, ...]] = ()

    def move(self, step: int, seen: Seen) -> Move | None:
        """The script's action, filled in. Raises Missing: the observation has not what it asks for."""
        if step > self.steps:
            return None
        line = self.lines[(step - 1) % len(self.lines)]
        known = {"seed": self.task, "step": step, "reward": seen.reward, "done": seen.done}
        action = line.action.value({**known, "observation": seen.observation})
        return Move(_object(action), line.expected)


class ScriptedPolicy:
    """Plays one script in each episode, once unless the options say how many steps."""

    def __init__(self, script: tuple[ScriptedStep, ...]) -> None:
        self._lines = tuple(
            _Line(json_template(step.action), Expected(reward=step.reward, done=step.done)) for step in script
        )

    def player(self, task: int, steps: int | None, rng: random.Random) -> Player:
        """The player of a task."""
        del rng
        return ScriptedPlayer(self._lines, task, steps or len(self._lines), f"task-{task}")


class ResetData:
    """The options' own reset data; before a reset only the seed is known."""

    def __init__(self, data: JsonObject) -> None:
        self._template = json_template(data)

    def of(self, task: int) -> JsonObject:
        """What the reset of a task carries."""
        return _object(self._template.value({"seed": task}))


def _object(value: object) -> JsonObject:
    """A template of an object makes an object."""
    assert isinstance(value, dict)  # noqa: S101 - by construction
    return value
