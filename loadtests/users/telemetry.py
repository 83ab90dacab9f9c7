"""Metrics counted in the process, and sent as cumulative OpenTelemetry points on an interval.

Invariant: recording costs a dictionary look-up and a bisection, and never waits: sending is done in a
greenlet of its own, and a report that is lost costs nothing, since the next one holds it too. All points of a
report have one time, and streams are bounded in number: past `MOST_STREAMS` of a metric the rest share one,
marked `otel.metric.overflow` as the specification has it.

The SDK's own instruments cost 7 µs a record and aggregate by attribute dictionaries; only its exporter is
used.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final

from gevent.lock import BoundedSemaphore
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from loadtests import metrics
from loadtests.runner import merge_boundaries

MOST_STREAMS: Final = 1000
SERVICE: Final = "brownout-load"
EXPORT_TIMEOUT_S: Final = 2.0
_OVERFLOW: Final = "otel.metric.overflow"
_NANOS: Final = 1_000_000_000

Values = tuple[str | None, ...]
"""The values of an instrument's attributes, in the order of its names; None where one is absent."""


def _attributes(names: Sequence[str], values: Values) -> dict[str, str | bool]:
    if not values:
        return {_OVERFLOW: True} if names else {}
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


class Counts:
    """One stream of a histogram: how many observations fell into each bucket."""

    __slots__ = ("buckets", "least", "most", "total")

    def __init__(self, buckets: int) -> None:
        self.buckets = [0] * buckets
        self.total = 0.0
        self.least = float("inf")
        self.most = float("-inf")


class Distribution:
    """A histogram of one metric, by the values of its attributes."""

    def __init__(
        self, name: str, unit: str, names: tuple[str, ...], bounds: tuple[float, ...], description: str
    ) -> None:
        self.name = name
        self.unit = unit
        self.names = names
        self.bounds = bounds
        self.description = description
        self._streams: dict[Values, Counts] = {}

    def record(self, value: float, values: Values) -> None:
        """Count one observation. A bucket holds what is at most its upper boundary, as OpenTelemetry's do."""
        stream = self._streams.get(values)
        if stream is None:
            stream = self._new(values)
        stream.buckets[bisect_left(self.bounds, value)] += 1
        stream.total += value
        if value < stream.least:
            stream.least = value
        if value > stream.most:
            stream.most = value

    def _new(self, values: Values) -> Counts:
        if len(self._streams) >= MOST_STREAMS:
            values = ()
        return self._streams.setdefault(values, Counts(len(self.bounds) + 1))

    def metric(self, start: int, now: int) -> Metric | None:
        """All streams as they are, or None when there is none."""
        points = [
            HistogramDataPoint(
                attributes=_attributes(self.names, values),
                start_time_unix_nano=start,
                time_unix_nano=now,
                count=sum(stream.buckets),
                sum=stream.total,
                bucket_counts=tuple(stream.buckets),
                explicit_bounds=self.bounds,
                min=stream.least,
                max=stream.most,
            )
            for values, stream in self._streams.items()
        ]
        if not points:
            return None
        data = Histogram(points, AggregationTemporality.CUMULATIVE)
        return Metric(self.name, self.description, self.unit, data)


class Counter:
    """A monotonic sum of one metric, by the values of its attributes."""

    def __init__(self, name: str, unit: str, names: tuple[str, ...], description: str) -> None:
        self.name = name
        self.unit = unit
        self.names = names
        self.description = description
        self._streams: dict[Values, int] = {}

    def add(self, values: Values) -> None:
        """Count one."""
        known = self._streams.get(values)
        if known is None and len(self._streams) >= MOST_STREAMS:
            values = ()
            known = self._streams.get(values)
        self._streams[values] = (known or 0) + 1

    def metric(self, start: int, now: int) -> Metric | None:
        """All streams as they are, or None when there is none."""
        points = [
            NumberDataPoint(_attributes(self.names, values), start, now, count)
            for values, count in self._streams.items()
        ]
        if not points:
            return None
        data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
        return Metric(self.name, self.description, self.unit, data)


class Level:
    """A gauge, by the values of its attributes: what was set last."""

    def __init__(self, name: str, unit: str, names: tuple[str, ...], description: str) -> None:
        self.name = name
        self.unit = unit
        self.names = names
        self.description = description
        self._streams: dict[Values, float] = {}

    def set(self, value: float, values: Values = ()) -> None:
        """Set what the next report says."""
        self._streams[values] = value

    def metric(self, start: int, now: int) -> Metric | None:
        """All streams as they are, or None when there is none."""
        points = [
            NumberDataPoint(_attributes(self.names, values), start, now, value)
            for values, value in self._streams.items()
        ]
        return Metric(self.name, self.description, self.unit, Gauge(points)) if points else None


