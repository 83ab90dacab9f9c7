"""The protocol users in locustfiles written by hand, run by the real `locust` command."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.columns import read_table
from loadtests.history import NotAHistory
from tests.demo.serving import running
from tests.loadtests.guide import example
from tests.loadtests.locusts import Row, wait_until
from tests.loadtests.unruly import http

ALL = """
import json
import os

from locust import constant, events
from loadtests.users.locusts import ChatUser, EpisodeUser, GraderUser, HttpUser, SearchUser, ToolsUser

EVALS, ENVIRONMENT, TOOLS, MUTE = (os.environ[name] for name in ("EVALS", "ENVIRONMENT", "TOOLS", "MUTE"))
EVENTS = os.environ["EVENTS"]


class Chat(ChatUser):
    host = EVALS
    wait_time = constant(0.1)


class Episode(EpisodeUser):
    host = ENVIRONMENT
    wait_time = constant(0.1)
    options = {"steps": 3, "tasks": 1000000}


class Grader(GraderUser):
    host = EVALS
    wait_time = constant(0.1)


class Search(SearchUser):
    host = EVALS
    wait_time = constant(0.1)


class Tools(ToolsUser):
    host = TOOLS
    wait_time = constant(0.1)


class Http(HttpUser):
    host = EVALS
    wait_time = constant(0.1)
    options = {"steps": [{"name": "health", "path": "/healthz"}, {"name": "gone", "path": "/gone"}]}


class Mute(HttpUser):
    host = MUTE
    options = {"timeout": "600s", "steps": [{"name": "never", "path": "/"}]}


@events.init.add_listener
def begun(environment, **_):
    def counted(**_):
        found = [[e.method, e.name, e.num_requests, e.num_failures] for e in environment.stats.entries.values()]
        with open(os.environ["STATS"], "w") as file:
            json.dump(found, file)

    environment.events.quit.add_listener(counted)


@events.request.add_listener
def told(request_type, name, response_time, response_length, exception, **_):
    with open(EVENTS, "a") as file:
        print(request_type, name, response_time >= 0, response_length >= 0, exception, sep="|", file=file)
"""
KINDS = ("Chat", "Episode", "Grader", "Search", "Tools", "Http")


def _rows(folder: Path) -> list[Row]:
    found: list[Row] = read_table(folder, [("load", 0.0)]).to_pylist()
    return found


def _rows_so_far(folder: Path) -> list[Row]:
    """While processes begin: one of them may have made its file, and not yet said whose it is."""
    try:
        return _rows(folder)
    except NotAHistory:
        return []


@contextlib.contextmanager
def _locust(folder: Path, text: str, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command, at a locustfile; killed at the end if need be."""
    (folder / "locustfile.py").write_text(text)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LOCUST_", "OTEL_"))}
    command = [sys.executable, "-m", "locust", "-f", "locustfile.py", "--headless", *arguments]
    command.append("--only-summary")
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=err, env=kept | variables, start_new_session=True
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _ended(process: subprocess.Popen[bytes], folder: Path) -> int:
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(60)
    except subprocess.TimeoutExpired:
        raise AssertionError((folder / "err").read_text()) from None


def _said(folder: Path) -> dict[tuple[str, str], tuple[int, int]]:
    """Locust's own counts of requests and of failures, by the kind of user and the operation."""
    said = json.loads((folder / "stats").read_text())
    return {(kind, name): (requests, failures) for kind, name, requests, failures in said}


