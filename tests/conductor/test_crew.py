"""Who takes over from workers that are lost, and who counts what is lost with them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from chaos.conductor.crew import MARGIN_S, Crew
from chaos.conductor.perform import Stopped
from chaos.conductor.telemetry import WORKER, Telemetry
from chaos.journal import Journal, WorkerLost
from loadtests import metrics


def report(worker: str, at: float, users: int) -> ExportMetricsServiceRequest:
    """A worker's report that it has so many open users."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    attribute = resource.resource.attributes.add()
    attribute.key, attribute.value.string_value = WORKER, worker
    metric = resource.scope_metrics.add().metrics.add()
    metric.name = metrics.USERS
    point = metric.gauge.data_points.add()
    point.time_unix_nano, point.as_double = round(at * 1e9), float(users)
    return request


class Stand:
    """A crew whose members are listened to, at a time of ours."""

    def __init__(self, folder: Path, members: str) -> None:
        self.now = 100.0
        self.telemetry = Telemetry(folder / "metrics.jsonl")
        self.journal = Journal(folder / "events.jsonl")
        self.said: list[tuple[str, Any]] = []
        self.crew = Crew(
            members,
            journal=self.journal,
            telemetry=self.telemetry,
            say=lambda worker, line: self.said.append((worker, json.loads(line))),
            now=lambda: self.now,
        )

    def close(self) -> None:
        """Close its files."""
        self.telemetry.close()
        self.journal.close()


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """A crew of a, b and c, which have reported at 99, 99.2 and 99.4."""
    with contextlib.closing(Stand(tmp_path, "abc")) as made:
        for number, worker in enumerate("abc"):
            made.telemetry.receive(report(worker, 99.0 + 0.2 * number, users=number + 1))
        yield made


def test_the_survivors_are_told_ahead_and_the_loss_is_journalled(stand: Stand) -> None:
    """Each of them, of one moment that is still to come; with it, what nobody served."""
    stand.crew.lose("b", "killed by signal 9")
    start = 100.0 + MARGIN_S
    line = {"share": ["a", "c"], "from": start, "gaps": [["b", 99.2, start]]}
    assert stand.said == [("a", line), ("c", line)]
    (lost,) = stand.journal.events
    assert isinstance(lost, WorkerLost)
    assert (lost.since, lost.resumed, lost.open, lost.survivors) == (99.2, start, 2, ("a", "c"))


def test_nobody_takes_over_before_a_lost_worker_has_stopped(stand: Stand) -> None:
    """One that may still be at it, as nobody hears of it, serves until its lease is over."""
    stand.crew.lose("b", "nothing heard", gone_by=104.0)
    assert stand.said[0][1]["from"] == 104.0 + MARGIN_S


def test_what_a_lost_worker_was_to_count_is_counted_by_another(stand: Stand) -> None:
    """It had been told, and had not reported since: its count is in no report, so the next one counts it."""
    stand.crew.lose("b", "killed")
    stand.now = 103.0
    stand.crew.lose("a", "cut off")
    worker, line = stand.said[-1]
    assert (worker, line["share"]) == ("c", ["c"])
    assert line["gaps"] == [["b", 99.2, 100.5], ["a", 99.0, 103.5]]


def test_what_it_has_reported_is_not_counted_again(stand: Stand) -> None:
    """Of a gap that its last report holds in part, the rest is counted by the next; of a whole one, nothing."""
    stand.crew.lose("b", "killed")
    stand.telemetry.receive(report("a", 100.25, users=0))
    stand.now = 103.0
    stand.crew.lose("a", "cut off")
    assert stand.said[-1][1]["gaps"] == [["b", 100.25, 100.5], ["a", 100.25, 103.5]]


def test_without_the_last_one_there_is_no_load(stand: Stand) -> None:
    """The run ends by it."""
    stand.crew.lose("a", "killed")
    stand.crew.lose("b", "killed")
    with pytest.raises(Stopped):
        stand.crew.lose("c", "killed")
    assert len(stand.journal.events) == 3
