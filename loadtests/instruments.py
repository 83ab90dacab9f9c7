"""Instruments counted in the process: histograms, sums and gauges, each by the values of its attributes.

Invariant: recording costs a dictionary look-up and a bisection, and never waits. Streams are bounded in
number: past `MOST_STREAMS` of a metric the rest share one, marked `otel.metric.overflow` as the specification
has it. The SDK's own instruments cost 7 µs a record and aggregate by attribute dictionaries.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

MOST_STREAMS: Final = 1000
_OVERFLOW: Final = "otel.metric.overflow"

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

    def observe(self, bucket: int, value: float) -> None:
        """Count an observation that falls into `bucket`."""
        self.buckets[bucket] += 1
        self.total += value
        if value < self.least:
            self.least = value
        if value > self.most:
            self.most = value

    def observe_all(self, buckets: Sequence[int], total: float, least: float, most: float) -> None:
        """Count many observations: how many fell into each bucket, their sum and their extremes."""
        self.buckets = [mine + more for mine, more in zip(self.buckets, buckets, strict=True)]
        self.total += total
        self.least = min(self.least, least)
        self.most = max(self.most, most)


class Count:
    """One stream of a sum."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


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
        self.stream(values).observe(bisect_left(self.bounds, value), value)

    def stream(self, values: Values) -> Counts:
        """The stream of those values; it stays the same, so that whoever records often can keep it."""
        stream = self._streams.get(values)
        if stream is None:
            if len(self._streams) >= MOST_STREAMS:
                values = ()
            stream = self._streams.setdefault(values, Counts(len(self.bounds) + 1))
        return stream

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
            if stream.least <= stream.most  # a stream is kept from before its first observation
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
        self._streams: dict[Values, Count] = {}

    def add(self, values: Values) -> None:
        """Count one."""
        self.stream(values).count += 1

    def stream(self, values: Values) -> Count:
        """The stream of those values; it stays the same, so that whoever counts often can keep it."""
        stream = self._streams.get(values)
        if stream is None:
            if len(self._streams) >= MOST_STREAMS:
                values = ()
            stream = self._streams.setdefault(values, Count())
        return stream

    def metric(self, start: int, now: int) -> Metric | None:
        """All streams as they are, or None when there is none."""
        points = [
            NumberDataPoint(_attributes(self.names, values), start, now, stream.count)
            for values, stream in self._streams.items()
            if stream.count
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
