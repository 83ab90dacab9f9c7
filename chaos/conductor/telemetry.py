"""A run's telemetry as it comes in: on disk for the judge, at hand for the guard and the live view."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from loadtests import metrics
from probes.metrics_file import MetricsFile
from probes.points import points_of
from slo.finding import Window
from slo.objective import Selector
from slo.series import Samples

WORKER = "service.instance.id"


class Telemetry:
    """Receives export requests (from the receiver's threads) for as long as the run is on."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._samples = Samples()
        self._file = MetricsFile(path)
        self._heard: set[str] = set()
        self._workers: dict[str, set[str]] = {}
        self._reported: dict[str, float] = {}
        self._open = True
        self.problem: str | None = None

    def receive(self, request: ExportMetricsServiceRequest) -> None:
        """Write the request down, then make its points readable."""
        with self._lock:
            if not self._open:
                return
            try:
                self._file(request)
            except OSError as error:
                self.problem = f"telemetry could not be written down: {error}"
                raise
            for key, point in points_of(request):
                self._samples.add(key, point)
                self._heard.add(key.metric)
            for worker, metric, at in _reports(request):
                self._workers.setdefault(worker, set()).add(metric)
                self._reported[worker] = max(at, self._reported.get(worker, 0.0))

    def heard(self, metric: str, worker: str | None = None) -> bool:
        """Whether any point of `metric` has come in; with `worker`, from that instance."""
        return metric in (self._heard if worker is None else self._workers.get(worker, ()))

    def last_report(self, worker: str) -> float | None:
        """The time of an instance's newest report (Unix seconds); None before the first."""
        return self._reported.get(worker)

    def open_users(self, worker: str) -> int:
        """How many users a load worker had at its last report."""
        return self._newest(metrics.USERS, worker)

    def attempts(self, worker: str) -> int:
        """How many attempts a load worker has counted in its reports."""
        return self._newest(metrics.ATTEMPTS, worker)

    def _newest(self, metric: str, worker: str) -> int:
        selector = Selector(metric=metric, filters={WORKER: worker})
        window = Window(start=0.0, end=self._reported.get(worker, 0.0) + 1.0)
        with self._lock:
            values = self._samples.numbers(selector, "last", window)
        return round(sum(values))

    @contextmanager
    def reading(self) -> Iterator[Samples]:
        """The samples, held still while they are read."""
        with self._lock:
            yield self._samples

    def close(self) -> None:
        """Take nothing more, let go of the samples (the judge reads the file), and close the file."""
        with self._lock:
            self._open = False
            self._samples = Samples()
            self._file.close()


def _reports(request: ExportMetricsServiceRequest) -> Iterator[tuple[str, str, float]]:
    """The instance, metric and time (Unix seconds) of what a request holds, of each metric once."""
    for resource in request.resource_metrics:
        attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
        if not (worker := attributes.get(WORKER)):
            continue
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                points = list(getattr(metric, kind).data_points) if kind else []
                if points:
                    yield worker, metric.name, points[-1].time_unix_nano / 1e9
