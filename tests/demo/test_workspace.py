"""The pure task: what follows from a seed, and what each policy earns."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.task import draw
from loadtests.workspace import (
    REWARDS,
    Action,
    Episode,
    Policy,
    null_actions,
    oracle_actions,
    policy_actions,
    workspace,
)

GOLDEN = "96b795b2ecf0735dc5eb0814a91fe59bdd1a78ebbc972e9c9e6ea6dd6fa82289"

seeds = st.integers(-(2**63), 2**63 - 1)


def play(seed: int, actions: list[Action], **limits: int) -> tuple[float, list[bool]]:
    """The sum of rewards, and `done` after each step."""
    episode = Episode(seed, **limits)
    results = [episode.act(action) for action in actions]
    return sum(result.reward for result in results), [result.done for result in results]


@given(seeds, st.integers(1, 60))
def test_oracle_earns_all(seed: int, steps: int) -> None:
    """The oracle earns 1.0 in exactly the number of steps it was given, the last of which ends the episode."""
    actions = oracle_actions(seed, steps)
    assert len(actions) == steps
    assert play(seed, actions) == (1.0, [False] * (steps - 1) + [True])
    assert play(seed, actions, max_steps=steps) == play(seed, actions)


@given(seeds)
def test_null_earns_nothing(seed: int) -> None:
    """The null policy ends the episode at once, and earns 0.0."""
    assert play(seed, null_actions(seed)) == (0.0, [True])


@given(seeds, st.integers(1, 60), st.sampled_from(["oracle", "null", "random"]), st.integers())
def test_rewards_are_known(seed: int, steps: int, policy: Policy, drawn: int) -> None:
    """Each policy earns what is known in advance, and no action of it is impossible."""
    episode = Episode(seed)
    results = [episode.act(action) for action in policy_actions(policy, seed, steps, random.Random(drawn))]
    assert sum(result.reward for result in results) == REWARDS[policy]
    assert results[-1].done
    assert not [result.error for result in results if result.error]


@given(seeds)
def test_task_can_be_solved_by_reading(seed: int) -> None:
    """The document that the lead's name finds states the rule that the answer rests on."""
    place = workspace(seed)
    assert place.search(place.task.lead)[0].id == place.task.document
    rule = place.task.where[1]
    assert str(rule["value"]) in place.read(place.task.document)
    assert place.compute(place.task.operation, place.task.column, place.task.where) == place.task.answer
    assert len(place.documents) == 12


@given(seeds, st.text(max_size=30))
def test_wrong_answers_earn_nothing(seed: int, answer: str) -> None:
    """What is not the right number earns 0.0, however it is written."""
    right = workspace(seed).task.answer
    reward, done = play(seed, [{"kind": "submit", "answer": answer}])
    assert done == [True]
    assert reward == 0.0 or float(answer) == float(right)


def test_an_ended_episode_stays_ended() -> None:
    """After the end nothing earns a reward any more: not the right answer, after a wrong one or after N steps."""
    right: Action = {"kind": "submit", "answer": workspace(1).task.answer}
    assert play(1, [right, right, right]) == (1.0, [True] * 3)
    assert play(1, [{"kind": "submit", "answer": "0"}, right]) == (0.0, [True] * 2)
    assert play(1, [{"kind": "search", "query": "x"}, right], max_steps=1) == (0.0, [True] * 2)


@pytest.mark.parametrize(
    "action",
    [
        {"kind": "read", "document": "doc-13"},
        {"kind": "read"},
        {"kind": "compute", "operation": "product", "column": "cost"},
        {"kind": "compute", "operation": "sum", "column": "__class__"},
        {"kind": "compute", "operation": "sum", "column": "cost",
         "where": [{"column": "hours", "comparison": ">=", "value": "many"}]},
        {"kind": "compute", "operation": "sum", "column": "cost",
         "where": [{"column": "office", "comparison": ">=", "value": "Cork"}]},
        {"kind": "compute", "operation": "mean", "column": "cost",
         "where": [{"column": "project", "comparison": "=", "value": "Nowhere"}]},
        {"kind": "dance"},
    ],
)  # fmt: skip
def test_impossible_actions_say_why(action: Action) -> None:
    """An action that cannot be performed costs a step and says what was expected; the episode goes on."""
    episode = Episode(1)
    result = episode.act(action)
    assert ":" in result.error
    assert not result.done
    assert episode.steps == 1


def test_same_seed_same_workspace_everywhere() -> None:
    """Tasks are the same in every process and on every Python: a changed digest breaks recorded runs."""
    program = "from loadtests.task import draw; import hashlib\n"
    program += "print(hashlib.sha256(repr([draw(seed) for seed in range(-5, 50)]).encode()).hexdigest())"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    here = hashlib.sha256(repr([draw(seed) for seed in range(-5, 50)]).encode()).hexdigest()
    assert other.stdout.strip() == here == GOLDEN


def test_policies_are_cheap_to_import() -> None:
    """A load generator that plays the policies loads no server, no model library and no numbers library."""
    program = "import loadtests.workspace, loadtests.items, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert not {"openenv", "fastapi", "pydantic", "starlette", "asyncio"} & set(loaded.split())
