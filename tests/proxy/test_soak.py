"""The proxy at full rate for minutes, with changes all the time: nothing grows, nothing is left.

Three minutes where CI=true, else only where BROWNOUT_SOAK_MINUTES says how many; `make soak` takes an hour.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak import SLOPE_MOST, Soak, State
from benchmarks.traffic import Done

ROOT = Path(__file__).resolve().parents[2]
IN_CI = os.environ.get("CI", "").lower() == "true"
MINUTES = float(os.environ.get("BROWNOUT_SOAK_MINUTES", "3" if IN_CI else "0"))

if MINUTES:

    @pytest.mark.soak
    @pytest.mark.timeout(MINUTES * 60 + 240)
    def test_minutes_at_full_rate_leave_the_proxy_flat():
        """No slope in its memory, no descriptor, task or connection left, no failure without a toxic."""
        command = [sys.executable, "-m", "benchmarks.soak", "--minutes", str(MINUTES)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def seen(slope: float, **more: object) -> Soak:
    """A run of three minutes whose memory grew by `slope` MiB a minute, under noise of half a MiB."""
    noise = random.Random(1)
    times = [float(second) for second in range(180)]
    memory = [40 + slope * second / 60 + noise.uniform(0, 0.5) for second in times]
    values: dict = {"times_s": times, "memory_mib": memory, "warm_up_s": 60.0, "took_s": 180.0, **more}
    return Soak(**values)


def test_a_leak_is_found():
    """Twice the bound is a problem, and the message gives the slope."""
    (problem,) = seen(2 * SLOPE_MOST).problems()
    assert "MiB a minute" in problem and f"at most {SLOPE_MOST}" in problem


def test_noise_is_no_leak():
    """A flat line under noise, and growth that ended with the warm-up, are none."""
    assert seen(0).problems() == []
    grown = seen(0)
    grown.memory_mib = [value - 20 if at < 60 else value for at, value in enumerate(grown.memory_mib)]
    assert grown.problems() == []


@pytest.mark.parametrize("left", [State(1, 0, 0, 0), State(0, 1, 0, 0), State(0, 0, 1, 0), State(0, 0, 0, 1)])
def test_what_is_left_is_found(left):
    """A descriptor, a task, a connection or a defect more than before the load."""
    (problem,) = seen(0, after=left).problems()
    assert "left" in problem


def test_a_failure_without_a_toxic_is_found():
    """What was never struck must never fail."""
    (problem,) = seen(0, done=Done(requests=10, connections=10, failed=1)).problems()
    assert "without a toxic" in problem


def test_too_few_readings_say_nothing():
    """They are refused, instead of being called flat."""
    with pytest.raises(ValueError, match="at least 10"):
        Soak(times_s=[0.0, 1.0], memory_mib=[1.0, 1.0]).problems()
