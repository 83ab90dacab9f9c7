"""The closed model, rates by phase, and recorded times, in a Locust process."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from loadtests import metrics
from loadtests.schedule import PER_PHASE
from tests.loadtests.locusts import locust, wait_until, workload
from tests.loadtests.unruly import http

STEPS = [{"name": "get", "path": "/"}]


def test_a_fixed_number_of_users_comes_again_and_again(tmp_path: Path) -> None:
    """Never more than the users that were asked for are there, and each visit has its user's ordinal."""
    with http(lambda request: request.reply(200, b"ok")) as url:
        load_of = workload("closed", url, "http", arrivals=None, profile_users=5, steps=STEPS)  # type: ignore[arg-type]
        with locust(tmp_path, workloads=[load_of]) as load:
            load.begin("baseline")
            wait_until(lambda: load.table.num_rows >= 500, "visits")
            assert load.stop() == 0, load.log
        rows = sorted(load.rows(), key=lambda row: row["start"])
    visits = [row["user"] for row in rows]
    assert len(set(visits)) == len(visits)
    per_user = Counter(user % 5 for user in visits)
    assert set(per_user) == set(range(5))
    for user in range(5):  # each comes again when it is done, and not before
        own = [row for row in rows if row["user"] % 5 == user]
        assert [row["user"] for row in own] == list(range(user, user + 5 * len(own), 5))
        assert all(b["start"] >= a["end"] for a, b in pairwise(own))
    assert load.receiver.count(metrics.ARRIVALS) == len(rows)


def test_a_user_of_the_closed_model_stays_away_for_its_pause(tmp_path: Path) -> None:
    """Between two visits lies the pause that was drawn, and what it takes to come late is counted."""
    with http(lambda request: request.reply(200, b"ok")) as url:
        load_of = workload(
            "closed", url, "http", arrivals=None, profile_users=20, profile_pause="100ms", steps=STEPS,
        )  # type: ignore[arg-type]  # fmt: skip
        with locust(tmp_path, workloads=[load_of]) as load:
            load.begin("baseline")
            wait_until(lambda: load.table.num_rows >= 400, "visits")
            assert load.stop() == 0, load.log
        rows = sorted(load.rows(), key=lambda row: row["start"])
    pauses = []
    for user in range(20):
        own = [row for row in rows if row["user"] % 20 == user]
        pauses += [b["intended_start"] - a["end"] for a, b in pairwise(own)]
    assert sum(pauses) / len(pauses) == pytest.approx(0.1, rel=0.3)
    assert min(pauses) >= 0


def test_each_phase_has_the_rate_that_is_written_for_it(tmp_path: Path) -> None:
    """Rates by phase begin with their phase, however long the one before it was."""
    arrivals = {"baseline": "20/s", "fault": {"shape": "ramp", "from": "20/s", "to": "60/s", "over": "1s"}, "recovery": "10/s"}  # fmt: skip
    with http(lambda request: request.reply(200, b"ok")) as url:
        load_of = workload("phased", url, "http", arrivals=arrivals, steps=STEPS)  # type: ignore[arg-type]
        with locust(tmp_path, workloads=[load_of]) as load:
            load.begin("baseline")
            wait_until(lambda: load.table.num_rows >= 10, "the baseline's users")
            load.begin("fault")
            wait_until(lambda: len(load.rows(phase="fault")) >= 60, "the fault phase's users")
            load.begin("recovery")
            wait_until(lambda: len(load.rows(phase="recovery")) >= 10, "the recovery's users")
            assert load.stop() == 0, load.log
        rows = load.rows()
    starts = dict(load.phases)
    for phase, base in (("baseline", 0), ("fault", PER_PHASE), ("recovery", 2 * PER_PHASE)):
        own = sorted((row for row in rows if row["user"] // PER_PHASE == base // PER_PHASE), key=lambda r: r["user"])  # fmt: skip
        assert [row["user"] - base for row in own] == list(range(len(own)))
        assert own[0]["intended_start"] == pytest.approx(starts[phase], abs=1e-5)
    gaps = [row["intended_start"] - starts["fault"] for row in rows if row["phase"] == "fault"]
    in_the_first_second = sum(gap < 1.0 for gap in gaps)
    assert in_the_first_second == pytest.approx(40, abs=2)


def test_a_recording_is_played_at_its_own_times(tmp_path: Path) -> None:
    """Without a rate each recorded request is due when it was recorded, from the first phase's start on."""
    offsets = [0.0, 0.1, 0.1, 0.4, 0.45]
    recording = tmp_path / "recording.jsonl"
    recording.write_text(
        "".join(
            json.dumps({"time": 1000 + at, "method": "GET", "path": f"/{n}", "status": 200}) + "\n"
            for n, at in enumerate(offsets)
        )
    )
    with http(lambda request: request.reply(200, b"ok")) as url:
        load_of = workload(
            "replay", url, "replay", arrivals=None, file=str(recording), at_end="stop",
        )  # type: ignore[arg-type]  # fmt: skip
        with locust(tmp_path, workloads=[load_of]) as load:
            began = load.begin("baseline")
            wait_until(lambda: load.table.num_rows >= len(offsets), "the recorded requests")
            assert load.stop() == 0, load.log
        rows = sorted(load.rows(), key=lambda row: row["user"])
    assert [row["intended_start"] - began for row in rows] == pytest.approx(offsets, abs=1e-5)
