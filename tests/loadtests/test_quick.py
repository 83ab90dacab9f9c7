"""Plain HTTP without a greenlet leaves the record that it leaves with one, whatever the server does."""

from __future__ import annotations

import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from loadtests import metrics
from tests.loadtests.locusts import Load, Row, locust, wait_until, workload
from tests.loadtests.unruly import Request, http

TIMEOUT_S = 1.0
NEVER = ("silent", "stalled")
"""What is only over when the client gives up; the others answer, however late a busy machine is."""


def _chunked(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")


def _pieces(request: Request) -> None:
    for piece in (b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 6\r\n\r\nab", b"cdef"):
        request.send(piece)
        time.sleep(0.02)  # how the pieces are spaced is what is tested


def _interim(request: Request) -> None:
    request.send(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )


def _surplus(request: Request) -> None:
    request.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    )


def _last(request: Request) -> None:
    request.reply(200, b"ok", Connection="close")
    request.close()


def _until_close(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    request.close()


def _closed_early(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    request.close()


def _silent(request: Request) -> None:
    time.sleep(TIMEOUT_S * 2)  # longer than the client waits
    request.close()


def _stalled(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    _silent(request)


ANSWERS: dict[str, Callable[[Request], None]] = {
    "ok": lambda request: request.reply(200, b"ok"),
    "nothing": lambda request: request.reply(200),
    "no-content": lambda request: request.send(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "chunked": _chunked,
    "pieces": _pieces,
    "interim": _interim,
    "surplus": _surplus,
    "last": _last,
    "until-close": _until_close,
    "old": lambda request: request.send(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    "error": lambda request: request.reply(500, b"no"),
    "later": lambda request: request.reply(429, b"no", Retry_After="0"),
    "unexpected": lambda request: request.reply(302, Location="/ok"),
    "garbage": lambda request: request.send(b"\x16\x03\x01 what\r\n\r\n"),
    "twice": lambda request: request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
    "closed": lambda request: request.close(),
    "closed-early": _closed_early,
    "reset": lambda request: request.reset(),
    "silent": _silent,
    "stalled": _stalled,
}  # fmt: skip


def _answer(request: Request) -> None:
    ANSWERS[request.head.split()[1].partition("/")[2].partition("/")[2]](request)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """One user of each kind for each answer: they send /KIND/ok, then /KIND/ANSWER, then /KIND/ok, and again."""
    folder = tmp_path_factory.mktemp("quick")
    with http(_answer) as url:
        workloads = [
            workload(
                f"{kind}-{name}",
                url,
                "http",
                arrivals=None,  # type: ignore[arg-type]
                profile_users=1,
                profile_pause="20ms",
                timeout=f"{TIMEOUT_S}s" if name in NEVER else "30s",
                retries=1,
                backoff="10ms",
                steps=[
                    {"name": "first", "path": f"/{kind}/ok"},
                    {"name": name, "path": f"/{kind}/{name}", "expect_status": [200, 204]},
                    {"name": "third", "path": f"/{kind}/ok"},
                ],
                **({"redirects": "follow"} if kind == "ordinary" else {}),
            )
            for kind in ("quick", "ordinary")
            for name in ANSWERS
        ]
        with locust(folder, workloads=workloads, drain_s=10.0) as load:
            load.begin("baseline")
            wait_until(lambda: _visits(load) >= 4, "visits")
            assert load.stop() == 0, load.log
            yield load


def _visits(load: Load) -> int:
    """How many visits each workload has made at least."""
    made: dict[str, int] = {}
    for row in load.rows(operation="third", final=True):
        made[row["workload"]] = made.get(row["workload"], 0) + 1
    return min(made.values()) if len(made) == 2 * len(ANSWERS) else 0


def _told(row: Row) -> tuple[Any, ...]:
    """What a row says, but for times and who it was."""
    columns = ("step", "attempt", "final", "operation", "outcome", "error_type", "status", "done", "reward")
    return tuple(row[name] for name in columns)


def _visit(rows: list[Row], user: int) -> list[Row]:
    return sorted((row for row in rows if row["user"] == user), key=lambda row: row["start"])


@pytest.mark.parametrize("name", ANSWERS)
def test_both_leave_the_same_record(both: Load, name: str) -> None:
    """Tries, outcomes, kinds of error, statuses and bytes are those of a user in a greenlet, visit by visit."""
    quick, ordinary = (both.rows(workload=f"{kind}-{name}") for kind in ("quick", "ordinary"))
    for user in range(4):
        one, other = _visit(quick, user), _visit(ordinary, user)
        if (
            name == "unexpected"
        ):  # the ordinary one follows redirects: that is how it is kept from being quick
            assert {row["status"] for row in one if row["step"] == 1} == {302}
            continue
        assert list(map(_told, one)) == list(map(_told, other))
        assert [row["bytes_received"] for row in one] == [row["bytes_received"] for row in other]
        sent = [row["bytes_sent"] + len("ordinary") - len("quick") for row in one if row["bytes_sent"]]
        assert sent == [row["bytes_sent"] for row in other if row["bytes_sent"]]


@pytest.mark.parametrize("name", ANSWERS)
def test_every_request_is_counted_once(both: Load, name: str) -> None:
    """Operations, tries and requests on the wire are as many in the metrics as in the history."""
    for kind in ("quick", "ordinary"):
        rows = both.rows(workload=f"{kind}-{name}")
        count = both.receiver.count
        assert count(metrics.ATTEMPTS, workload=f"{kind}-{name}") == len(rows)
        final = [row for row in rows if row["final"]]
        assert count(metrics.HTTP_OPERATION, workload=f"{kind}-{name}") == len(final)
        good = [row for row in final if row["outcome"] == "ok"]
        bad = len(final) - len(good)
        points = both.receiver.points(metrics.HTTP_OPERATION, workload=f"{kind}-{name}")
        assert sum(point.count for attributes, point in points if "error.type" in attributes) == bad


def test_a_request_is_due_when_the_one_before_it_ended(both: Load) -> None:
    """Within a visit nothing is waited for but the replies, and no time is lost between two requests."""
    for user in range(1, 4):
        rows = _visit(both.rows(workload="quick-ok"), user)
        assert [row["intended_start"] for row in rows[1:]] == [row["end"] for row in rows[:-1]]


def test_what_succeeds_takes_no_greenlet(tmp_path: Path) -> None:
    """Visits whose replies are as expected are served by the event loop alone, the first one too."""
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        import gevent.monkey
        gevent.monkey.patch_all()
        import gevent
        from loadtests.history import Header, HistoryWriter
        from loadtests.options.http import HttpProfile
        from loadtests.profile import Workload
        from loadtests.users.arrival import Identity
        from loadtests.users.attendance import Attendance
        from loadtests.users.clock import Clock, Phases
        from loadtests.users.kinds import user_of
        from loadtests.users.operation import Desk
        from loadtests.users.telemetry import Telemetry

        url, folder = sys.argv[1], Path(sys.argv[2])
        steps = [{"name": "a", "path": "/x/ok"}, {"name": "b", "path": "/x/ok"}]
        profile = HttpProfile.model_validate(
            {"user": "http", "service": "s", "users": 1, "with": {"steps": steps}}
        )
        clock = Clock()
        history = HistoryWriter(folder, Header("run", "fault", "w"))
        desk = Desk("w", clock, Phases(), Telemetry(url, "w", {}, clock.now()), history)
        user = user_of(desk, Workload(name="w", url=url, profile=profile))
        attendance = Attendance(desk, user, Identity(1, "run", "w", "w"), 10)
        for ordinal in range(20):
            attendance.come(ordinal, clock.now())
            with gevent.Timeout(30):
                while attendance.open:
                    gevent.sleep(0.001)
        attendance.end()
        history.close()
        print(history.count, user.tally.count)
        """
    )
    with http(_answer) as url:
        argv = [sys.executable, "-c", script, url, str(tmp_path)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["40", "40"], done.stderr


def test_tls_is_no_different(tmp_path: Path) -> None:
    """By TLS, with replies of many records, every request is recorded with its whole reply."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    body = b"x" * 100_000
    trusting = ["env", f"SSL_CERT_FILE={tmp_path / 'ca.pem'}"]
    with http(lambda request: request.reply(200, body), tls) as url:
        load_of = workload(
            "tls",
            url,
            "http",
            arrivals="40/s",
            steps=[{"name": "a", "path": "/"}, {"name": "b", "path": "/"}],
        )
        with locust(tmp_path, trusting, workloads=[load_of]) as load:
            load.begin("baseline")
            wait_until(lambda: load.table.num_rows >= 60, "requests")
            assert load.stop() == 0, load.log
        rows = load.rows()
    assert {(row["outcome"], row["status"]) for row in rows} == {("ok", 200)}
    assert min(row["bytes_received"] for row in rows) > len(body)
    assert len({row["connection"] for row in rows}) < len(rows)
