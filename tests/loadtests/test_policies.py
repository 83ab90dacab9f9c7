"""Policies and what is drawn for episodes: pure, and the same for the same seed."""

from __future__ import annotations

import json
import math
import random
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.policies import modules, trajectory
from loadtests.policies.draws import NORMAL_P95, LogNormal, StepsDrawn, Think
from loadtests.policies.known import KnownPolicy
from loadtests.policies.own import NoAction, OwnPolicy
from loadtests.policies.policy import Expected, Seen
from loadtests.policies.scripted import ResetData, ScriptedPolicy, ScriptedStep
from loadtests.templates import Missing

DRAWS = 4000
SEEN = Seen({"text": "hello", "items": [{"id": 7}], "n": 3}, -0.5, False)


def _drawn(think: Think, seed: int = 1) -> list[float]:
    rng, draw = random.Random(seed), think.drawing()
    return [draw(rng) for _ in range(DRAWS)]


def test_think_times_have_the_distribution_that_was_asked_for(tmp_path: Path) -> None:
    """By median, percentile, mean or set of values; with generous bounds, and the seed fixed."""
    normal = sorted(_drawn(Think(log_normal=LogNormal(median="400ms", p95="2s"))))
    assert statistics.median(normal) == pytest.approx(0.4, rel=0.1)
    assert normal[int(0.95 * DRAWS)] == pytest.approx(2.0, rel=0.15)
    assert statistics.mean(_drawn(Think(exponential="1s"))) == pytest.approx(1.0, rel=0.1)
    assert set(_drawn(Think(constant="250ms"))) == {0.25}
    (tmp_path / "times").write_text("1s\n# no\n\n2s\n")
    assert set(_drawn(Think(sampled=str(tmp_path / "times")))) == {1.0, 2.0}
    assert max(_drawn(Think(exponential="1s", at_most="2s"))) == 2.0
    assert LogNormal(median="1s", sigma=0.5).spread == 0.5
    assert LogNormal(median="1s", p95="2s").spread == pytest.approx(math.log(2) / NORMAL_P95)


@given(st.integers(0, 2**32))
def test_a_seed_draws_the_same(seed: int) -> None:
    """Twice the same generator, twice the same draws."""
    think = Think(log_normal=LogNormal(median="1s", sigma=1.0))
    assert _drawn(think, seed)[:5] == _drawn(think, seed)[:5]
    steps = StepsDrawn(mean=8, at_most=50)
    assert steps.draw(random.Random(seed)) == steps.draw(random.Random(seed))


def test_steps_are_drawn_within_their_bounds() -> None:
    """Evenly from one to the other; geometrically with the mean, from one on, cut off."""
    rng = random.Random(1)
    even = [StepsDrawn.model_validate({"from": 3, "to": 10}).draw(rng) for _ in range(DRAWS)]
    assert set(even) == set(range(3, 11))
    drawn = [StepsDrawn(mean=8, at_most=1000).draw(rng) for _ in range(DRAWS)]
    assert min(drawn) == 1
    assert statistics.mean(drawn) == pytest.approx(8, rel=0.1)
    assert max(StepsDrawn(mean=8, at_most=9).draw(rng) for _ in range(DRAWS)) == 9
    assert {StepsDrawn(mean=1).draw(rng) for _ in range(100)} == {1}


def test_known_policies_say_what_they_earn() -> None:
    """The oracle earns 1.0 with its last action, and where an episode ends early the same is expected."""
    player = KnownPolicy("oracle").player(5, 4, random.Random(1))
    moves = [player.move(step, SEEN) for step in range(1, 6)]
    assert moves[4] is None
    assert [move.expected for move in moves if move is not None] == [Expected(at_end=1.0)] * 3 + [
        Expected(reward=1.0)
    ]


def test_scripts_are_filled_in_from_what_was_seen() -> None:
    """Templates keep the type of what they stand for; beside other text they become text."""
    script = (
        ScriptedStep(action={"a": "${observation.text}", "b": "${observation.items.0.id}", "c": ["${seed}"]}),
        ScriptedStep(action={"a": "at ${step}: ${observation.n} $${x} ${reward} ${done}"}, reward=1),
    )
    player = ScriptedPolicy(script).player(9, 3, random.Random(1))
    moves = [player.move(step, SEEN) for step in (1, 2, 3, 4)]
    assert [move and move.action for move in moves] == [
        {"a": "hello", "b": 7, "c": [9]},
        {"a": "at 2: 3 ${x} -0.5 false"},
        {"a": "hello", "b": 7, "c": [9]},
        None,
    ]
    assert moves[1] is not None
    assert moves[1].expected == Expected(reward=1.0)
    with pytest.raises(Missing):
        player.move(1, Seen({}, None, None))
    assert ResetData({"level": "${seed}", "name": "s${seed}"}).of(4) == {"level": 4, "name": "s4"}


