"""Our load generator as a run starts it: a Locust process, its telemetry, its history."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from benchmarks.machine import ROOT, binaries, wait_until
from loadtests import runner
from loadtests.history import SUFFIX, read_history
from loadtests.profile import LoadPlan
from probes.otlp import Receiver

PHASE: Final = "measured"
_ENDS_WITHIN_S: Final = 60.0

Rows = npt.NDArray[np.void]


class Ours:
    """Locust processes that are ready, mostly one. `began` is when their arrivals do (Unix seconds)."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.began = 0.0
        self._folder = folder
        self._newest: dict[str, ExportMetricsServiceRequest] = {}
        receiver.subscribe(self._take)
        self._log = folder / "locust.log"
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The first one."""
        return self._processes[0]

    def start(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """One more process. Raises OSError."""
        with self._log.open("ab") as log:
            self._processes.append(
                subprocess.Popen(argv, cwd=ROOT, env=dict(env), stdin=subprocess.PIPE, stdout=log, stderr=log)
            )

    def ready(self) -> None:
        """Wait for the first report. Raises TimeoutError, OSError when it ended instead."""
        wait_until(lambda: len(self._newest) == len(self._processes) or self._over(), "our generator")
        if self._over():
            raise OSError(f"our generator ended: {self._log.read_text()[-2000:]}")

    def begin(self, at: float | None = None) -> None:
        """Let users come from a moment on (Unix seconds), or from soon on."""
        self.began = time.time() + 0.1 if at is None else at
        self._say(runner.phase_line(PHASE, self.began))

    def stop(self) -> None:
        """End it in order, and wait. Raises OSError when it reported a defect."""
        self._say(runner.stop_line())
        for process in self._processes:
            code = process.wait(_ENDS_WITHIN_S)
            if code:
                raise OSError(f"our generator: exit {code}: {self._log.read_text()[-2000:]}")

    def close(self) -> None:
        """Kill it if need be."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
            process.wait()

    def _over(self) -> bool:
        return any(process.poll() is not None for process in self._processes)

    def rows(self) -> Rows:
        """All rows of its history so far, of all its workers."""
        files = sorted((self._folder / "history").glob(f"*{SUFFIX}"))
        return np.concatenate([read_history(path).rows for path in files])

    def buckets(self, metric: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """A histogram in the last report, all its streams together: boundaries, and counts (one more)."""
        bounds: tuple[float, ...] = ()
        counts: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        for point in self._points(metric):
            bounds = tuple(point.explicit_bounds)
            found = np.array(point.bucket_counts, np.int64)
            counts = found if not len(counts) else counts + found
        return np.array(bounds), counts

    def sums(self, metric: str, attribute: str = "") -> dict[str, int]:
        """A counter in the last report, by the value of one attribute."""
        found: dict[str, int] = {}
        for point in self._points(metric):
            values = {each.key: each.value.string_value for each in point.attributes}
            key = values.get(attribute, "")
            found[key] = found.get(key, 0) + int(point.as_int)
        return found

    def level(self, metric: str) -> float:
        """A gauge in the last report; 0 when it is not there."""
        return max((float(point.as_double) for point in self._points(metric)), default=0.0)

    def _points(self, metric: str) -> Iterator[Any]:
        for request in list(self._newest.values()):
            for resource in request.resource_metrics:
                for scope in resource.scope_metrics:
                    for each in scope.metrics:
                        if each.name == metric:
                            yield from getattr(each, str(each.WhichOneof("data"))).data_points

    def _take(self, request: ExportMetricsServiceRequest) -> None:
        for resource in request.resource_metrics:
            for each in resource.resource.attributes:
                if each.key == "service.instance.id":
                    self._newest[each.value.string_value] = request

    def _say(self, line: str) -> None:
        for process in self._processes:
            if process.stdin is None:
                raise OSError("our generator has no standard input")
            process.stdin.write(line.encode())
            process.stdin.flush()


@contextlib.contextmanager
def ours(
    folder: Path,
    workloads: Sequence[Mapping[str, Any]],
    core: int | None = None,
    locustfile: Path | None = None,
    workers: int = 1,
) -> Iterator[Ours]:
    """Processes at the same workloads, ready to begin; `locustfile` is another than a run's own.

    Raises OSError, TimeoutError, pydantic.ValidationError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = tuple(f"bench-{number}" for number in range(1, workers + 1))
    with Receiver() as receiver:
        found = Ours(folder, receiver)
        try:
            for name in names:
                plan = LoadPlan.model_validate(
                    {
                        "run": "bench",
                        "seed": 7,
                        "workloads": list(workloads),
                        "otlp_endpoint": receiver.endpoint,
                        "history": str(folder / "history"),
                        "drain_s": 2.0,
                        "worker": name,
                        "members": names,
                    }
                )
                path = folder / f"{name}.json"
                path.write_text(plan.model_dump_json(by_alias=True))
                found.start(_command(path, core, locustfile), _environment(path))
            found.ready()
            yield found
        finally:
            found.close()


def _command(path: Path, core: int | None, locustfile: Path | None) -> list[str]:
    argv = runner.locust_command(path, sys.executable)
    if locustfile is not None:
        argv[argv.index("-f") + 1] = str(locustfile)
    return argv if core is None else [binaries("taskset")["taskset"], "-c", str(core), *argv]


def _environment(path: Path) -> dict[str, str]:
    found = runner.environment(path)
    found["PYTHONPATH"] = os.pathsep.join((str(ROOT), found.get("PYTHONPATH", "")))
    return found


def http_workload(url: str, path: str, **profile: Any) -> dict[str, Any]:
    """A workload of one GET; `profile` says when users come."""
    options = {"steps": [{"name": "get", "path": path}], "timeout": "30s"}
    spec = {"user": "http", "service": "bench", "with": options, "max_in_flight": 20_000, **profile}
    return {"name": "bench", "url": url, "profile": spec}
