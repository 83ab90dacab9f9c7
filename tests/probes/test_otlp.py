from __future__ import annotations

import gzip
import json
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from probes.metrics_file import MetricsFile, read_samples
from probes.otlp import Receiver
from probes.otlp_json import encode
from probes.points import record
from slo.finding import Window
from slo.objective import Selector
from slo.series import Samples

RequestOf = Callable[..., ExportMetricsServiceRequest]
PROTOBUF, JSON = "application/x-protobuf", "application/json"
LIMIT = 64 * 1024


class Kept(NamedTuple):
    """A receiver, and all that it passed on."""

    receiver: Receiver
    requests: list[ExportMetricsServiceRequest]


@pytest.fixture
def kept() -> Iterator[Kept]:
    """A receiver with a small bound, running."""
    requests: list[ExportMetricsServiceRequest] = []
    with Receiver(requests.append, max_body=LIMIT) as receiver:
        yield Kept(receiver, requests)


def connection(receiver: Receiver) -> HTTPConnection:
    address = urlsplit(receiver.endpoint)
    return HTTPConnection(address.hostname or "", address.port, timeout=10)


class Answer(NamedTuple):
    """A response, read."""

    status: int
    kind: str
    body: bytes


def read(response: HTTPResponse) -> Answer:
    return Answer(response.status, response.headers["Content-Type"], response.read())


def post(
    receiver: Receiver, body: bytes, kind: str = PROTOBUF, path: str = "/v1/metrics", encoding: str = ""
) -> Answer:
    """One POST on a connection of its own."""
    client = connection(receiver)
    try:
        headers = {"Content-Type": kind, **({"Content-Encoding": encoding} if encoding else {})}
        client.request("POST", path, body, headers)
        return read(client.getresponse())
    finally:
        client.close()


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "deflate"])
@pytest.mark.parametrize("kind", [PROTOBUF, JSON, "application/json; charset=utf-8"])
def test_a_request_reaches_its_subscribers(
    kept: Kept, request_of: RequestOf, kind: str, encoding: str
) -> None:
    """Protobuf or JSON, compressed or not: it arrives as it was sent, and the answer is the protocol's."""
    body = request_of().SerializeToString() if kind == PROTOBUF else encode(request_of()).encode()
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}.get(encoding, bytes)(body)
    answer = post(kept.receiver, packed, kind, encoding=encoding)
    assert answer.status == 200
    if kind == PROTOBUF:
        assert ExportMetricsServiceResponse.FromString(answer.body) == ExportMetricsServiceResponse()
    else:
        assert json.loads(answer.body) == {}
    assert kept.requests == [request_of()]
    assert (kept.receiver.requests, kept.receiver.rejected, kept.receiver.problem) == (1, 0, None)


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
def test_other_signals_are_accepted_and_dropped(kept: Kept, path: str) -> None:
    """An SDK that sends traces and logs as well is not made to retry them."""
    assert post(kept.receiver, b"whatever", path=path).status == 200
    assert kept.requests == []


@pytest.mark.parametrize(
    ("body", "kind", "path", "encoding", "status", "said"),
    [
        (b"\xff\xff\xff", PROTOBUF, "/v1/metrics", "", 400, "expected an OTLP metrics request in protobuf"),
        (b"{", JSON, "/v1/metrics", "", 400, "no JSON"),
        (b"\xff\xfe", JSON, "/v1/metrics", "", 400, "no JSON"),
        (b"[1]", JSON, "/v1/metrics", "", 400, "expected a JSON object, got a list"),
        (b"plain", PROTOBUF, "/v1/metrics", "gzip", 400, "expected gzip data"),
        (gzip.compress(b"cut short")[:-4], PROTOBUF, "/v1/metrics", "gzip", 400, "a whole gzip stream"),
        (b"", PROTOBUF, "/v1/metrics", "br", 400, "expected Content-Encoding gzip"),
        (b"", "text/plain", "/v1/metrics", "", 415, "expected Content-Type"),
        (b"", PROTOBUF, "/v1/metric", "", 404, "expected /v1/metrics"),
        (b"x" * (LIMIT + 1), PROTOBUF, "/v1/metrics", "", 413, "at most 65536 bytes"),
        (gzip.compress(b"0" * 10_000_000), JSON, "/v1/metrics", "gzip", 413, "after decompression"),
        (gzip.compress(b"0" * LIMIT) * 3, JSON, "/v1/metrics", "gzip", 413, "after decompression"),
    ],
)
def test_a_bad_request_is_refused_and_counted(
    kept: Kept, body: bytes, kind: str, path: str, encoding: str, status: int, said: str
) -> None:
    """The answer says what was expected, in the encoding of the request; nothing reaches a subscriber."""
    try:
        answer = post(kept.receiver, body, kind, path, encoding)
    except (ConnectionResetError, BrokenPipeError):  # the body is refused before it is read
        assert status == 413
    else:
        assert answer.status == status
        if kind == PROTOBUF:
            assert said in Status.FromString(answer.body).message
        else:
            assert said in json.loads(answer.body)["message"]
    assert kept.requests == []
    assert kept.receiver.rejected == 1
    assert said in str(kept.receiver.problem)
    assert post(kept.receiver, b"").status == 200  # and the next one is served


