"""Rounds of load on contestants in turn, so that a disturbance of the machine strikes them all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.machine import cpu_s
from benchmarks.wrk import Load, drive


@dataclass(frozen=True, slots=True)
class Contestant:
    """What is driven, and whose CPU time counts. `rival` is whom it is compared with."""

    name: str
    url: str
    pid: int
    rival: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """One contestant, once. CPU-seconds are those of its process, for 10,000 requests."""

    rate: float
    cpu_s: float
    p50_ms: float
    p99_ms: float


@dataclass(slots=True)
class Series:
    """All rounds of one contestant, in order."""

    contestant: Contestant
    rounds: list[Round] = field(default_factory=list)

    def median(self, value: Callable[[Round], float]) -> float:
        """The median over the rounds."""
        return statistics.median(value(each) for each in self.rounds)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure of one contestant over that of another in the same round: median, least and most."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}..{self.most:.2f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Of figures from the same rounds."""
    each = [a / b if b else float("inf") for a, b in zip(ours, theirs, strict=True)]
    return Ratio(statistics.median(each), min(each), max(each))


def compete(contestants: Sequence[Contestant], load: Load, rounds: int, core: int) -> dict[str, Series]:
    """Drive all of them `rounds` times, each round beginning with another. Raises LoadError."""
    series = {contestant.name: Series(contestant) for contestant in contestants}
    for contestant in contestants:
        drive(contestant.url, Load(load.connections, 1, load.think_ms), core)  # to warm up
    for contestant in in_turn(contestants, rounds):
        series[contestant.name].rounds.append(_round(contestant, load, core))
    return series


def in_turn(contestants: Sequence[Contestant], rounds: int) -> Iterator[Contestant]:
    """All of them, `rounds` times, each round beginning with another."""
    for number in range(rounds):
        first = number % len(contestants)
        yield from (*contestants[first:], *contestants[:first])


def _round(contestant: Contestant, load: Load, core: int) -> Round:
    before = cpu_s(contestant.pid)
    figures = drive(contestant.url, load, core)
    used = cpu_s(contestant.pid) - before
    rate = figures.requests / figures.duration_s
    return Round(rate, used / figures.requests * 10_000, figures.p50_ms, figures.p99_ms)


def table(series: dict[str, Series]) -> list[str]:
    """One line for each contestant, medians; ratios to its rival's figures of the same rounds."""
    lines = [
        f"{'':36}{'requests/s':>11}{'CPU-s/10k':>11}{'p50 ms':>8}{'p99 ms':>8}"
        f"  {'requests/CPU-s, ratio':22}{'p99, ratio':22}"
    ]
    for name, one in series.items():
        line = (
            f"{name:36}{one.median(lambda r: r.rate):11.0f}{one.median(lambda r: r.cpu_s):11.3f}"
            f"{one.median(lambda r: r.p50_ms):8.2f}{one.median(lambda r: r.p99_ms):8.2f}"
        )
        if one.contestant.rival:
            rival = series[one.contestant.rival]
            line += f"  {efficiency(one, rival)!s:22}{tail(one, rival)!s:22}"
        lines.append(line.rstrip())
    return lines


def efficiency(ours: Series, theirs: Series) -> Ratio:
    """Requests for each CPU-second, over the rival's."""
    return ratio([r.cpu_s for r in theirs.rounds], [r.cpu_s for r in ours.rounds])


def tail(ours: Series, theirs: Series) -> Ratio:
    """The 99th percentile of the latency, over the rival's."""
    return ratio([r.p99_ms for r in ours.rounds], [r.p99_ms for r in theirs.rounds])
