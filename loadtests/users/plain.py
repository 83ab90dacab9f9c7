"""A user that sends plain HTTP requests, those of one arrival in order. (Not `http`: that is Python's own.)

Each is an operation of its own and goes on when one before it has failed, so that none is absent from the
numbers because of another.
"""

from __future__ import annotations

from loadtests.options.http import HttpOptions, HttpProfile, HttpRequest
from loadtests.users.arrival import Arrival
from loadtests.users.chat import JITTER, LONGEST_BACKOFF_S
from loadtests.users.connect import Address, Broken
from loadtests.users.operation import UNFINISHED, Backoff, Desk, Operation, Subject, Try, Unfinished
from loadtests.users.retries import status_failure
from loadtests.users.wire import Exchange, Pool, request_bytes


class HttpUser:
    """Sends the profile's requests for each arrival."""

    def __init__(self, desk: Desk, url: str, profile: HttpProfile) -> None:
        """Raises BadUrl."""
        self.desk = desk
        options: HttpOptions = profile.with_
        self._timeout_s = options.timeout
        self._pool = Pool(
            Address.of(url), keep=options.connection == "pooled", connect_timeout_s=options.connect_timeout
        )
        self._retry = Backoff(
            options.retries, options.backoff, LONGEST_BACKOFF_S, JITTER, heed=options.client == "careful"
        )
        self._requests = [(request, self._made(request)) for request in options.requests]

    def __call__(self, arrival: Arrival) -> None:
        """Send them, and count how it went."""
        due = arrival.due
        for step, (request, made) in enumerate(self._requests):
            operation = Operation(self.desk, arrival, request.name, due, Subject(step=step))
            try:
                self._perform(operation, request, made)
            except Broken:
                pass  # it is in the history and in the metrics: that is what a user is for
            finally:
                self.desk.telemetry.http_operation.record(
                    operation.duration_s,
                    (operation.phase, self.desk.workload, operation.name, operation.error_type),
                )
            due = operation.end

    def _made(self, request: HttpRequest) -> tuple[bytes, bytes]:
        body = (request.body or "").encode()
        headers = {"User-Agent": "brownout", "Accept": "*/*", **request.headers}
        return request_bytes(request.method, self._pool.address, request.path, headers, body), body

    def _perform(self, operation: Operation, request: HttpRequest, made: tuple[bytes, bytes]) -> None:
        operation.perform(
            lambda tried: self._attempt(operation, request, made, tried), self._retry, operation.arrival.rng
        )

    def _attempt(
        self, operation: Operation, request: HttpRequest, made: tuple[bytes, bytes], tried: Try
    ) -> None:
        head, body = made
        trace = f"traceparent: {operation.arrival.traceparent()}\r\n\r\n"
        error_type: str | None = None
        try:
            with Exchange(self._pool, tried, self._timeout_s, head_only=request.method == "HEAD") as exchange:
                exchange.send(head + trace.encode() + body)
                detail = exchange.body()[:200].decode("utf-8", "replace")
                if exchange.status != request.expect_status:
                    raise status_failure(exchange.status, exchange.headers, detail)
        except Broken as failure:
            error_type = failure.error_type
            raise
        except Unfinished:
            error_type = UNFINISHED
            raise
        finally:
            desk = self.desk
            status = str(tried.status) if tried.status else None
            desk.telemetry.http_request.record(
                desk.clock.now() - tried.start,
                (operation.phase, desk.workload, request.method, status, error_type),
            )
