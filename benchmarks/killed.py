"""What is lost of a worker's history by SIGKILL in mid-run, and whether it can be told how much.

The service counts what it was asked, so what is missing from the history is known. A run knows two things:
the time of the worker's last row, and how many attempts its last report had counted.
"""

from __future__ import annotations

import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.bars import Bar
from benchmarks.loads import nginx_counter
from benchmarks.machine import wait_until
from benchmarks.nginx import nginx
from benchmarks.ours import http_workload, ours
from loadtests import metrics

LOST_MOST_S: Final = 1.0
RATE: Final = 1000
SIZE: Final = 200
_FIRST: Final = 1500


@dataclass(frozen=True, slots=True)
class Killed:
    """One kill: requests that the service had, rows and attempts that were told of, seconds without a row."""

    asked: int
    rows: int
    reported: int
    lost_s: float


def _kill(after_s: float) -> Killed:
    with (
        nginx(None, (SIZE,)) as web,
        tempfile.TemporaryDirectory(prefix="brownout-bench-") as folder,
    ):
        counter = nginx_counter(web.address)
        workload = http_workload(f"http://{web.address}", f"/{SIZE}", arrivals=f"{RATE}/s")
        with ours(Path(folder), [workload]) as process:
            process.begin()
            wait_until(lambda: counter.requests() >= _FIRST, "load")
            time.sleep(after_s)
            process.process.send_signal(signal.SIGKILL)
            at = time.time()
            process.process.wait()
            rows = process.rows()
            reported = sum(process.sums(metrics.ATTEMPTS).values())
        return Killed(counter.requests(), len(rows), reported, max(at - float(rows["end"].max()), 0.0))


def kills(times: int) -> tuple[list[str], list[Bar]]:
    """Kill a worker so many times, each at another moment between two flushes. Raises OSError."""
    found = [_kill(number * 0.37 % 0.5) for number in range(times)]
    lines = [f"{'asked':>8}{'rows':>8}{'lost':>7}{'last row, s before':>20}{'attempts reported':>19}"]
    lines += [
        f"{one.asked:8}{one.rows:8}{one.asked - one.rows:7}{one.lost_s:20.3f}{one.reported:19}"
        for one in found
    ]
    worst = max(one.lost_s for one in found)
    beyond = max(one.asked - one.rows - round(RATE * one.lost_s) for one in found)
    return lines, [
        Bar(
            f"a kill costs at most the history of the last {LOST_MOST_S:g} s",
            f"at most {worst:.3f} s",
            worst <= LOST_MOST_S,
        ),
        Bar(
            "nothing before the last row is missing (what was under way apart)",
            f"at most {beyond} rows more are missing than were due since then",
            beyond <= RATE * 0.05,
        ),
    ]
