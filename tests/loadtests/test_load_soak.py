"""The load generator at a steady rate for minutes: its memory stays flat.

Three minutes where CI=true, else only where BROWNOUT_SOAK_MINUTES says how many; `make soak` takes an hour.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.loadsoak import SLOPE_MOST, LoadSoak

ROOT = Path(__file__).resolve().parents[2]
IN_CI = os.environ.get("CI", "").lower() == "true"
MINUTES = float(os.environ.get("BROWNOUT_SOAK_MINUTES", "3" if IN_CI else "0"))

if MINUTES:

    @pytest.mark.soak
    @pytest.mark.timeout(MINUTES * 60 + 240)
    def test_minutes_at_a_steady_rate_leave_the_generator_flat() -> None:
        """No slope in its memory, no failure, and as many rows as attempts were counted."""
        command = [sys.executable, "-m", "benchmarks.loadsoak", "--minutes", str(MINUTES)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def seen(slope: float, **more: Any) -> LoadSoak:
    """A run of three minutes whose memory grew by `slope` MiB a minute, under noise of half a MiB."""
    noise = random.Random(1)
    times = [float(second) for second in range(180)]
    memory = [90 + slope * second / 60 + noise.uniform(0, 0.5) for second in times]
    values = {"warm_up_s": 60.0, "took_s": 180.0, "rows": 1000, "attempts": 1000, **more}
    return LoadSoak(times_s=times, memory_mib=memory, **values)


def test_a_leak_is_found() -> None:
    """Twice the bound is a problem, and the message gives the slope."""
    (problem,) = seen(2 * SLOPE_MOST).problems()
    assert "MiB a minute" in problem and f"at most {SLOPE_MOST}" in problem


def test_noise_is_no_leak() -> None:
    """A flat line under noise, and growth that ended with the warm-up, are none."""
    assert seen(0).problems() == []
    grown = seen(0)
    grown.memory_mib = [value - 20 if at < 60 else value for at, value in enumerate(grown.memory_mib)]
    assert grown.problems() == []


@pytest.mark.parametrize(
    ("more", "says"),
    [({"failed": 1}, "failed"), ({"rows": 999}, "999 rows"), ({"rows": 0, "attempts": 0}, "nothing")],
)
def test_what_went_wrong_is_found(more: dict[str, int], says: str) -> None:
    """A failed attempt, an attempt without a row, and a run that did nothing."""
    (problem,) = seen(0, **more).problems()
    assert says in problem
