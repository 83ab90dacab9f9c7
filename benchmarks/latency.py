"""`python -m benchmarks.latency`: what load generators say of a service that stalls, beside the truth.

The service stalls for one second of every five; users come 100 times a second. What each of them has to wait
follows from when it was due: that is the truth, and an open-model client of a few lines confirms it. Ours is
read twice, from its history and from the histogram that it exports. Then, against nginx, how late ours starts
what is due, at rates up to its capacity. Exit codes: 0 all bars met, 1 one missed, 2 a binary is missing, 3
the measurement failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.bars import Bar, report
from benchmarks.generators import PERCENTS, Task, peers
from benchmarks.lateness import lateness
from benchmarks.machine import MissingError, binaries, cores, process
from benchmarks.ours import Ours, Rows, http_workload, ours
from benchmarks.reference import observe
from benchmarks.staller import PERIOD_S, stall_left_s, unambiguous
from loadtests import metrics
from loadtests.history import Ended, Has
from probes.otlp import Receiver

RATE: Final = 100
SHARE_MOST: Final = 0.02
MOST_MS: Final = 3.0
FEW: Final = 20
"""Users that cannot be enough: in a stall 100 come."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table: percentiles in ms, each a number or an interval, and what was due and came."""

    name: str
    told_ms: Sequence[float | tuple[float, float]]
    truth_ms: Sequence[float]
    due: int
    served: int
    late: int
    dropped: int

    def errors_ms(self) -> list[float]:
        """How far each percentile is off; an interval that holds the truth is not."""
        return [_off(told, truth) for told, truth in zip(self.told_ms, self.truth_ms, strict=True)]

    def honest(self) -> bool:
        """Whether all percentiles are within 2 % or 3 ms, and no arrival is missing."""
        pairs = zip(self.errors_ms(), self.truth_ms, strict=True)
        close = all(error <= max(MOST_MS, SHARE_MOST * truth) for error, truth in pairs)
        return close and self.served == self.due and not self.dropped


def _off(told: float | tuple[float, float], truth: float) -> float:
    least, most = told if isinstance(told, tuple) else (told, told)
    return max(least - truth, truth - most, 0.0)


def truth_ms(due: Floats) -> list[float]:
    """Percentiles of what arrivals have to wait that are due at these moments (Unix seconds)."""
    left = np.array([stall_left_s(moment) for moment in due]) * 1000
    return [float(np.percentile(left, percent)) for percent in PERCENTS]


def ideal_ms() -> list[float]:
    """The truth for arrivals that are spread evenly over the period."""
    return truth_ms(np.linspace(0, PERIOD_S, 1_000_000, endpoint=False))


def _percentiles(values: Floats) -> list[float]:
    return [float(np.percentile(values, percent)) for percent in PERCENTS]


def _intervals(bounds: Floats, counts: npt.NDArray[np.int64]) -> list[tuple[float, float]]:
    """For each percentile the bucket that it lies in: all that a histogram knows of it. In ms."""
    edges = np.concatenate([[0.0], bounds, [np.inf]]) * 1000
    upto = np.cumsum(counts)
    found = []
    for percent in PERCENTS:
        place = int(np.searchsorted(upto, percent / 100 * upto[-1]))
        found.append((float(edges[place]), float(edges[place + 1])))
    return found


def reference(address: str, seconds: int) -> Line:
    """The client of a few lines, against the arithmetic."""
    seen = observe(address, RATE, seconds)
    due = np.array([each.due for each in seen])
    took = np.array([each.end - each.due for each in seen]) * 1000
    late = sum(each.start - each.due > 0.01 for each in seen)
    return Line(
        "a client of a few lines", _percentiles(took), truth_ms(due), RATE * seconds, len(seen), late, 0
    )


def _of_history(name: str, rows: Rows, due: int, states: dict[str, int]) -> Line:
    final = rows[(rows["flags"] & int(Has.FINAL)) != 0]
    took = (final["end"] - final["intended_start"]) * 1000
    served = int((final["outcome"] == Ended.OK.value).sum())
    counts = (served, states.get("late", 0), states.get("dropped", 0))
    return Line(name, _percentiles(took), truth_ms(final["intended_start"]), due, *counts)


def _of_histogram(line: Line, process: Ours, rows: Rows) -> Line:
    bounds, counts = process.buckets(metrics.HTTP_OPERATION)
    intervals = _intervals(bounds, counts)
    told = replace(line, name=f"{line.name}, its histogram", told_ms=intervals, served=int(counts.sum()))
    return replace(told, truth_ms=truth_ms(rows["intended_start"]))


