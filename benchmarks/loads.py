"""Rounds of load generators against one server, in turn; what they did is counted from outside."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import requests

from benchmarks.generators import Generator, Running, Task
from benchmarks.machine import cpu_s, wait_until
from benchmarks.rounds import Ratio, ratio
from benchmarks.wrk import LoadError

_SETTLE_S: Final = 0.5
"""Between the first requests and what is measured: connections are made, imports are done."""
_FIRST: Final = 100
_SPARE_S: Final = (2, 8, 20)
"""How much longer than what is measured a generator is told to go on; more where that was not enough."""


@dataclass(frozen=True, slots=True)
class Round:
    """One generator, once. CPU-seconds are those of its process, for 10,000 requests; share of a core.

    `dropped` are requests that were due and never sent, of generators that tell.
    """

    rate: float
    cpu_s: float
    share: float
    p50_ms: float
    p99_ms: float
    dropped: int = 0


@dataclass(slots=True)
class Series:
    """All rounds of one generator, in order."""

    name: str
    rounds: list[Round] = field(default_factory=list)

    def median(self, value: Callable[[Round], float]) -> float:
        """The median over the rounds."""
        return statistics.median(value(each) for each in self.rounds)


class Counter:
    """How many requests a server has had, by its own count, looks at it left out."""

    def __init__(self, url: str, read: Callable[[str, int], int]) -> None:
        """`read` finds the count in what `url` says, given how often it was asked."""
        self._url = url
        self._read = read
        self._session = requests.Session()
        self._looks = 0

    def requests(self) -> int:
        """So many by now. Raises requests.RequestException (an OSError)."""
        reply = self._session.get(self._url, timeout=10)
        reply.raise_for_status()
        self._looks += 1
        return self._read(reply.text, self._looks)


def nginx_counter(address: str) -> Counter:
    """nginx's own count, which has the looks among it."""
    return Counter(
        f"http://{address}/status", lambda text, looks: int(text.splitlines()[2].split()[2]) - looks
    )


def compete(
    generators: Sequence[Generator], task: Task, rounds: int, core: int | None, counter: Counter
) -> dict[str, Series]:
    """All of them `rounds` times, each round beginning with another. Raises OSError, LoadError."""
    series = {generator.name: Series(generator.name) for generator in generators}
    for number in range(rounds):
        first = number % len(generators)
        for generator in (*generators[first:], *generators[:first]):
            series[generator.name].rounds.append(play(generator, task, core, counter))
    return series


def play(generator: Generator, task: Task, core: int | None, counter: Counter) -> Round:
    """One round. Raises OSError; LoadError when a request failed, or it ended too soon."""
    for spare in _SPARE_S:
        longer = replace(task, seconds=task.seconds + spare)
        found = _played(generator, longer, task.seconds, core, counter)
        if found is not None:
            return found
    raise LoadError(f"{generator.name}: it ended before what was measured did")


def _played(
    generator: Generator, task: Task, seconds: int, core: int | None, counter: Counter
) -> Round | None:
    """One round of which so many seconds are measured; None when the generator ended before."""
    before = counter.requests()
    with generator.run(task, core) as running:
        wait_until(lambda: running.over or counter.requests() - before >= _FIRST, generator.name)
        time.sleep(_SETTLE_S)
        done, used, took = _window(counter, running, seconds)
        if running.over:
            return None
        told = running.told()
    if told.failed:
        raise LoadError(f"{generator.name}: {told.failed} requests failed")
    if not done:
        raise LoadError(f"{generator.name}: no request came")
    p50, p99 = (told.latency_ms.get(percent, float("nan")) for percent in (50.0, 99.0))
    return Round(done / took, used / done * 10_000, used / took, p50, p99, told.dropped)


def _window(counter: Counter, running: Running, seconds: float) -> tuple[int, float, float]:
    """Requests, CPU-seconds and seconds; nothing where it has ended, whose CPU time nobody knows any more."""
    if running.over:
        return 0, 0.0, seconds
    begin, first, cpu = time.perf_counter(), counter.requests(), cpu_s(running.pid)
    time.sleep(seconds)
    done, used = counter.requests() - first, cpu_s(running.pid) - cpu
    return done, used, time.perf_counter() - begin


def table(series: dict[str, Series]) -> list[str]:
    """One line for each generator, medians; requests per CPU-second as multiples of k6's."""
    lines = [
        f"{'':38}{'requests/s':>11}{'of a core':>11}{'CPU-s/10k':>11}{'p50 ms':>8}{'p99 ms':>8}{'dropped':>9}"
        f"  {'requests/CPU-s over k6':24}"
    ]
    for name, one in series.items():
        line = (
            f"{name:38}{one.median(lambda r: r.rate):11,.0f}{one.median(lambda r: r.share):11.0%}"
            f"{one.median(lambda r: r.cpu_s):11.3f}"
            f"{one.median(lambda r: r.p50_ms):8.2f}{one.median(lambda r: r.p99_ms):8.2f}"
            f"{one.median(lambda r: r.dropped):9.0f}"
        )
        if "k6" in series and name != "k6":
            line += f"  {ratio_of(series['k6'], one, lambda r: r.cpu_s)!s:24}"
        lines.append(line.rstrip())
    return lines


def ratio_of(above: Series, below: Series, value: Callable[[Round], float]) -> Ratio:
    """A figure of one over that of the other, in the same rounds."""
    return ratio([value(r) for r in above.rounds], [value(r) for r in below.rounds])
