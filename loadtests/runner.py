"""How to start a Locust process and what to say to it. Imports no Locust: that would monkey-patch the caller.

The process is told its plan by a file (`LoadPlan`), and everything else by lines on its stdin: the first
phase line starts the arrivals, a stop line ends them. It stops by itself when its stdin closes, so it cannot
outlive whoever holds the other end.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from loadtests import metrics

PLAN_VARIABLE: Final = "BROWNOUT_LOAD_PLAN"
READY_METRIC: Final = metrics.UTILIZATION
"""What the first report holds, sent when the process is ready for its first phase."""
FINAL_METRIC: Final = metrics.FINAL
"""What only the last report holds, sent when all numbers and the history are complete."""

STOP_WITHIN_S: Final = 5
_LOCUSTFILE: Final = Path(__file__).parent / "users" / "locustfile.py"
_LOOPBACK: Final = "127.0.0.1,localhost,::1"


def locust_command(plan_path: Path, python: str = sys.executable) -> list[str]:
    """The command of a Locust process that performs the plan; it needs `environment(plan_path)` too."""
    del plan_path  # Locust refuses arguments that it does not know: the path goes by the environment
    return [
        python,
        "-m",
        "locust",
        *("-f", str(_LOCUSTFILE)),
        "--headless",
        *("-u", "1", "-r", "1"),
        "--only-summary",
        *("--exit-code-on-error", "0"),
        *("--stop-timeout", str(STOP_WITHIN_S)),
        *("--loglevel", "WARNING"),
    ]


def environment(plan_path: Path, inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of that process: the caller's, without what would change what Locust does.

    `LOCUST_*` would override its arguments, `OTEL_*` where and how its metrics go; loopback addresses are
    never asked of an HTTP proxy.
    """
    source = os.environ if inherited is None else inherited
    kept = {name: value for name, value in source.items() if not name.startswith(("LOCUST_", "OTEL_"))}
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(filter(None, (kept.get(name), _LOOPBACK)))
    root = Path(__file__).parents[1]
    if root.name not in ("site-packages", "dist-packages"):  # not installed there, so not importable as it is
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), kept.get("PYTHONPATH"))))
    kept[PLAN_VARIABLE] = str(plan_path.resolve())
    kept["PYTHONUNBUFFERED"] = "1"
    return kept


def phase_line(phase: str, from_: float) -> str:
    """The line that says which phase holds from when (Unix seconds). The first starts the arrivals then."""
    return json.dumps({"phase": phase, "from": from_}) + "\n"


def share_line(from_: float, members: Iterable[str], gaps: Iterable[tuple[str, float, float]] = ()) -> str:
    """The line that says who shares the arrivals that are due from then on (Unix seconds).

    `gaps` are what was lost: a worker that is gone, its last sign of life, and when the new share begins.
    """
    said = {"share": list(members), "from": from_, "gaps": [list(gap) for gap in gaps]}
    return json.dumps(said) + "\n"


def stop_line() -> str:
    """The line that ends arrivals: open operations may finish for the plan's `drain_s`, then it ends."""
    return json.dumps({"stop": True}) + "\n"


def merge_boundaries(default: Iterable[float], wanted: Iterable[float]) -> tuple[float, ...]:
    """Bucket boundaries, ascending: the default ones and those that objectives' thresholds lie on.

    Raises ValueError when a wanted one is negative or not finite.
    """
    merged = set(default)
    for boundary in wanted:
        if not 0 <= boundary < float("inf"):
            raise ValueError(f"boundaries: expected a finite number from 0, got {boundary}")
        merged.add(float(boundary))
    return tuple(sorted(merged))


def commands_command(plan_path: Path, python: str = sys.executable) -> list[str]:
    """The command of a process that runs the programs of a plan; it needs `environment(plan_path)` too."""
    del plan_path  # it goes by the environment, as Locust's does
    return [python, "-m", "loadtests.commands"]
