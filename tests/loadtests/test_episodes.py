"""Episodes against an environment that behaves, and ones that do not: one Locust process for all of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from loadtests import metrics
from tests.loadtests.locusts import Load, Row, locust, wait_until, workload
from tests.loadtests.unruly import observation, openenv, refused, tcp

TIMEOUT = "250ms"
LATE_S = 0.4
RETRIES = 3
EPISODES = 2


def _answer(connection: ServerConnection, message: dict[str, Any]) -> None:
    data = message["data"]
    submitted = data.get("kind") == "submit"
    connection.send(observation(data, done=submitted, reward=1.0 if submitted else 0.0))


class _Late:
    """Answers each request the first time late, when it is an episode's second step; then at once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, connection: ServerConnection, number: int, message: dict[str, Any]) -> None:
        with self._lock:
            late = number == 2 and message["data"]["nonce"] not in self._seen
            self._seen.add(message["data"]["nonce"])
        if late:
            time.sleep(LATE_S)
        _answer(connection, message)


def _garbage(connection: ServerConnection, _: int, __: dict[str, Any]) -> None:
    connection.send("this is no observation")


def _error(connection: ServerConnection, number: int, message: dict[str, Any]) -> None:
    if number < 2:
        _answer(connection, message)
    else:
        connection.send('{"type": "error", "data": {"message": "boom", "code": "EXECUTION_ERROR"}}')


def _mute(connection: ServerConnection, _: int, __: dict[str, Any]) -> None:
    with contextlib.suppress(Exception):
        connection.recv()


def _leaving(connection: ServerConnection, number: int, message: dict[str, Any]) -> None:
    if number == 3:
        connection.socket.shutdown(2)
    else:
        _answer(connection, message)


