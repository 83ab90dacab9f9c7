"""`python -m benchmarks.proxy`: the embedded proxy beside Toxiproxy in one run, and the bars it must meet.

Exit codes: 0 all bars met, 1 one missed, 2 a binary is missing, 3 the measurement failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import requests

from benchmarks.bars import Bar, efficiency_bar, error_bar, report, tail_bar
from benchmarks.machine import MissingError, binaries, cores
from benchmarks.nginx import nginx
from benchmarks.precision import LATENCY_MS, Subject, measure
from benchmarks.rounds import Contestant, Series, compete, efficiency, table, tail
from benchmarks.servers import Server, embedded, renewing, toxiproxy
from benchmarks.wrk import Load

SMALL: Final = 200
LARGE: Final = 65_536
_PACED_THINK_MS: Final = 12
"""At 50 connections about 4,000 requests a second, far from what any of them can do."""


@dataclass(frozen=True, slots=True)
class Place:
    """The upstream, both servers in front of it, and the core that drives them."""

    upstream: str
    upstream_pid: int
    servers: tuple[Server, Server]
    listen: dict[str, str]
    core: int

    def contestants(self, size: int) -> list[Contestant]:
        """Direct, and each server without a toxic and with `latency` 0."""
        theirs, ours = self.servers
        made = [Contestant("direct (CPU: nginx)", f"http://{self.upstream}/{size}", self.upstream_pid)]
        for kind, rest in (("plain", ""), ("zero", ", latency 0")):
            made += [
                Contestant(theirs.name + rest, self.url(theirs, kind, size), theirs.pid),
                Contestant(ours.name + rest, self.url(ours, kind, size), ours.pid, theirs.name + rest),
            ]
        return made

    def url(self, server: Server, kind: str, size: int) -> str:
        """Where a body of `size` is behind one of the server's proxies."""
        return f"http://{self.listen[server.name + kind]}/{size}"


@contextlib.contextmanager
def place() -> Iterator[Place]:
    """Start everything. Raises MissingError naming all that is missing, OSError."""
    binaries("nginx", "wrk", "taskset", "toxiproxy-server")
    driver, proxies = cores()
    with (
        nginx(driver, (SMALL, LARGE)) as upstream,
        toxiproxy(proxies) as theirs,
        embedded(proxies) as ours,
        renewing(ours),
    ):
        listen = {}
        for server in (theirs, ours):
            for kind, latency_ms in (("plain", None), ("zero", 0), ("delayed", LATENCY_MS)):
                listen[server.name + kind] = server.proxy(kind, upstream.address)
                if latency_ms is not None:
                    server.toxic(kind, "latency", latency=latency_ms)
        yield Place(upstream.address, upstream.pid, (theirs, ours), listen, driver)


def _print(title: str, series: dict[str, Series]) -> None:
    print(f"\n{title}")
    for line in table(series):
        print(f"  {line}")


def _requests(place: Place, options: argparse.Namespace) -> list[Bar]:
    load = Load(options.connections, options.seconds)
    series = compete(place.contestants(SMALL), load, options.rounds, place.core)
    _print(f"{SMALL}-byte bodies, {load.connections} connections at full rate", series)
    plain = series["embedded"], series["Toxiproxy"]
    zero = series["embedded, latency 0"], series["Toxiproxy, latency 0"]
    return [
        efficiency_bar("no toxic", efficiency(*plain)),
        efficiency_bar("latency 0", efficiency(*zero)),
        tail_bar(f"no toxic, {load.connections} connections", tail(*plain)),
    ]


def _paced(place: Place, options: argparse.Namespace) -> list[Bar]:
    load = Load(options.connections, options.seconds, _PACED_THINK_MS)
    series = compete(place.contestants(SMALL), load, options.rounds, place.core)
    _print(f"{SMALL}-byte bodies, {load.connections} connections, the same moderate rate for all", series)
    return []


def _bodies(place: Place, options: argparse.Namespace) -> list[Bar]:
    load = Load(options.connections, options.seconds)
    series = compete(place.contestants(LARGE), load, options.rounds, place.core)
    _print(f"{LARGE:,}-byte bodies, {load.connections} connections at full rate (no bar)", series)
    return []


def _precision(place: Place, options: argparse.Namespace) -> list[Bar]:
    subjects = [
        Subject(server.name, place.listen[server.name + "delayed"], place.listen[server.name + "plain"])
        for server in place.servers
    ]
    found = measure(subjects, options.samples, options.rounds, f"/{SMALL}", place.core)
    print(f"\nError of {LATENCY_MS} ms latency, ms ({options.samples} samples, 2,000 requests/s beside it)")
    print(f"  {'':12}{'least':>8}{'p50':>8}{'p99':>8}{'most':>8}{'p99 of the size':>18}{'baseline p50':>14}")
    for name, errors in found.items():
        figures = "".join(f"{errors.percentile(percent):8.2f}" for percent in (0, 50, 99, 100))
        print(f"  {name:12}{figures}{errors.size(99):18.2f}{errors.baseline_ms:14.2f}")
    return [error_bar(found[place.servers[1].name])]


_PARTS: Final[dict[str, Callable[[Place, argparse.Namespace], list[Bar]]]] = {
    "requests": _requests,
    "paced": _paced,
    "bodies": _bodies,
    "precision": _precision,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proxy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each contestant (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="of each round (default 3)")
    parser.add_argument("--connections", type=int, default=50, help="of the load (default 50)")
    parser.add_argument("--samples", type=int, default=500, help="of the latency toxic (default 500)")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS), help="default: all")
    return parser.parse_args()


def main() -> int:
    """Measure, print, and judge."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    try:
        with place() as ready:
            driver, proxies = cores()
            print(
                f"{len(os.sched_getaffinity(0))} cores: nginx and load on core {driver}, each proxy on core "
                f"{proxies}; load average {os.getloadavg()[0]:.2f} at the start; {options.rounds} rounds of "
                f"{options.seconds} s, medians; ratios: median (least..most) of the same rounds"
            )
            bars = [bar for part in options.parts for bar in _PARTS[part](ready, options)]
    except MissingError as error:
        print(error, file=sys.stderr)
        return 2
    except (OSError, requests.RequestException) as error:
        print(f"the measurement failed: {error}", file=sys.stderr)
        return 3
    return report(bars)


if __name__ == "__main__":
    sys.exit(main())