class Telemetry:
    """All metrics of a worker, and their way out."""

    def __init__(
        self, endpoint: str, worker: str, boundaries: Mapping[str, tuple[float, ...]], start: float
    ) -> None:
        """`start` (Unix seconds) is from when on the cumulative points count; one for the worker's life."""
        self._boundaries = boundaries
        self._start = round(start * _NANOS)
        self._instruments: list[Distribution | Counter | Level] = []
        self._lock = BoundedSemaphore()
        self._resource = Resource({"service.name": SERVICE, "service.instance.id": worker})
        self._scope = InstrumentationScope("brownout.loadtests")
        self._exporter = OTLPMetricExporter(
            endpoint=endpoint.rstrip("/") + "/v1/metrics", timeout=EXPORT_TIMEOUT_S
        )
        phased = (metrics.PHASE, metrics.WORKLOAD)
        operation = (*phased, metrics.OPERATION, metrics.ERROR_TYPE)
        genai = (
            *phased,
            "gen_ai.operation.name",
            "gen_ai.provider.name",
            "gen_ai.request.model",
        )
        self.step = self._seconds(metrics.STEP_DURATION, operation, "A reset or a step of an episode.")
        self.episode = self._seconds(
            metrics.EPISODE_DURATION,
            (*phased, metrics.EPISODE_OUTCOME, metrics.ERROR_TYPE),
            "A whole episode.",
        )
        self.chat = self._seconds(metrics.CHAT_DURATION, (*genai, metrics.ERROR_TYPE), "One chat completion.")
        self.first_chunk = self._seconds(
            metrics.FIRST_CHUNK, (*genai, metrics.ERROR_TYPE), "From its due time to a stream's first chunk."
        )
        self.tokens = self._distribution(
            metrics.TOKEN_USAGE,
            "{token}",
            (*genai, "gen_ai.token.type"),
            metrics.TOKEN_BOUNDARIES,
            "Tokens, as the replies count them.",
        )
        self.http_operation = self._seconds(metrics.HTTP_OPERATION, operation, "A plain HTTP operation.")
        self.http_request = self._seconds(
            metrics.HTTP_REQUEST,
            (*phased, "http.request.method", "http.response.status_code", metrics.ERROR_TYPE),
            "One HTTP request on the wire.",
        )
        self.attempts = self._counter(
            metrics.ATTEMPTS,
            "{attempt}",
            (*phased, metrics.OPERATION, metrics.ERROR_TYPE),
            "Tries on the wire.",
        )
        self.streams = self._counter(
            metrics.STREAMS, "{stream}", (*phased, metrics.STREAM_TERMINAL), "Reply streams."
        )
        self.arrivals = self._counter(
            metrics.ARRIVALS, "{arrival}", (*phased, metrics.ARRIVAL_STATE), "Users that came."
        )
        self.users = self._level(metrics.USERS, "{user}", (metrics.WORKLOAD,), "Arrivals that are open.")
        self.utilization = self._level(metrics.UTILIZATION, "1", (), "The share of one core in use.")
        self.final = self._level(metrics.FINAL, "1", (), "This is the last report.")

    def export(self, now: float) -> bool:
        """Send all that was counted; whether it arrived. One at a time; waits at most `EXPORT_TIMEOUT_S`."""
        with self._lock:
            at = round(now * _NANOS)
            found = [metric for each in self._instruments if (metric := each.metric(self._start, at))]
            scopes = [ScopeMetrics(self._scope, found, "")]
            data = MetricsData([ResourceMetrics(self._resource, scopes, "")])
            return self._exporter.export(data) is MetricExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the exporter's connections."""
        self._exporter.shutdown()

    def _seconds(self, name: str, names: tuple[str, ...], description: str) -> Distribution:
        return self._distribution(name, "s", names, metrics.DURATION_BOUNDARIES_S, description)

    def _distribution(
        self, name: str, unit: str, names: tuple[str, ...], default: tuple[float, ...], description: str
    ) -> Distribution:
        bounds = merge_boundaries(default, self._boundaries.get(name, ()))
        made = Distribution(name, unit, names, bounds, description)
        self._instruments.append(made)
        return made

    def _counter(self, name: str, unit: str, names: tuple[str, ...], description: str) -> Counter:
        made = Counter(name, unit, names, description)
        self._instruments.append(made)
        return made

    def _level(self, name: str, unit: str, names: tuple[str, ...], description: str) -> Level:
        made = Level(name, unit, names, description)
        self._instruments.append(made)
        return made
