"""Whether more comes than goes: how fast the operations that are open grow in number, while a rate is held.

A queue in front of a service that is asked for a little more than it can do grows slowly: for a while every
operation is still in time, and an objective seems to hold. What grows by a steady share of the arrivals will
miss any objective in the end. By Little's law (J. D. C. Little, Operations Research 9 (1961), 383-387) open
operations are the rate times the time that each takes, so at a rate that can last they do not grow.
"""

from __future__ import annotations

import math

from loadtests import metrics
from slo.finding import Window
from slo.objective import Selector
from slo.series import Samples

EVERY_S = 0.5
"""How often the load reports how many are open."""
LEAST_S = 3.0
"""Over less than this a slope says nothing."""
LEAST_RISE = 3.0
"""Open operations have to rise by this many for it to be no whim of the counting."""
_SIGMAS = 2.0


def open_now(samples: Samples, workload: str, window: Window) -> int:
    """How many arrivals of `workload` were open at the last report in the window, over all workers."""
    recent = Window(start=max(window.start, window.end - 3 * EVERY_S), end=window.end)
    selector = Selector(metric=metrics.USERS, filters={metrics.WORKLOAD: workload})
    return round(sum(samples.numbers(selector, "last", recent)))


def to_come(samples: Samples, workload: str, primary: str, window: Window) -> int:
    """How many operations may still come in from what is open: as many each as an arrival has had so far."""
    done = samples.tally(Selector(metric=primary, filters={metrics.WORKLOAD: workload}), window)
    came = samples.tally(Selector(metric=metrics.ARRIVALS, filters={metrics.WORKLOAD: workload}), window)
    each = done.count / came.count if done and came and came.count else 1.0
    return open_now(samples, workload, window) * max(1, math.ceil(each))


def piling_up(samples: Samples, workload: str, window: Window, rate: float) -> float | None:
    """The share of the arrivals (`rate` per second) by which open ones grow; 0 where chance explains it.

    The slope of a least-squares line over the last two thirds of the window, the first being what it takes
    for operations to end at all. None where there are too few reports.
    """
    begin = window.start + (window.end - window.start) / 3
    if window.end - begin < LEAST_S * 2 / 3:
        return None
    selector = Selector(metric=metrics.USERS, filters={metrics.WORKLOAD: workload})
    times: list[float] = []
    levels: list[float] = []
    for index in range(int((window.end - begin) / EVERY_S)):
        end = begin + (index + 1) * EVERY_S
        found = samples.numbers(selector, "last", Window(start=end - EVERY_S, end=end))
        if found:
            times.append(end)
            levels.append(sum(found))
    return _share(times, levels, rate)


def _share(times: list[float], levels: list[float], rate: float) -> float | None:
    n = len(times)
    if n < 4:
        return None
    mean_t, mean_y = sum(times) / n, sum(levels) / n
    spread = sum((t - mean_t) ** 2 for t in times)
    slope = sum((t - mean_t) * (y - mean_y) for t, y in zip(times, levels, strict=True)) / spread
    left = sum((y - mean_y - slope * (t - mean_t)) ** 2 for t, y in zip(times, levels, strict=True))
    error = math.sqrt(left / (n - 2) / spread)
    rise = slope * (times[-1] - times[0])
    if rise < LEAST_RISE or slope < _SIGMAS * error:
        return 0.0
    return slope / rate
