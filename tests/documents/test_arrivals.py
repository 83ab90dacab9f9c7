"""When users come: what an experiment may say of it, and what is refused, at its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from loadtests.arrivals import ByPhase, Ramp, Trace

from .conftest import Folder

Has = Callable[[list[str], str], None]
SLOW = "chaos/experiments/slow.yaml"
PLAYERS = "loadtests/profiles/players.yaml"


def _override(folder: Folder, text: str) -> None:
    folder.change(SLOW, "profile: players", f"profile: players\n    {text}")


def test_an_experiment_changes_the_rate(folder: Folder) -> None:
    """A shape that an experiment writes takes the place of the profile's rate."""
    _override(folder, "arrivals: {shape: ramp, from: 1/s, to: 9/s, over: 12s}")
    assert isinstance(folder.resolve().loads[0].profile.arrivals, Ramp)


def test_an_experiment_changes_the_model(folder: Folder) -> None:
    """With users instead of a rate the load is closed, though the profile's own is open; and back."""
    _override(folder, "users: 4")
    profile = folder.resolve().loads[0].profile
    assert (profile.arrivals, profile.users) == (None, 4)
    folder.change(PLAYERS, "arrivals: 5/s", "users: 9")
    folder.change(SLOW, "users: 4", "arrivals: {baseline: 1/s, fault: 2/s, recovery: 3/s}")
    profile = folder.resolve().loads[0].profile
    assert (profile.arrivals, profile.users) == (ByPhase(baseline="1/s", fault="2/s", recovery="3/s"), None)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("arrivals: 0/s", "9:15: spec.load.arrivals: expected more than 0, got 0/s"),
        ("arrivals: -1/s", "9:15: spec.load.arrivals: expected a rate such as 20/s, got -1/s"),
        ("arrivals: {shape: zigzag}", "spec.load.arrivals: expected a rate such as 20/s, a shape (ramp,"),
        ("arrivals: {shape: ramp, from: 1/s, to: 2/s}", "spec.load.arrivals.over: is missing"),
        (
            "arrivals: {shape: ramp, from: 1/s, to: 2/s, over: 13s}",
            "spec.load.arrivals: the rate changes for 13s, and the run's phases last 12s",
        ),
        (
            "arrivals: {baseline: 1/s, recovery: 1/s, fault: {shape: steps, rates: [1/s, 2/s], each: 4s}}",
            "spec.load.arrivals.fault: the rate changes for 8s, and the phase fault lasts 6s",
        ),
        (
            "arrivals: {shape: steps, rates: [1/s, 5], each: 1s}",
            "rates[1]: expected a rate such as 20/s, got 5",
        ),
        ("users: 0", "spec.load.users: expected at least 1, got 0"),
        ("users: 5\n    arrivals: 5/s", "users cannot be given beside arrivals"),
        ("arrivals: {shape: trace, file: none.csv}", "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(folder: Folder, has: Has, written: str, said: str) -> None:
    """Rates of nothing, shapes that do not fit their phase, two models at once: file, line and column."""
    _override(folder, written)
    problems = folder.refused()
    assert any(problem.startswith(f"{SLOW}:") and said in problem for problem in problems), problems


def test_a_trace_comes_from_a_file(folder: Folder) -> None:
    """Its times and rates, in plain numbers or with units, under a line of names or none."""
    folder.write("day.csv", "seconds,rate\n0,5\n1m,30/m\n\n90s,2.5\n")
    _override(folder, "arrivals: {shape: trace, file: day.csv, speed: 60}")
    arrivals = folder.resolve().loads[0].profile.arrivals
    assert isinstance(arrivals, Trace)
    assert arrivals.points == ((0, 5), (60, 0.5), (90, 2.5))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "0,5\n10,fast\n",
            "day.csv:2:1: spec.arrivals: expected a time and a rate such as 90s,20/s, got 10,fast",
        ),
        ("0,5\n10,6\n5,7\n", "day.csv:3:1: spec.arrivals: expected a time after 10 s, got 5 s"),
        ("0,5,6\n1,1\n1,1\n", "day.csv:3:1"),
        ("0,0\n10,0\n", "expected at least one point with a rate above 0"),
        ("", "expected at least one point with a rate above 0"),
    ],
)
def test_a_wrong_trace_is_refused_where_it_is_wrong(folder: Folder, text: str, said: str) -> None:
    """The file and its line, not only the key that names it."""
    folder.write("day.csv", text)
    _override(folder, "arrivals: {shape: trace, file: day.csv}")
    problems = folder.refused()
    assert any(said in problem for problem in problems), problems
