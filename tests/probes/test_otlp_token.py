"""The receiver bound elsewhere than to loopback listens to those only who show the run's token."""

from __future__ import annotations

import http.client

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from probes.otlp import Receiver


def post(receiver: Receiver, headers: dict[str, str]) -> int:
    """The status of an export with these headers."""
    host, _, port = receiver.endpoint.removeprefix("http://").rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=30)
    try:
        body = ExportMetricsServiceRequest().SerializeToString()
        connection.request("POST", "/v1/metrics", body, {"Content-Type": "application/x-protobuf", **headers})
        reply = connection.getresponse()
        reply.read()
        return reply.status
    finally:
        connection.close()


def test_without_the_token_nothing_is_taken() -> None:
    """No header, another scheme, another token, half of it: 401, counted, and no subscriber hears of it."""
    taken: list[object] = []
    with Receiver(taken.append, token="of-this-run") as receiver:
        for wrong in (
            "",
            "Bearer",
            "Bearer of-this",
            "Bearer of-this-run2",
            "Basic of-this-run",
            "of-this-run",
            "Bearer \xff",
        ):
            assert post(receiver, {"Authorization": wrong} if wrong else {}) == 401
        assert taken == []
        assert receiver.rejected == 7
        assert post(receiver, {"Authorization": "Bearer of-this-run"}) == 200
        assert len(taken) == 1


def test_without_a_token_of_its_own_it_asks_for_none() -> None:
    """On loopback, where services of a user send to, nothing changes."""
    taken: list[object] = []
    with Receiver(taken.append) as receiver:
        assert post(receiver, {}) == 200
        assert post(receiver, {"Authorization": "Bearer anything"}) == 200
    assert len(taken) == 2
