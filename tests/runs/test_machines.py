"""Load from other machines: three hosts, in network namespaces of this one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from chaos.journal import (
    ArrivalsEnded,
    HistoryLost,
    LoadStopped,
    PhaseStarted,
    WorkerJoined,
    WorkerLost,
    WorkerRefused,
    read_events,
)
from tests.runs.conftest import events_of, living, run_folder, wait_for, write_project
from tests.runs.hosts import Host, hosts, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")

TOKEN = "a token of the tests, long enough"
PORT = 5557
WITHIN_S = 90.0
LEASE_S = 5
"""Longer than a busy machine keeps a living worker from renewing its."""
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@dataclass
class Field:
    """The hosts of a test: the conductor's, with a web service, and two of workers."""

    project: Path
    master: Host
    workers: list[Host]
    state: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def brownout(self, host: Host, name: str, *args: str, token: str = TOKEN) -> subprocess.Popen[bytes]:
        """Start a command on a host, with its output in `NAME.log`."""
        env = {**os.environ, "BROWNOUT_STATE_DIR": str(self.state), "BROWNOUT_WORKER_TOKEN": token}
        with (self.project / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                host.inside([sys.executable, "-m", "chaos", *args]),
                cwd=self.project,
                env=env,
                stdout=log,
                stderr=log,
            )
        self.started.append(process)
        return process

    def run(self, workers: int = 2, recovery_s: int = 1) -> subprocess.Popen[bytes]:
        """Start the run on the first host."""
        bind = ("--master-bind", f"{self.master.address}:{PORT}", "--remote-workers", str(workers))
        longer = ("--set", f"spec.phases.recovery={recovery_s}s")
        return self.brownout(self.master, "run", "run", "slow-0", *bind, *longer)

    def worker(
        self, number: int, name: str = "", token: str = TOKEN, processes: int = 1
    ) -> subprocess.Popen[bytes]:
        """Start a worker on one of the other hosts."""
        return self.brownout(
            self.workers[number],
            name or f"worker-{number}",
            *("worker", "--master", f"{self.master.address}:{PORT}", "--processes", str(processes)),
            token=token,
        )

    def told(self, name: str) -> str:
        """What a command has printed."""
        return (self.project / f"{name}.log").read_text(errors="replace")

    def wait_for(self, event: str) -> None:
        """Until the journal has an event."""
        wait_for(lambda: event in events_of(self.project), WITHIN_S, event)

    def events(self, kind: type[Any]) -> list[Any]:
        """The journal's events of a kind."""
        found = read_events(run_folder(self.project) / "events.jsonl")
        return [event for event in found if isinstance(event, kind)]

    @property
    def verdict(self) -> Any:
        """The verdict, as it is on disk."""
        return json.loads((run_folder(self.project) / "verdict.json").read_text())


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Field]:
    """Three hosts, a project on the first; everything is ended whatever happens."""
    with contextlib.ExitStack() as stack:
        master, *workers = stack.enter_context(hosts(3))
        server = subprocess.Popen(master.inside([sys.executable, "-c", SERVER]), stdout=subprocess.PIPE)
        stack.callback(_end, server)
        assert server.stdout is not None
        stack.callback(server.stdout.close)
        port = int(server.stdout.readline())
        project = write_project(tmp_path / "project", 1, f"127.0.0.1:{port}")
        (project / "brownout.yaml").write_text(f"apiVersion: brownout/v1\nkind: Project\nlease: {LEASE_S}s\n")
        field = Field(project, master, workers, tmp_path / "state")
        stack.callback(_end_all, field.started)
        yield field


def _end_all(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process, and wait until what it started has ended too."""
    children: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(process.pid).children(recursive=True)
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    _, left = psutil.wait_procs(children, timeout=30)
    for child in left:
        child.kill()


def machines_of(parent: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The worker processes of a `brownout worker`."""
    return psutil.Process(parent.pid).children()


def test_workers_on_other_machines_share_a_run_and_hand_their_histories_over(three: Field) -> None:
    """Two hosts send the load together; a third, without the token, is refused, told so, and journalled."""
    stranger = three.worker(0, "stranger", token="another token, long enough too")
    run = three.run()
    assert stranger.wait(WITHIN_S) == 3, three.told("stranger")
    assert "does not hold our token" in three.told("stranger")
    workers = [three.worker(0), three.worker(1)]
    run.wait(WITHIN_S)
    assert three.verdict["ending"] == "completed", three.told("run")
    unmet = {f["objective"] for f in three.verdict["findings"] if f["kind"] == "precondition"}
    assert not {name for name in unmet if not name.startswith("effect/")}, three.told("run")
    assert [worker.wait(WITHIN_S) for worker in workers] == [0, 0], three.told("worker-0")
    joined = three.events(WorkerJoined)
    assert len(joined) == 2
    assert all(event.error_s < 1.0 and abs(event.offset_s) <= event.error_s + 0.05 for event in joined)
    assert three.events(WorkerRefused)
    load = three.verdict["load"]
    assert load["arrivals"] == load["operations"] > 0
    assert load["lost"] == 0
    histories = {path.stem for path in (run_folder(three.project) / "history").glob("*.history")}
    assert histories == {event.worker for event in joined}


def test_workers_that_are_killed_or_cut_off_are_noticed_and_their_share_is_taken_over(three: Field) -> None:
    """One of three is killed, another cut off: it stops by itself, the last serves the rest, the run is marked."""
    two, one = three.worker(0, processes=2), three.worker(1)
    run = three.run(workers=3, recovery_s=12)
    three.wait_for("fault-injected")
    machines_of(two)[0].kill()
    three.workers[1].cut()
    assert one.wait(WITHIN_S) == 4, three.told("worker-1")
    assert "nothing was heard of the master" in three.told("worker-1")
    assert run.wait(WITHIN_S) == 3, three.told("run")
    assert two.wait(WITHIN_S) == 70, three.told("worker-0")
    lost = three.events(WorkerLost)
    assert [len(event.survivors) for event in lost] == [2, 1]
    assert {event.worker for event in three.events(HistoryLost)} == {event.worker for event in lost}
    marked = {finding["objective"] for finding in three.verdict["findings"]}
    assert {f"worker/{event.worker}" for event in lost} <= marked
    load = three.verdict["load"]
    assert load["lost"] > 0
    began = three.events(PhaseStarted)[0].t
    (ended,), (stopped,) = three.events(ArrivalsEnded), three.events(LoadStopped)
    due = [20 * (event.t - began) for event in (ended, stopped)]
    assert due[0] - 5 <= load["arrivals"] <= due[1] + 5, "no arrival is unaccounted for"


def test_nothing_is_left_of_a_run_whose_conductor_was_killed(three: Field) -> None:
    """SIGKILL of the conductor: its keeper ends the master, and the workers of the other hosts end."""
    workers = [three.worker(0), three.worker(1)]
    run = three.run()
    three.wait_for("fault-injected")
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert [worker.wait(WITHIN_S) for worker in workers] == [4, 4], three.told("worker-0")
    mark = f"BROWNOUT_STATE_DIR={three.state}"
    wait_for(lambda: not living(mark), WITHIN_S, "no process of the run alive")
