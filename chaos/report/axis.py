"""Axes: from numbers to places on a drawing, with few, round ticks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

LOG_FROM = 20.0
"""Values that span more than this factor are drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Axis:
    """Maps [low, high] to [at_low, at_high] (drawing units), linearly or by logarithm."""

    low: float
    high: float
    at_low: float
    at_high: float
    log: bool = False
    ticks: tuple[float, ...] = ()

    def __call__(self, value: float) -> float:
        """The place of `value`, kept within the axis."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.at_low + share * (self.at_high - self.at_low)


def round_step(span: float, most: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that divides `span` into at most `most` steps."""
    rough = span / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10, 20) if m * power >= rough * (1 - 1e-9))


def from_zero(highest: float, at_low: float, at_high: float, *, most: int = 4, least: float = 1e-6) -> Axis:
    """A linear axis from zero to a round number at or above `highest` (and `least`)."""
    highest = max(highest, least)
    step = round_step(highest, most)
    steps = math.ceil(highest / step - 1e-9)
    return Axis(0.0, steps * step, at_low, at_high, ticks=tuple(i * step for i in range(steps + 1)))


def for_durations(values: list[float], at_low: float, at_high: float, *, most: int = 5) -> Axis:
    """An axis for durations (seconds): logarithmic where they span more than `LOG_FROM`, else from zero."""
    positive = [v for v in values if v > 0]
    if not positive or max(positive) / min(positive) <= LOG_FROM:
        return from_zero(max(positive, default=1.0), at_low, at_high, most=most)
    low, high = _round_down(min(positive)), _round_up(max(positive))
    ticks = [t for t in _decades(low, high) if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)]
    for keep in ((1, 2, 5), (1, 3), (1,)):
        chosen = [t for t in ticks if _leading(t) in keep]
        if len(chosen) <= most + 1:
            break
    return Axis(low, high, at_low, at_high, log=True, ticks=tuple(chosen))


def of_time(span: float, at_low: float, at_high: float, *, most: int) -> Axis:
    """Seconds since the beginning, ticked at round numbers (of minutes, in long runs)."""
    span = max(span, 1e-3)
    units = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
    step = next((float(u) for u in units if span / u <= most), round_step(span, most))
    if span < 2:
        step = round_step(span, most)
    ticks = tuple(i * step for i in range(math.floor(span / step + 1e-9) + 1))
    return Axis(0.0, span, at_low, at_high, ticks=ticks)


def _leading(value: float) -> int:
    return round(value / 10.0 ** math.floor(math.log10(value * (1 + 1e-9))))


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    return [m * 10.0**power for power in range(first, last + 1) for m in (1, 2, 3, 5)]


def _round_down(value: float) -> float:
    return max(t for t in _decades(value, value) if _leading(t) != 3 and t <= value * (1 + 1e-9))


def _round_up(value: float) -> float:
    return min(t for t in _decades(value, value) if _leading(t) != 3 and t >= value * (1 - 1e-9))


def spread(places: list[float], apart: float, low: float, high: float) -> list[float]:
    """`places` moved as little as need be so that labels there are `apart` from each other, within bounds."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    at = low
    for index in order:
        moved[index] = at = max(moved[index], at)
        at += apart
    at = high
    for index in reversed(order):
        moved[index] = at = min(moved[index], at)
        at -= apart
    return moved


Show = Callable[[float], str]