def _shut_door(connection: Any) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 503 Full\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.fixture(scope="module")
def load(demos: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """A load on all of them, ended once each workload has had its episodes."""
    options: dict[str, Any] = {"steps": 4, "timeout": TIMEOUT, "retries": RETRIES, "arrivals": "2/s"}
    demo = {"steps": 5, "timeout": "10s", "arrivals": "10/s"}
    with contextlib.ExitStack() as stack:
        urls = {
            name: stack.enter_context(openenv(say))
            for name, say in {
                "garbage": _garbage,
                "error": _error,
                "mute": _mute,
                "leaving": _leaving,
            }.items()
        }
        urls |= {"refused": refused(), "full": stack.enter_context(tcp(_shut_door))}
        urls["slams"] = stack.enter_context(tcp(lambda _: None))
        workloads = [
            workload(f"{name}-{client}", url, "episode", client=client, **options)
            for name, url in urls.items()
            for client in ("naive", "careful")
        ]
        for client in ("naive", "careful"):
            late = stack.enter_context(openenv(_Late()))
            workloads.append(workload(f"late-{client}", late, "episode", client=client, **options))
        for policy in ("oracle", "null", "random"):
            workloads.append(workload(policy, demos["environment"], "episode", policy=policy, **demo))
        load = stack.enter_context(
            locust(tmp_path_factory.mktemp("episodes"), workloads=workloads, drain_s=15.0)
        )
        load.begin("baseline")
        wait_until(
            lambda: load.receiver.count(metrics.ARRIVALS) >= EPISODES * len(workloads) + 20, "arrivals"
        )
        assert load.stop() == 0, load.log
        yield load


def _finals(load: Load, workload: str) -> list[Row]:
    return [row for row in load.rows(workload=workload, final=True) if row["operation"] != "replay"]


def test_late_replies_shift_a_naive_client_by_one(load: Load) -> None:
    """A naive client takes a late reply for the next step's, notices nothing, and the history shows it."""
    rows = load.rows(workload="late-naive")
    assert any(row["error_type"] == "timeout" and row["attempt"] == 0 for row in rows)
    asked = {row["nonce"]: (row["episode"], row["step"]) for row in rows}
    shifted = [row for row in rows if row["outcome"] == "ok" and row["reply_nonce"] != row["nonce"]]
    assert shifted
    for row in shifted:
        episode, step = asked[row["reply_nonce"]]
        assert episode == row["episode"]
        assert 2 <= step < row["step"]
    assert load.receiver.count(metrics.EPISODE_DURATION, workload="late-naive", outcome="failed") == 0


def test_late_replies_never_reach_a_careful_client(load: Load) -> None:
    """On a new connection after each time-out, with the episode played again, every reply is its own."""
    rows = load.rows(workload="late-careful")
    assert any(row["error_type"] == "timeout" for row in rows)
    assert all(row["reply_nonce"] == row["nonce"] for row in rows if row["outcome"] == "ok")
    replays = [row for row in rows if row["operation"] == "replay"]
    assert {row["step"] for row in replays} == {0, 1}
    assert not any(row["final"] for row in replays)
    ends = [row for row in rows if row["done"]]
    assert [(row["reward"], row["expected"]) for row in ends] == [(1.0, 1.0)] * len(ends)
    assert len(ends) == load.receiver.count(metrics.EPISODE_DURATION, workload="late-careful")


@pytest.mark.parametrize(
    ("server", "error_types"),
    [
        ("refused", {"connection_refused"}),
        ("slams", {"connection_closed", "connection_reset"}),
        ("full", {"503"}),
        ("garbage", {"protocol_error"}),
        ("mute", {"timeout"}),
        ("leaving", {"connection_closed", "connection_reset"}),
        ("error", {"environment_error"}),
    ],
)
@pytest.mark.parametrize("client", ["naive", "careful"])
def test_what_goes_wrong_is_named_and_fails_honestly(
    load: Load, server: str, error_types: set[str], client: str
) -> None:
    """Each misbehaviour has its error type, retries are bounded, and the episode fails; none has a reward."""
    name = f"{server}-{client}"
    last = {row["episode"]: row for row in _finals(load, name)}
    assert last
    for row in last.values():
        assert row["outcome"] == "error"
        assert row["error_type"] in error_types
        assert row["attempt"] <= RETRIES
        assert row["expected"] is None
    if client == "careful":
        assert {row["attempt"] for row in last.values()} == {RETRIES}
    assert load.receiver.count(metrics.EPISODE_DURATION, workload=name, outcome="failed") == len(last)


def test_rewards_are_those_that_the_policies_earn(load: Load) -> None:
    """Against an environment that behaves each policy earns what is known in advance, on its last row only."""
    for policy, earned in (("oracle", 1.0), ("null", 0.0), ("random", 0.0)):
        rows = load.rows(workload=policy)
        ends = [row for row in rows if row["done"]]
        assert ends
        assert {(row["reward"], row["expected"]) for row in ends} == {(earned, earned)}
        assert not [row for row in rows if not row["done"] and row["expected"] is not None]
        assert all(row["outcome"] == "ok" and row["nonce"] == row["reply_nonce"] for row in rows)


def test_every_operation_is_told_once_and_by_both(load: Load) -> None:
    """Each operation has exactly one final row; metrics and history agree on operations and attempts."""
    rows = load.rows()
    finals = Counter((row["workload"], row["episode"], row["step"]) for row in rows if row["final"])
    assert set(finals.values()) == {1}
    steps = sum(1 for row in rows if row["final"])
    assert load.receiver.count(metrics.STEP_DURATION) == steps
    assert load.receiver.count(metrics.ATTEMPTS) == len(rows)
    arrivals = load.receiver.count(metrics.ARRIVALS)
    assert load.receiver.count(metrics.EPISODE_DURATION) == arrivals
    assert len({(row["workload"], row["episode"]) for row in rows}) == arrivals
    assert load.receiver.count(metrics.ARRIVALS, state="dropped") == 0


def test_connections_and_traces_tell_episodes_apart(load: Load) -> None:
    """An episode has one trace, whatever it went through; no two episodes share one, or a connection."""
    rows = load.rows()
    episodes = {(row["workload"], row["episode"]) for row in rows}
    traces = {(row["workload"], row["episode"], row["trace_id"]) for row in rows}
    assert len(traces) == len(episodes) == len({trace for _, _, trace in traces})
    owners: dict[int, set[tuple[str, int]]] = {}
    for row in rows:
        if row["connection"] is not None:
            owners.setdefault(row["connection"], set()).add((row["workload"], row["episode"]))
    assert all(len(owner) == 1 for owner in owners.values())
