"""Policies on an environment that is not the demo's: a real openenv-core server with a strict action schema."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from loadtests import metrics
from loadtests.policies import trajectory
from tests.loadtests.locusts import Load, Row, locust, wait_until, workload
from tests.loadtests.stranger import LIMIT, stranger

EPISODES = 5
MIDDLE = {"scripted": [{"action": {"number": "${observation.middle}"}}]}
GUESSES = '''
"""A policy of somebody's own."""

import random


def bisect(observation, rng, step):
    """Guess the middle; now and then anything that is left."""
    if rng.random() < 0.2:
        return {"number": rng.randint(observation["low"], observation["high"])}
    return {"number": (observation["low"] + observation["high"]) // 2}


def one(observation, rng, step):
    return {"number": 0} if step == 1 else None


def wrong(observation, rng, step):
    return {"number": 0} if step == 1 else 7


def raising(observation, rng, step):
    return {"number": observation["nothing"]}
'''


@dataclass
class Played:
    """What one Locust process did to all."""

    load: Load
    folder: Path

    def rows(self, workload: str) -> list[Row]:
        """The history of a workload."""
        return self.load.rows(workload=workload)

    def episodes(self, workload: str) -> list[list[Row]]:
        """By episode, in order."""
        found: dict[int, list[Row]] = {}
        for row in self.rows(workload):
            found.setdefault(row["episode"], []).append(row)
        assert len(found) >= EPISODES
        return list(found.values())


def _options(folder: Path) -> dict[str, dict[str, Any]]:
    python = {"folder": str(folder)}
    return {
        "scripted": {"policy": MIDDLE, "steps": 20},
        "once": {"policy": MIDDLE, "seeds": False, "reset": {"limit": 1000, "seed": "${seed}"}},
        "typed": {"policy": {"scripted": [{"action": {"number": "x"}}]}},
        "absent": {"policy": {"scripted": [{"action": {"number": "${observation.nothing}"}}]}},
        "python": {"policy": {"python": "guesses:bisect", **python}, "steps": 40},
        "stops": {"policy": {"python": "guesses:one", **python}},
        "no-action": {"policy": {"python": "guesses:wrong", **python}},
        "raises": {"policy": {"python": "guesses:raising", **python}},
        "drawn": {
            "policy": {"scripted": [{"action": {"number": 0}}]},
            "steps": {"from": 2, "to": 4},
            "think": {"sampled": str(folder / "thinking.txt")},
        },
        "nonce": {"policy": MIDDLE, "nonce": "nonce"},
        "record": {
            "policy": MIDDLE,
            "steps": 20,
            "tasks": 3,
            "record": {"file": str(folder / "recorded.jsonl"), "ignore": ["/token"]},
        },
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder, with a module and a file of think times."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "guesses.py").write_text(GUESSES)
    (folder / "thinking.txt").write_text("# thought\n20ms\n\n40ms\n")
    return folder


@pytest.fixture(scope="module")
def played(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """All policies on the first version of the game."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(stranger(tmp_path_factory.mktemp("one")))
        workloads = [
            workload(name, url, "episode", arrivals="4/s", **options)
            for name, options in _options(folder).items()
        ]
        load = stack.enter_context(
            locust(tmp_path_factory.mktemp("played"), workloads=workloads, drain_s=30.0)
        )
        _run(load, len(workloads))
        yield Played(load, folder)


def _run(load: Load, workloads: int) -> None:
    load.begin("baseline")
    wait_until(
        lambda: all(
            load.receiver.count(metrics.ARRIVALS, workload=each.name) > EPISODES
            for each in load.plan.workloads
        ),
        "arrivals",
    )
    assert load.stop() == 0, load.log
    assert len({row["workload"] for row in load.rows()}) == workloads


def test_a_script_plays_any_environment(played: Played) -> None:
    """Its actions are the environment's own, filled in from the last observation; no nonce is added."""
    for rows in played.episodes("scripted"):
        assert {row["outcome"] for row in rows} == {"ok"}
        assert (rows[-1]["done"], rows[-1]["reward"]) == (True, 1.0)
        assert {row["reward"] for row in rows[1:-1]} <= {-0.1}
        assert [row["step"] for row in rows] == list(range(len(rows)))
        assert {row["nonce"] for row in rows} == {row["reply_nonce"] for row in rows} == {None}


def test_a_script_is_played_once_unless_steps_are_given(played: Played) -> None:
    """One line is one step; an episode that goes on after it is completed all the same."""
    for rows in played.episodes("once"):
        assert [row["operation"] for row in rows] == ["reset", "step"]
    assert not played.load.receiver.count(metrics.EPISODE_DURATION, workload="once", outcome="failed")


def test_what_the_schema_refuses_is_not_tried_again(played: Played) -> None:
    """An action that the environment's schema forbids fails once, as the environment's error."""
    for name in ("typed", "nonce"):
        for rows in played.episodes(name):
            assert (rows[-1]["operation"], rows[-1]["error_type"]) == ("step", "environment_error")
            assert rows[-1]["attempt"] == 0


def test_a_template_that_finds_nothing_is_told(played: Played) -> None:
    """The step is in the history, as an observation that was not what the script needs."""
    for rows in played.episodes("absent"):
        assert (rows[-1]["operation"], rows[-1]["error_type"]) == ("step", "protocol_error")


def test_a_function_plays_from_what_it_sees(played: Played) -> None:
    """It is called with each observation and wins the game; a seed plays the same again."""
    for rows in played.episodes("python"):
        assert (rows[-1]["done"], rows[-1]["reward"]) == (True, 1.0)
        assert {row["outcome"] for row in rows} == {"ok"}


def test_a_function_may_stop(played: Played) -> None:
    """None ends the episode, which is complete."""
    for rows in played.episodes("stops"):
        assert [row["step"] for row in rows] == [0, 1]
        assert {row["outcome"] for row in rows} == {"ok"}
    assert not played.load.receiver.count(metrics.EPISODE_DURATION, workload="stops", outcome="failed")


@pytest.mark.parametrize(("name", "step"), [("no-action", 2), ("raises", 1)])
def test_a_function_that_fails_is_not_the_services_fault(played: Played, name: str, step: int) -> None:
    """What it raises, and what is no action, is an error of the generator, in the history and in the log."""
    for rows in played.episodes(name):
        assert (rows[-1]["step"], rows[-1]["error_type"]) == (step, "generator_error")
    assert "a policy failed" in played.load.log


def test_steps_and_think_times_are_drawn(played: Played) -> None:
    """Steps evenly from 2 to 4, and before each a pause from the file; the next step is due after it."""
    lengths = set()
    for rows in played.episodes("drawn"):
        lengths.add(len(rows) - 1)
        for before, row in pairwise(rows):
            thought = row["intended_start"] - before["end"]
            assert min(abs(thought - 0.02), abs(thought - 0.04)) < 1e-6
    assert lengths <= {2, 3, 4}
    assert len(lengths) > 1


def test_a_recording_is_whole_and_holds_each_episode_once(played: Played) -> None:
    """Three seeds are three trajectories, however often they were played; the last action earned 1.0."""
    recorded = trajectory.read(played.folder / "recorded.jsonl")
    seeds = [each.reset["seed"] for each in recorded]
    assert sorted(seeds) == sorted(set(seeds))
    assert set(seeds) <= {0, 1, 2}
    for each in recorded:
        assert each.ignore == ("/token",)
        assert (each.moves[-1].expected.reward, each.moves[-1].expected.done) == (1.0, True)
        assert all(move.expected.digest for move in each.moves)


def test_a_reset_carries_what_the_options_say(played: Played) -> None:
    """The environment got a limit of its own, so its first guess is not the default's."""
    lines = [json.loads(line) for line in (played.folder / "recorded.jsonl").read_text().splitlines()]
    assert {line["action"]["number"] for line in lines if "action" in line} <= set(range(1, LIMIT + 1))
    assert any(not row["done"] for rows in played.episodes("once") for row in rows[1:])


@pytest.fixture(scope="module")
def replayed(played: Played, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """The recording, on the same version and on another one, by both manners of clients."""
    recorded = str(played.folder / "recorded.jsonl")
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(stranger(tmp_path_factory.mktemp("same")))
        two = stack.enter_context(stranger(tmp_path_factory.mktemp("other"), right=0.5))
        workloads = [
            workload(f"{version}-{client}", url, "episode", client=client, policy={"recorded": recorded})
            for version, url in (("same", one), ("other", two))
            for client in ("naive", "careful")
        ]
        load = stack.enter_context(
            locust(tmp_path_factory.mktemp("replayed"), workloads=workloads, drain_s=30.0)
        )
        _run(load, len(workloads))
        yield load


@pytest.mark.parametrize("client", ["naive", "careful"])
def test_a_recording_holds_on_the_same_version(replayed: Load, client: str) -> None:
    """Every step earns what was recorded, and observations are the same but for what is ignored."""
    rows = replayed.rows(workload=f"same-{client}")
    assert {row["outcome"] for row in rows} == {"ok"}
    assert all(row["reward"] == row["expected"] for row in rows)
    assert any(row["expected"] == 1.0 for row in rows)


def test_another_version_earns_another_reward(replayed: Load) -> None:
    """A naive client takes it, and the history says what was expected; a careful one fails the episode."""
    naive = [row for row in replayed.rows(workload="other-naive") if row["done"]]
    assert {(row["outcome"], row["reward"], row["expected"]) for row in naive} == {("ok", 0.5, 1.0)}
    careful = [row for row in replayed.rows(workload="other-careful") if row["done"]]
    assert {(row["error_type"], row["attempt"], row["reward"], row["expected"]) for row in careful} == {
        ("trajectory_mismatch", 0, 0.5, 1.0)
    }
    failed = replayed.receiver.count(
        metrics.EPISODE_DURATION, workload="other-careful", type="trajectory_mismatch"
    )
    assert failed == len(careful)
