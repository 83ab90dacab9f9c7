"""The tool calls of one session, drawn before anything is sent: those a profile declares, or the demo's.

Invariant: which tools are called with what follows from the arrival's own chances. The right results of the
demo's tools follow from the workspace's number, so a result that differs was changed on its way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from loadtests.options.tools import NUMBERS, DeclaredTool, Executions, ToolsOptions
from loadtests.pointers import Pointer
from loadtests.pointers import parse as parse_pointer
from loadtests.templates import JsonTemplate, Template, escaped, json_template
from loadtests.templates import parse as parse_template
from loadtests.users.arrival import Arrival
from loadtests.workspace import Episode, oracle_actions

_LONGEST_THINK: Final = 10.0
"""Times the mean: pauses are drawn from an exponential distribution, cut off here."""
_ACTIONS: Final = 8
"""Of the demo's oracle, its submission among them: searches, reads and one computation."""

_RECORDED: Final = DeclaredTool(
    name="record",
    arguments={"entry": "${id}"},
    expect="${id}",
    executions=Executions(tool="executions", arguments={"entry": "${id}"}),
)


@dataclass(frozen=True, slots=True)
class Question:
    """How the server is asked how often a call was executed."""

    tool: str
    arguments: JsonTemplate
    pointer: Pointer


@dataclass(frozen=True, slots=True)
class Tool:
    """A declared tool, its templates read."""

    name: str
    arguments: JsonTemplate
    expect: Template | None
    question: Question | None

    @classmethod
    def of(cls, declared: DeclaredTool) -> Tool:
        """Raises BadTemplate, BadPointer: documents are validated against them."""
        asked = declared.executions
        return cls(
            declared.name,
            json_template(declared.arguments),
            None if declared.expect is None else parse_template(declared.expect),
            None
            if asked is None
            else Question(asked.tool, json_template(asked.arguments), parse_pointer(asked.pointer)),
        )


@dataclass(slots=True)
class Call:
    """One logical call. `step` counts from 1.

    `id` is of this run alone: a server that remembers keys remembers those of the runs before.
    """

    tool: Tool
    id: str
    step: int
    nonce: int
    item: str
    user: int
    number: int
    pause_s: float
    taken: bool = field(default=False, init=False)
    """Whether its client took it for done."""

    def values(self, key: str) -> dict[str, object]:
        """What templates stand for, in a try with this key."""
        return {
            "id": self.id,
            "nonce": f"{self.nonce:016x}",
            "key": key,
            "user": self.user,
            "call": self.step,
            "number": self.number,
        }

    def is_right(self, text: str, key: str) -> bool | None:
        """Whether a result's text is as it must be; None where nothing is known."""
        expect = self.tool.expect
        return None if expect is None else expect.text(self.values(key)) in text


class Draw:
    """Draws the calls of sessions."""

    def __init__(self, options: ToolsOptions) -> None:
        self._options = options
        self._declared = [Tool.of(tool) for tool in options.tools]
        self._weights = [tool.weight for tool in options.tools]

    def calls(self, arrival: Arrival) -> list[Call]:
        """The calls of one session, in order."""
        options, rng, trace = self._options, arrival.rng, arrival.trace.hex()
        workspace = rng.randrange(options.workspaces)
        calls = []
        for step in range(1, options.calls + 1):
            pause = 0.0
            if options.think:
                pause = min(rng.expovariate(1 / options.think), options.think * _LONGEST_THINK)
            if self._declared:
                tool = rng.choices(self._declared, self._weights)[0]
            else:  # half of the calls have an effect
                tool = _recorded() if rng.random() < 0.5 else rng.choice(_reading(workspace))
            calls.append(
                Call(
                    tool=tool,
                    id=f"{trace}-{step}",
                    step=step,
                    nonce=arrival.nonce(step),
                    item=tool.name if self._declared else f"workspace-{workspace}",
                    user=arrival.ordinal,
                    number=rng.randrange(NUMBERS),
                    pause_s=pause,
                )
            )
        return calls


@lru_cache(maxsize=1)
def _recorded() -> Tool:
    return Tool.of(_RECORDED)


@lru_cache(maxsize=1024)
def _reading(workspace: int) -> tuple[Tool, ...]:
    """The demo's calls that only read, each with its right result."""
    tools = []
    for action in oracle_actions(workspace, _ACTIONS):
        arguments: dict[str, Any] = dict(action)
        kind = arguments.pop("kind")
        if kind != "submit":
            right = Episode(workspace).act(action).text
            declared = DeclaredTool(
                name=kind, arguments={"workspace": workspace, **arguments}, expect=escaped(right)
            )
            tools.append(Tool.of(declared))
    return tuple(tools)