@pytest.fixture(scope="module")
def ran(demos: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All kinds in one locustfile, until each has done something and one waits for ever."""
    folder = tmp_path_factory.mktemp("all")
    with (
        http(lambda request: request.connection.recv(1)) as mute,
        running(folder, "tools", "--exit-with-stdin") as tools,
    ):
        variables = {
            "EVALS": demos["evals"],
            "ENVIRONMENT": demos["environment"],
            "TOOLS": tools.url,
            "MUTE": mute,
            "STATS": str(folder / "stats"),
            "EVENTS": str(folder / "events"),
            "BROWNOUT_HISTORY": str(folder / "history"),
        }
        with _locust(folder, ALL, "-u", "7", "-r", "7", **variables) as process:

            def enough() -> bool:
                assert process.poll() is None, (folder / "err").read_text()
                return {row["workload"] for row in _rows_so_far(folder / "history")} >= set(KINDS)

            wait_until(enough, "rows of all kinds")
            _ended(process, folder)
    yield folder


def test_locust_counts_what_the_history_says(ran: Path) -> None:
    """Each operation is one request of Locust's, with its failures; both agree to the last one."""
    rows = [row for row in _rows(ran / "history") if row["final"] and row["outcome"] != "unfinished"]
    ours = Counter((row["workload"].lower(), row["operation"]) for row in rows)
    failed = Counter((row["workload"].lower(), row["operation"]) for row in rows if row["outcome"] == "error")
    said = _said(ran)
    assert {key: requests for key, (requests, _) in said.items()} == dict(ours)
    assert {key: failures for key, (_, failures) in said.items() if failures} == dict(failed)
    assert set(failed) == {("http", "gone")}
    assert {kind for kind, _ in said} == {kind.lower() for kind in KINDS}


def test_listeners_are_told_as_of_any_request(ran: Path) -> None:
    """The kind, the operation, times and sizes, and as exception the error type."""
    told = Counter((ran / "events").read_text().splitlines())
    assert set(told) >= {"http|gone|True|True|404", "http|health|True|True|None", "chat|chat|True|True|None"}
    assert sum(told.values()) == sum(requests for requests, _ in _said(ran).values())


def test_what_the_end_cuts_off_is_unfinished(ran: Path) -> None:
    """A request that is never answered fires nothing, and is in the history all the same."""
    (row,) = [row for row in _rows(ran / "history") if row["workload"] == "Mute"]
    assert (row["outcome"], row["final"]) == ("unfinished", True)
    assert "Traceback" not in (ran / "err").read_text()


def test_the_guides_locustfile_runs(demos: dict[str, str], tmp_path: Path) -> None:
    """As it stands in the documents, in two processes: each writes a history, and plays episodes of its own."""
    variables = {
        "ENVIRONMENT_URL": demos["environment"],
        "MODEL_URL": demos["evals"],
        "BROWNOUT_HISTORY": str(tmp_path / "history"),
    }
    text = example("python", "# locustfile.py")
    with _locust(tmp_path, text, "-u", "8", "-r", "8", "--processes", "2", **variables) as process:

        def enough() -> bool:
            assert process.poll() is None, (tmp_path / "err").read_text()
            rows = _rows_so_far(tmp_path / "history")
            return all(len({row[column] for row in rows}) == 2 for column in ("worker", "workload"))

        wait_until(enough, "rows of both users, and in both processes")
        assert _ended(process, tmp_path) == 0, (tmp_path / "err").read_text()
    rows = _rows(tmp_path / "history")
    assert {row["outcome"] for row in rows} <= {"ok", "unfinished"}
    nonces = {(row["worker"], row["user"]): row["nonce"] for row in rows if row["operation"] == "reset"}
    assert len(set(nonces.values())) == len(nonces)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("options = {'steps': 0}; host = 'http://127.0.0.1:9'", "Wrong.options"),
        ("options = {'think': {'sampled': 'nowhere.txt'}}; host = 'http://127.0.0.1:9'", "nowhere.txt"),
        ("pass", "set its attribute host"),
    ],
)
def test_what_a_class_says_wrong_is_told(tmp_path: Path, line: str, said: str) -> None:
    """Its options as those of a profile, and a host that is missing."""
    text = f"from loadtests.users.locusts import EpisodeUser\n\nclass Wrong(EpisodeUser):\n    {line}\n"
    with _locust(tmp_path, text, "-u", "1", "-r", "1") as process:
        wait_until(
            lambda: said in (tmp_path / "err").read_text() or process.poll() is not None, f"a word of {said}"
        )
        assert said in (tmp_path / "err").read_text()
