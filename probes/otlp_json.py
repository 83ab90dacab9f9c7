"""OTLP metrics as JSON lines, the way the OpenTelemetry file exporter writes them.

Enums are integers, 64-bit integers are strings, trace and span ids are hex, unknown keys are ignored on the
way in. Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding and
https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/.

Invariant: `decode(encode(request)) == request` for every metrics request, so a run judged from its file sees
what the receiver saw.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

_IDS = ("traceId", "spanId")
_POINTED = ("gauge", "sum", "histogram", "exponentialHistogram", "summary")

Json = dict[str, Any]
"""A JSON object; its shape is OTLP's, and protobuf checks it."""


class MalformedOtlp(ValueError):
    """Text or bytes that are no OTLP metrics request; the message says what is wrong, and where if known."""


def encode(request: ExportMetricsServiceRequest) -> str:
    """One line of JSON, without its newline."""
    document: Json = json_format.MessageToDict(request, use_integers_for_enums=True)
    for point in _points(document):
        _rewrite_ids(point, _to_hex)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def decode(text: str | bytes) -> ExportMetricsServiceRequest:
    """The request of one line. Raises MalformedOtlp."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedOtlp(f"expected a JSON object, got something that is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise MalformedOtlp(f"expected a JSON object, got a {type(document).__name__}")
    try:
        buckets = []
        for point in _points(document):
            _rewrite_ids(point, _from_hex)
            buckets.append(_take_buckets(point))
        request = json_format.ParseDict(document, ExportMetricsServiceRequest(), ignore_unknown_fields=True)
        _put_buckets(request, buckets)
    except (
        json_format.ParseError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        # ParseDict lets the errors of badly shaped input through as they come: all mean the same to us.
        raise MalformedOtlp(f"expected an OTLP metrics request: {error}") from error
    return request


def _points(document: Json) -> Iterator[Json]:
    """All data points, of every kind, in document order."""
    for resource in document.get("resourceMetrics") or ():
        for scope in resource.get("scopeMetrics") or ():
            for metric in scope.get("metrics") or ():
                for kind in _POINTED:
                    yield from (metric.get(kind) or {}).get("dataPoints") or ()


def _rewrite_ids(point: Json, rewrite: Callable[[str], str]) -> None:
    for exemplar in point.get("exemplars") or ():
        for name in _IDS:
            if name in exemplar:
                exemplar[name] = rewrite(exemplar[name])


def _to_hex(encoded: str) -> str:
    return base64.b64decode(encoded).hex()


def _from_hex(text: str) -> str:
    try:
        return base64.b64encode(bytes.fromhex(text)).decode()
    except (ValueError, TypeError, binascii.Error) as error:
        raise ValueError(f"expected an id in hex digits, got {text!r:.60}") from error


def _take_buckets(point: Json) -> tuple[list[int], list[float]]:
    """Take a histogram point's two long lists out of it: protobuf parses them far slower than we do."""
    counts = point.pop("bucketCounts", None) or []
    bounds = point.pop("explicitBounds", None) or []
    return [int(count) for count in counts], [float(bound) for bound in bounds]


def _put_buckets(request: ExportMetricsServiceRequest, buckets: list[tuple[list[int], list[float]]]) -> None:
    """Put the lists back, in the order in which `_points` gave their points."""
    rest = iter(buckets)
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                if kind is None:
                    continue
                for point in getattr(metric, kind).data_points:
                    counts, bounds = next(rest)
                    if kind == "histogram":
                        point.bucket_counts.extend(counts)
                        point.explicit_bounds.extend(bounds)
