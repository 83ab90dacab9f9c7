"""`python -m benchmarks.soak`: the embedded proxy at full rate, with changes all the time, must stay flat.

After a warm-up (a third of the time, at most ten minutes) memory may not grow by more than 1 MiB a minute.
At the rates that a core reaches this is a few dozen bytes for each connection, less than the smallest object
that could be forgotten for each of them; what a run has come to, it prints. When the load has ended,
descriptors, tasks and connections must be back at what they were before it, and nothing may have failed where
there was no toxic. Exit codes: 0 flat, 1 not flat, 3 the measurement failed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Final

import requests
import uvloop

from benchmarks.changes import PROXY, Changes
from benchmarks.machine import cpu_s
from benchmarks.servers import Server, embedded
from benchmarks.slope import per_minute
from benchmarks.traffic import Done, Echo, come_and_go, stay

SLOPE_MOST: Final = 1.0
"""MiB a minute."""
WARM_UP_MOST_S: Final = 600.0
_STAYING: Final = 16
_COMING: Final = 8
_SETTLE_S: Final = 30.0
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class State:
    """What is open in the proxy's process, and what went wrong in it."""

    descriptors: int
    tasks: int
    connections: int
    defects: int
    """Errors of the proxy's own so far, and connections that it had to refuse."""

    def within(self, other: State) -> bool:
        """Whether nothing is more than in `other`."""
        return all(a <= b for a, b in zip(astuple(self), astuple(other), strict=True))


@dataclass(slots=True)
class Soak:
    """What a run has seen; times in seconds from its start, memory in MiB."""

    times_s: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)
    most_descriptors: int = 0
    warm_up_s: float = 0.0
    took_s: float = 0.0
    cpu_s: float = 0.0
    changes: int = 0
    done: Done = field(default_factory=Done)
    before: State = field(default_factory=lambda: State(0, 0, 0, 0))
    after: State = field(default_factory=lambda: State(0, 0, 0, 0))

    def slope(self) -> float:
        """MiB a minute after the warm-up. Raises ValueError for too few readings."""
        first = next((n for n, at in enumerate(self.times_s) if at >= self.warm_up_s), len(self.times_s))
        return per_minute(self.times_s[first:], self.memory_mib[first:])

    def problems(self) -> list[str]:
        """What is not flat; none when all is well."""
        found = []
        if (slope := self.slope()) > SLOPE_MOST:
            found.append(f"memory grew by {slope:.2f} MiB a minute; expected at most {SLOPE_MOST}")
        if not self.after.within(self.before):
            found.append(f"after the load {self.after} was left; expected {self.before} as before it")
        if self.done.failed:
            found.append(f"{self.done.failed} connections without a toxic failed; expected none")
        return found

    def __str__(self) -> str:
        slope = self.slope()
        forgotten = slope * _MIB / 60 / (self.done.connections / self.took_s)
        return (
            f"{self.took_s / 60:.1f} min, {self.done.requests / self.took_s:,.0f} requests/s, "
            f"{self.done.connections / self.took_s:,.0f} new connections/s, "
            f"{self.changes / self.took_s:.0f} changes/s, proxy at {self.cpu_s / self.took_s:.0%} of a core\n"
            f"memory {self.memory_mib[0]:.1f} MiB at first, {self.memory_mib[-1]:.1f} at last, at most "
            f"{max(self.memory_mib):.1f}; slope after {self.warm_up_s:.0f} s: {slope:+.3f} MiB a minute "
            f"({forgotten:+.1f} bytes for each connection)\n"
            f"before: {self.before}; after: {self.after}; at most {self.most_descriptors} descriptors"
        )


def _memory_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _state(server: Server) -> State:
    """As seen by a request that is closed before descriptors are counted."""
    values: dict[str, float] = {}
    for line in server.call("GET", "/metrics").text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name.partition("{")[0]] = values.get(name.partition("{")[0], 0) + float(value)
    tasks, connections = values["brownout_tasks"], values["brownout_proxy_connections"]
    defects = values["brownout_defects_total"] + values["brownout_proxy_refused_total"]
    return State(_descriptors(server.pid), int(tasks), int(connections), int(defects))


async def _at_rest(server: Server) -> State:
    """The state before the load: the smallest of some, as the request that asks may count itself."""
    found = [await asyncio.to_thread(_state, server) for _ in range(10)]
    return min(found, key=astuple)


async def _settled(server: Server, before: State) -> State:
    """The state when it is no more than before, or else what it is after half a minute."""
    until = time.monotonic() + _SETTLE_S
    while True:
        now = await asyncio.to_thread(_state, server)
        if now.within(before) or time.monotonic() > until:
            return now
        await asyncio.sleep(0.1)


async def _watch(server: Server, seen: Soak, seconds: float, tell: Callable[[str], None]) -> None:
    begin, told = time.monotonic(), 0.0
    while (at := time.monotonic() - begin) < seconds:
        seen.times_s.append(at)
        seen.memory_mib.append(_memory_mib(server.pid))
        seen.most_descriptors = max(seen.most_descriptors, _descriptors(server.pid))
        if at >= told:
            tell(
                f"{at / 60:5.1f} min: {seen.memory_mib[-1]:7.1f} MiB, {_descriptors(server.pid)} descriptors"
            )
            told += max(15.0, seconds / 60)
        await asyncio.sleep(min(1.0, max(0.05, seconds / 100)))


async def soak(server: Server, seconds: float, tell: Callable[[str], None] = print) -> Soak:
    """Load a proxy that serves metrics for so long. Raises OSError, requests.RequestException."""
    loop = asyncio.get_running_loop()
    upstream = await loop.create_server(Echo, "127.0.0.1", 0, backlog=4096)
    address = f"127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
    places = []
    for name in ("steady", PROXY):
        body = {"name": name, "listen": "127.0.0.1:0", "upstream": address}
        listen = (await asyncio.to_thread(server.call, "POST", "/proxies", body)).json()["listen"]
        host, _, port = listen.rpartition(":")
        places.append((host, int(port)))
    steady, changed = places
    seen = Soak(warm_up_s=min(seconds / 3, WARM_UP_MOST_S), before=await _at_rest(server))
    others, changes = Done(), Changes(server, address)
    load = [stay(steady, seen.done) for _ in range(_STAYING)]
    load += [come_and_go(steady, seen.done, seed, toxics=False) for seed in range(_COMING)]
    load += [come_and_go(changed, others, seed, toxics=True) for seed in range(_COMING)]
    tasks = [loop.create_task(each) for each in load]
    used, begin = cpu_s(server.pid), time.monotonic()
    changes.start()
    try:
        await _watch(server, seen, seconds, tell)
    finally:
        seen.took_s, seen.cpu_s = time.monotonic() - begin, cpu_s(server.pid) - used
        await asyncio.to_thread(changes.stop)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in [changes.failed, *ended]:
        if isinstance(error, Exception):
            raise error
    seen.changes = changes.made
    seen.done.requests += others.requests
    seen.done.connections += others.connections
    seen.after = await _settled(server, seen.before)
    upstream.close()
    return seen


def main() -> int:
    """Soak, print, and judge."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default 60)")
    options = parser.parse_args()
    try:
        with embedded(None, "--metrics") as server:
            seen = uvloop.run(soak(server, options.minutes * 60))
    except (OSError, requests.RequestException) as error:
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
