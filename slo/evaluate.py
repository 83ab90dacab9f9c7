"""Judges one objective over one window, in three values.

Invariant: an outcome is pass or fail only where the data leave no doubt. A ratio (and a quantile, which is
one) passes or fails only when its 95 % Wilson interval lies on one side of the target; without data, with
fewer samples than asked for, or with a threshold that the buckets cannot count, it is inconclusive, and the
reason says what there was and what was needed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from slo.finding import Finding, FindingKind, Window
from slo.histogram import Histogram, OffBoundary
from slo.objective import Level, Objective, Quantile, Ratio
from slo.outcome import Outcome
from slo.series import Samples
from slo.share import Share, read_share
from slo.statistics import samples_to_decide, wilson
from slo.wording import amount, counted, percent

_COMPARE: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "lte": (operator.le, "at most"),
    "lt": (operator.lt, "below"),
    "gte": (operator.ge, "at least"),
    "gt": (operator.gt, "above"),
}


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one indicator came to, before it is known whether the samples suffice."""

    outcome: Outcome
    reason: str
    samples: int
    value: float | None = None
    interval: tuple[float, float] | None = None
    unit: str = ""
    bad: int | None = None


def judge_objective(
    objective: Objective, window: Window, samples: Samples, *, min_samples: int, runbook: str | None
) -> Finding:
    """The finding of `objective` over `window`. `min_samples` counts observations (of levels: points)."""
    indicator = objective.indicator
    try:
        if isinstance(indicator, Ratio):
            reading = _judge_ratio(indicator, window, samples)
        elif isinstance(indicator, Quantile):
            reading = _judge_quantile(indicator, objective.unit, window, samples)
        else:
            reading = _judge_level(indicator, objective.unit, window, samples)
    except OffBoundary as error:
        reading = _Reading(Outcome.INCONCLUSIVE, f"{error}", 0)
    outcome, reason = reading.outcome, reading.reason
    if 0 < reading.samples < min_samples:
        noun = "point" if isinstance(indicator, Level) else "observation"
        was = "was" if reading.samples == 1 else "were"
        outcome = Outcome.INCONCLUSIVE
        reason = (
            f"too few samples: {counted(reading.samples, noun)} {was} seen and at least {min_samples} are "
            f"needed; so far: {reason}"
        )
    return Finding(
        objective=objective.name,
        kind=indicator.kind,
        phase=window.phase or "",
        outcome=outcome,
        reason=reason,
        target=target_text(objective),
        value=reading.value,
        interval=reading.interval,
        unit=reading.unit,
        samples=reading.samples,
        bad=reading.bad,
        runbook=runbook,
        window=window,
    )


def target_text(objective: Objective) -> str:
    """The objective's target as a table shows it: `at least 95 %`, `p95 at most 1s`, `max below 5`."""
    indicator = objective.indicator
    if isinstance(indicator, Ratio):
        return f"at least {percent(indicator.target)}"
    if isinstance(indicator, Quantile):
        return f"{quantile_name(indicator.quantile)} at most {amount(indicator.at_most, objective.unit)}"
    return f"{indicator.aggregation} {_COMPARE[indicator.op][1]} {amount(indicator.bound, objective.unit)}"


def quantile_name(quantile: float) -> str:
    """`0.95` as `p95`, `0.999` as `p99.9`."""
    return f"p{100 * quantile:.6g}"


def holds(level: Level, value: float) -> bool:
    """Whether `value` compares with the level's bound as it must."""
    return _COMPARE[level.op][0](value, level.bound)


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def no_data(kind: FindingKind, missing: str) -> str:
    """The reason of a finding without data."""
    return f"no data: {missing}; without any, {_a(kind)} cannot be judged"


def _outcome(share: Share, interval: tuple[float, float]) -> Outcome:
    if interval[0] >= share.target:
        return Outcome.PASS
    return Outcome.FAIL if interval[1] < share.target else Outcome.INCONCLUSIVE


def _doubt(share: Share) -> str:
    """What would decide a share whose interval straddles its target."""
    if share.target >= 1:
        return "no number of good samples shows a target of 100 %: an Invariant says that"
    needed = samples_to_decide(share.value, share.target)
    if needed is None:
        return "it lies on the target itself, and more samples may not decide it"
    return f"at this rate about {needed} observations would decide it"


def _interval_words(interval: tuple[float, float]) -> str:
    return f"the 95 % interval is {percent(interval[0])} to {percent(interval[1])}"


