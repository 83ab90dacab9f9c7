from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from probes.metrics_file import MetricsFile, read_requests, read_samples
from probes.otlp_json import MalformedOtlp
from slo.finding import Window
from slo.objective import Selector

RequestOf = Callable[..., ExportMetricsServiceRequest]
EVER = Window(start=1_699_999_999, end=1_700_001_000)


def test_what_was_written_is_read_back(tmp_path: Path, request_of: RequestOf) -> None:
    """Requests come back whole and in order, also when the file is opened again."""
    path = tmp_path / "metrics.jsonl"
    requests = [request_of(value, value) for value in range(1, 5)]
    for request in requests:
        with MetricsFile(path) as file:
            file(request)
    assert list(read_requests(path)) == requests
    tally = read_samples(path).tally(Selector(metric="step", at_most=0.1), EVER)
    assert tally is not None
    assert tally.count == 4


def test_a_line_is_on_disk_when_the_call_returns(tmp_path: Path, request_of: RequestOf) -> None:
    """Nothing waits in a buffer: a kill loses at most the line that was being written."""
    path = tmp_path / "metrics.jsonl"
    with MetricsFile(path) as file:
        file(request_of())
        assert len(list(read_requests(path))) == 1


def test_a_torn_last_line_is_left_out(tmp_path: Path, request_of: RequestOf) -> None:
    """However the last line was cut, the ones before it are read."""
    path = tmp_path / "metrics.jsonl"
    with MetricsFile(path) as file:
        file(request_of(1))
        file(request_of(2))
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    for cut in range(second, len(whole) - 1, 7):
        path.write_bytes(whole[:cut])
        assert len(list(read_requests(path))) == 1


def test_a_damaged_line_in_the_middle_is_an_error(tmp_path: Path, request_of: RequestOf) -> None:
    """A verdict does not rest on half of its data unawares: the error names the file and the line."""
    path = tmp_path / "metrics.jsonl"
    with MetricsFile(path) as file:
        file(request_of(1))
    path.write_bytes(path.read_bytes() + b'{"resourceMetrics": [\n' + path.read_bytes())
    with pytest.raises(MalformedOtlp, match=r"metrics\.jsonl:2: expected"):
        read_samples(path)


def test_threads_do_not_mix_their_lines(tmp_path: Path, request_of: RequestOf) -> None:
    """Several writers at once leave whole lines."""
    path = tmp_path / "metrics.jsonl"
    with MetricsFile(path) as file:
        threads = [
            threading.Thread(target=lambda: [file(request_of(v)) for v in range(20)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(list(read_requests(path))) == 80
