"""WebSocket episodes by our generator, by k6 and by the package websockets: steps for each CPU-second.

All play the same episodes, a reset and fifty steps with a nonce in each, against an environment that answers
at once. What is a step, the environment counts. Ours keeps its history and sends its metrics, as always.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.bars import Bar
from benchmarks.generators import K6_QUIETLY, PERCENTS, Generator, Peer, Running, Task, Told, json_line
from benchmarks.loads import Counter, Series, compete, ratio_of
from benchmarks.machine import ROOT, binaries, process
from benchmarks.ours import Ours, ours
from benchmarks.wrk import LoadError
from loadtests.history import Ended
from loadtests.workspace import policy_actions

STEPS: Final = 50
OURS: Final = "ours"
RIVALS: Final = ("k6", "websockets")
_PEERS: Final = ROOT / "benchmarks" / "peers"


def episodes_workload(url: str, path: str, **profile: Any) -> dict[str, Any]:
    """A workload of episodes; `profile` says when users come."""
    options = {"steps": STEPS, "path": path, "tasks": 5}
    spec = {"user": "episode", "service": "episodes", "with": options, **profile}
    return {"name": "episodes", "url": url, "profile": spec}


def _actions() -> str:
    return json.dumps(policy_actions("oracle", 3, STEPS, random.Random(0)))


def _k6_argv(task: Task, _: Path) -> list[str]:
    given = {
        "URL": task.url,
        "VUS": str(task.connections),
        "SECONDS": str(task.seconds),
        "ACTIONS": _actions(),
    }
    variables = [part for name, value in given.items() for part in ("-e", f"{name}={value}")]
    return [binaries("k6")["k6"], "run", *K6_QUIETLY, *variables, str(_PEERS / "episodes.js")]


def _websockets_argv(loop: str, task: Task, folder: Path) -> list[str]:
    actions = folder / "actions.json"
    actions.write_text(_actions())
    numbers = (str(task.connections), str(task.seconds))
    return [sys.executable, str(_PEERS / "episodes.py"), loop, task.url, *numbers, str(actions)]


class _Process:
    """One of ours at its episodes."""

    def __init__(self, process: Ours) -> None:
        self.pid = process.process.pid
        self._process = process

    @property
    def over(self) -> bool:
        return self._process.process.poll() is not None

    def told(self) -> Told:
        self._process.stop()
        rows = self._process.rows()
        if not len(rows):
            raise LoadError("ours: the history is empty")
        failed = int((rows["outcome"] == Ended.ERROR.value).sum())
        wrong = int((rows["nonce"] != rows["reply_nonce"])[rows["outcome"] == Ended.OK.value].sum())
        took = (rows["end"] - rows["start"]) * 1000
        latency = {percent: float(np.percentile(took, percent)) for percent in PERCENTS}
        return Told(len(rows), failed + wrong, 0, latency)


@dataclass(frozen=True, slots=True)
class Mine:
    """Our generator."""

    name: str = OURS

    @contextlib.contextmanager
    def run(self, task: Task, core: int | None) -> Iterator[Running]:
        """Start it and begin; killed at the end if need be. Raises OSError, TimeoutError."""
        url, _, path = task.url.replace("ws://", "http://").rpartition("/")
        workload = episodes_workload(url, f"/{path}", users=task.connections)
        with (
            tempfile.TemporaryDirectory(prefix="brownout-bench-") as folder,
            ours(Path(folder), [workload], core) as running,
        ):
            running.begin()
            yield _Process(running)


@contextlib.contextmanager
def environment(core: int | None) -> Iterator[str]:
    """An environment that answers at once, as HOST:PORT. Raises OSError when it does not start."""
    argv = [sys.executable, "-m", "benchmarks.environment", str(STEPS)]
    with process(argv, core=core, stdout=subprocess.PIPE) as started:
        line = started.stdout.readline() if started.stdout else b""
        if not line:
            raise OSError(f"the environment did not start: exit {started.wait()}")
        yield f"127.0.0.1:{int(line)}"


def sessions(
    served: int, core: int, rounds: int, seconds: int, connections: int
) -> tuple[list[str], list[Bar]]:
    """Play `rounds` of each: a table and bars. Raises OSError, LoadError."""
    generators: list[Generator] = [
        Peer("k6", _k6_argv, json_line),
        Peer("websockets", lambda task, folder: _websockets_argv("asyncio", task, folder), json_line),
        Peer(
            "websockets on uvloop", lambda task, folder: _websockets_argv("uvloop", task, folder), json_line
        ),
        Mine(),
    ]
    with environment(served) as address:
        task = Task(f"ws://{address}/ws", seconds, connections)
        counter = Counter(f"http://{address}/status", lambda text, _: int(text))
        series = compete(generators, task, rounds, core, counter)
    bars = []
    for rival in RIVALS:
        found = ratio_of(series[rival], series[OURS], lambda r: r.cpu_s)
        promise = f"episodes: more steps per CPU-second than {rival}"
        bars.append(Bar(promise, f"ratio {found}", found.median > 1.0))
    return _table(series), bars


def _table(series: dict[str, Series]) -> list[str]:
    lines = [
        f"{'':24}{'steps/s':>10}{'of a core':>11}{'steps/CPU-s':>13}{'p50 ms':>8}{'p99 ms':>8}  ours over it"
    ]
    for name, one in series.items():
        line = (
            f"{name:24}{one.median(lambda r: r.rate):10,.0f}{one.median(lambda r: r.share):11.0%}"
            f"{10_000 / one.median(lambda r: r.cpu_s):13,.0f}"
            f"{one.median(lambda r: r.p50_ms):8.2f}{one.median(lambda r: r.p99_ms):8.2f}"
        )
        if name != OURS:
            line += f"  {ratio_of(one, series[OURS], lambda r: r.cpu_s)}"
        lines.append(line)
    return lines
