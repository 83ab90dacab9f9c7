"""`python -m benchmarks.loadsoak`: our load generator at a steady rate for long; its memory must stay flat.

One process has plain requests to a service that stalls for a second of every five, and episodes; histories
and metrics are kept as in any run. After a warm-up (a third of the time, at most ten minutes) memory may not
grow by more than 0.5 MiB a minute, a few bytes for each request, and nothing may have failed. Exit codes: 0
flat, 1 not flat, 3 the measurement failed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.latency import staller
from benchmarks.machine import cpu_s
from benchmarks.ours import Ours, http_workload, ours
from benchmarks.sessions import environment, episodes_workload
from benchmarks.slope import per_minute
from loadtests import metrics
from loadtests.history import SUFFIX, Ended, read_batches

SLOPE_MOST: Final = 0.5
"""MiB a minute."""
WARM_UP_MOST_S: Final = 600.0
REQUESTS: Final = 600
"""A second."""
EPISODES: Final = 8
"""A second, of fifty steps each."""
_MIB: Final = 1024 * 1024
_PART_ROWS: Final = 1 << 16


@dataclass(slots=True)
class LoadSoak:
    """What a run has seen; times in seconds from its start, memory in MiB."""

    times_s: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)
    warm_up_s: float = 0.0
    took_s: float = 0.0
    cpu_s: float = 0.0
    rows: int = 0
    failed: int = 0
    attempts: int = 0
    dropped: int = 0

    def slope(self) -> float:
        """MiB a minute after the warm-up. Raises ValueError for too few readings."""
        first = next((n for n, at in enumerate(self.times_s) if at >= self.warm_up_s), len(self.times_s))
        return per_minute(self.times_s[first:], self.memory_mib[first:])

    def problems(self) -> list[str]:
        """What is not as it should be; none when all is well."""
        found = []
        if (slope := self.slope()) > SLOPE_MOST:
            found.append(f"memory grew by {slope:.2f} MiB a minute; expected at most {SLOPE_MOST}")
        if self.failed:
            found.append(f"{self.failed} attempts failed; expected none")
        if self.rows != self.attempts:
            found.append(f"the history has {self.rows} rows; {self.attempts} attempts were counted")
        if not self.rows:
            found.append("nothing was done")
        return found

    def __str__(self) -> str:
        slope = self.slope()
        each = slope * _MIB / 60 / (self.rows / self.took_s) if self.rows else float("nan")
        return (
            f"{self.took_s / 60:.1f} min, {self.rows / self.took_s:,.0f} attempts/s, {self.dropped} dropped, "
            f"at {self.cpu_s / self.took_s:.0%} of a core\n"
            f"memory {self.memory_mib[0]:.1f} MiB at first, {self.memory_mib[-1]:.1f} at last, at most "
            f"{max(self.memory_mib):.1f}; slope after {self.warm_up_s:.0f} s: {slope:+.3f} MiB a minute "
            f"({each:+.1f} bytes for each attempt)"
        )


def _memory_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


def _watch(process: Ours, seen: LoadSoak, seconds: float, tell: Callable[[str], None]) -> None:
    pid, begin, told = process.process.pid, time.monotonic(), 0.0
    used = cpu_s(pid)
    while (at := time.monotonic() - begin) < seconds:
        if process.process.poll() is not None:
            raise OSError("our generator ended before it should")
        seen.times_s.append(at)
        seen.memory_mib.append(_memory_mib(pid))
        if at >= told:
            tell(f"{at / 60:5.1f} min: {seen.memory_mib[-1]:7.1f} MiB")
            told += max(15.0, seconds / 60)
        time.sleep(min(1.0, max(0.05, seconds / 100)))
    seen.cpu_s, seen.took_s = cpu_s(pid) - used, time.monotonic() - begin


def soak(seconds: float, tell: Callable[[str], None] = print) -> LoadSoak:
    """Load two services for so long. Raises OSError, TimeoutError."""
    seen = LoadSoak(warm_up_s=min(seconds / 3, WARM_UP_MOST_S))
    with staller() as stalling, environment(None) as answering, tempfile.TemporaryDirectory() as name:
        workloads = [
            http_workload(f"http://{stalling}", "/", arrivals=f"{REQUESTS}/s", process="poisson"),
            episodes_workload(f"http://{answering}", "/ws", arrivals=f"{EPISODES}/s"),
        ]
        folder = Path(name)
        with ours(folder, workloads) as process:
            process.begin()
            _watch(process, seen, seconds, tell)
            process.stop()
            seen.attempts = sum(process.sums(metrics.ATTEMPTS).values())
            seen.dropped = process.sums(metrics.ARRIVALS, metrics.ARRIVAL_STATE).get("dropped", 0)
        for path in (folder / "history").glob(f"*{SUFFIX}"):
            for part in read_batches(path, _PART_ROWS):
                seen.rows += len(part.rows)
                seen.failed += int((part.rows["outcome"] == Ended.ERROR.value).sum())
    return seen


def main() -> int:
    """Soak, print, and judge."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loadsoak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default 60)")
    options = parser.parse_args()
    try:
        seen = soak(options.minutes * 60)
    except (OSError, ValueError) as error:
        print(f"the measurement failed: {error}", file=sys.stderr)
        return 3
    print(seen)
    problems = seen.problems()
    for problem in problems:
        print(f"NOT FLAT  {problem}")
    if not problems:
        print("flat")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
