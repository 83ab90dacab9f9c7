"""Steps of plain HTTP users against a real service, and ones that misbehave: one Locust process for all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from loadtests import metrics
from loadtests.options.variable import Variable
from loadtests.users.arrival import Identity
from tests.loadtests.locusts import Load, Row, locust, wait_until, workload
from tests.loadtests.shop import AWKWARD, shop
from tests.loadtests.unruly import Request, http, refused, tcp

TEXT_STEPS: list[dict[str, Any]] = [
    {"name": "take", "path": "/text", "extract": {"token": {"regex": r"token=(\w+)"}}},
    {"name": "use", "path": "/items/${token}", "checks": [{"pointer": "/id", "equals": "abc123"}]},
]
SHOP_STEPS: list[dict[str, Any]] = [
    {
        "name": "create",
        "method": "POST",
        "path": "/items",
        "json": {
            "n": "${arrival}",
            "who": "${user.name} of ${region}",
            "age": "${user.age}",
            "all": ["${flag}", None, 1.5, "$${x}"],
            "key": "${uuid}",
        },
        "expect_status": "2xx",
        "checks": [
            {"header": "content-type", "matches": "^application/json"},
            {"pointer": "/item/n", "equals": "${arrival}"},
            {"pointer": "/item/got/all", "equals": [True, None, 1.5, "$${x}"]},
            {"pointer": "/item/got/who", "matches": "^(Ada|Bo) of eu$"},
            {"pointer": "/item/got/age", "equals": "${user.age}"},
            {"pointer": "/item/none", "exists": False},
            {"header": "X-None", "exists": False},
            {"body": "item"},
            {"latency": "60s"},
        ],
        "extract": {
            "id": {"pointer": "/item/id"},
            "tag": {"header": "ETag"},
            "key": {"pointer": "/item/got/key"},
            "got": {"pointer": "/item/got"},
        },
    },
    *(
        {
            "name": f"read-{how}",
            "path": f"/items/${{id}}?packed={how}" if how != "plain" else "/items/${id}",
            "headers": {"If-Match": "${tag}", "Accept-Encoding": how},
            "checks": [
                {"pointer": "/id", "equals": "${id}"},
                {"pointer": "/match", "equals": '"v${got.n}"'},
            ],
        }
        for how in ("plain", "gzip", "deflate")
    ),
    {"name": "read-unknown", "path": "/items/x?packed=unknown", "checks": [{"pointer": "/id"}]},
]
SCORE: dict[str, Any] = {"name": "score", "path": "/score"}
FAILING: dict[str, list[dict[str, Any]]] = {
    "status": [{"name": "a", "path": "/none"}],
    "header": [{**SCORE, "checks": [{"header": "X-None"}]}],
    "header-equals": [{**SCORE, "checks": [{"header": "content-type", "equals": "text/plain"}]}],
    "equals": [{**SCORE, "checks": [{"pointer": "/score", "equals": "0.5"}]}],
    "bounds": [{**SCORE, "checks": [{"pointer": "/score", "min": 0.6}]}],
    "missing": [{**SCORE, "checks": [{"pointer": "/score/0"}]}],
    "body": [{**SCORE, "checks": [{"body": "^score$"}]}],
    "no-json": [{"name": "a", "path": "/text", "checks": [{"pointer": "/a", "exists": False}]}],
    "extract": [
        {**SCORE, "extract": {"id": {"pointer": "/id"}}},
        {"name": "after", "path": "/items/${id}"},
        {"name": "last", "path": "/score"},
    ],
    "bad-header": [
        {**SCORE, "extract": {"all": {"pointer": ""}}},
        {"name": "after", "path": "/score", "headers": {"X-A": "${line}"}},
    ],
    "away": [{"name": "a", "path": "/away"}],
    "endless": [{"name": "a", "path": "/old/50"}],
}
WRONG: dict[str, dict[str, str | None]] = {
    "status": {"a": "404"},
    "header": {"score": "check_failed"},
    "header-equals": {"score": "check_failed"},
    "equals": {"score": "check_failed"},
    "bounds": {"score": "check_failed"},
    "missing": {"score": "check_failed"},
    "body": {"score": "check_failed"},
    "no-json": {"a": "check_failed"},
    "extract": {"score": "extract_failed", "after": "not_sent", "last": None},
    "bad-header": {"score": None, "after": "not_sent"},
    "away": {"a": "302"},
    "endless": {"a": "302"},
}


def _stalled(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    request.connection.recv(1)


def _torn(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    request.close()


UNRULY = {
    "closed": (lambda request: request.close(), "connection_closed"),
    "torn": (_torn, "connection_closed"),
    "stalled": (_stalled, "timeout"),
    "bad-gzip": (
        lambda request: request.reply(200, b"\x1f\x8bno", Content_Encoding="gzip"),
        "protocol_error",
    ),
    "empty": (lambda request: request.reply(200), "check_failed"),
    "html": (lambda request: request.reply(200, b"<html>busy</html>"), "check_failed"),
    "deep": (lambda request: request.reply(200, b"[" * 200_000), "check_failed"),
    "constant": (lambda request: request.reply(200, b'{"score": NaN}'), "check_failed"),
    "twice": (lambda request: request.reply(200, b'{"score": 1}{"score": 1}'), "check_failed"),
    "busy": (lambda request: request.reply(429, b"{}"), "429"),
    "failing": (lambda request: request.reply(503, b"{}"), "503"),
}


@pytest.fixture(scope="module")
def load(demos: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """A load on all of them, ended once each workload has had a few arrivals."""
    folder = tmp_path_factory.mktemp("steps")
    (folder / "users.csv").write_text("name,age\nAda,36\nBo,7\n")
    common: dict[str, Any] = {"arrivals": "3/s", "timeout": "20s"}
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(shop())
        variables = {
            "region": "eu",
            "flag": True,
            "user": {"file": str(folder / "users.csv"), "draw": "in_order"},
        }
        workloads = [
            workload("shop", url, "http", steps=SHOP_STEPS, vars=variables, item="${user.name}", **common),
            workload("text", url, "http", steps=TEXT_STEPS, **common),
            workload("nonce", url, "http", steps=[_nonced()], **common),
            workload("follow", url, "http", redirects="follow", steps=[_followed("/old/5")], **common),
            workload("login", url, "http", redirects="follow", cookies=True, steps=_logged_in(), **common),
            workload("count", url, "http", steps=[_followed("/old/5", 302)], **common),
            workload("health", demos["evals"], "http", steps=[{"name": "a", "path": "/healthz"}], **common),
        ]
        for name, steps in FAILING.items():
            extra: dict[str, Any] = {"vars": {"line": "a\nb"}} if name == "bad-header" else {}
            extra |= {"redirects": "follow"} if name in ("away", "endless") else {}
            workloads.append(workload(name, url, "http", steps=steps, retries=2, **extra, **common))
        checked = [{**SCORE, "checks": [{"pointer": "/score", "min": 0, "max": 1}]}]
        bad = {name: stack.enter_context(http(answer)) for name, (answer, _) in UNRULY.items()}
        bad |= {"refused": refused(), "noise": stack.enter_context(tcp(lambda s: s.sendall(b"\x00" * 99)))}
        for name, where in bad.items():
            timeout = "1s" if name == "stalled" else common["timeout"]  # the others answer, however late
            workloads.append(workload(name, where, "http", steps=checked, **{**common, "timeout": timeout}))
        load = stack.enter_context(locust(folder, workloads=workloads, drain_s=30.0))
        load.begin("baseline")
        wait_until(
            lambda: all(load.receiver.count(metrics.ARRIVALS, workload=w["name"]) >= 4 for w in workloads),
            "arrivals",
        )
        assert load.stop() == 0, load.log
        yield load


def _nonced() -> dict[str, Any]:
    return {**SCORE, "headers": {"X-Nonce": "${nonce}"}, "echo": {"pointer": "/nonce"}}


def _followed(path: str, status: int = 200) -> dict[str, Any]:
    return {"name": "a", "path": path, "expect_status": status}


def _logged_in() -> list[dict[str, Any]]:
    checks = [{"pointer": "/sid", "equals": "u${arrival}"}, {"pointer": "/theme", "equals": "dark"}]
    return [
        {"name": "login", "method": "POST", "path": "/login", "body": "u${arrival}", "checks": checks},
        {"name": "again", "path": "/me", "checks": checks},
    ]


def _finals(load: Load, name: str) -> list[Row]:
    rows = load.rows(workload=name, final=True)
    assert rows
    return rows


def _said(load: Load, name: str) -> str:
    return "\n".join(line for line in load.log.splitlines() if f"{name}: the step" in line)


@pytest.mark.parametrize("name", ["text", "nonce", "follow", "login", "count", "health"])
def test_what_is_right_passes(load: Load, name: str) -> None:
    """Values between steps, redirects, cookies: a real service gives what the checks want, at the first try."""
    assert {(row["outcome"], row["error_type"], row["attempt"]) for row in _finals(load, name)} == {
        ("ok", None, 0)
    }, _said(load, name)


def test_values_come_to_the_service_as_they_are(load: Load) -> None:
    """Types, awkward ids in paths, packed and chunked replies; what cannot be unpacked is a protocol error."""
    rows = _finals(load, "shop")
    outcomes = {(row["operation"], row["error_type"]) for row in rows}
    wanted: set[tuple[str, str | None]] = {("create", None), ("read-unknown", "protocol_error")}
    wanted |= {(f"read-{how}", None) for how in ("plain", "gzip", "deflate")}
    assert outcomes == wanted, _said(load, "shop")
    assert {row["item"] for row in rows} == {"Ada", "Bo"}
    by_user = {row["user"]: row["item"] for row in rows}
    assert all(name == ("Ada", "Bo")[user % 2] for user, name in by_user.items())
    assert AWKWARD not in load.log


@pytest.mark.parametrize("name", FAILING)
def test_each_failed_step_is_told_by_its_kind(load: Load, name: str) -> None:
    """Checks, extractions and what cannot be sent: each step has its row and its observation, none is absent."""
    rows = _finals(load, name)
    assert {row["operation"]: row["error_type"] for row in rows} == WRONG[name]
    arrivals = load.receiver.count(metrics.ARRIVALS, workload=name)
    for operation, kind in WRONG[name].items():
        own = [row for row in rows if row["operation"] == operation]
        assert len(own) == arrivals
        counted = load.receiver.points(metrics.HTTP_OPERATION, workload=name, operation=operation)
        assert sum(point.count for _, point in counted) == arrivals
        assert {attributes.get("error.type") for attributes, _ in counted} == {kind}
        if kind == "not_sent":
            assert {(row["connection"], row["status"], row["bytes_sent"]) for row in own} == {(None, None, 0)}
        if kind in ("check_failed", "extract_failed", "not_sent"):
            assert f"{name}: the step {operation}: {kind}: " in load.log
            assert {row["attempt"] for row in own} == {0}


@pytest.mark.parametrize("name", [*UNRULY, "refused", "noise"])
def test_servers_that_misbehave_are_counted_by_kind(load: Load, name: str) -> None:
    """Whatever a server does, its requests are told by how they failed, and the generator goes on."""
    kinds = {name: kind for name, (_, kind) in UNRULY.items()}
    kinds |= {"refused": "connection_refused", "noise": "protocol_error"}
    rows = _finals(load, name)
    assert {row["error_type"] for row in rows} == {kinds[name]}
    assert len(rows) == load.receiver.count(metrics.ARRIVALS, workload=name)


def test_nonces_are_paired(load: Load) -> None:
    """A reply that repeats the nonce of its request is recorded with it, for the checks of the history."""
    for row in _finals(load, "nonce"):
        assert row["nonce"] == row["reply_nonce"] is not None


def test_each_hop_of_a_redirect_is_a_request_on_the_wire(load: Load) -> None:
    """Six redirects and their answer are one operation and seven requests, told by their statuses."""
    operations = len(_finals(load, "follow"))
    points = load.receiver.points(metrics.HTTP_REQUEST, workload="follow")
    by_status = {attributes["http.response.status_code"]: point.count for attributes, point in points}
    assert by_status == {"302": 6 * operations, "200": operations}


def test_chances_are_the_arrivals_own() -> None:
    """What is drawn follows from seed, workload and ordinal: the same in both arms, another for each arrival."""

    def drawn(arm: str, ordinal: int) -> list[object]:
        rng = Identity(7, f"run/{arm}", "0", "w").arrival(ordinal, 0.0).rng
        sources: list[dict[str, Any]] = [
            {"random": "uuid"},
            {"values": list(range(1000))},
            {"range": [1, 1000]},
            {"values": ["a", "b", "c"], "draw": "in_order"},
            {"value": {"a": 1}},
        ]
        return [Variable.model_validate(source).choices().take(ordinal, rng) for source in sources]

    for ordinal in range(20):
        key, one, two, turn, constant = drawn("fault", ordinal)
        assert [key, one, two, turn, constant] == drawn("control", ordinal)
        assert UUID(str(key)).version == 4
        assert (turn, constant) == ("abc"[ordinal % 3], {"a": 1})
    assert len({str(drawn("fault", ordinal)) for ordinal in range(20)}) == 20
