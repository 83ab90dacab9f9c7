"""`metrics.jsonl`: every metrics request of a run, one OTLP JSON line each, flushed as it comes.

Invariant: whatever was received before a kill can be read back. A last line that was cut short is left out;
any other line that is no request is an error, since a verdict must not rest on half of its data unawares.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from probes.otlp_json import MalformedOtlp, decode, encode
from probes.points import record
from slo.series import Samples


class MetricsFile:
    """Appends requests to a file; a subscriber of the receiver. One `write` a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("ab", buffering=0)

    def __call__(self, request: ExportMetricsServiceRequest) -> None:
        """Append one request. Raises OSError (a full disk), ValueError once closed."""
        line = encode(request).encode() + b"\n"
        with self._lock:
            self._file.write(line)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> MetricsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_requests(path: Path) -> Iterator[ExportMetricsServiceRequest]:
    """The requests of a metrics file, in the order in which they were received.

    Raises:
        OSError: the file cannot be read.
        MalformedOtlp: a line other than an unfinished last one is no request; names the file and the line.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield decode(line)
            except MalformedOtlp as error:
                if not line.endswith(b"\n"):
                    return
                raise MalformedOtlp(f"{path}:{number}: {error}") from error


def read_samples(path: Path) -> Samples:
    """All points of a metrics file. Raises as `read_requests` does."""
    samples = Samples()
    for request in read_requests(path):
        record(request, samples)
    return samples
