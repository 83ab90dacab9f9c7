"""How late our generator starts what is due, at rates up to the most that it can do on one core."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.bars import Bar
from benchmarks.machine import binaries
from benchmarks.nginx import nginx
from benchmarks.ours import Ours, Rows, http_workload, ours
from benchmarks.wrk import LoadError
from loadtests import metrics
from loadtests.history import Ended

SIZE: Final = 200
SHARES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Of the capacity."""
MOST_MS: Final = 3.0
_FULL: Final = 64
"""Users of a closed model that find the capacity: enough to keep a core busy."""
_WARM_S: Final = 1.0


@contextlib.contextmanager
def _begun(address: str, core: int, seconds: float, **when: Any) -> Iterator[Ours]:
    """A process that users have come to for so long."""
    with tempfile.TemporaryDirectory(prefix="brownout-bench-") as folder:
        workload = http_workload(f"http://{address}", f"/{SIZE}", **when)
        with ours(Path(folder), [workload], core) as process:
            process.begin()
            time.sleep(_WARM_S + seconds)
            yield process


def _measured(process: Ours, rows: Rows) -> Rows:
    """Rows of operations that were due after the warm-up. Raises LoadError when one failed."""
    if (rows["outcome"] == Ended.ERROR.value).any():
        raise LoadError("ours: requests failed")
    return rows[rows["intended_start"] >= process.began + _WARM_S]


def capacity(address: str, core: int, seconds: float) -> float:
    """Requests a second of a closed model at full rate. Raises OSError."""
    with _begun(address, core, seconds, users=_FULL) as process:
        process.stop()
        rows = _measured(process, process.rows())
        return len(rows) / float(rows["end"].max() - rows["start"].min())


def lateness(served: int, core: int, seconds: float) -> tuple[list[str], list[Bar]]:
    """A table and the bar. Raises OSError, LoadError."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {served})
    try:
        with nginx(served, (SIZE,)) as web:
            most = capacity(web.address, core, seconds)
            lines = [
                f"capacity (closed, {_FULL} users): {most:,.0f} requests a second",
                f"{'of it':>6}{'rate':>8}{'p50 ms':>9}{'p99 ms':>9}{'p99.9 ms':>10}{'most ms':>9}"
                f"{'late':>8}{'dropped':>9}{'of a core':>11}",
            ]
            lines.append(_bare(core, seconds))
            half_ms = float("inf")
            for share in SHARES:
                p99, line = _at(web.address, core, seconds, share, round(most * share))
                half_ms = p99 if share == 0.5 else half_ms
                lines.append(line)
    finally:
        os.sched_setaffinity(0, allowed)
    promise = f"starts less than {MOST_MS:.0f} ms late at p99, at half of the capacity"
    return lines, [Bar(promise, f"{half_ms:.2f} ms", half_ms < MOST_MS)]


_SLEEPER: Final = """
import sys, time
late, due, end = [], time.perf_counter(), time.perf_counter() + float(sys.argv[1])
while due < end:
    due += 0.0005
    left = due - time.perf_counter()
    if left > 0:
        time.sleep(left)
    late.append(time.perf_counter() - due)
print(*late)
"""


def _bare(core: int, seconds: float) -> str:
    """How late a loop is on that core that does nothing but sleep: what no generator can be better than."""
    argv = [binaries("taskset")["taskset"], "-c", str(core), sys.executable, "-c", _SLEEPER, str(seconds)]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=seconds + 60)
    late = np.array(done.stdout.split(), float) * 1000
    p50, p99, p999, most = (float(np.percentile(late, percent)) for percent in (50, 99, 99.9, 100))
    return f"{'':>6}{'sleeps':>8}{p50:9.2f}{p99:9.2f}{p999:10.2f}{most:9.2f}  (a loop that only sleeps)"


def _at(address: str, core: int, seconds: float, share: float, rate: int) -> tuple[float, str]:
    with _begun(address, core, seconds, arrivals=f"{rate}/s") as process:
        busy = process.level(metrics.UTILIZATION)
        process.stop()
        rows = _measured(process, process.rows())
        states = process.sums(metrics.ARRIVALS, metrics.ARRIVAL_STATE)
    late = (rows["start"] - rows["intended_start"]) * 1000
    p50, p99, p999, most = (float(np.percentile(late, percent)) for percent in (50, 99, 99.9, 100))
    return p99, (
        f"{share:6.0%}{rate:8,}{p50:9.2f}{p99:9.2f}{p999:10.2f}{most:9.2f}"
        f"{states.get('late', 0):8}{states.get('dropped', 0):9}{busy:11.0%}"
    )
