"""How exactly a `latency` toxic delays: one client, one request after the other, on a proxy that has work.

A request goes through a proxy without a toxic and one through a proxy with 20 ms, in turn. What the second
takes longer than 20 ms and the median of the first is the toxic's error.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.wrk import Load, background

LATENCY_MS: Final = 20
_BACKGROUND: Final = Load(connections=20, seconds=600, think_ms=10)
"""About 2,000 requests a second."""


@dataclass(frozen=True, slots=True)
class Errors:
    """The error of each delay, in milliseconds, in order; positive is late."""

    sorted_ms: tuple[float, ...]
    baseline_ms: float

    def percentile(self, percent: float) -> float:
        """The nearest-rank percentile of the errors."""
        return percentile(self.sorted_ms, percent)

    def size(self, percent: float) -> float:
        """The percentile of their absolute values: too early is as wrong as too late."""
        return percentile(sorted(abs(error) for error in self.sorted_ms), percent)


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of values in order."""
    rank = max(1, -int(-len(values) * percent // 100))
    return values[rank - 1]


@dataclass(frozen=True, slots=True)
class Subject:
    """Addresses of one server's proxies, all in front of the same upstream: with the toxic, and without."""

    name: str
    delayed: str
    plain: str


def _dial(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    sock = socket.create_connection((host, int(port)), 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _ask_ms(sock: socket.socket, request: bytes) -> float:
    """From the request to the last byte of a reply that ends with the body's `x`."""
    begin = time.perf_counter()
    sock.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received or not received.endswith(b"x"):
        piece = sock.recv(65536)
        if not piece:
            raise ConnectionError("the reply ended early")
        received += piece
    return (time.perf_counter() - begin) * 1000


@contextlib.contextmanager
def _undisturbed(core: int) -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        os.sched_setaffinity(0, allowed)


def measure(subjects: Sequence[Subject], samples: int, turns: int, path: str, core: int) -> dict[str, Errors]:
    """`samples` delays of each subject, in `turns` turns. Raises OSError."""
    delayed: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    plain: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    for _ in range(turns):
        for subject in subjects:
            with background(f"http://{subject.plain}{path}", _BACKGROUND, core), _undisturbed(core):
                _turn(subject, -(-samples // turns), path, plain[subject.name], delayed[subject.name])
    errors = {}
    for name, observed in delayed.items():
        baseline = statistics.median(plain[name])
        errors[name] = Errors(tuple(sorted(ms - LATENCY_MS - baseline for ms in observed)), baseline)
    return errors


def _turn(subject: Subject, samples: int, path: str, plain: list[float], delayed: list[float]) -> None:
    draw = random.Random(1)
    request = f"GET {path} HTTP/1.1\r\nHost: benchmark\r\n\r\n".encode()
    with _dial(subject.plain) as without, _dial(subject.delayed) as with_toxic:
        for number in range(samples + 5):
            time.sleep(draw.uniform(0, 0.003))  # so that the phase of the servers' timers is any
            found = _ask_ms(without, request), _ask_ms(with_toxic, request)
            if number >= 5:  # the first ones warm up
                plain.append(found[0])
                delayed.append(found[1])
