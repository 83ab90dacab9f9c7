"""wrk as the load: a closed loop at full rate, or paced, and its figures as numbers.

A script writes the figures as one line of JSON from wrk's own counters, so nothing is read out of its prose.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.machine import ROOT, binaries

_FIGURES: Final = """\
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "errors": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""
_PACE: Final = "delay = function() return math.random(%d, %d) end\n"


class LoadError(OSError):
    """wrk did not run, or requests failed: figures of such a round would mean nothing."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One round of load. Latencies as the client sees them, in milliseconds."""

    requests: int
    duration_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Load:
    """`think_ms` is the mean pause of a connection between two requests; 0 is full rate."""

    connections: int
    seconds: int
    think_ms: int = 0


def script(think_ms: int = 0) -> str:
    """What wrk runs: it prints its figures, and pauses if `think_ms` is not 0."""
    return _FIGURES + (_PACE % (think_ms // 2, think_ms + think_ms // 2) if think_ms else "")


def _argv(load: Load, lua: Path, url: str, core: int) -> list[str]:
    found = binaries("wrk", "taskset")
    options = ["-t1", f"-c{load.connections}", f"-d{load.seconds}s", "-s", str(lua), "--latency", url]
    return [found["taskset"], "-c", str(core), found["wrk"], *options]


def figures(output: str) -> Figures:
    """The figures in what wrk wrote. Raises LoadError."""
    last = next((line for line in reversed(output.splitlines()) if line.startswith("{")), None)
    if last is None:
        raise LoadError(f"wrk: expected a line of figures, got {output[-200:]!r}")
    values = json.loads(last)
    if values["errors"] or not values["requests"]:
        raise LoadError(f"wrk: {values['errors']} of {values['requests']} requests failed")
    return Figures(
        values["requests"],
        values["duration_us"] / 1e6,
        values["p50_us"] / 1000,
        values["p99_us"] / 1000,
    )


def drive(url: str, load: Load, core: int) -> Figures:
    """Put load on `url`, and tell its figures. Raises LoadError, MissingError."""
    with tempfile.TemporaryDirectory(prefix="brownout-wrk-") as folder:
        lua = Path(folder) / "figures.lua"
        lua.write_text(script(load.think_ms))
        done = subprocess.run(
            _argv(load, lua, url, core), cwd=ROOT, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise LoadError(f"wrk: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return figures(done.stdout)


@contextlib.contextmanager
def background(url: str, load: Load, core: int) -> Iterator[None]:
    """Load on `url` for as long as the block, at most `load.seconds`. Raises MissingError."""
    with tempfile.TemporaryDirectory(prefix="brownout-wrk-") as folder:
        lua = Path(folder) / "figures.lua"
        lua.write_text(script(load.think_ms))
        running = subprocess.Popen(
            _argv(load, lua, url, core), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield
            if running.poll() is not None:
                raise LoadError(f"wrk: the load in the background ended before the measurement did: {load}")
        finally:
            running.kill()
            running.wait()
