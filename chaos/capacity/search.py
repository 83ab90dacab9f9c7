"""The search for the highest rate that holds: which rate to try next, given all that was tried. Pure.

Invariant: what is not known is never taken for an answer. The answer is a pair, the highest rate that held
and the lowest one above it that did not; a rate between them that could not be decided, or was decided both
ways, leaves the pair wide. A rate at which the generator itself gave out bounds the search, not the service.

That a service which holds a rate also holds every lower one is an assumption. Both ends are tried again, and
so is a rate just above the upper end; what contradicts the assumption is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Standing = Literal["holds", "breached", "unknown", "generator"]
Why = Literal["bracket", "bisect", "again", "above"]

WAYS_DOWN = (2.0, 4.0, 8.0, 16.0)
"""By what the rate is divided, try after try, while nothing holds yet."""
UP = 2.0


@dataclass(frozen=True)
class Trial:
    """A rate (arrivals per second) that was tried, and what came of it."""

    rate: float
    standing: Standing


@dataclass(frozen=True)
class Ask:
    """A rate to try next, and what for."""

    rate: float
    why: Why


@dataclass(frozen=True)
class Limits:
    """`start` is tried first; nothing below `lowest` or above `highest` is. `precision`: of the answer's
    ends.

    `most` trials are made at most.
    """

    start: float
    lowest: float
    highest: float
    precision: float
    most: int

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.start <= self.highest < math.inf or self.precision <= 0:
            raise ValueError("expected 0 < lowest <= start <= highest and a precision above 0")


@dataclass(frozen=True)
class Answer:
    """`held`: the highest rate that held, below all that did not; `breached`: the lowest that did not.

    None: there is none. `between`: rates in between that were not decided, or both ways. `unsteady`: rates
    that held once and did not hold another time. `beyond`: rates that held above one that did not.
    `ceiling`: the lowest rate above `held` at which the generator gave out, where that ended the way up.
    """

    held: float | None
    breached: float | None
    between: tuple[float, ...] = ()
    unsteady: tuple[float, ...] = ()
    beyond: tuple[float, ...] = ()
    ceiling: float | None = None

    @property
    def width(self) -> float:
        """By what share the upper end lies above the lower one; infinite where one of them is missing."""
        if self.held is None or self.breached is None:
            return math.inf
        return self.breached / self.held - 1

    def fits(self, precision: float) -> bool:
        """Whether the ends are as close as asked for."""
        return self.width <= precision * (1 + 1e-9)


def answer(trials: Iterable[Trial]) -> Answer:
    """What the trials say."""
    by_rate: dict[float, list[Standing]] = {}
    for trial in trials:
        by_rate.setdefault(trial.rate, []).append(trial.standing)
    standing = {rate: _together(found) for rate, found in by_rate.items()}
    breached = min((rate for rate, s in standing.items() if s == "breached"), default=None)
    top = math.inf if breached is None else breached
    held = max((rate for rate, s in standing.items() if s == "holds" and rate < top), default=None)
    bottom = held or 0.0
    between = tuple(sorted(r for r, s in standing.items() if bottom < r < top and s != "holds"))
    voids = [r for r in between if standing[r] == "generator"]
    return Answer(
        held=held,
        breached=breached,
        between=between,
        unsteady=tuple(sorted(r for r, found in by_rate.items() if {"holds", "breached"} <= set(found))),
        beyond=tuple(sorted(r for r, s in standing.items() if s == "holds" and r > top)),
        ceiling=min(voids) if voids and breached is None else None,
    )


def _together(found: Sequence[Standing]) -> Standing:
    """What several trials of one rate say: both ways is unknown; what decided outweighs what did not."""
    decided = {standing for standing in found if standing in ("holds", "breached")}
    if len(decided) == 1:
        return decided.pop()
    if decided:
        return "unknown"
    return "generator" if "generator" in found else "unknown"


def following(trials: Sequence[Trial], limits: Limits) -> Ask | None:
    """The rate to try next; None when the search is over."""
    if not trials:
        return Ask(limits.start, "bracket")
    if len(trials) >= limits.most:
        return None
    now = answer(trials)
    if now.held is None:
        return _down(trials, limits)
    if now.breached is None:
        return _up(trials, limits, now)
    return _between(now, limits) or _check(trials, limits, now)


def _down(trials: Sequence[Trial], limits: Limits) -> Ask | None:
    by_rate = sorted(trials, key=lambda trial: trial.rate)
    lowest = by_rate[0].rate
    if lowest <= limits.lowest or [t.standing for t in by_rate[:2]] == ["unknown", "unknown"]:
        return None  # the lower the rate the fewer the operations, and the less is decided in a point's time
    steps = len({trial.rate for trial in trials if trial.rate < limits.start})
    by = WAYS_DOWN[min(steps, len(WAYS_DOWN) - 1)]
    return Ask(max(limits.lowest, tidy(lowest / by)), "bracket")


def _up(trials: Sequence[Trial], limits: Limits, now: Answer) -> Ask | None:
    highest = max(trial.rate for trial in trials)
    if now.ceiling is not None:
        return None
    if highest >= limits.highest:
        return _halved(now.held or highest, min(now.between, default=highest), limits)
    return Ask(min(limits.highest, tidy(highest * UP)), "bracket")


def _between(now: Answer, limits: Limits) -> Ask | None:
    """The middle of the widest gap next to an end; rates that were not decided stay as they are."""
    assert now.held is not None and now.breached is not None  # noqa: S101 - said by the caller
    inner = now.between or (now.breached,)
    gaps = [(now.held, inner[0])]
    if now.between:
        gaps.append((now.between[-1], now.breached))
    return _halved(*max(gaps, key=lambda gap: gap[1] / gap[0]), limits)


def _halved(low: float, high: float, limits: Limits) -> Ask | None:
    """The middle of a gap, by ratio; None where it is as narrow as was asked."""
    if high / low <= 1 + limits.precision * (1 + 1e-9):
        return None
    middle = tidy(math.sqrt(low * high))
    return Ask(middle, "bisect") if low < middle < high else None


def _check(trials: Sequence[Trial], limits: Limits, now: Answer) -> Ask | None:
    """Both ends once more, and a rate just above, which must not hold either."""
    assert now.held is not None and now.breached is not None  # noqa: S101 - said by the caller
    times = [trial.rate for trial in trials]
    if times.count(now.held) < 2:
        return Ask(now.held, "again")
    near = now.breached * (1 + 4 * limits.precision)
    above = [rate for rate in times if now.breached < rate <= near * (1 + 1e-9)]
    if not above and now.breached < limits.highest:
        return Ask(min(limits.highest, tidy(now.breached * (1 + 2 * limits.precision))), "above")
    if now.beyond and times.count(now.breached) < 2:
        return Ask(now.breached, "again")
    return None


def tidy(rate: float) -> float:
    """To four digits: a rate that can be read, and typed again."""
    return float(f"{rate:.4g}")


def most_trials(limits_from: float, limits_to: float, precision: float) -> int:
    """How many trials a search needs where nothing contradicts itself, and half as many again.

    The way up and down by factors of two, the halving of the last factor of two until it is as narrow as
    `precision`, and the checks.
    """
    ways = math.ceil(math.log2(max(2.0, limits_to / limits_from))) + len(WAYS_DOWN)
    halvings = math.ceil(math.log2(max(2.0, math.log(WAYS_DOWN[-1]) / math.log1p(precision))))
    return math.ceil(1.5 * (ways + halvings + 3))
