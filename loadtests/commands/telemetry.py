"""The metrics of programs and their samples: cumulative points, sent on an interval by a thread.

Invariant: what is recorded is in the next report, whichever that is; a report that is lost costs nothing.
Streams are bounded in number by the SDK, which marks what is past its limit with `otel.metric.overflow`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from loadtests import metrics
from loadtests.runner import merge_boundaries

SERVICE: Final = "brownout-commands"
EXPORT_TIMEOUT_S: Final = 2.0
_FINAL_TRIES: Final = 2


class Telemetry:
    """All metrics of a worker, and their way out. Any thread may record."""

    def __init__(
        self, endpoint: str, worker: str, boundaries: Mapping[str, tuple[float, ...]], interval_s: float
    ) -> None:
        self._reader = InMemoryMetricReader()
        bounds = merge_boundaries(metrics.DURATION_BOUNDARIES_S, boundaries.get(metrics.HTTP_OPERATION, ()))
        self._provider = MeterProvider(
            metric_readers=[self._reader],
            resource=Resource({"service.name": SERVICE, "service.instance.id": worker}),
            views=[
                View(
                    instrument_name=metrics.HTTP_OPERATION,
                    aggregation=ExplicitBucketHistogramAggregation(bounds),
                )
            ],
            shutdown_on_exit=False,
        )
        self._exporter = OTLPMetricExporter(
            endpoint=endpoint.rstrip("/") + "/v1/metrics", timeout=EXPORT_TIMEOUT_S
        )
        meter = self._provider.get_meter("brownout.loadtests")
        self._duration = meter.create_histogram(metrics.HTTP_OPERATION, "s", "A program, or a sample of it.")
        self._attempts = meter.create_counter(metrics.ATTEMPTS, "{attempt}", "Tries, and calls of models.")
        self._arrivals = meter.create_counter(metrics.ARRIVALS, "{arrival}", "Programs that were due.")
        meter.create_observable_gauge(metrics.USERS, [self._users], "{user}", "Programs that are running.")
        meter.create_observable_gauge(
            metrics.UTILIZATION, [self._utilization], "1", "The share of one core that the worker used."
        )
        meter.create_observable_gauge(metrics.FINAL, [self._last], "1", "This is the last report.")
        self._running: dict[str, int] = {}
        self._final = False
        self._measured = (time.perf_counter(), time.process_time(), 0.0)
        self._interval_s = interval_s
        self._one_at_a_time = threading.Lock()
        self._closing = threading.Event()
        self._sender = threading.Thread(target=self._keep_sending, name="telemetry", daemon=True)

    def begin(self) -> None:
        """Send the first report, which says that the worker is ready, and go on."""
        self.send()
        self._sender.start()

    def operation(
        self, duration_s: float, phase: str, workload: str, operation: str, error_type: str | None
    ) -> None:
        """Count one program or sample that has ended."""
        self._duration.record(
            max(duration_s, 0.0), _attributes(phase, workload, (metrics.OPERATION, operation), error_type)
        )

    def attempt(self, phase: str, workload: str, operation: str, error_type: str | None) -> None:
        """Count one try."""
        self._attempts.add(1, _attributes(phase, workload, (metrics.OPERATION, operation), error_type))

    def arrival(self, phase: str, workload: str, state: str) -> None:
        """Count a program that was due."""
        self._arrivals.add(1, _attributes(phase, workload, (metrics.ARRIVAL_STATE, state), None))

    def running(self, workload: str, count: int) -> None:
        """How many programs of a workload run from now on."""
        self._running[workload] = count

    def send(self) -> bool:
        """Send all that was counted; whether it arrived."""
        with self._one_at_a_time:
            data = self._reader.get_metrics_data()
            return data is not None and self._exporter.export(data) is MetricExportResult.SUCCESS

    def close(self, *, complete: bool) -> bool:
        """Send the last report, which vouches for the history if that is `complete`; whether it arrived."""
        self._closing.set()
        if self._sender.ident is not None:
            self._sender.join()
        self._final = complete
        arrived = any(self.send() for _ in range(_FINAL_TRIES))
        self._provider.shutdown()
        self._exporter.shutdown()
        return arrived

    def _keep_sending(self) -> None:
        while not self._closing.wait(self._interval_s):
            self.send()

    def _users(self, _: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(count, {metrics.WORKLOAD: workload})
            for workload, count in list(self._running.items())
        ]

    def _last(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(1)] if self._final else []

    def _utilization(self, _: CallbackOptions) -> Iterable[Observation]:
        """Over a mere moment it would say nothing: then what was measured last stands."""
        wall, cpu = time.perf_counter(), time.process_time()
        elapsed = wall - self._measured[0]
        if elapsed >= self._interval_s / 2:
            self._measured = (wall, cpu, (cpu - self._measured[1]) / elapsed)
        return [Observation(self._measured[2])]


def _attributes(phase: str, workload: str, named: tuple[str, str], error_type: str | None) -> dict[str, str]:
    attributes = {metrics.PHASE: phase, metrics.WORKLOAD: workload, named[0]: named[1]}
    return attributes if error_type is None else {**attributes, metrics.ERROR_TYPE: error_type}
