from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.metrics.v1 import metrics_pb2 as wire

from probes.otlp_json import MalformedOtlp, decode, encode
from probes.points import points_of

Request = ExportMetricsServiceRequest
text = st.text(st.characters(codec="utf-8"), max_size=8)
nanos = st.integers(0, 2**63)
doubles = st.floats(allow_nan=False)
values = st.recursive(
    st.one_of(
        st.builds(AnyValue, string_value=text),
        st.builds(AnyValue, bool_value=st.booleans()),
        st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
        st.builds(AnyValue, double_value=doubles),
        st.builds(AnyValue, bytes_value=st.binary(max_size=5)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda items: AnyValue(array_value=ArrayValue(values=items))),
        inner.map(lambda v: AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=v)]))),
    ),
    max_leaves=4,
)
attributes = st.lists(st.builds(KeyValue, key=text, value=values), max_size=3)
exemplars = st.lists(
    st.builds(
        wire.Exemplar,
        filtered_attributes=attributes,
        time_unix_nano=nanos,
        as_double=doubles,
        span_id=st.sampled_from([b"", b"\x01" * 8, bytes(range(8))]),
        trace_id=st.sampled_from([b"", b"\xff" * 16, bytes(range(16))]),
    ),
    max_size=2,
)
common = {
    "attributes": attributes,
    "start_time_unix_nano": nanos,
    "time_unix_nano": nanos,
    "exemplars": exemplars,
}
numbers = st.one_of(
    st.builds(wire.NumberDataPoint, as_double=doubles, **common),
    st.builds(wire.NumberDataPoint, as_int=st.integers(-(2**63), 2**63 - 1), **common),
)
temporality = st.sampled_from([0, 1, 2])
histograms = st.builds(
    wire.HistogramDataPoint,
    count=st.integers(0, 2**64 - 1),
    sum=doubles,
    bucket_counts=st.lists(st.integers(0, 2**64 - 1), max_size=5),
    explicit_bounds=st.lists(doubles, max_size=5),
    flags=st.integers(0, 1),
    **common,
)
exponentials = st.builds(
    wire.ExponentialHistogramDataPoint,
    count=st.integers(0, 2**40),
    scale=st.integers(-5, 8),
    zero_count=st.integers(0, 5),
    positive=st.builds(
        wire.ExponentialHistogramDataPoint.Buckets,
        offset=st.integers(-50, 50),
        bucket_counts=st.lists(st.integers(0, 99), max_size=5),
    ),
    **common,
)
metrics = st.one_of(
    st.builds(
        wire.Metric,
        name=text,
        unit=text,
        gauge=st.builds(wire.Gauge, data_points=st.lists(numbers, max_size=2)),
    ),
    st.builds(
        wire.Metric,
        name=text,
        sum=st.builds(
            wire.Sum,
            data_points=st.lists(numbers, max_size=2),
            aggregation_temporality=temporality,
            is_monotonic=st.booleans(),
        ),
    ),
    st.builds(
        wire.Metric,
        name=text,
        histogram=st.builds(
            wire.Histogram, data_points=st.lists(histograms, max_size=3), aggregation_temporality=temporality
        ),
    ),
    st.builds(
        wire.Metric,
        name=text,
        exponential_histogram=st.builds(
            wire.ExponentialHistogram,
            data_points=st.lists(exponentials, max_size=2),
            aggregation_temporality=temporality,
        ),
    ),
)
requests = st.lists(metrics, max_size=4).map(
    lambda found: Request(
        resource_metrics=[wire.ResourceMetrics(scope_metrics=[wire.ScopeMetrics(metrics=found)])]
    )
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(requests)
def test_a_line_holds_all_of_its_request(request: Request) -> None:
    """Encoding and decoding give back the request, whatever is in it, and the same points."""
    line = encode(request)
    assert "\n" not in line
    again = decode(line)
    assert again == request
    assert list(points_of(again)) == list(points_of(request))


def test_the_encoding_is_that_of_the_file_exporter(request_of: Callable[[], Request]) -> None:
    """Enums are integers, 64-bit integers strings, ids hex."""
    document = json.loads(encode(request_of()))
    metrics = document["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    point = metrics[0]["histogram"]["dataPoints"][0]
    assert metrics[0]["histogram"]["aggregationTemporality"] == 2
    assert point["timeUnixNano"] == "1700000001000000000"
    assert (point["count"], point["bucketCounts"]) == ("3", ["3", "0", "0"])
    assert point["exemplars"][0]["traceId"] == "ab" * 16
    assert point["exemplars"][0]["spanId"] == "01" * 8


def test_what_other_writers_write_is_read() -> None:
    """Numbers for strings, upper-case hex, unknown keys and nulls: all of them are OTLP JSON."""
    request = decode(
        """{"resourceMetrics": [{"resource": null, "schemaUrl": "", "new": {"a": 1}, "scopeMetrics": [
        {"metrics": [{"name": "d", "histogram": {"aggregationTemporality": 2, "dataPoints": [
        {"timeUnixNano": 5, "count": 2, "bucketCounts": [1, "1"], "explicitBounds": ["0.5"],
        "exemplars": [{"traceId": "ABCD"}]}]}},
        {"name": "g", "gauge": {"dataPoints": [{"asInt": 7}]}}]}]}]}"""
    )
    histogram = request.resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points[0]
    assert (list(histogram.bucket_counts), list(histogram.explicit_bounds)) == ([1, 1], [0.5])
    assert histogram.exemplars[0].trace_id == b"\xab\xcd"
    assert decode("{}") == Request()


def one(metric: str) -> str:
    """A request of one metric, as text."""
    return f'{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}'


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "5",
        "null",
        '{"resourceMetrics": 5}',
        '{"resourceMetrics": [5]}',
        one("null"),
        one('{"histogram": {"dataPoints": [null]}}'),
        one('{"sum": [1]}'),
        one('{"histogram": {"dataPoints": [{"bucketCounts": [Infinity]}]}}'),
        one('{"histogram": {"dataPoints": [{"bucketCounts": ["-1"]}]}}'),
        one('{"histogram": {"dataPoints": [{"bucketCounts": 7}]}}'),
        one('{"gauge": {"dataPoints": [{"exemplars": [{"traceId": "xy"}]}]}}'),
        one('{"gauge": {"dataPoints": [{"exemplars": [{"traceId": 5}]}]}}'),
        one('{"name": "\\ud800"}'),
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_nonsense_is_one_kind_of_error(line: str) -> None:
    """Whatever is wrong with a line, the error is MalformedOtlp, a ValueError with a text."""
    with pytest.raises(MalformedOtlp, match="expected"):
        decode(line)


@given(st.binary(max_size=60))
def test_random_bytes_are_no_traceback(data: bytes) -> None:
    """Arbitrary bytes either are a request or MalformedOtlp, nothing else."""
    with contextlib.suppress(MalformedOtlp):
        decode(data)
