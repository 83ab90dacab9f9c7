"""Runs that strike a process: the verdict is reached, the process lives again where it should, nothing is left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from chaos.journal import outstanding, read_events
from chaos.verdict import Verdict
from tests.runs.conftest import (
    OBJECTIVE,
    PROFILE,
    Started,
    brownout,
    events_of,
    living,
    run_folder,
    wait_for,
)

# Answers 200, or 500 while a file `broken` is beside it; writes its pid down, if it is told where.
WEB = """
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if os.path.exists("broken") else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args):
        pass

server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
if sys.argv[2:]:
    with open(sys.argv[2] + ".new", "w") as out:
        out.write(str(os.getpid()))
    os.replace(sys.argv[2] + ".new", sys.argv[2])
with open("lives", "a") as out:
    out.write(f"{os.getpid()}\\n")
server.serve_forever()
"""
# Leaves the server running, in a session of its own.
START = """
import os, sys
if os.fork() == 0:
    os.setsid()
    os.execv(sys.executable, [sys.executable, "web.py", sys.argv[1], "web.pid"])
"""
EXPERIMENT = """\
apiVersion: brownout/v1
kind: Experiment
metadata: {name: struck}
spec:
  target: web
  load: {profile: web}
  phases: {baseline: 1s, fault: %s, recovery: 1s}
  faults:
    - {name: f, place: web, %s}
  objectives:
    - {ref: web-good, phases: [baseline], runbook: env-slow}
"""
TARGET = """\
apiVersion: brownout/v1
kind: Target
metadata: {name: web}
spec:
  services: {web: {url: "http://127.0.0.1:%d", health: /}}
  processes: {web: {%s}}
"""


class Project:
    """A project whose target is one web server on a port of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.write("web.py", WEB)
        self.write("start.py", START)
        allowed = f"allow_commands: ['{sys.executable}', touch, rm, test]"
        self.write("brownout.yaml", f"apiVersion: brownout/v1\nkind: Project\nlease: 5s\n{allowed}\n")
        self.write("loadtests/profiles/web.yaml", PROFILE)
        self.write("slo/objectives/web-good.yaml", OBJECTIVE)

    def write(self, path: str, text: str) -> None:
        """Write a file of the project."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def run(self, process: str, fault: str, length: str = "2s") -> Started:
        """Start a run in which `fault` strikes `process`."""
        self.write("chaos/targets/web.yaml", TARGET % (self.port, process))
        self.write("chaos/experiments/struck.yaml", EXPERIMENT % (length, fault))
        return brownout(self.root, "run", "struck", "--seed", "7")

    def served_by(self) -> list[int]:
        """The pids that the server has had, in order."""
        return [int(line) for line in (self.root / "lives").read_text().split()]

    def answers(self) -> bool:
        """Whether the server answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=10) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def passed(self, run: Started) -> Verdict:
        """The verdict of a run that has passed: its fault was seen, and healed, and nothing is left of it."""
        assert run.wait(120) == 0, run.told()
        folder = run_folder(self.root)
        verdict = Verdict.model_validate_json((folder / "verdict.json").read_bytes())
        assert [fault.healed for fault in verdict.faults] == [True]
        events = events_of(self.root)
        assert {"fault-injected", "fault-healed"} <= set(events)
        assert not {"fault-lost", "fault-failed", "heal-failed"} & set(events)
        self.nothing_left()
        return verdict

    def nothing_left(self) -> None:
        """No process of the run (the server has its own tests), no stage, nothing that a journal says is to be undone."""
        state = os.environ["BROWNOUT_STATE_DIR"]
        assert [p for p in living(f"BROWNOUT_STATE_DIR={state}") if p.pid not in self.served_by()] == []
        assert not list(Path(state).glob("stages/*.json"))
        assert outstanding(read_events(run_folder(self.root) / "events.jsonl")) == []


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a web server, which nobody has started."""
    return Project(tmp_path / "project")


@pytest.fixture
def running(project: Project) -> Iterator[Project]:
    """A project whose web server runs already, whoever starts it again."""
    argv = [sys.executable, "start.py", str(project.port)]
    subprocess.run(argv, cwd=project.root, check=True)
    wait_for(project.answers, 30, "the server answers")
    yield project
    for pid in project.served_by():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("fault", "lives"), [("type: kill, for: 1s", 2), ("type: pause, for: 1500ms", 1)])
def test_a_process_that_the_run_started(project: Project, fault: str, lives: int) -> None:
    """Killed, it is started again in its place; paused, it goes on; and it ends with the run."""
    command = f"command: ['{sys.executable}', web.py, '{project.port}']"
    project.passed(project.run(command, fault))
    assert len(project.served_by()) == lives
    assert not any(psutil.pid_exists(pid) for pid in project.served_by())
    assert not project.answers()


@pytest.mark.parametrize(
    ("fault", "lives"), [("type: kill, for: 1s, signal: TERM", 2), ("type: pause, for: 1500ms", 1)]
)
def test_a_process_that_was_there_before(running: Project, fault: str, lives: int) -> None:
    """Killed, it is started by its own command; paused, it goes on; and it outlives the run."""
    start = f"start: ['{sys.executable}', start.py, '{running.port}']"
    running.passed(running.run(f"pid_file: web.pid, {start}", fault))
    assert len(running.served_by()) == lives
    assert running.answers()


def test_what_a_command_does(running: Project) -> None:
    """A program makes the service fail, another undoes it; the check tells between."""
    fault = (
        "type: command, for: 1s, inject: [touch, broken], heal: [rm, -f, broken], check: [test, -e, broken], "
        "effect: {metric: brownout.attempts, attribute: error.type, rises: 20%}"
    )
    running.passed(running.run("pid_file: web.pid", fault))
    assert not (running.root / "broken").exists()
    assert running.answers()


def test_a_process_that_does_not_come_back(running: Project) -> None:
    """A start that starts nothing: exit 5, what may still be so is told, and `heal` can be asked again."""
    run = running.run("pid_file: web.pid, start: ['test', '-e', 'repaired']", "type: kill, for: 500ms")
    assert run.wait(120) == 5, run.told()
    told = "".join(run.told().split())  # long lines are broken anywhere
    assert f"fattheprocessof{running.root}/web.pid:`test-erepaired`endedwithexitcode1" in told
    heal = brownout(running.root, "heal", name="heal")
    assert heal.wait() == 5
    assert "`test -e repaired` ended with exit code 1" in heal.told()
    subprocess.run([sys.executable, "start.py", str(running.port)], cwd=running.root, check=True)
    wait_for(running.answers, 30, "the server answers")
    again = brownout(running.root, "heal", name="again")
    assert again.wait() == 0, again.told()
    running.nothing_left()


@pytest.mark.parametrize("fault", ["type: kill", "type: pause"])
def test_a_signal_heals_first(running: Project, fault: str) -> None:
    """SIGINT in the midst of a fault: the process lives and answers when the command has ended."""
    start = f"start: ['{sys.executable}', start.py, '{running.port}']"
    run = running.run(f"pid_file: web.pid, {start}", fault, length="60s")
    wait_for(
        lambda: "fault-injected" in events_of(running.root) or run.process.poll() is not None, 60, "the fault"
    )
    run.process.send_signal(signal.SIGINT)
    assert run.wait(120) == 130, run.told()
    wait_for(running.answers, 30, "the server answers")
    running.nothing_left()
