"""Open-model arrivals against a service that stalls: one Locust process, measured while its server is shut."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests import metrics
from loadtests.options.http import HttpProfile
from loadtests.users.dispatch import schedule_of
from tests.loadtests.locusts import Load, Row, locust, wait_until, workload
from tests.loadtests.unruly import Request, http

RATE = 40
STALL_S = 1.0
MOST_OPEN = 3


@dataclass
class Stall:
    """A load that is over, and when what happened."""

    load: Load
    connected_early: bool
    began: float
    shut: float
    opened: float
    shut_again: float
    stopped: float


class _Gate:
    """A server that answers while its gate is open, and after all when it opens again."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.asked = 0
        self.over = threading.Event()

    def __call__(self, request: Request) -> None:
        self.asked += 1
        while not (self.open.wait(0.05) or self.over.is_set()):
            pass
        request.reply(200, b"ok")


@pytest.fixture(scope="module")
def stall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stall]:
    """Baseline; shut; the fault phase begins; open; shut again; stop, with users that never get an answer."""
    gate = _Gate()
    steps = [{"name": "get", "path": "/"}]
    with http(gate) as url:
        workloads = [
            workload("open", url, "http", arrivals=f"{RATE}/s", timeout="60s", steps=steps),
            workload(
                "full", url, "http", arrivals="20/s", timeout="60s", steps=steps,
                profile_max_in_flight=MOST_OPEN,
            ),
        ]  # fmt: skip
        folder = tmp_path_factory.mktemp("arrivals")
        with locust(
            folder, workloads=workloads, drain_s=0.3, boundaries={metrics.HTTP_OPERATION: [0.333]}
        ) as load:
            early = gate.asked > 0
            began = load.begin("baseline")
            wait_until(lambda: gate.asked >= 30, "requests")
            gate.open.clear()
            shut = time.time()
            time.sleep(STALL_S / 2)  # how long the stall lasts is what is tested; nothing is waited for
            load.begin("fault")
            time.sleep(STALL_S / 2)
            gate.open.set()
            opened = time.time()
            wait_until(lambda: _idle(load), "the queue to empty")
            asked = gate.asked
            gate.open.clear()
            shut_again = time.time()
            wait_until(lambda: gate.asked >= asked + 20, "requests while shut")
            stopped = time.time()
            assert load.stop() == 0, load.log
            gate.over.set()
            yield Stall(load, early, began, shut, opened, shut_again, stopped)


def _idle(load: Load) -> bool:
    """Whether a report from after the stall says that few users are left."""
    points = load.receiver.points(metrics.USERS, workload="open")
    return bool(points) and all(point.as_int <= 2 for _, point in points)


def _open(stall: Stall) -> list[Row]:
    return sorted(stall.load.rows(workload="open"), key=lambda row: row["user"])


def test_nothing_is_connected_to_before_the_first_phase(stall: Stall) -> None:
    """A worker that is ready waits: what it would do then belongs to no phase."""
    assert not stall.connected_early


def test_no_arrival_is_unaccounted_for(stall: Stall) -> None:
    """Each user that was due has a row, and was due when the rate says, whatever the service did."""
    rows = _open(stall)
    assert [row["user"] for row in rows] == list(range(len(rows)))
    due = [row["intended_start"] for row in rows]
    assert due == pytest.approx([stall.began + user / RATE for user in range(len(rows))], abs=1e-5)
    assert due[-1] + 1 / RATE >= stall.stopped - 0.001
    counted = stall.load.receiver.count(metrics.ARRIVALS, workload="open")
    assert counted == len(rows)


def test_a_stall_is_seen_as_the_users_saw_it(stall: Stall) -> None:
    """Latencies count from when users were due: those who came during the stall waited until its end."""
    rows = [row for row in _open(stall) if row["intended_start"] < stall.shut_again - 0.1]
    waited = np.array([row["end"] - row["intended_start"] for row in rows])
    truth = np.array(
        [
            stall.opened - row["intended_start"]
            if stall.shut <= row["intended_start"] < stall.opened
            else 0.0
            for row in rows
        ]
    )
    assert np.count_nonzero(truth) >= RATE * STALL_S * 0.9
    assert (waited >= truth - 0.005).all()
    for share in (50, 90, 95, 99):
        assert np.percentile(waited, share) >= np.percentile(truth, share) - 0.005
        assert np.percentile(waited, share) <= np.percentile(truth, share) + 1.0


