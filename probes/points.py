"""OTLP metrics requests as points for `slo.series`: the one way from the wire, or from a file, to samples."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as wire

from slo.series import HistogramPoint, NumberPoint, Point, Samples, StreamKey
from slo.stream import Kind

_DELTA = wire.AGGREGATION_TEMPORALITY_DELTA
_NO_VALUE = wire.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK


def record(request: ExportMetricsServiceRequest, samples: Samples) -> int:
    """Add all points of a request to `samples`; returns how many."""
    n = 0
    for key, point in points_of(request):
        samples.add(key, point)
        n += 1
    return n


def points_of(request: ExportMetricsServiceRequest) -> Iterator[tuple[StreamKey, Point]]:
    """Every number and histogram point with its stream's key; resource attributes yield to the point's own.

    Exponential histograms come with the explicit boundaries that their scale stands for. Summaries, points
    without a recorded value and numbers that are not finite are left out: nothing can be counted in them.
    """
    for resource in request.resource_metrics:
        shared = dict(_attributes(resource.resource.attributes))
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                yield from _metric_points(metric, shared)


def _metric_points(metric: wire.Metric, shared: dict[str, str]) -> Iterator[tuple[StreamKey, Point]]:
    def key(attributes: Iterable[KeyValue]) -> StreamKey:
        own = {**shared, **dict(_attributes(attributes))}
        return StreamKey(metric.name, metric.unit, tuple(sorted(own.items())))

    kind = metric.WhichOneof("data")
    if kind == "histogram":
        delta = metric.histogram.aggregation_temporality == _DELTA
        for histogram in metric.histogram.data_points:
            buckets = _buckets(histogram)
            if not histogram.flags & _NO_VALUE and buckets is not None:
                yield key(histogram.attributes), _histogram(histogram, *buckets, delta)
    elif kind == "exponential_histogram":
        delta = metric.exponential_histogram.aggregation_temporality == _DELTA
        for exponential in metric.exponential_histogram.data_points:
            if not exponential.flags & _NO_VALUE:
                bounds, counts = _explicit(exponential)
                yield key(exponential.attributes), _histogram(exponential, bounds, counts, delta)
    elif kind in ("gauge", "sum"):
        number_kind = _number_kind(metric)
        for number in metric.gauge.data_points if kind == "gauge" else metric.sum.data_points:
            value = number.as_double if number.WhichOneof("value") == "as_double" else number.as_int
            if not number.flags & _NO_VALUE and math.isfinite(value):
                yield (
                    key(number.attributes),
                    NumberPoint(
                        number.start_time_unix_nano / 1e9, number.time_unix_nano / 1e9, value, number_kind
                    ),
                )


def _number_kind(metric: wire.Metric) -> Kind:
    if metric.WhichOneof("data") == "gauge":
        return "gauge"
    if metric.sum.aggregation_temporality == _DELTA:
        return "delta"
    return "cumulative" if metric.sum.is_monotonic else "updown"


def _buckets(point: wire.HistogramDataPoint) -> tuple[tuple[float, ...], tuple[int, ...]] | None:
    """Boundaries and counts; a histogram without buckets has one. None when the two do not fit together."""
    bounds, counts = tuple(point.explicit_bounds), tuple(point.bucket_counts)
    if not counts and not bounds:
        return (), (point.count,)
    return (bounds, counts) if len(counts) == len(bounds) + 1 and _rising(bounds) else None


@lru_cache(maxsize=256)
def _rising(bounds: tuple[float, ...]) -> bool:
    """Whether the boundaries rise; every point of a stream repeats them."""
    return all(a < b for a, b in pairwise(bounds))


def _histogram(
    point: wire.HistogramDataPoint | wire.ExponentialHistogramDataPoint,
    bounds: tuple[float, ...],
    counts: tuple[int, ...],
    delta: bool,
) -> HistogramPoint:
    return HistogramPoint(
        start=point.start_time_unix_nano / 1e9,
        t=point.time_unix_nano / 1e9,
        count=sum(counts),
        sum=point.sum if math.isfinite(point.sum) else 0.0,
        bounds=bounds,
        counts=counts,
        cumulative=not delta,
    )


def _explicit(point: wire.ExponentialHistogramDataPoint) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """The explicit buckets of an exponential histogram, on a grid that does not move with the data.

    Bucket i holds (base^i, base^(i+1)] with base = 2^(2^-scale)
    (OpenTelemetry metrics data model, "ExponentialHistogram"). The grid is the powers
    of two that are bucket boundaries: all of them from scale 0 up, every second one at scale -1, and so on.
    Zeros, negative values and what lies outside 2^-20 to 2^40 go to the outermost buckets.
    """
    step = 2 ** max(0, -point.scale)
    exponents = [exponent for exponent in range(-20, 41) if exponent % step == 0]
    counts = [0] * (len(exponents) + 1)
    counts[0] = point.zero_count + sum(point.negative.bucket_counts)
    for position, count in enumerate(point.positive.bucket_counts):
        top = (point.positive.offset + position + 1) * 2.0**-point.scale
        counts[bisect_left(exponents, top - 1e-9)] += count
    return tuple(2.0**exponent for exponent in exponents), tuple(counts)


def _attributes(attributes: Iterable[KeyValue]) -> Iterator[tuple[str, str]]:
    for attribute in attributes:
        yield attribute.key, _text(attribute.value)


def _text(value: AnyValue) -> str:
    """An attribute's value as filters compare it: booleans as `true` and `false`, numbers in plain digits."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind == "int_value":
        return str(value.int_value)
    if kind == "double_value":
        return f"{value.double_value:.17g}"
    if kind == "bytes_value":
        return value.bytes_value.hex()
    if kind == "array_value":
        return "[" + ",".join(_text(item) for item in value.array_value.values) + "]"
    if kind == "kvlist_value":
        return "{" + ",".join(f"{k}={v}" for k, v in _attributes(value.kvlist_value.values)) + "}"
    return ""
