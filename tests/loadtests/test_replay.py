"""Replay users: recorded requests against a real service, at their times; one Locust process for all."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests import metrics
from tests.loadtests.locusts import Load, Row, locust, wait_until, workload
from tests.loadtests.shop import shop
from tests.loadtests.struck import places
from tests.loadtests.unruly import Request, http

SECRET = "hunter2"
"""Stands in the recordings; must never be written down."""
LOG = [
    ("GET /score?token=hunter2 HTTP/1.1", 200),
    ("GET /text HTTP/1.1", 200),
    ("POST /items HTTP/1.1", 201),
    ("HEAD /score HTTP/1.1", 200),
    ("GET /none/hunter2 HTTP/1.1", 404),
    ("GET /old/3 HTTP/1.1", 302),
    ("GET /me HTTP/1.1", 200),
]
STRUCK: dict[str, tuple[str, dict[str, Any], str]] = {
    "failing": ("http_reply", {"status": 503}, "503"),
    "limited": ("http_reply", {"status": 429}, "429"),
    "torn": ("http_truncate", {"bytes": 2, "length": "wrong"}, "connection_closed"),
    "late": ("http_delay", {"delay": 60_000}, "timeout"),
    "reset": ("reset_peer", {"timeout": 0}, "connection_reset"),
}


TIMES = [1000.25, 1000.0, 1000.25, 1001.5, 1002.0]
"""Seconds; not in their order."""


def _access_log() -> str:
    return "".join(
        f'10.0.0.1 - - [31/Jan/2026:12:00:{i:02} +0000] "{request}" {status} 5 "http://a/{SECRET}" "Agent"\n'
        for i, (request, status) in enumerate(LOG)
    )


def _archive() -> str:
    headers = [
        {"name": "Authorization", "value": SECRET},
        {"name": "Cookie", "value": f"sid={SECRET}"},
        {"name": "Accept-Language", "value": "de"},
        {"name": "Host", "value": "recorded.example"},
        {"name": "X-Own", "value": "1"},
    ]
    request = {"method": "POST", "url": "https://recorded.example/hook?a=1", "headers": headers}
    entry = {
        "startedDateTime": "2026-01-31T12:00:00Z",
        "request": {**request, "postData": {"text": "payload"}},
        "response": {"status": 200},
    }
    return json.dumps({"log": {"entries": [entry]}})


@pytest.fixture(scope="module")
def asked() -> list[Request]:
    """What the service has got that keeps what it gets."""
    return []


@pytest.fixture(scope="module")
def load(asked: list[Request], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """A load on all of them, ended once each workload has had its requests."""
    folder = tmp_path_factory.mktemp("replay")
    (folder / "access.log").write_text(_access_log())
    (folder / "a.har").write_text(_archive())
    timed = [{"path": "/score", "time": at, "status": 200} for at in TIMES]
    (folder / "timed.jsonl").write_text("".join(json.dumps(each) + "\n" for each in timed))
    (folder / "score.jsonl").write_text('{"path": "/score", "status": 200}\n')

    def keep(request: Request) -> None:
        asked.append(request)
        request.reply(200)

    rated: dict[str, Any] = {"arrivals": "10/s", "timeout": "20s"}
    with contextlib.ExitStack() as stack:
        url, place_of = stack.enter_context(shop()), stack.enter_context(places(folder))
        keeping = stack.enter_context(http(keep))
        log = str(folder / "access.log")
        names = {"score": "^/score", "item": "^/items"}
        workloads = [
            workload("log", url, "replay", file=log, operations=names, **rated),
            workload("exact", url, "replay", file=log, expect="recorded", skip="^/me", **rated),
            workload("quiet", keeping, "replay", file=str(folder / "a.har"), only_safe=False, **rated),
            workload(
                "asked-for", keeping, "replay", file=str(folder / "a.har"), only_safe=False,
                headers=["Authorization", "X-Own"], **rated,
            ),
        ]  # fmt: skip
        recorded: dict[str, Any] = {"arrivals": None, "file": str(folder / "timed.jsonl"), "timeout": "20s"}
        workloads.append(workload("once", url, "replay", at_end="stop", **recorded))
        workloads.append(workload("thrice", url, "replay", speed=4, **recorded))
        for name, (type_, attributes, kind) in STRUCK.items():
            place = place_of(url)
            place.inject(type_, attributes)
            options = {**rated, "timeout": "500ms" if kind == "timeout" else "20s"}
            file = str(folder / "score.jsonl")
            workloads.append(workload(name, place.url, "replay", file=file, **options))
        load = stack.enter_context(locust(folder, workloads=workloads, drain_s=30.0))
        load.begin("baseline")
        wait_until(
            lambda: all(
                load.receiver.count(metrics.ARRIVALS, workload=w["name"])
                >= (len(TIMES) if w["name"] == "once" else 12)
                for w in workloads
            ),
            "arrivals",
        )
        assert load.stop() == 0, load.log
        yield load


def _by_ordinal(load: Load, name: str) -> dict[int, Row]:
    rows = {row["user"]: row for row in load.rows(workload=name, final=True)}
    assert sorted(rows) == list(range(len(rows)))
    assert len(rows) == load.receiver.count(metrics.ARRIVALS, workload=name)
    return rows


def test_the_nth_arrival_sends_the_nth_request(load: Load) -> None:
    """In order, over and over, without what may change things; named by pattern or method, never by path."""
    wanted = [("score", None), ("GET", None), ("score", None), ("GET", None), ("GET", None), ("GET", "401")]
    for ordinal, row in _by_ordinal(load, "log").items():
        assert (row["operation"], row["error_type"]) == wanted[ordinal % len(wanted)]


def test_a_service_that_answers_as_recorded_is_right(load: Load) -> None:
    """404 is right where it was recorded, and a redirect is not followed."""
    statuses = [200, 200, 200, 404, 302]
    for ordinal, row in _by_ordinal(load, "exact").items():
        assert (row["outcome"], row["status"]) == ("ok", statuses[ordinal % len(statuses)])


def test_recorded_times_are_the_intended_ones(load: Load) -> None:
    """Users are due at the recorded offsets, divided by the speed; at the end nobody, or all of them again."""
    offsets = sorted(at - min(TIMES) for at in TIMES)
    start = load.phases[0][1]
    once, again = _by_ordinal(load, "once"), _by_ordinal(load, "thrice")
    assert [row["intended_start"] - start for _, row in sorted(once.items())] == pytest.approx(
        offsets, abs=1e-4
    )
    period = offsets[-1] * (1 + 1 / (len(offsets) - 1))
    for ordinal, row in again.items():
        rounds, index = divmod(ordinal, len(offsets))
        due = start + (rounds * period + offsets[index]) / 4
        assert row["intended_start"] == pytest.approx(due, abs=1e-4)
        assert row["start"] >= row["intended_start"] - 1e-3


@pytest.mark.parametrize("name", STRUCK)
def test_each_fault_is_told_by_its_kind(load: Load, name: str) -> None:
    """As any HTTP user's: by how the exchange failed, each arrival with its row and its observation."""
    rows = _by_ordinal(load, name)
    assert {row["error_type"] for row in rows.values()} == {STRUCK[name][2]}
    assert load.receiver.count(metrics.HTTP_OPERATION, workload=name, type=STRUCK[name][2]) == len(rows)


