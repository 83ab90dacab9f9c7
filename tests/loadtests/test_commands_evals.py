"""Real evals as load: Inspect AI and verifiers, in their own environments, on the real demo model endpoint.

Both run side by side, through the embedded proxy with real toxics: undisturbed, with replies that are silently
empty, with replies that are refused, and with replies that never end, where the run ends them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests import metrics
from probes.episodes import judge_invariant
from slo.objective import Invariant
from slo.outcome import Outcome
from tests.loadtests.locusts import Row, wait_until
from tests.loadtests.programs import Programs, command, needs, programs, shipped
from tests.loadtests.struck import places

pytestmark = pytest.mark.timeout(900)  # half a minute on two idle cores, for all of them together
WITHIN_S = 200
ITEMS = 12
OPERATIONS = {"inspect": "exact", "verifiers": "rollout"}


def eval_of(name: str, url: str, home: Path) -> dict[str, Any]:
    """The shipped profile's program over fewer items, with a home of its own."""
    options = shipped(f"eval-{name}")
    count, few = {"inspect": ("items=100", f"items={ITEMS}"), "verifiers": ("40", str(ITEMS))}[name]
    argv = [few if argument == count else argument for argument in options.pop("argv")]
    assert few in argv
    options["env"]["HOME"] = str(home)
    plan: dict[str, Any] = command(argv, name=name, url=url, **options)
    return plan


@pytest.fixture(scope="module")
def load(demos: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """Both evals, run in four phases."""
    for name in OPERATIONS:
        needs(name)
    folder = tmp_path_factory.mktemp("evals")
    with places(folder) as make:
        place = {name: make(demos["evals"]) for name in OPERATIONS}
        workloads = [eval_of(name, place[name].url, folder / "home") for name in OPERATIONS]
        with programs(folder, workloads=workloads, drain_s=0.1) as worker:

            def strike(toxic: str, toxicity: float, **attributes: Any) -> None:
                for each in place.values():
                    each.inject(toxic, attributes, toxicity=toxicity)

            def ended(count: int) -> None:
                wait_until(
                    lambda: worker.receiver.count(metrics.HTTP_OPERATION, operation="program") >= count,
                    f"{count} programs have ended",
                    within_s=WITHIN_S,
                )

            worker.begin("baseline")
            ended(2)
            strike("http_empty", 0.5, what="completion")
            worker.begin("silent")
            ended(4)
            for each in place.values():
                each.heal()
            strike("http_reply", 1.0, status=403, provider="openai")
            worker.begin("loud")
            ended(6)
            for each in place.values():
                each.heal()
            strike("http_delay", 1.0, delay=600_000)
            worker.begin("hanging")
            wait_until(
                lambda: all(each.counts()["matched"] for each in place.values()), "both ask", within_s=100
            )
            assert worker.finish() == 0, worker.log
            yield worker


def rows_of(load: Programs, name: str, phase: str) -> list[Row]:
    """The samples of one run of an eval."""
    return load.rows(workload=name, phase=phase, operation=OPERATIONS[name])


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_eval_s_own_log_becomes_a_history(load: Programs, name: str) -> None:
    """Each sample of a real eval is a row: its item, its score, its times, in the phase that it was run in."""
    (run,) = load.rows(workload=name, phase="baseline", operation="program")
    assert (run["outcome"], run["error_type"]) == ("ok", None), load.log
    rows = rows_of(load, name, "baseline")
    assert sorted(row["item"] for row in rows) == sorted(f"item-{n}" for n in range(ITEMS))
    for row in rows:
        assert (row["reward"], row["outcome"], row["step"], row["final"]) == (1.0, "ok", 1, True)
        assert run["intended_start"] <= row["intended_start"] <= row["start"] < row["end"] <= run["end"]
    named = {"workload": name, "phase": "baseline", "operation": OPERATIONS[name]}
    assert load.receiver.count(metrics.HTTP_OPERATION, **named) == ITEMS


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_score_that_changes_in_silence_is_found(load: Programs, name: str) -> None:
    """Empty completions: the eval reports success over all of its samples, and the comparison finds each."""
    (run,) = load.rows(workload=name, phase="silent", operation="program")
    assert (run["outcome"], run["error_type"]) == ("ok", None)
    rows = rows_of(load, name, "silent")
    assert [row["outcome"] for row in rows] == ["ok"] * ITEMS
    changed = sum(row["reward"] == 0.0 for row in rows)
    assert 0 < changed < ITEMS
    table = load.table.filter([value == name for value in load.table["workload"].to_pylist()])
    invariant = Invariant(name="same", check="score-invariance")
    finding = judge_invariant(invariant, table, "silent", min_samples=1, runbook=None)
    assert (finding.outcome, finding.bad, finding.samples) == (Outcome.FAIL, changed, ITEMS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_samples_that_fail_leave_no_denominator(load: Programs, name: str) -> None:
    """Refused replies: each sample is a row with an error and no score, whatever the eval makes of it."""
    rows = rows_of(load, name, "loud")
    assert sorted(row["item"] for row in rows) == sorted(f"item-{n}" for n in range(ITEMS))
    assert Counter((row["reward"], row["outcome"]) for row in rows) == {(None, "error"): ITEMS}
    assert all(row["error_type"] for row in rows)


def test_what_is_open_at_the_end_is_unfinished(load: Programs) -> None:
    """Evals that hang are ended with the run: they are unfinished, and so is each sample that a log tells of."""
    for name in OPERATIONS:
        (run,) = load.rows(workload=name, phase="hanging", operation="program")
        assert (run["outcome"], run["error_type"]) == ("unfinished", "unfinished")
        assert all(row["outcome"] != "ok" for row in rows_of(load, name, "hanging"))
    assert len(rows_of(load, "inspect", "hanging")) == ITEMS