def raw(receiver: Receiver, data: bytes) -> bytes:
    """Send bytes as they are, and read until the receiver closes."""
    address = urlsplit(receiver.endpoint)
    with socket.create_connection((address.hostname, address.port), timeout=10) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := client.recv(65536):
            received += chunk
        return received


HEAD = b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"200"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nTrailer: x\r\n\r\n", b"200"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", b"400"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}", b"400"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}{}\r\n0\r\n\r\n", b"400"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n", b"413"),
        (HEAD + b"Content-Length: 10\r\n\r\n{}", b"400"),
        (HEAD + b"Content-Length: -1\r\n\r\n", b"400"),
        (HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n", b"400"),
        (HEAD + b"Content-Length: 999999999\r\n\r\n", b"413"),
        (HEAD + b"\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_framing_is_read_as_http_has_it(kept: Kept, data: bytes, status: bytes) -> None:
    """Chunked bodies are read; lengths that are wrong, missing or too large are refused at once."""
    answer = raw(kept.receiver, data)
    assert status in answer.split(b"\r\n", 1)[0]


def test_connections_are_kept_alive(kept: Kept, request_of: RequestOf) -> None:
    """An exporter sends all of its requests on one connection, refused ones among them."""
    client = connection(kept.receiver)
    try:
        for number in range(5):
            body = request_of().SerializeToString() if number != 2 else b"\xff\xff"
            client.request("POST", "/v1/metrics", body, {"Content-Type": PROTOBUF})
            assert client.getresponse().read() is not None
            assert client.sock is not None
    finally:
        client.close()
    assert (len(kept.requests), kept.receiver.rejected) == (4, 1)


def test_a_subscriber_that_fails_is_no_success(request_of: RequestOf) -> None:
    """What could not be stored is not acknowledged, and the receiver keeps why."""

    def full(request: object) -> None:
        raise OSError(28, "No space left on device")

    with Receiver(full) as receiver:
        answer = post(receiver, request_of().SerializeToString())
        assert answer.status == 500
        assert "No space left on device" in Status.FromString(answer.body).message
        assert "No space left on device" in str(receiver.problem)


def test_stopping_does_not_wait_for_idle_clients(request_of: RequestOf) -> None:
    """A client that keeps its connection open does not hold up the end; the port is free at once."""
    receiver = Receiver().start()
    client = connection(receiver)
    client.request("POST", "/v1/metrics", request_of().SerializeToString(), {"Content-Type": PROTOBUF})
    client.getresponse().read()
    stopper = threading.Thread(target=receiver.stop)
    stopper.start()
    stopper.join(10)
    assert not stopper.is_alive()
    client.close()
    address = urlsplit(receiver.endpoint)
    with Receiver(port=address.port or 0):
        pass
    receiver.stop()


def test_a_port_in_use_is_an_os_error() -> None:
    """The world that does not let us listen is an OSError."""
    with Receiver() as receiver, pytest.raises(OSError, match="in use"):
        Receiver(port=urlsplit(receiver.endpoint).port or 0)


def test_many_clients_at_once_lose_nothing(kept: Kept, request_of: RequestOf) -> None:
    """Requests of several workers at the same time all arrive, one by one."""
    body = request_of().SerializeToString()

    def send() -> None:
        for _ in range(10):
            assert post(kept.receiver, body).status == 200

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept.requests) == 80


def test_a_stock_sdk_is_read_alike_online_and_offline(tmp_path: Path) -> None:
    """What OpenTelemetry's own exporter sends gives the same readings from memory and from the file."""
    online, path = Samples(), tmp_path / "metrics.jsonl"
    with (
        MetricsFile(path) as file,
        Receiver(file, lambda request: record(request, online)) as receiver,
    ):
        exporter = OTLPMetricExporter(endpoint=f"{receiver.endpoint}/v1/metrics")
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        provider = MeterProvider([reader], resource=Resource({"service.name": "evals"}))
        meter = provider.get_meter("test")
        duration = meter.create_histogram(
            "step", unit="s", explicit_bucket_boundaries_advisory=[0.1, 0.5, 1.0]
        )
        tries = meter.create_counter("tries")
        sessions = meter.create_up_down_counter("sessions")
        for round_ in range(3):
            for value in (0.05, 0.3, 0.7, 3.0):
                duration.record(value, {"brownout.phase": "fault"})
                tries.add(2)
            sessions.add(1 if round_ < 2 else -1)
            provider.force_flush()
        provider.shutdown()
    offline = read_samples(path)
    ever = Window(start=1.0, end=4e9, phase="fault")
    for samples in (online, offline):
        tally = samples.tally(Selector(metric="step", at_most=0.5), ever)
        assert tally is not None
        assert tally.count == 6
        assert samples.number(Selector(metric="tries"), "increase", ever) == 24
        assert samples.number(Selector(metric="sessions"), "last", ever) == 1
        assert samples.number(Selector(metric="sessions"), "max", ever) == 2
        assert samples.unit("step") == "s"
    assert online.metrics() == offline.metrics()
    for metric in online.metrics():
        selector = Selector(metric=metric)
        assert online.streams(selector) == offline.streams(selector)
        assert online.distribution(selector, ever) == offline.distribution(selector, ever)
        assert online.points(selector, ever) == offline.points(selector, ever) > 0