def test_the_host_is_the_services_and_secrets_stay_unless_asked_for(load: Load, asked: list[Request]) -> None:
    """Recorded hosts, Authorization and Cookie do not go out; what `headers` names does, with the body."""
    _by_ordinal(load, "quiet")
    quiet = [request.head for request in asked if "Authorization" not in request.head]
    loud = [request.head for request in asked if "Authorization" in request.head]
    assert quiet
    assert loud
    for request in asked:
        assert request.head.startswith("POST /hook?a=1 HTTP/1.1")
        assert request.body == b"payload"
        assert "Host: 127.0.0.1:" in request.head
        assert "recorded.example" not in request.head
        assert "Cookie" not in request.head
    assert all("Accept-Language: de" in head and SECRET not in head for head in quiet)
    assert all(f"Authorization: {SECRET}" in head and "X-Own: 1" in head for head in loud)


def test_nothing_secret_is_written_down(load: Load) -> None:
    """Neither in the history nor in the log nor in the plan, wherever in a request it stood."""
    files = [load.plan.history, str(Path(load.plan.history).parent / "load.json")]
    written = [
        file for each in files for file in ([*Path(each).rglob("*")] if Path(each).is_dir() else [Path(each)])
    ]
    assert len(written) >= 2
    for file in written:
        assert SECRET.encode() not in file.read_bytes(), file
    assert SECRET not in load.log
    assert all(SECRET not in str(point) for point in load.receiver.points(metrics.HTTP_OPERATION))
