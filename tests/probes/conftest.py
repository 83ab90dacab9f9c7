"""Metrics requests as clients send them, and their generators."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as wire

T0 = 1_700_000_000_000_000_000


def small_request(value: int = 3, seconds: int = 1) -> ExportMetricsServiceRequest:
    """One cumulative histogram point with an exemplar, one sum and one gauge, of one worker."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    named = resource.resource.attributes.add(key="service.instance.id")
    named.value.string_value = "worker-1"
    scope = resource.scope_metrics.add()
    scope.scope.name = "load"
    times = {"start_time_unix_nano": T0, "time_unix_nano": T0 + seconds * 10**9}
    step = scope.metrics.add(name="step", unit="s")
    step.histogram.aggregation_temporality = wire.AGGREGATION_TEMPORALITY_CUMULATIVE
    point = step.histogram.data_points.add(
        count=value, sum=0.5 * value, bucket_counts=[value, 0, 0], explicit_bounds=[0.1, 1.0], **times
    )
    point.attributes.add(key="brownout.phase").value.string_value = "fault"
    point.exemplars.add(as_double=0.05, trace_id=b"\xab" * 16, span_id=b"\x01" * 8, time_unix_nano=T0)
    tries = scope.metrics.add(name="tries")
    tries.sum.is_monotonic = True
    tries.sum.aggregation_temporality = wire.AGGREGATION_TEMPORALITY_CUMULATIVE
    tries.sum.data_points.add(as_int=value, **times)
    users = scope.metrics.add(name="users")
    users.gauge.data_points.add(as_double=value / 2, time_unix_nano=T0 + seconds * 10**9)
    return request


@pytest.fixture
def request_of() -> object:
    """`small_request`, for tests that want several."""
    return small_request
