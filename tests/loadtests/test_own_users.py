"""Users of one's own: the guide's, and classes that misbehave, in a load plan."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests import metrics
from tests.loadtests.guide import example
from tests.loadtests.locusts import Load, locust, wait_until, workload
from tests.loadtests.unruly import refused, tcp

VISITS = 5
ODD = '''
import socket

from loadtests.users.own import OwnUser


class Failing(OwnUser):
    """Its sockets fail; an OSError has a name by itself."""

    def visit(self, visit):
        visit.perform("try", self.fail)

    def fail(self, tried):
        raise ConnectionResetError(104, "gone")


class Plain:
    """Needs no base."""

    def __init__(self, desk, url, options):
        self.options = options

    def __call__(self, arrival):
        assert self.options == {"a": [1, {"b": None}]}


class Defective(OwnUser):
    """Has a defect."""

    def visit(self, visit):
        visit.perform("try", lambda tried: tried.nothing)
'''


def _store(connection: socket.socket) -> None:
    """A service that speaks as much of Redis' protocol as the guide needs."""
    kept: dict[bytes, bytes] = {}
    with connection.makefile("rb") as lines:
        for line in lines:
            match line.split():
                case [b"SET", key, value]:
                    kept[key] = value
                    connection.sendall(b"+OK\r\n")
                case [b"GET", key]:
                    connection.sendall(b"$%d\r\n%s\r\n" % (len(kept[key]), kept[key]))


def _forgetful(connection: socket.socket) -> None:
    """Answers everything with an error."""
    while connection.recv(4096):
        connection.sendall(b"-ERR busy\r\n")


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """The guide's users on services that behave and ones that do not."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "keyvalue.py").write_text(example("python", "# keyvalue.py"))
    (folder / "odd").mkdir()
    (folder / "odd" / "users.py").write_text(ODD)
    guide = {"factory": "keyvalue:KeyValueUser", "options": {"keys": 10}, "folder": str(folder)}
    with contextlib.ExitStack() as stack:
        urls = {
            "store": stack.enter_context(tcp(_store)),
            "forgetful": stack.enter_context(tcp(_forgetful)),
            "slams": stack.enter_context(tcp(lambda _: None)),
            "refused": refused(),
        }
        workloads = [workload(name, url, "python", arrivals="10/s", **guide) for name, url in urls.items()]
        for name in ("Failing", "Plain", "Defective"):
            options = {"a": [1, {"b": None}]} if name == "Plain" else {}
            own = {"factory": f"odd.users:{name}", "options": options, "folder": str(folder)}
            workloads.append(workload(name.lower(), urls["refused"], "python", arrivals="10/s", **own))
        load = stack.enter_context(locust(tmp_path_factory.mktemp("own"), workloads=workloads, drain_s=30.0))
        load.begin("baseline")
        wait_until(
            lambda: all(
                load.receiver.count(metrics.ARRIVALS, workload=each["name"]) >= VISITS for each in workloads
            ),
            "arrivals",
        )
        assert load.stop() == 70, load.log  # one of the classes has a defect
        yield load


def test_the_guides_user_does_its_operations_in_order(load: Load) -> None:
    """Each is due when the one before it ended, or after the pause; both the metrics and the history have it."""
    rows = load.rows(workload="store")
    assert len(rows) >= VISITS
    visits: dict[int, list[str]] = {}
    ends: dict[int, float] = {}
    for row in rows:
        visits.setdefault(row["user"], []).append(row["operation"])
        assert (row["outcome"], row["final"]) == ("ok", True)
        if row["operation"] == "set":
            assert row["intended_start"] == ends[row["user"]]
        if row["operation"] == "get":
            assert row["intended_start"] > ends[row["user"]]
        ends[row["user"]] = row["end"]
    assert {tuple(operations) for operations in visits.values()} == {("connect", "set", "get")}
    for operation in ("connect", "set", "get"):
        assert load.receiver.count(metrics.HTTP_OPERATION, workload="store", operation=operation) == len(
            visits
        )


@pytest.mark.parametrize(
    ("name", "operation", "error_types", "attempt"),
    [
        ("forgetful", "set", {"protocol_error"}, 0),
        ("slams", "set", {"connection_closed", "connection_reset"}, 0),
        ("refused", "connect", {"connection_refused"}, 2),
        ("failing", "try", {"connection_reset"}, 0),
        ("defective", "try", {"generator_error"}, 0),
    ],
)
def test_what_goes_wrong_is_named_and_ends_the_visit(
    load: Load, name: str, operation: str, error_types: set[str], attempt: int
) -> None:
    """By its error type, after as many tries as the class asked for; the next visit comes all the same."""
    last = {row["user"]: row for row in load.rows(workload=name, final=True)}
    assert len(last) >= VISITS
    for row in last.values():
        assert (row["operation"], row["attempt"]) == (operation, attempt)
        assert row["error_type"] in error_types


def test_a_class_needs_no_base(load: Load) -> None:
    """Whatever can be called with an arrival is a user; its options are handed over as they were written."""
    assert load.rows(workload="plain") == []
    assert "AssertionError" not in load.log


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("keyvalue:Nobody", "has no Nobody"),
        ("nothing:Nobody", "no module nothing"),
        ("broken:Nobody", "boom"),
    ],
)
def test_a_class_that_is_not_there_is_told(tmp_path: Path, factory: str, said: str) -> None:
    """A load does not begin with it; validation would have said so before."""
    (tmp_path / "keyvalue.py").write_text("")
    (tmp_path / "broken.py").write_text("raise RuntimeError('boom')")
    workloads = [workload("w", refused(), "python", factory=factory, folder=str(tmp_path))]
    with pytest.raises(AssertionError, match=said), locust(tmp_path / "load", workloads=workloads):
        pass
