"""What a proxy adds to events of 500 streams, and how many WebSocket frames it passes for a CPU-second.

An event bears the time at which it was made, on the clock that the client reads too. What a proxy adds is the
percentile of these delays through it, less that of the delays without it in the same round.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.feed import EVENT_EVERY_S
from benchmarks.machine import ROOT, binaries, cpu_s
from benchmarks.rounds import Contestant, in_turn
from benchmarks.wrk import LoadError

STREAMS: Final = 500
_BEHIND_MOST: Final = 0.02
"""The share of the events of a round that may be missing at its end."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One contestant, once. `per_cpu_s` counts events or frames, for its process's CPU-seconds."""

    rate: float
    per_cpu_s: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0


@dataclass(slots=True)
class Takings:
    """All rounds of one contestant, in order."""

    contestant: Contestant
    rounds: list[Taken] = field(default_factory=list)

    def rate(self) -> float:
        """Events or frames a second."""
        return statistics.median(one.rate for one in self.rounds)

    def keeps_up(self) -> bool:
        """Whether all events came in time, so that the delays are those of a steady stream."""
        return self.rate() >= STREAMS / EVENT_EVERY_S * (1 - _BEHIND_MOST)

    def per_cpu_s(self) -> float:
        """Events or frames for a CPU-second."""
        return statistics.median(one.per_cpu_s for one in self.rounds)

    def added_ms(self, direct: Takings) -> tuple[float, float]:
        """What it adds to what `direct` had in the same rounds, at p50 and at p99."""
        pairs = list(zip(self.rounds, direct.rounds, strict=True))
        return (
            statistics.median(one.p50_ms - other.p50_ms for one, other in pairs),
            statistics.median(one.p99_ms - other.p99_ms for one, other in pairs),
        )

    def delays_ms(self) -> tuple[float, float]:
        """The delays themselves, at p50 and at p99."""
        return (
            statistics.median(one.p50_ms for one in self.rounds),
            statistics.median(one.p99_ms for one in self.rounds),
        )


def _take(contestant: Contestant, what: str, connections: int, seconds: int, core: int) -> Taken:
    address = contestant.url.removeprefix("http://").partition("/")[0]
    argv = [binaries("taskset")["taskset"], "-c", str(core), sys.executable, "-m", "benchmarks.consumer"]
    before = cpu_s(contestant.pid)
    done = subprocess.run(
        [*argv, what, address, str(connections), str(seconds)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 120,
    )
    if done.returncode:
        raise LoadError(f"{contestant.name}: {done.stderr.strip().splitlines()[-1:]}")
    used = cpu_s(contestant.pid) - before
    found = json.loads(done.stdout)
    unit = "events" if what == "events" else "frames"
    if not found[unit]:
        raise LoadError(f"{contestant.name}: no {unit} came")
    return Taken(found[f"{unit}_s"], found[unit] / max(used, 0.01), found["p50_ms"], found["p99_ms"])


def take(
    contestants: Sequence[Contestant], what: str, connections: int, rounds: int, seconds: int, core: int
) -> list[Takings]:
    """Let all of them pass `what` (events, echo, push) on, in turn. Raises LoadError."""
    found = {contestant.name: Takings(contestant) for contestant in contestants}
    for contestant in in_turn(contestants, rounds):
        found[contestant.name].rounds.append(_take(contestant, what, connections, seconds, core))
    return list(found.values())


def events_table(takings: Sequence[Takings]) -> list[str]:
    """One line for each contestant, medians; what it adds to the first one's delays."""
    direct = takings[0]
    columns = (
        f"{'events/s':>10}{'events/CPU-s':>14}{'p50 ms':>8}{'p99 ms':>8}{'added p50':>11}{'added p99':>11}"
    )
    lines = [f"{'':36}{columns}"]
    for one in takings:
        p50, p99 = one.delays_ms()
        line = f"{one.contestant.name:36}{one.rate():10,.0f}{one.per_cpu_s():14,.0f}{p50:8.2f}{p99:8.2f}"
        if one is not direct:
            added = one.added_ms(direct)
            line += f"{added[0]:11.2f}{added[1]:11.2f}"
        lines.append(line)
    return lines


def frames_table(takings: Sequence[Takings]) -> list[str]:
    """One line for each contestant, medians."""
    return [
        f"{'':36}{'frames/s':>12}{'frames/CPU-s':>14}",
        *(f"{one.contestant.name:36}{one.rate():12,.0f}{one.per_cpu_s():14,.0f}" for one in takings),
    ]
