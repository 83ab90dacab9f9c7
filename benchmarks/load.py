"""`python -m benchmarks.load`: our load generator beside others in one run, and the bars it must meet.

Each generator has a core of its own against nginx on the other. Requests are counted by nginx, CPU-seconds by
the system (user and kernel, of the generator's process), over the same seconds in the middle of a round, so
that nobody's start or end counts; latencies are each generator's own word. Ours has telemetry and history on,
as it always has. Exit codes: 0 all bars met, 1 one missed, 2 a binary is missing, 3 the measurement failed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.bars import Bar, report
from benchmarks.generators import PERCENTS, Generator, Running, Task, Told, peers
from benchmarks.loads import Counter, Series, compete, nginx_counter, ratio_of, table
from benchmarks.machine import ROOT, MissingError, binaries, cores
from benchmarks.nginx import nginx
from benchmarks.ours import Ours, http_workload, ours
from benchmarks.sessions import sessions
from benchmarks.wrk import LoadError
from loadtests.history import Ended
from probes.otlp import Receiver

SIZE: Final = 200
OURS: Final = "ours"
BARE: Final = "ours, neither history nor telemetry"
CPU_LEAST: Final = 2.5
CPU_AIM: Final = 3.5
COST_MOST: Final = 0.15


class _Process:
    """One of ours at its task: it is told to stop when what it says is asked for."""

    def __init__(self, process: Ours, *, bare: bool) -> None:
        self.pid = process.process.pid
        self._process = process
        self._bare = bare

    @property
    def over(self) -> bool:
        return self._process.process.poll() is not None

    def told(self) -> Told:
        self._process.stop()
        if self._bare:
            return Told(0, 0, 0, {})
        rows = self._process.rows()
        if not len(rows):
            raise LoadError("ours: the history is empty")
        failed = int((rows["outcome"] == Ended.ERROR.value).sum())
        states = self._process.sums("brownout.arrivals", "brownout.arrival.state")
        took = (rows["end"] - rows["start"]) * 1000
        latency = {percent: float(np.percentile(took, percent)) for percent in PERCENTS}
        return Told(len(rows), failed, states.get("dropped", 0), latency)


@dataclass(frozen=True, slots=True)
class Mine:
    """Our generator: closed where no rate is asked for, else open."""

    name: str
    locustfile: Path | None = None

    @contextmanager
    def run(self, task: Task, core: int | None) -> Iterator[Running]:
        """Start it and begin; killed at the end if need be. Raises OSError, TimeoutError."""
        when = {"arrivals": f"{task.rate}/s"} if task.rate else {"users": task.connections}
        url, _, path = task.url.rpartition("/")
        with tempfile.TemporaryDirectory(prefix="brownout-bench-") as folder:
            workload = http_workload(url, f"/{path}", **when)
            with ours(Path(folder), [workload], core, self.locustfile) as process:
                process.begin()
                yield _Process(process, bare=self.locustfile is not None)


_MINE: Final = Mine(OURS)
_BARE: Final = Mine(BARE, ROOT / "benchmarks" / "bare.py")


def _print(title: str, lines: Sequence[str]) -> None:
    print(f"\n{title}; load average {os.getloadavg()[0]:.2f}")
    for line in lines:
        print(f"  {line}", flush=True)


@dataclass(frozen=True, slots=True)
class Scene:
    """Where it is played: nginx, the generators' core, and the others."""

    address: str
    served: int
    core: int
    counter: Counter
    others: dict[str, Generator]


def _cpu_bar(what: str, series: dict[str, Series]) -> Bar:
    found = ratio_of(series["k6"], series[OURS], lambda r: r.cpu_s)
    reached = "reached" if found.median >= CPU_AIM else "not reached"
    return Bar(
        f"{what}: at least {CPU_LEAST} times k6's requests per CPU-second",
        f"{found} (aim {CPU_AIM} {reached})",
        found.median >= CPU_LEAST,
    )