def test_the_histograms_say_what_the_history_says(stall: Stall) -> None:
    """Buckets count the same latencies as the history, on the boundary that an objective asked for."""
    rows = stall.load.rows(workload="open", outcome="ok")
    below = 0.0
    total = 0
    for attributes, point in stall.load.receiver.points(metrics.HTTP_OPERATION, workload="open"):
        if "error.type" in attributes:
            continue
        bound = list(point.explicit_bounds).index(0.333)
        below += sum(point.bucket_counts[: bound + 1])
        total += point.count
        assert list(point.explicit_bounds) == sorted({*metrics.DURATION_BOUNDARIES_S, 0.333})
    assert total == len(rows)
    assert below == sum(row["end"] - row["intended_start"] <= 0.333 for row in rows)


def test_an_operation_belongs_to_the_phase_that_it_was_due_in(stall: Stall) -> None:
    """Users of the baseline who were answered in the fault phase count for the baseline, in both records."""
    fault = dict(stall.load.phases)["fault"]
    late = [row for row in _open(stall) if row["intended_start"] < fault < row["end"]]
    assert len(late) >= RATE * STALL_S / 2 * 0.8
    assert {row["phase"] for row in late} == {"baseline"}
    for phase in ("baseline", "fault"):
        rows = [row for row in _open(stall) if row["phase"] == phase]
        assert stall.load.receiver.count(metrics.HTTP_OPERATION, workload="open", phase=phase) == len(rows)


def test_who_is_unfinished_at_the_end_counts_as_bad(stall: Stall) -> None:
    """Operations that are open when the drain is over are failures of their own kind, and not absent."""
    rows = stall.load.rows(workload="open", outcome="unfinished")
    assert len(rows) >= 9  # of 20 requests, few were of the other workload
    assert {(row["error_type"], row["final"]) for row in rows} == {("unfinished", True)}
    counted = stall.load.receiver.count(metrics.HTTP_OPERATION, workload="open", type="unfinished")
    assert counted == len(rows)


def test_arrivals_beyond_the_capacity_are_dropped_and_counted(stall: Stall) -> None:
    """Where more users are open than allowed, those who are due are counted as dropped; none is held back."""
    receiver = stall.load.receiver
    states = {
        state: receiver.count(metrics.ARRIVALS, workload="full", state=state)
        for state in ("served", "late", "dropped")
    }
    assert states["dropped"] >= 20 * STALL_S * 0.5
    assert states["served"] + states["late"] == len(stall.load.rows(workload="full"))
    assert sum(states.values()) == pytest.approx((stall.stopped - stall.began) * 20, abs=2)


def _profile(arrivals: object, process: str) -> HttpProfile:
    return HttpProfile.model_validate(
        {
            "user": "http",
            "service": "s",
            "arrivals": arrivals,
            "process": process,
            "with": {"steps": [{"name": "get", "path": "/"}]},
        }
    )


def _due(arrivals: object, process: str, seed: int, count: int) -> list[float]:
    """When the first users of a profile are due, if its first phase begins at 1000."""
    schedule = schedule_of(_profile(arrivals, process), random.Random(seed))
    schedule.begin("baseline", 1000.0)
    found = []
    for _ in range(count):
        found.append(schedule.due)
        schedule.advance()
    return found


@given(st.floats(0.01, 1000), st.integers(0, 2**32), st.sampled_from(["constant", "poisson"]))
def test_due_times_follow_from_the_seed(rate: float, seed: int, process: str) -> None:
    """The same seed gives the same arrivals, which never go back in time."""
    first = _due(f"{rate:.3f}/s", process, seed, 50)
    assert first == _due(f"{rate:.3f}/s", process, seed, 50)
    assert first == sorted(first)
    assert first[0] >= 1000.0


def test_poisson_arrivals_have_the_rate_and_the_spread() -> None:
    """Gaps are exponential: their mean and their standard deviation are one over the rate."""
    gaps = np.diff(_due("50/s", "poisson", 3, 20_000))
    assert gaps.mean() == pytest.approx(0.02, rel=0.03)
    assert gaps.std() == pytest.approx(0.02, rel=0.05)
