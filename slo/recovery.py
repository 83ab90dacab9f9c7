"""Judges a recovery: how soon after the heal an objective holds again, and keeps holding.

Time after the heal is cut into windows of equal length. A window is good when it has observations and their
point estimate meets the objective. The service has recovered at the start of the first `windows` good windows
in a row: that window is the first whose whole length was good, so the true moment lies before its start and
at most one window earlier; the value errs, by less than a window, towards slow, never towards fast.

Invariant: three values, by best and worst case. A window in which nothing at all was reported is unknown, and
so is one that had not ended by `until`. The recovery passes when it is in time with every unknown window
taken as bad, fails when it is late with every one of them taken as good, and is inconclusive in between. A
window in which reports came but counted no observation is bad: under load that goes on, a service that
answers nothing has not recovered.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from slo.evaluate import holds
from slo.finding import Finding, Window
from slo.histogram import OffBoundary
from slo.objective import Indicator, Level, Recovery
from slo.outcome import Outcome
from slo.quantities import format_duration
from slo.series import Samples
from slo.share import read_share
from slo.wording import counted

State = Literal["good", "bad", "unknown"]


def judge_recovery(
    recovery: Recovery,
    samples: Samples,
    healed_at: float,
    until: float,
    *,
    min_samples: int,
    runbook: str | None,
) -> Finding:
    """The finding of `recovery`; `healed_at` and `until` are Unix seconds, `until` the end of what was seen.

    `value` is seconds from the heal to the recovery. `min_samples` counts observations after the heal.
    """
    span = Window(start=healed_at, end=max(until, healed_at), phase=None)
    whole = int((until - healed_at) / recovery.window_s + 1e-6)
    edges = [healed_at + k * recovery.window_s for k in range(max(0, whole) + 1)]
    value: float | None = None
    bad: int | None = None
    seen = 0
    try:
        read = [_state(recovery.objective.indicator, a, b, samples) for a, b in pairwise(edges)]
        states = [state for state, _ in read]
        seen = sum(n for _, n in read)
        bad = states.count("bad")
        outcome, value, reason = _judge(recovery, states, until - healed_at)
        if outcome is not Outcome.INCONCLUSIVE and 0 < seen < min_samples:
            outcome = Outcome.INCONCLUSIVE
            reason = (
                f"too few samples: {counted(seen, 'observation')} after the heal, and at least {min_samples} "
                f"are needed; so far: {reason}"
            )
    except OffBoundary as error:
        outcome, reason = Outcome.INCONCLUSIVE, f"{error}"
    return Finding(
        objective=recovery.name,
        kind="recovery",
        phase="recovery",
        outcome=outcome,
        reason=reason,
        target=f"within {format_duration(recovery.within_s)} of the heal",
        value=value,
        unit="s",
        samples=seen,
        bad=bad,
        runbook=runbook,
        window=span,
    )


def _state(indicator: Indicator, start: float, end: float, samples: Samples) -> tuple[State, int]:
    """What one window was, and how many observations (of levels: points) say so."""
    window = Window(start=start, end=end, phase=None)
    if isinstance(indicator, Level):
        values = samples.numbers(indicator.source, indicator.aggregation, window)
        if not values:
            return "unknown", 0
        good = all(holds(indicator, value) for value in values)
        return ("good" if good else "bad"), samples.points(indicator.source, window)
    share = read_share(indicator, window, samples)
    if isinstance(share, str):
        return "unknown", 0
    return ("good" if share.meets else "bad"), round(share.n)


def _first_run(states: Sequence[State], windows: int, unknown_is: State) -> int | None:
    """The index of the first of `windows` good windows in a row; past the end, windows are unknown."""
    padded = [*states, *(["unknown"] * windows)]
    run = 0
    for index, state in enumerate(padded):
        taken_as = unknown_is if state == "unknown" else state
        run = run + 1 if taken_as == "good" else 0
        if run == windows:
            return index - windows + 1
    return None


def _judge(
    recovery: Recovery, states: Sequence[State], seconds_seen: float
) -> tuple[Outcome, float | None, str]:
    length, name = recovery.window_s, recovery.objective.name
    within, need = format_duration(recovery.within_s), counted(recovery.windows, "window")
    need += f" of {format_duration(length)} in a row"
    if not states or all(state == "unknown" for state in states):
        return (
            Outcome.INCONCLUSIVE,
            None,
            f"no data: nothing was reported for {name} in the {format_duration(max(0.0, seconds_seen))} "
            f"after the heal; {need} are needed",
        )
    worst_case = _first_run(states, recovery.windows, "bad")
    best_case = _first_run(states, recovery.windows, "good")
    slack = recovery.within_s + 1e-6
    if worst_case is not None:
        value = worst_case * length
        took = f"{name} held again {format_duration(value)} after the heal, for {need}"
        if value <= slack:
            return Outcome.PASS, value, f"{took}; it had to within {within}"
        if best_case is not None and best_case * length > slack:
            return Outcome.FAIL, value, f"{took}, which is later than the {within} that it had"
    elif best_case is None or best_case * length > slack:
        bad = f"{states.count('bad')} of {counted(len(states), 'window')} after the heal were not good"
        never = f"{name} did not hold again within {within} of the heal: {bad}"
        if seconds_seen + 1e-6 >= recovery.within_s:
            return Outcome.FAIL, None, f"{never}"
        return (
            Outcome.INCONCLUSIVE,
            None,
            f"{name} had not held again when the run ended {format_duration(seconds_seen)} after the heal, "
            f"before the {within} were over",
        )
    silent = states.count("unknown")
    gap = f"{counted(silent, 'window')} reported nothing" if silent else "the run ended too soon to tell"
    return (
        Outcome.INCONCLUSIVE,
        None,
        f"it is not known whether {name} held again within {within} of the heal: {need} must be good, "
        f"and {gap}",
    )
