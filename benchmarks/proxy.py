"""`python -m benchmarks.proxy`: the embedded proxy beside Toxiproxy in one run, and the bars it must meet.

Exit codes: 0 all bars met, 1 one missed, 2 a binary is missing, 3 the measurement failed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

import requests

from benchmarks.bars import (
    READ_EFFICIENCY_AIM,
    READ_EFFICIENCY_LEAST,
    READ_TAIL_MOST,
    Bar,
    added_bar,
    efficiency_bar,
    error_bar,
    frames_bar,
    report,
    tail_bar,
)
from benchmarks.machine import MissingError, cores
from benchmarks.place import KINDS, LARGE, SMALL, Place, place
from benchmarks.precision import LATENCY_MS, Subject, measure
from benchmarks.rounds import compete, efficiency, table, tail
from benchmarks.streams import STREAMS, events_table, frames_table, take
from benchmarks.wrk import Load

_PACED_THINK_MS: Final = 12
"""At 50 connections about 4,000 requests a second, far from what any of them can do."""


_FRAMES: Final = {"echo": 50, "push": 2}
"""Connections: with one message under way each, and with as many as there is room for."""


def _print(title: str, lines: Sequence[str]) -> None:
    print(f"\n{title}; load average {os.getloadavg()[0]:.2f}")
    for line in lines:
        print(f"  {line}", flush=True)


def _requests(place: Place, options: argparse.Namespace) -> list[Bar]:
    load = Load(options.connections, options.seconds)
    series = compete(
        place.contestants(place.web, f"/{SMALL}", "plain", "zero"), load, options.rounds, place.core
    )
    _print(f"{SMALL}-byte bodies, {load.connections} connections at full rate", table(series))
    plain = series["embedded"], series["Toxiproxy"]
    zero = series["embedded, latency 0"], series["Toxiproxy, latency 0"]
    return [
        efficiency_bar("no toxic", efficiency(*plain)),
        efficiency_bar("latency 0", efficiency(*zero)),
        tail_bar(f"no toxic, {load.connections} connections", tail(*plain)),
    ]


def _paced(place: Place, options: argparse.Namespace) -> list[Bar]:
    load = Load(options.connections, options.seconds, _PACED_THINK_MS)
    series = compete(
        place.contestants(place.web, f"/{SMALL}", "plain", "zero"), load, options.rounds, place.core
    )
    _print(
        f"{SMALL}-byte bodies, {load.connections} connections, the same moderate rate for all", table(series)
    )
    return []


def _bodies(place: Place, options: argparse.Namespace) -> list[Bar]:
    load = Load(options.connections, options.seconds)
    series = compete(
        place.contestants(place.web, f"/{LARGE}", "plain", "zero"), load, options.rounds, place.core
    )
    _print(f"{LARGE:,}-byte bodies, {load.connections} connections at full rate (no bar)", table(series))
    return []


def _precision(place: Place, options: argparse.Namespace) -> list[Bar]:
    subjects = [
        Subject(
            server.name,
            place.address(server, "delayed", place.web),
            place.address(server, "plain", place.web),
        )
        for server in place.servers
    ]
    found = measure(subjects, options.samples, options.rounds, f"/{SMALL}", place.core)
    print(f"\nError of {LATENCY_MS} ms latency, ms ({options.samples} samples, 2,000 requests/s beside it)")
    print(f"  {'':12}{'least':>8}{'p50':>8}{'p99':>8}{'most':>8}{'p99 of the size':>18}{'baseline p50':>14}")
    for name, errors in found.items():
        figures = "".join(f"{errors.percentile(percent):8.2f}" for percent in (0, 50, 99, 100))
        print(f"  {name:12}{figures}{errors.size(99):18.2f}{errors.baseline_ms:14.2f}")
    return [error_bar(found[place.servers[1].name])]


def _http(place: Place, options: argparse.Namespace) -> list[Bar]:
    load = Load(options.connections, options.seconds)
    read = ("http", "http-never", "http-percent")
    contestants = place.contestants(place.web, f"/{SMALL}", "plain", *read)
    series = compete(contestants, load, options.rounds, place.core)
    title = f"{SMALL}-byte bodies, {load.connections} connections at full rate, read as HTTP"
    _print(title, table(series))
    bars = []
    for name in read:
        pair = series["embedded" + KINDS[name].says], series["Toxiproxy"]
        what = KINDS[name].says.removeprefix(", ")
        bars += [
            efficiency_bar(what, efficiency(*pair), READ_EFFICIENCY_LEAST, READ_EFFICIENCY_AIM),
            tail_bar(f"{what}, {load.connections} connections", tail(*pair), READ_TAIL_MOST),
        ]
    return bars


def _streams(place: Place, options: argparse.Namespace) -> list[Bar]:
    contestants = place.contestants(place.feed, "/events", "plain", "http", "sse-never", "sse-all")
    takings = take(contestants, "events", STREAMS, options.rounds, options.seconds, place.core)
    _print(f"{STREAMS} event streams of 20 events a second", events_table(takings))
    return [
        added_bar(name.removeprefix("embedded, "), one.added_ms(takings[0])[1], keeps_up=one.keeps_up())
        for one in takings
        if (name := one.contestant.name).startswith("embedded,")
    ]


def _frames(place: Place, options: argparse.Namespace) -> list[Bar]:
    bars = []
    for what, connections in _FRAMES.items():
        contestants = place.contestants(
            place.feed, f"/{what}", "plain", "http", "ws-never", "ws-json", "ws-percent"
        )
        takings = take(contestants, what, connections, options.rounds, options.seconds, place.core)
        _print(f"WebSocket messages of 200 bytes, {what}, {connections} connections", frames_table(takings))
        bars += [
            frames_bar(f"{name.removeprefix('embedded, ')}, {what}", one.per_cpu_s())
            for one in takings
            if (name := one.contestant.name).startswith("embedded,")
        ]
    return bars


_PARTS: Final[dict[str, Callable[[Place, argparse.Namespace], list[Bar]]]] = {
    "requests": _requests,
    "paced": _paced,
    "bodies": _bodies,
    "precision": _precision,
    "http": _http,
    "streams": _streams,
    "frames": _frames,
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