def test_functions_draw_from_a_generator_of_their_own() -> None:
    """What they draw changes nothing else of the episode; what is no action is told."""
    rng = random.Random(1)
    player = OwnPolicy(lambda seen, own, step: {"n": own.random()}).player(0, 2, rng)
    state = rng.getstate()
    first = player.move(1, SEEN)
    assert rng.getstate() == state
    assert first is not None
    again = OwnPolicy(lambda seen, own, step: {"n": own.random()}).player(0, 2, random.Random(1))
    assert again.move(1, SEEN) == first
    assert player.move(3, SEEN) is None
    with pytest.raises(NoAction, match="list"):
        OwnPolicy(lambda seen, own, step: [1]).player(0, 2, rng).move(1, SEEN)  # type: ignore[arg-type,return-value]


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Each episode once, in order; digests leave out what is ignored, and nothing else."""
    path = tmp_path / "golden.jsonl"
    recorder = trajectory.Recorder(path, ("/items/0", "/text"))
    played = [({"n": 1}, SEEN), ({"n": 2}, Seen({"n": 4}, 1.0, True))]
    assert recorder.record({"seed": 1}, SEEN, played)
    assert not recorder.record({"seed": 1}, SEEN, played)
    assert recorder.record({"seed": 2}, SEEN, played[:1])
    first, second = trajectory.read(path)
    assert (first.item, second.item) == ("trajectory-1", "trajectory-4")
    assert (first.reset, second.reset) == ({"seed": 1}, {"seed": 2})
    assert [move.action for move in first.moves] == [{"n": 1}, {"n": 2}]
    assert [(move.expected.reward, move.expected.done) for move in first.moves] == [
        (-0.5, False),
        (1.0, True),
    ]
    same = trajectory.digest({**SEEN.observation, "text": "bye", "items": [{"id": 8}]}, first.ignore)
    assert same == first.opening.digest
    assert trajectory.digest({**SEEN.observation, "n": 4}, first.ignore) != first.opening.digest
    assert trajectory.digest({**SEEN.observation, "items": []}, ()) != trajectory.digest(SEEN.observation, ())


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)))  # fmt: skip
def test_digests_go_by_values_alone(value: object) -> None:
    """The order of keys, and a way through JSON, change nothing."""
    observation = {"a": value, "b": 1}
    turned = json.loads(json.dumps({"b": 1, "a": value}))
    assert trajectory.digest(observation, ()) == trajectory.digest(turned, ())
    assert trajectory.digest(observation, ("/a",)) == trajectory.digest({"b": 1}, ())


@pytest.mark.parametrize(
    ("seen", "mismatch"),
    [
        (Seen({}, 1.0, True), None),
        (Seen({}, 1.0 + 1e-9, True), None),
        (Seen({}, 0.9, True), "reward: expected 1, got 0.9"),
        (Seen({}, math.nan, True), "reward: expected 1, got nan"),
        (Seen({}, None, True), "reward: expected 1, got None"),
        (Seen({}, 1.0, None), "done: expected True, got None"),
    ],
)
def test_what_was_recorded_is_compared(seen: Seen, mismatch: str | None) -> None:
    """Rewards by a tolerance, NaN near nothing; `done` by its truth."""
    assert Expected(reward=1.0, done=True).mismatch(seen, None, 1e-6) == mismatch
    assert Expected().mismatch(seen, None, 1e-6) is None
    assert Expected(digest="00").mismatch(seen, "11", 1e-6) == "observation: expected 00, got 11"


@pytest.mark.parametrize(
    ("reference", "missing"),
    [
        ("package.module:function", None),
        ("package.module:Class", None),
        ("package.module:imported", None),
        ("package.module:assigned", None),
        ("package.module:conditional", None),
        ("package.module:inner", "has no inner"),
        ("package.star:anything", None),
        ("package.nothing:a", "there is no module package.nothing"),
        ("package.module.deeper:a", "there is no module package.module.deeper"),
        ("package.broken:a", "invalid syntax"),
        ("json:dumps", None),
        ("math:sin", None),
    ],
)
def test_a_module_is_looked_into_and_not_run(tmp_path: Path, reference: str, missing: str | None) -> None:
    """Names of its top level count, also conditional ones; its packages are not imported either."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('run')")
    (package / "module.py").write_text(
        "raise SystemExit('run')\nfrom json import dumps as imported\nassigned = 1\n"
        "def function():\n    inner = 1\nclass Class: ...\nif assigned:\n    conditional = 2\n"
    )
    (package / "star.py").write_text("from json import *\n")
    (package / "broken.py").write_text("a = = 1\n")
    said = modules.missing(reference, tmp_path)
    assert (said is None) if missing is None else (said is not None and missing in said)