def _closed(scene: Scene, options: argparse.Namespace) -> list[Bar]:
    task = Task(f"http://{scene.address}/{SIZE}", options.seconds, options.connections)
    contestants = [*scene.others.values(), _MINE]
    series = compete(contestants, task, options.rounds, scene.core, scene.counter)
    _print(f"{SIZE}-byte bodies, {task.connections} connections kept alive, at full rate", table(series))
    return [_cpu_bar("full rate", series)]


def _paced(scene: Scene, options: argparse.Namespace) -> list[Bar]:
    # connections, or VUs, enough for a reply that takes 50 ms
    connections = max(options.connections, options.rate // 20)
    task = Task(f"http://{scene.address}/{SIZE}", options.seconds, connections, options.rate)
    names = ("wrk", "hey", "k6", "FastHttpUser")
    series = compete(
        [*(scene.others[name] for name in names), _MINE], task, options.rounds, scene.core, scene.counter
    )
    _print(f"{SIZE}-byte bodies, {task.rate:,} requests a second for all", table(series))
    tail = ratio_of(series[OURS], series["k6"], lambda r: r.p99_ms)
    ours_ms, theirs_ms = (series[name].median(lambda r: r.p99_ms) for name in (OURS, "k6"))
    return [
        Bar(
            f"{task.rate:,}/s: p99 no worse than k6's",
            f"{ours_ms:.2f} ms to {theirs_ms:.2f} ms, ratio {tail}",
            tail.median <= 1.0,
        ),
    ]


def _cost(scene: Scene, options: argparse.Namespace) -> list[Bar]:
    task = Task(f"http://{scene.address}/{SIZE}", options.seconds, options.connections)
    series = compete([_MINE, _BARE], task, options.rounds, scene.core, scene.counter)
    _print("What history and telemetry cost, at full rate", table(series))
    bare, full = (series[name].median(lambda r: r.cpu_s) for name in (BARE, OURS))
    found = ratio_of(series[BARE], series[OURS], lambda r: r.cpu_s)
    share = 1 - found.median
    return [
        Bar(
            f"history and telemetry: at most {COST_MOST:.0%} of the CPU",
            f"{share:.1%} ({1 - found.most:.1%}..{1 - found.least:.1%}; {full:.3f} CPU-s per 10,000 "
            f"requests, {bare:.3f} without)",
            share <= COST_MOST,
        )
    ]


def _sessions(scene: Scene, options: argparse.Namespace) -> list[Bar]:
    found, bars = sessions(scene.served, scene.core, options.rounds, options.seconds, options.connections)
    _print("WebSocket episodes against a server that answers at once", found)
    return bars


_PARTS: Final[dict[str, Callable[[Scene, argparse.Namespace], list[Bar]]]] = {
    "closed": _closed,
    "paced": _paced,
    "cost": _cost,
    "episodes": _sessions,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each generator (default 3)")
    parser.add_argument("--seconds", type=int, default=2, help="that are measured in each round (default 2)")
    parser.add_argument("--connections", type=int, default=50, help="of each generator (default 50)")
    parser.add_argument("--rate", type=int, default=2000, help="of the paced part, per second (default 2000)")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS), help="default: all")
    return parser.parse_args()


def main() -> int:
    """Measure, print, and judge."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    try:
        binaries("nginx", "wrk", "hey", "k6", "taskset")
        served, core = cores()
        with ExitStack() as stack:
            receiver = stack.enter_context(Receiver())
            web = stack.enter_context(nginx(served, (SIZE,)))
            os.sched_setaffinity(0, {served})  # this process reads reports, and must not do so on their core
            print(
                f"nginx on core {served}, each generator on core {core}; load average "
                f"{os.getloadavg()[0]:.2f} at the start; {options.rounds} rounds of {options.seconds} s, "
                "medians; ratios: median (least..most) of the same rounds"
            )
            counter = nginx_counter(web.address)
            scene = Scene(web.address, served, core, counter, dict(peers(receiver.endpoint)))
            bars = [bar for part in options.parts for bar in _PARTS[part](scene, options)]
    except MissingError as error:
        print(error, file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"the measurement failed: {error}", file=sys.stderr)
        return 3
    return report(bars)


if __name__ == "__main__":
    sys.exit(main())