def mine(address: str, seconds: int, how: str, workers: int) -> list[Line]:
    """Ours, with arrivals that are `constant` or `poisson`: from the history, and from the histogram."""
    workload = http_workload(f"http://{address}", "/", arrivals=f"{RATE}/s", process=how)
    with (
        tempfile.TemporaryDirectory(prefix="brownout-bench-") as folder,
        ours(Path(folder), [workload], workers=workers) as process,
    ):
        process.begin(unambiguous(time.time() + 0.2, 1 / RATE))
        time.sleep(max(process.began + seconds - time.time() - 0.5 / RATE, 0))
        process.stop()
        rows = process.rows()
        states = process.sums(metrics.ARRIVALS, metrics.ARRIVAL_STATE)
        due = sum(states.values())
        if how == "constant":  # the stop may be heard a little later, when one more was due
            last = round((float(rows["intended_start"].max()) - process.began) * RATE) + 1
            due = max(RATE * seconds, last)
        name = f"ours, {how}" + (f", {workers} workers" if workers > 1 else "")
        line = _of_history(name, rows, due, states)
        return [line, _of_histogram(line, process, rows)]


def others(address: str, seconds: int, receiver: Receiver) -> Iterator[Line]:
    """Locust and k6 as they are used, with the truth for arrivals at any moment."""
    known = peers(receiver.endpoint)
    cases = [
        (f"Locust, {FEW} users at constant throughput", "FastHttpUser", FEW),
        (f"k6, constant arrival rate, {FEW} VUs", "k6", FEW),
        (f"k6, constant arrival rate, {RATE * 2} VUs", "k6", RATE * 2),
    ]
    for name, peer, users in cases:
        with known[peer].run(Task(f"http://{address}/", seconds, users, RATE), None) as running:
            told = running.told()
        latency = [told.latency_ms[percent] for percent in PERCENTS]
        yield Line(name, latency, ideal_ms(), RATE * seconds, told.requests - told.failed, 0, told.dropped)


def table(lines: Sequence[Line]) -> list[str]:
    """Percentiles, each with how far it is off; then the arrivals."""
    heads = "".join(f"{f'p{percent:g} (off)':>19}" for percent in PERCENTS)
    made = [f"{'ms':44}{heads}{'due':>7}{'served':>8}{'late':>6}{'dropped':>9}"]
    made.append(f"{'the truth':44}" + "".join(f"{value:11.0f}{'':8}" for value in ideal_ms()))
    for line in lines:
        figures = "".join(
            f"{_shown(told):>11}{f'({off:.1f})':>8}"
            for told, off in zip(line.told_ms, line.errors_ms(), strict=True)
        )
        made.append(f"{line.name:44}{figures}{line.due:7}{line.served:8}{line.late:6}{line.dropped:9}")
    return made


def _shown(told: float | tuple[float, float]) -> str:
    return f"{told[0]:.0f}..{told[1]:.0f}" if isinstance(told, tuple) else f"{told:.1f}"


def _print(title: str, lines: Sequence[str]) -> None:
    print(f"\n{title}; load average {os.getloadavg()[0]:.2f}")
    for line in lines:
        print(f"  {line}", flush=True)


@contextlib.contextmanager
def staller() -> Iterator[str]:
    """The service, as HOST:PORT. Raises OSError when it does not start."""
    with process([sys.executable, "-m", "benchmarks.staller"], stdout=subprocess.PIPE) as started:
        line = started.stdout.readline() if started.stdout else b""
        if not line:
            raise OSError(f"the service did not start: exit {started.wait()}")
        yield f"127.0.0.1:{int(line)}"


def _stalls(options: argparse.Namespace) -> list[Bar]:
    with staller() as address, Receiver() as receiver:
        checked = reference(address, options.seconds)
        cases = (("constant", 1), ("constant", 2), ("poisson", 1), ("poisson", 2))
        own = [line for case in cases for line in mine(address, options.seconds, *case)]
        lines = [checked, *own, *others(address, options.seconds, receiver)]
    _print(
        f"{RATE} arrivals a second for {options.seconds} s, at a service that stalls for 1 s in 5; in "
        "brackets: off the truth for the very arrivals that were due (of the others: for any)",
        table(lines),
    )
    return [
        Bar(
            f"{line.name}: p50 to p99.9 within {SHARE_MOST:.0%} or {MOST_MS:.0f} ms, all arrivals accounted",
            f"at most {max(line.errors_ms()):.1f} ms off, {line.served} of {line.due} served",
            line.honest(),
        )
        for line in (checked, *own)
    ]


def _lateness(options: argparse.Namespace) -> list[Bar]:
    served, core = cores()
    found, bars = lateness(served, core, options.step_seconds)
    _print("How late ours starts what is due, against nginx (start less intended start)", found)
    return bars


_PARTS: Final[dict[str, Callable[[argparse.Namespace], list[Bar]]]] = {
    "stalls": _stalls,
    "lateness": _lateness,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument(
        "--seconds", type=int, default=25, help="of each generator, best a multiple of five (default 25)"
    )
    parser.add_argument("--step-seconds", type=int, default=5, help="at each rate of ours (default 5)")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS), help="default: all")
    return parser.parse_args()


def main() -> int:
    """Measure, print, and judge."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    try:
        binaries("nginx", "k6", "taskset")
        bars = [bar for part in options.parts for bar in _PARTS[part](options)]
    except MissingError as error:
        print(error, file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"the measurement failed: {error}", file=sys.stderr)
        return 3
    return report(bars)


if __name__ == "__main__":
    sys.exit(main())
