"""Load generators as one sees them from outside: a command that puts load on a URL, and says what it saw.

Each runs on a core of its own. What it has done is counted by the server that it loads, and what it used by
the system; only latencies are its own word.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import numpy as np

from benchmarks.machine import ROOT, binaries
from benchmarks.wrk import Load, LoadError, figures, script

PERCENTS: Final = (50.0, 90.0, 95.0, 99.0, 99.9)
_PEERS: Final = ROOT / "benchmarks" / "peers"
_ENDS_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked: GET `url` with so many connections, `rate` times a second (0: as often as can be)."""

    url: str
    seconds: int
    connections: int
    rate: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """What a generator said: its requests, those that failed or were dropped, latencies in ms by percent."""

    requests: int
    failed: int
    dropped: int
    latency_ms: Mapping[float, float]


class Running(Protocol):
    """A generator at its task."""

    @property
    def pid(self) -> int:
        """Whose CPU counts."""

    @property
    def over(self) -> bool:
        """Whether it has ended."""

    def told(self) -> Told:
        """Wait for its end, and read what it says. Raises LoadError."""


class Generator(Protocol):
    """A sort of load generator."""

    @property
    def name(self) -> str:
        """What the table calls it."""

    def run(self, task: Task, core: int | None) -> contextlib.AbstractContextManager[Running]:
        """Start it; it ends with the block."""


class _Command:
    def __init__(self, process: subprocess.Popen[str], output: Path, read: Callable[[str], Told]) -> None:
        self.pid = process.pid
        self._process = process
        self._output = output
        self._read = read

    @property
    def over(self) -> bool:
        return self._process.poll() is not None

    def told(self) -> Told:
        code = self._process.wait(_ENDS_WITHIN_S)
        text = self._output.read_text()
        if code:
            raise LoadError(f"{self._process.args!r}: exit {code}: {text[-1000:]}")
        return self._read(text)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another's generator: how it is called, and how its output is read."""

    name: str
    argv: Callable[[Task, Path], Sequence[str]]
    read: Callable[[str], Told]
    env: Callable[[Task], Mapping[str, str]] = field(default=lambda _: {})

    @contextlib.contextmanager
    def run(self, task: Task, core: int | None) -> Iterator[Running]:
        """Start it; it ends with the block. Raises OSError."""
        with tempfile.TemporaryDirectory(prefix="brownout-bench-") as name:
            folder = Path(name)
            pinned = [] if core is None else [binaries("taskset")["taskset"], "-c", str(core)]
            output = folder / "output"
            with output.open("wb") as out, (folder / "errors").open("wb") as errors:
                process = subprocess.Popen(
                    [*pinned, *self.argv(task, folder)],
                    cwd=folder,
                    env={**os.environ, **self.env(task)},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=errors,
                    text=True,
                )
            try:
                yield _Command(process, output, self.read)
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def json_line(text: str) -> Told:
    """Figures that are one line of JSON. Raises LoadError."""
    line = next((line for line in reversed(text.splitlines()) if line.startswith("{")), None)
    if line is None:
        raise LoadError(f"expected a line of figures, got {text[-500:]!r}")
    told = json.loads(line)
    names = ("p50", "p90", "p95", "p99", "p999")
    latency = {percent: float(told[name]) for percent, name in zip(PERCENTS, names, strict=True)}
    return Told(int(told["requests"]), int(told["failed"]), int(told["dropped"]), latency)


def _wrk_argv(task: Task, folder: Path) -> list[str]:
    lua = folder / "figures.lua"
    lua.write_text(script(task.connections * 1000 // task.rate if task.rate else 0))
    load = Load(task.connections, task.seconds)
    options = ["-t1", f"-c{load.connections}", f"-d{load.seconds}s", "-s", str(lua), "--latency", task.url]
    return [binaries("wrk")["wrk"], *options]


def _wrk_read(text: str) -> Told:
    found = figures(text)
    return Told(found.requests, 0, 0, {50.0: found.p50_ms, 99.0: found.p99_ms})


def _hey_argv(task: Task, _: Path) -> list[str]:
    paced = ["-q", f"{task.rate / task.connections:g}"] if task.rate else []
    options = ["-z", f"{task.seconds}s", "-c", str(task.connections), *paced, "-o", "csv", task.url]
    return [binaries("hey")["hey"], *options]


def _hey_read(text: str) -> Told:
    rows = list(csv.DictReader(text.splitlines()))
    if not rows:
        raise LoadError(f"hey: expected a line for each request, got {text[-500:]!r}")
    failed = sum(row["status-code"] != "200" for row in rows)
    took = np.array([float(row["response-time"]) for row in rows]) * 1000
    return Told(len(rows), failed, 0, {percent: float(np.percentile(took, percent)) for percent in PERCENTS})


def _k6_argv(task: Task, _: Path) -> list[str]:
    given = {
        "URL": task.url,
        "VUS": str(task.connections),
        "SECONDS": str(task.seconds),
        "RATE": str(task.rate),
    }
    variables = [part for name, value in given.items() for part in ("-e", f"{name}={value}")]
    return [binaries("k6")["k6"], "run", *K6_QUIETLY, *variables, str(_PEERS / "http.js")]


K6_QUIETLY: Final = ("--quiet", "--no-usage-report", "--address", "")
"""No progress bar, nothing sent home, and no API server beside the load."""


def _locust_argv(task: Task, _: Path, *more: str) -> list[str]:
    parts = urlsplit(task.url)
    users = str(task.connections)
    return [
        *(sys.executable, "-m", "locust", "-f", str(_PEERS / "http_users.py"), "--headless"),
        *("-u", users, "-r", users, "-t", f"{task.seconds}s", "--stop-timeout", "5", "--only-summary"),
        *("--exit-code-on-error", "0", "-H", f"{parts.scheme}://{parts.netloc}", *more),
    ]


def _locust_env(client: str, otlp: str = "") -> Callable[[Task], dict[str, str]]:
    def env(task: Task) -> dict[str, str]:
        given = {
            "BENCH_CLIENT": client,
            "BENCH_PATH": urlsplit(task.url).path,
            "BENCH_PACE": f"{task.rate / task.connections:g}",
        }
        if otlp:
            given |= {
                "OTEL_EXPORTER_OTLP_ENDPOINT": otlp,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_TRACES_EXPORTER": "none",
                "OTEL_LOGS_EXPORTER": "none",
                "OTEL_METRICS_EXPORTER": "otlp",
                "OTEL_METRIC_EXPORT_INTERVAL": "500",
            }
        return given

    return env


def peers(otlp: str) -> dict[str, Peer]:
    """All of them, by name; Locust's own metrics go to the receiver `otlp`, each half second as ours do."""
    made = [
        Peer("wrk", _wrk_argv, _wrk_read),
        Peer("hey", _hey_argv, _hey_read),
        Peer("k6", _k6_argv, json_line),
        Peer("FastHttpUser", _locust_argv, json_line, _locust_env("fast")),
        Peer(
            "FastHttpUser --otel",
            lambda task, folder: _locust_argv(task, folder, "--otel"),
            json_line,
            _locust_env("fast", otlp),
        ),
        Peer("HttpUser", _locust_argv, json_line, _locust_env("http")),
    ]
    return {peer.name: peer for peer in made}
