"""Each fault that an episode can meet, by the real toxics: what each manner of client makes of it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import pytest

from loadtests import metrics
from tests.loadtests.locusts import Load, Row, locust, wait_until, workload
from tests.loadtests.struck import places

RETRIES = 1
EPISODES = 2
STEPS = 3
STEP: dict[str, Any] = {"reply_to": {"/type": "step"}}
SECOND: dict[str, Any] = {**STEP, "nth": 2}

FAULTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "stale": ("ws_replay", {}, SECOND),
    "duplicate": ("ws_duplicate", {}, SECOND),
    "swapped": ("ws_reorder", {}, SECOND),
    "lost": ("ws_drop", {}, SECOND),
    "late": ("ws_delay", {"delay": 60_000}, SECOND),
    "half-open": ("ws_half_open", {}, SECOND),
    "closed": ("ws_close", {"code": 1011}, SECOND),
    "nan": ("json_edit", {"pointer": "/data/reward", "action": "nan"}, STEP),
    "dropped": ("json_edit", {"pointer": "/data/reward", "action": "drop"}, STEP),
    "scaled": ("json_edit", {"pointer": "/data/reward", "action": "scale"}, STEP),
    "not-done": ("json_edit", {"pointer": "/data/done", "action": "set", "value": False}, STEP),
    "done": ("json_edit", {"pointer": "/data/done", "action": "set", "value": True}, SECOND),
    "no-observation": ("json_edit", {"pointer": "/data/observation", "action": "set", "value": None}, SECOND),
    "no-type": ("json_edit", {"pointer": "/type", "action": "drop"}, SECOND),
    "refused": ("http_reply", {"status": 503}, {}),
    "reset": ("reset_peer", {"timeout": 0}, {}),
    "black-hole": ("timeout", {"timeout": 0}, {}),
    "limited": ("limit_data", {"bytes": 500}, {}),
    "sliced": ("slicer", {"average_size": 16, "size_variation": 0, "delay": 0}, {}),
}
HANGING = {"lost", "late", "half-open", "black-hole", "swapped"}


@pytest.fixture(scope="module")
def load(demos: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """One Locust process, with a place of its own for each fault and manner."""
    folder = tmp_path_factory.mktemp("faults")
    options: dict[str, Any] = {"retries": RETRIES, "steps": STEPS, "arrivals": "30/m"}
    with contextlib.ExitStack() as stack:
        make = stack.enter_context(places(folder))
        workloads = []
        for name in ("stale", "duplicate"):  # with a client that looks at the nonce
            toxic, attributes, where = FAULTS[name]
            place = make(demos["environment"])
            place.inject(toxic, attributes, where=where)
            workloads.append(
                workload(f"{name}-checked", place.url, "episode", timeout="30s", check_nonce=True, **options)
            )
        for name, (toxic, attributes, where) in FAULTS.items():
            for client in ("naive", "careful"):
                place = make(demos["environment"])
                place.inject(toxic, attributes, **({"where": where} if where else {}))
                own = {"client": client, "timeout": "4s" if name in HANGING else "30s"}
                workloads.append(workload(f"{name}-{client}", place.url, "episode", **own, **options))
        load = stack.enter_context(locust(folder / "load", workloads=workloads, drain_s=60.0))
        load.begin("baseline")
        wait_until(
            lambda: all(
                load.receiver.count(metrics.ARRIVALS, workload=each["name"]) >= EPISODES for each in workloads
            ),
            "arrivals",
        )
        assert load.stop() == 0, load.log
        yield load


def _episodes(load: Load, name: str) -> list[list[Row]]:
    """The final rows of each episode, in order."""
    found: dict[int, list[Row]] = {}
    for row in load.rows(workload=name, final=True):
        found.setdefault(row["episode"], []).append(row)
    assert len(found) >= EPISODES
    return list(found.values())


def _outcomes(load: Load, name: str) -> dict[str, int]:
    """How many episodes ended how."""
    outcomes = ("completed", "failed", "unfinished")
    return {
        outcome: load.receiver.count(metrics.EPISODE_DURATION, workload=name, outcome=outcome)
        for outcome in outcomes
    }


def _mispaired(load: Load, name: str) -> list[Row]:
    """Replies that were taken for another request's."""
    rows = load.rows(workload=name, outcome="ok")
    return [row for row in rows if row["reply_nonce"] != row["nonce"]]


@pytest.mark.parametrize(
    ("fault", "client"),
    [
        ("stale", "naive"),
        ("stale", "careful"),
        ("duplicate", "naive"),
        ("duplicate", "careful"),
        ("swapped", "naive"),
    ],
)
def test_replies_that_belong_to_others_show_by_their_nonce(load: Load, fault: str, client: str) -> None:
    """HIDDEN: no episode fails by it but one whose end was missed; the history has another request's nonce."""
    assert _mispaired(load, f"{fault}-{client}")
    if client == "naive":
        assert _outcomes(load, f"{fault}-naive")["failed"] == 0


