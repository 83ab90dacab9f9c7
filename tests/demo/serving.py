"""A demo service as a process, and a receiver of its metrics."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from probes.otlp import Receiver

READY_WITHIN_S = 60.0


@dataclass
class Running:
    """A demo service that runs."""

    process: subprocess.Popen[bytes]
    address: str
    out: Path
    err: Path

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://{self.address}"

    @property
    def log(self) -> list[dict[str, object]]:
        """What it has logged."""
        return [json.loads(line) for line in self.err.read_text().splitlines()]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Signal it; its exit code, and the seconds that it took to end."""
        begun = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(30)
        return code, time.monotonic() - begun


def wait_for(what: str, ready: Callable[[], bool], within_s: float = 30.0) -> None:
    """Wait for a condition; fail when it does not come true."""
    until = time.monotonic() + within_s
    while not ready():
        assert time.monotonic() < until, f"{what} did not happen within {within_s:g} s"
        time.sleep(0.01)


@contextlib.contextmanager
def running(folder: Path, *arguments: str, **environment: str) -> Iterator[Running]:
    """A service from its ready line to its end."""
    out, err = folder / f"{arguments[0]}.out", folder / f"{arguments[0]}.err"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "chaos.demo", *arguments],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            env={**inherited, **environment},
        )
    try:
        wait_for(
            "the ready line",
            lambda: out.read_bytes().endswith(b"\n") or process.poll() is not None,
            READY_WITHIN_S,
        )
        assert process.poll() is None, err.read_text()
        yield Running(process, json.loads(out.read_text())["address"], out, err)
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


class Metrics:
    """What a receiver was sent: the last value of each metric's points, by metric and attributes."""

    def __init__(self) -> None:
        self.receiver = Receiver(self._take).start()
        self.points: dict[str, dict[tuple[tuple[str, object], ...], object]] = {}
        self.resources: list[dict[str, object]] = []

    def _take(self, request: object) -> None:
        for resource in request.resource_metrics:  # type: ignore[attr-defined]
            self.resources.append(_attributes(resource.resource.attributes))
            for metric in (m for scope in resource.scope_metrics for m in scope.metrics):
                kept = self.points.setdefault(metric.name, {})
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    kept[tuple(sorted(_attributes(point.attributes).items()))] = point

    def find(self, name: str, **wanted: object) -> list[object]:
        """The points of a metric that carry these attributes (with dots written as double underscores)."""
        attributes = {key.replace("__", "."): value for key, value in wanted.items()}
        with self.receiver.lock:
            points = list(self.points.get(name, {}).items())
        return [point for key, point in points if attributes.items() <= dict(key).items()]


def _attributes(pairs: object) -> dict[str, object]:
    return {p.key: getattr(p.value, p.value.WhichOneof("value")) for p in pairs}  # type: ignore[attr-defined]
