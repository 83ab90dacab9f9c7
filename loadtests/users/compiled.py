"""A request as bytes, made once and sent as often as it is wanted; and the client that sends one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from loadtests.users import following
from loadtests.users.connect import Address, Broken
from loadtests.users.operation import UNFINISHED, Desk, Operation, Try, Unfinished
from loadtests.users.wire import Exchange, Pool, request_bytes

_OWN_HEADERS: Final = {"User-Agent": "brownout", "Accept": "*/*"}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A request that is the same each time but for its `traceparent`, and what makes its reply right.

    On the wire: `head`, then `traceparent: …` and a blank line, then `body`. A reply is right when it is
    whole and its status is `expected`.
    """

    name: str
    """The operation."""
    method: str
    path: str
    head: bytes
    body: bytes
    expected: frozenset[int]
    headers: Mapping[str, str]

    def redirected(self, address: Address, status: int, path: str) -> Compiled:
        """The request that a redirect leads to; without its body, nothing is said of one."""
        method = following.method(status, self.method)
        kept = method == self.method
        headers = {
            name: value
            for name, value in self.headers.items()
            if kept or not name.lower().startswith("content-")
        }
        body = self.body if kept else b""
        return compiled(address, self.name, method, path, headers, body, self.expected)


def compiled(
    address: Address,
    name: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    expected: frozenset[int],
) -> Compiled:
    """A request with the headers that all of ours have; `headers` go first, whatever their case."""
    given = {key.lower() for key in headers}
    own = {key: value for key, value in _OWN_HEADERS.items() if key.lower() not in given}
    head = request_bytes(method, address, path, {**own, **headers}, body)
    return Compiled(name, method, path, head, body, expected, headers)


@dataclass(slots=True)
class Answer:
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: list[str] = field(default_factory=list)
    """The `Set-Cookie` lines, which may be several."""


class _Cookied(Exchange):
    """An exchange that keeps each `Set-Cookie` line: of other headers the last one holds."""

    def __init__(self, pool: Pool, tried: Try, timeout_s: float, *, head_only: bool = False) -> None:
        super().__init__(pool, tried, timeout_s, head_only=head_only)
        self.cookies: list[str] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        super().on_header(name, value)
        if name.lower() == b"set-cookie":
            self.cookies.append(value.decode("latin-1"))


class Client:
    """Sends requests of one workload, and counts each in `http.client.request.duration`."""

    def __init__(self, desk: Desk, pool: Pool, timeout_s: float) -> None:
        self.desk = desk
        self.pool = pool
        self._timeout_s = timeout_s

    def send(self, operation: Operation, tried: Try, request: Compiled, extra: str = "") -> Answer:
        """One request, and its whole response. `extra` are header lines of this one alone. Raises Broken."""
        trace = f"{extra}traceparent: {operation.arrival.traceparent()}\r\n\r\n"
        error_type: str | None = None
        start = self.desk.clock.now()
        tried.status = 0
        exchange = _Cookied(self.pool, tried, self._timeout_s, head_only=request.method == "HEAD")
        try:
            with exchange:
                exchange.send(request.head + trace.encode("latin-1") + request.body)
                body = exchange.body()
                if exchange.status not in request.expected:
                    error_type = str(exchange.status)
                return Answer(exchange.status, exchange.headers, body, exchange.cookies)
        except Broken as failure:
            error_type = failure.error_type
            raise
        except Unfinished:
            error_type = UNFINISHED
            raise
        finally:
            status = str(tried.status) if tried.status else None
            self.desk.telemetry.http_request.record(
                self.desk.clock.now() - start,
                (operation.phase, self.desk.workload, request.method, status, error_type),
            )