@pytest.mark.parametrize("fault", ["stale", "duplicate"])
def test_a_client_that_looks_at_the_nonce_takes_no_other_reply(load: Load, fault: str) -> None:
    """It says `mispaired`, plays the episode again on a new connection, and earns the whole reward."""
    name = f"{fault}-checked"
    assert _mispaired(load, name) == []
    assert {row["error_type"] for row in load.rows(workload=name)} == {None, "mispaired"}
    assert _outcomes(load, name)["failed"] == 0
    for rows in _episodes(load, name):
        assert (rows[-1]["reward"], rows[-1]["expected"], rows[-1]["done"]) == (1.0, 1.0, True)


@pytest.mark.parametrize(
    ("fault", "error_type"),
    [
        ("late", "timeout"),
        ("half-open", "timeout"),
        ("closed", "connection_closed"),
        ("no-observation", "protocol_error"),
        ("no-type", "protocol_error"),
    ],
)
def test_what_ends_a_naive_clients_episode_a_careful_one_outlives(
    load: Load, fault: str, error_type: str
) -> None:
    """The struck episode fails by its error type; played again on a new connection it earns all the same."""
    ended = [rows[-1] for rows in _episodes(load, f"{fault}-naive") if rows[-1]["outcome"] == "error"]
    assert {row["error_type"] for row in ended} == {error_type}
    struck = load.rows(workload=f"{fault}-careful", error_type=error_type)
    assert struck
    assert not any(row["final"] for row in struck)
    for rows in _episodes(load, f"{fault}-careful"):
        assert (rows[-1]["reward"], rows[-1]["expected"]) == (1.0, 1.0)
    assert load.rows(workload=f"{fault}-careful", operation="replay")


@pytest.mark.parametrize("client", ["naive", "careful"])
def test_a_lost_reply_is_asked_for_again(load: Load, client: str) -> None:
    """One step more on the wire, and no reply on the wrong account."""
    name = f"lost-{client}"
    assert load.rows(workload=name, error_type="timeout", final=False)
    assert _mispaired(load, name) == []
    assert _outcomes(load, name)["failed"] == 0


@pytest.mark.parametrize("client", ["naive", "careful"])
@pytest.mark.parametrize(("fault", "reward"), [("nan", math.nan), ("dropped", None), ("scaled", 100.0)])
def test_rewards_that_were_changed_show_beside_the_known_one(
    load: Load, fault: str, reward: float | None, client: str
) -> None:
    """HIDDEN: no client fails an episode by them; the history has what came, and what was expected."""
    name = f"{fault}-{client}"
    for rows in _episodes(load, name):
        last = rows[-1]
        assert (last["outcome"], last["expected"], last["done"]) == ("ok", 1.0, True)
        same = last["reward"] == reward or (fault == "nan" and math.isnan(last["reward"]))
        assert same, last["reward"]
    assert _outcomes(load, name)["failed"] == 0


def test_an_end_that_was_hidden_is_missed_by_the_careful_only(load: Load) -> None:
    """`done` set to false: the naive client is content, the careful one knows that its last action ends it."""
    assert _outcomes(load, "not-done-naive")["failed"] == 0
    careful = _outcomes(load, "not-done-careful")
    assert careful["completed"] == 0
    assert (
        load.receiver.count(metrics.EPISODE_DURATION, workload="not-done-careful", type="environment_error")
        == careful["failed"]
        > 0
    )


@pytest.mark.parametrize("client", ["naive", "careful"])
def test_an_end_that_was_made_up_leaves_a_reward_too_small(load: Load, client: str) -> None:
    """HIDDEN: `done` set to true ends an episode early; its reward is not the known one."""
    ends = [rows[-1] for rows in _episodes(load, f"done-{client}")]
    early = [row for row in ends if row["step"] < STEPS]
    assert early
    assert {(row["reward"], row["expected"]) for row in early} == {(0.0, 1.0)}


@pytest.mark.parametrize("client", ["naive", "careful"])
@pytest.mark.parametrize(
    ("fault", "error_types"),
    [
        ("refused", {"503"}),
        ("reset", {"connection_reset", "connection_closed"}),
        ("black-hole", {"timeout"}),
        ("limited", {"connection_closed", "connection_reset"}),
    ],
)
def test_what_strikes_every_connection_fails_every_episode(
    load: Load, fault: str, error_types: set[str], client: str
) -> None:
    """By its error type, and after as many tries as the client has, unless its connection was all it had."""
    for rows in _episodes(load, f"{fault}-{client}"):
        assert rows[-1]["outcome"] == "error"
        assert rows[-1]["error_type"] in error_types
        assert rows[-1]["attempt"] == RETRIES or (client, fault) == ("naive", "limited")


@pytest.mark.parametrize("client", ["naive", "careful"])
def test_small_pieces_change_nothing(load: Load, client: str) -> None:
    """Frames that come byte by byte are the same frames."""
    for rows in _episodes(load, f"sliced-{client}"):
        assert [(row["outcome"], row["attempt"]) for row in rows] == [("ok", 0)] * (STEPS + 1)
        assert (rows[-1]["reward"], rows[-1]["done"]) == (1.0, True)


def test_faults_leave_no_operation_untold(load: Load) -> None:
    """One final row and one duration for each operation, one count for each try, whatever struck it."""
    rows = load.rows()
    assert load.receiver.count(metrics.STEP_DURATION) == sum(row["final"] for row in rows)
    assert load.receiver.count(metrics.ATTEMPTS) == len(rows)
