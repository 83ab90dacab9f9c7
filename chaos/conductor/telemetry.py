"""A run's telemetry as it comes in: on disk for the judge, at hand for the guard and the live view."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from probes.metrics_file import MetricsFile
from probes.points import points_of
from slo.series import Samples


class Telemetry:
    """Receives export requests (from the receiver's threads) for as long as the run is on."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._samples = Samples()
        self._file = MetricsFile(path)
        self._heard: set[str] = set()
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

    def heard(self, metric: str) -> bool:
        """Whether any point of `metric` has come in."""
        return metric in self._heard

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
