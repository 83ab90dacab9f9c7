"""A user's project whose targets sit behind one shared proxy server, and a small web service."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from chaos.journal import read_events

LEASE_S = 2.0

EXPERIMENT = """\
apiVersion: brownout/v1
kind: Experiment
metadata: {{name: slow-{n}}}
spec:
  target: web-{n}
  load: {{profile: web, arrivals: 20/s}}
  phases: {{baseline: 1s, fault: 3s, recovery: 1s}}
  faults:
    - {{name: late, place: web, type: latency, latency: 80ms}}
    - {{name: gone, place: web, type: down, at: 1s, for: 1s}}
  objectives:
    - {{ref: web-good, phases: [baseline], runbook: env-slow}}
"""
TARGET = """\
apiVersion: brownout/v1
kind: Target
metadata: {{name: web-{n}}}
spec:
  services: {{web: {{url: "http://{address}", health: /}}}}
{toxiproxy}"""
PROFILE = """\
apiVersion: brownout/v1
kind: LoadProfile
metadata: {name: web}
spec:
  user: http
  service: web
  arrivals: 20/s
  with: {timeout: 1s, steps: [{name: root, path: /}]}
"""
OBJECTIVE = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: web-good}
spec:
  service: web
  indicator:
    metadata: {name: web-good}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: OpenTelemetry, spec: {metric: brownout.operation.duration, filters: {error.type: null}}}}
        total: {metricSource: {type: OpenTelemetry, spec: {metric: brownout.operation.duration}}}
  timeWindow: [{duration: 1h, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: good, target: 0.5}]
"""


def wait_for(condition: Callable[[], object], within_s: float, what: str) -> None:
    """Until `condition()` is true; fails after `within_s`."""
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, f"{what} within {within_s} s"
        time.sleep(0.05)


def living(marker: str) -> list[psutil.Process]:
    """Processes with `marker` (NAME=VALUE) in their environment, but for ourselves and zombies."""
    found = []
    for process in psutil.process_iter():
        try:
            raw = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
            if marker.encode() in raw and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (OSError, psutil.Error):
            continue
    return [p for p in found if p.pid != os.getpid()]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer 200."""
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is no error here."""


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """host:port of a web service that answers at once."""
    server = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def shared_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of an embedded proxy that outlives every run."""
    errors = (tmp_path_factory.mktemp("proxy") / "err").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "chaos.proxy", "--port", "0"], stdout=subprocess.PIPE, stderr=errors
    )
    assert process.stdout is not None
    api = json.loads(process.stdout.readline())["api"]
    yield api
    process.terminate()
    process.wait(10)
    process.stdout.close()
    errors.close()


@pytest.fixture(params=["embedded", pytest.param("toxiproxy", marks=pytest.mark.toxiproxy)])
def any_proxy(request: pytest.FixtureRequest) -> str:
    """Each kind of proxy server, shared and long-lived."""
    name = "shared_proxy" if request.param == "embedded" else "toxiproxy_api"
    api: str = request.getfixturevalue(name)
    return api


def write_project(root: Path, count: int, address: str, api: str | None = None) -> Path:
    """A project with `count` experiments, each on a target of its own; behind the proxy server `api`, if given."""
    for folder in ("chaos/experiments", "chaos/targets", "loadtests/profiles", "slo/objectives"):
        (root / folder).mkdir(parents=True)
    (root / "brownout.yaml").write_text(f"apiVersion: brownout/v1\nkind: Project\nlease: {LEASE_S:g}s\n")
    (root / "loadtests/profiles/web.yaml").write_text(PROFILE)
    (root / "slo/objectives/web-good.yaml").write_text(OBJECTIVE)
    toxiproxy = f"  toxiproxy: {api}\n" if api else ""
    for n in range(count):
        (root / f"chaos/experiments/slow-{n}.yaml").write_text(EXPERIMENT.format(n=n))
        target = TARGET.format(n=n, address=address, toxiproxy=toxiproxy)
        (root / f"chaos/targets/web-{n}.yaml").write_text(target)
    return root


@dataclass
class Started:
    """A `brownout` process, with its output in a file."""

    process: subprocess.Popen[bytes]
    log: Path

    def told(self) -> str:
        """What it printed so far."""
        return self.log.read_text(errors="replace")

    def wait(self, within_s: float = 60.0) -> int:
        """Its exit code."""
        return self.process.wait(within_s)


def brownout(project: Path, *args: str, state: Path | None = None, name: str = "brownout") -> Started:
    """Start a command in a project, with stdout and stderr in one file."""
    log = project / f"{name}.log"
    env = dict(os.environ) | ({"BROWNOUT_STATE_DIR": str(state)} if state else {})
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "chaos", *args], cwd=project, env=env, stdout=out, stderr=out
        )
    return Started(process, log)


def run_folder(project: Path) -> Path:
    """The only run folder of a project."""
    (folder,) = (project / "runs").iterdir()
    return folder


def events_of(project: Path) -> list[str]:
    """The names of the events in the only run's journal so far; none while there is no journal."""
    paths = list((project / "runs").glob("*/events.jsonl")) if (project / "runs").is_dir() else []
    return [event.event for path in paths for event in read_events(path)]
