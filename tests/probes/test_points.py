from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as wire

from probes.points import points_of
from slo.series import HistogramPoint, NumberPoint


def request_with(metric: wire.Metric) -> ExportMetricsServiceRequest:
    """A request of one metric, whose resource says who it is."""
    resource = wire.ResourceMetrics(scope_metrics=[wire.ScopeMetrics(metrics=[metric])])
    resource.resource.attributes.add(key="service.name").value.string_value = "evals"
    resource.resource.attributes.add(key="shared").value.string_value = "of the resource"
    return ExportMetricsServiceRequest(resource_metrics=[resource])


def number(**options: object) -> wire.Metric:
    point = wire.NumberDataPoint(as_int=5, start_time_unix_nano=10**9, time_unix_nano=2 * 10**9)
    for key, value in (("shared", "of the point"), ("flag", True), ("status", 500), ("ratio", 0.5)):
        attribute = point.attributes.add(key=key).value
        if isinstance(value, bool):
            attribute.bool_value = value
        elif isinstance(value, str):
            attribute.string_value = value
        elif isinstance(value, int):
            attribute.int_value = value
        else:
            attribute.double_value = float(value)
    return wire.Metric(name="n", unit="1", sum=wire.Sum(data_points=[point], **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("temporality", "monotonic", "kind"),
    [(2, True, "cumulative"), (2, False, "updown"), (1, True, "delta"), (1, False, "delta")],
)
def test_a_sum_keeps_its_temporality(temporality: int, monotonic: bool, kind: str) -> None:
    """Sums become counters, deltas or sums that may fall; attributes become text, the point's own win."""
    [(key, point)] = points_of(
        request_with(number(aggregation_temporality=temporality, is_monotonic=monotonic))
    )
    assert point == NumberPoint(1.0, 2.0, 5, kind)  # type: ignore[arg-type]
    assert (key.metric, key.unit) == ("n", "1")
    assert dict(key.attributes) == {
        "service.name": "evals",
        "shared": "of the point",
        "flag": "true",
        "status": "500",
        "ratio": "0.5",
    }
    assert list(key.attributes) == sorted(key.attributes)


def test_points_without_a_value_are_left_out() -> None:
    """A point that says that it has no value, or is not finite, is no zero."""
    gauge = wire.Gauge(
        data_points=[
            wire.NumberDataPoint(as_double=1, flags=1),
            wire.NumberDataPoint(as_double=math.nan),
            wire.NumberDataPoint(as_double=math.inf),
            wire.NumberDataPoint(as_double=2, time_unix_nano=10**9),
        ]
    )
    assert [p for _, p in points_of(request_with(wire.Metric(name="g", gauge=gauge)))] == [
        NumberPoint(0.0, 1.0, 2, "gauge")
    ]


@pytest.mark.parametrize(
    ("bounds", "counts", "kept"),
    [([1.0, 2.0], [1, 2, 3], True), ([], [], True), ([1.0], [1], False), ([2.0, 1.0], [1, 2, 3], False)],
)
def test_a_histogram_whose_buckets_do_not_fit_is_left_out(
    bounds: list[float], counts: list[int], kept: bool
) -> None:
    """Counts without their boundaries cannot be counted; a histogram without buckets has one."""
    point = wire.HistogramDataPoint(count=6, sum=9, explicit_bounds=bounds, bucket_counts=counts)
    metric = wire.Metric(name="h", histogram=wire.Histogram(data_points=[point], aggregation_temporality=2))
    found = [p for _, p in points_of(request_with(metric))]
    assert bool(found) is kept
    if found:
        assert isinstance(found[0], HistogramPoint)
        assert found[0].count == 6


@given(
    st.integers(-3, 6),
    st.integers(-40, 40),
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
    st.integers(0, 5),
)
def test_an_exponential_histogram_is_counted_at_its_own_boundaries(
    scale: int, offset: int, counts: list[int], zeros: int
) -> None:
    """Up to every boundary that it is given, the explicit histogram counts what the exponential one does."""
    point = wire.ExponentialHistogramDataPoint(scale=scale, zero_count=zeros, count=zeros + sum(counts))
    point.positive.offset = offset
    point.positive.bucket_counts.extend(counts)
    metric = wire.Metric(
        name="e",
        exponential_histogram=wire.ExponentialHistogram(data_points=[point], aggregation_temporality=2),
    )
    [(_, found)] = points_of(request_with(metric))
    assert isinstance(found, HistogramPoint)
    assert found.count == zeros + sum(counts)
    tops = [math.log2(2.0) * (offset + index + 1) * 2.0**-scale for index in range(len(counts))]
    for index, bound in enumerate(found.bounds):
        below = sum(count for count, top in zip(counts, tops, strict=True) if top <= math.log2(bound) + 1e-9)
        assert sum(found.counts[: index + 1]) == zeros + below