def _judge_ratio(ratio: Ratio, window: Window, samples: Samples) -> _Reading:
    share = read_share(ratio, window, samples)
    if isinstance(share, str):
        return _Reading(Outcome.INCONCLUSIVE, no_data("ratio", share), 0)
    if not share.n:
        return _Reading(
            Outcome.INCONCLUSIVE, no_data("ratio", f"{ratio.total.metric} counted no observation"), 0
        )
    interval = wilson(share.hits, share.n)
    outcome = _outcome(share, interval)
    said = (
        f"{percent(share.value)} ({share.hits:.10g} of {share.n:.10g}) were good; {_interval_words(interval)}"
    )
    wanted = percent(share.target)
    reason = {
        Outcome.PASS: f"{said}, wholly at or above the target of {wanted}",
        Outcome.FAIL: f"{said}, wholly below the target of {wanted}",
        Outcome.INCONCLUSIVE: f"{said}, on both sides of the target of {wanted}; {_doubt(share)}",
    }[outcome]
    return _Reading(outcome, reason, round(share.n), share.value, interval, "1", round(share.n - share.hits))


def _judge_quantile(quantile: Quantile, unit: str, window: Window, samples: Samples) -> _Reading:
    if clash := _clash(quantile.source.metric, unit, samples):
        return _Reading(Outcome.INCONCLUSIVE, clash, 0)
    share = read_share(quantile, window, samples)
    if isinstance(share, str):
        return _Reading(Outcome.INCONCLUSIVE, no_data("quantile", share), 0)
    if not share.n:
        missing = f"{quantile.source.metric} counted no observation"
        return _Reading(Outcome.INCONCLUSIVE, no_data("quantile", missing), 0)
    unit = unit or samples.unit(quantile.source.metric)
    interval = wilson(share.hits, share.n)
    outcome = _outcome(share, interval)
    name, most = quantile_name(quantile.quantile), amount(quantile.at_most, unit)
    said = (
        f"{percent(share.value)} ({share.hits:.10g} of {share.n:.10g}) were at most {most}; "
        f"{_interval_words(interval)}"
    )
    wanted = percent(share.target)
    reason = {
        Outcome.PASS: f"{name} is at most {most}: {said}, wholly at or above {wanted}",
        Outcome.FAIL: f"{name} is above {most}: {said}, wholly below {wanted}",
        Outcome.INCONCLUSIVE: f"{said}, on both sides of the {wanted} that {name} asks for; {_doubt(share)}",
    }[outcome]
    histogram = samples.distribution(quantile.source, window)
    estimate = histogram.quantile(quantile.quantile) if histogram else None
    return _Reading(
        outcome,
        reason,
        round(share.n),
        estimate.value if estimate else None,
        quantile_interval(histogram, quantile.quantile) if histogram else None,
        unit,
        round(share.n - share.hits),
    )


def quantile_interval(histogram: Histogram, quantile: float) -> tuple[float, float] | None:
    """The boundaries between which the quantile lies at 95 %: those that a judgement by counting rules out.

    The lower one is the highest boundary that fails as a threshold, the upper one the lowest that passes.
    None when either does not exist (too few samples, or observations above the last boundary).
    """
    if histogram.count <= 0:
        return None
    lower = 0.0
    for bound, upto in zip(histogram.bounds, accumulate(histogram.counts), strict=False):
        low, high = wilson(min(upto, histogram.count), histogram.count)
        if high < quantile:
            lower = bound
        elif low >= quantile:
            return lower, bound
    return None


def _clash(metric: str, unit: str, samples: Samples) -> str | None:
    """What is wrong when a threshold is in one unit and the metric in another, such as `ms`."""
    reported = samples.unit(metric)
    if unit and reported and unit != reported:
        return f"{metric} is reported in {reported}, but its threshold is in {unit}; write it in {reported}"
    return None


def _judge_level(level: Level, unit: str, window: Window, samples: Samples) -> _Reading:
    if clash := _clash(level.source.metric, unit, samples):
        return _Reading(Outcome.INCONCLUSIVE, clash, 0)
    values = samples.numbers(level.source, level.aggregation, window)
    if not values:
        return _Reading(Outcome.INCONCLUSIVE, no_data("level", samples.missing(level.source)), 0)
    unit = unit or samples.unit(level.source.metric)
    value = max(values) if level.op in ("lte", "lt") else min(values)
    if not math.isfinite(value):
        missing = f"{level.source.metric} reported {value}, which is no number"
        return _Reading(Outcome.INCONCLUSIVE, no_data("level", missing), 0)
    met = holds(level, value)
    what = "increase" if level.aggregation == "increase" else f"{level.aggregation} value"
    words = _COMPARE[level.op][1]
    reason = (
        f"the {what} of {level.source.metric} was {amount(value, unit)}"
        f"{'' if met else ', which is not'} {'and had to be' if met else ''} "
        f"{words} {amount(level.bound, unit)}"
    )
    return _Reading(
        Outcome.PASS if met else Outcome.FAIL,
        " ".join(reason.split()),
        samples.points(level.source, window),
        value,
        None,
        unit,
    )
