"""Judges a fault's effect: whether telemetry shows that the fault acted.

Invariant: never fail. A fault that left no trace makes a run inconclusive, since what it was to disturb was
not disturbed. An effect counts as seen only when it is as large as declared at the least that the buckets
allow, and when chance does not explain it (the 95 % interval of the difference lies above zero).
"""

from __future__ import annotations

import math

from slo.effect import Effect, QuantileEffect, ShareEffect
from slo.evaluate import no_data
from slo.finding import Finding, Window
from slo.histogram import Histogram, OffBoundary, on_bounds
from slo.objective import Selector
from slo.outcome import Outcome
from slo.series import Samples
from slo.statistics import difference
from slo.wording import amount, counted, percent

_Judged = tuple[Outcome, str, float | None, tuple[float, float] | None, int]


def judge_effect(effect: Effect, samples: Samples, baseline: Window, fault: Window) -> Finding:
    """The finding (kind `effect`) of one declared effect; both windows are read by time, not by phase.

    `value` is the rise: of the quantile in the metric's unit, or of the share as a fraction. `samples` counts
    the observations in the fault's window.
    """
    before = baseline.model_copy(update={"phase": None})
    during = fault.model_copy(update={"phase": None})
    try:
        if isinstance(effect, QuantileEffect):
            outcome, reason, value, interval, n = _quantile(effect, samples, before, during)
        else:
            outcome, reason, value, interval, n = _share(effect, samples, before, during)
    except OffBoundary as error:
        outcome, reason, value, interval, n = Outcome.INCONCLUSIVE, f"{error}", None, None, 0
    unit = (samples.unit(effect.metric) or "s") if isinstance(effect, QuantileEffect) else "1"
    return Finding(
        objective=effect_name(effect),
        kind="effect",
        phase="fault",
        outcome=outcome,
        reason=reason,
        target=_needed(effect, unit),
        value=value,
        interval=interval,
        unit=unit,
        samples=n,
        window=during,
    )


def effect_name(effect: Effect) -> str:
    """What the effect is read from: `p50 of brownout.step.duration`."""
    if isinstance(effect, QuantileEffect):
        return f"{effect.quantile} of {effect.metric}"
    return f"share of {effect.metric} with {effect.attribute}"


def _needed(effect: Effect, unit: str) -> str:
    rise = amount(effect.rises, unit) if isinstance(effect, QuantileEffect) else percent(effect.rises)
    return f"rises by at least {rise}"


def _unseen(reason: str, n: int = 0) -> _Judged:
    return Outcome.INCONCLUSIVE, reason, None, None, n


def _quantile(effect: QuantileEffect, samples: Samples, before: Window, during: Window) -> _Judged:
    selector = Selector(metric=effect.metric, filters=effect.filters)
    base, struck = samples.distribution(selector, before), samples.distribution(selector, during)
    for name, histogram in (("baseline", base), ("fault", struck)):
        if histogram is None:
            return _unseen(no_data("effect", f"in the {name}'s window, {samples.missing(selector)}"))
        if not histogram.count:
            return _unseen(
                no_data("effect", f"{effect.metric} counted no observation in the {name}'s window")
            )
    assert base is not None and struck is not None  # noqa: S101 - said above, for the type checker
    shared = tuple(sorted(set(base.bounds) & set(struck.bounds)))
    base, struck = on_bounds(base, shared), on_bounds(struck, shared)
    q = float(effect.quantile[1:]) / 100
    was, now = base.quantile(q), struck.quantile(q)
    assert was is not None and now is not None  # noqa: S101 - both have observations
    unit, n = samples.unit(effect.metric) or "s", round(struck.count)
    rise, least, most = now.value - was.value, now.lower - was.upper, now.upper - was.lower
    interval = (least, most) if math.isfinite(least) and math.isfinite(most) else None
    needed = f"(needed +{amount(effect.rises, unit)})"
    said = f"{effect_name(effect)} {_moved(was.value, now.value, unit)} {needed}"
    slack = 1e-9 * max(1.0, abs(effect.rises))
    if rise + slack < effect.rises:
        return Outcome.INCONCLUSIVE, f"{said}: the fault had no such effect", rise, interval, n
    if least + slack < effect.rises:
        reason = (
            f"{said}, but its buckets vouch for a rise of only {amount(max(least, 0.0), unit)}: they are too "
            f"coarse to tell; declare a smaller rise, or give the histogram finer buckets"
        )
        return Outcome.INCONCLUSIVE, reason, rise, interval, n
    if not _surely_more_above(now.lower, base, struck):
        reason = (
            f"{said}, but {counted(base.count, 'observation')} before and {n} during it leave it to chance"
        )
        return Outcome.INCONCLUSIVE, reason, rise, interval, n
    return Outcome.PASS, f"{said}", rise, interval, n


def _moved(was: float, now: float, unit: str) -> str:
    if amount(was, unit) == amount(now, unit):
        return f"stayed at {amount(now, unit)}"
    return f"{'rose' if now > was else 'fell'} from {amount(was, unit)} to {amount(now, unit)}"


def _surely_more_above(threshold: float, base: Histogram, struck: Histogram) -> bool:
    """Whether the share of observations above `threshold` rose by more than chance explains, at 95 %."""
    low, _ = difference(base.above(threshold), base.count, struck.above(threshold), struck.count)
    return low > 0


def _share(effect: ShareEffect, samples: Samples, before: Window, during: Window) -> _Judged:
    counts: list[tuple[float, float]] = []
    every = Selector(metric=effect.metric, filters=effect.filters)
    without = Selector(metric=effect.metric, filters={**effect.filters, effect.attribute: None})
    for name, window in (("baseline", before), ("fault", during)):
        total = samples.tally(every, window)
        if total is None:
            return _unseen(no_data("effect", f"in the {name}'s window, {samples.missing(every)}"))
        if not total.count:
            return _unseen(
                no_data("effect", f"{effect.metric} counted no observation in the {name}'s window")
            )
        plain = samples.tally(without, window)
        counts.append((max(0.0, total.count - (plain.count if plain else 0.0)), total.count))
    (was_hits, was_n), (now_hits, now_n) = counts
    rise = now_hits / now_n - was_hits / was_n
    interval = difference(was_hits, was_n, now_hits, now_n)
    said = (
        f"{effect_name(effect)} went from {percent(was_hits / was_n)} ({was_hits:g} of {was_n:g}) to "
        f"{percent(now_hits / now_n)} ({now_hits:g} of {now_n:g}; needed +{percent(effect.rises)})"
    )
    if rise + 1e-9 < effect.rises:
        return Outcome.INCONCLUSIVE, f"{said}: the fault had no such effect", rise, interval, round(now_n)
    if interval[0] <= 0:
        return Outcome.INCONCLUSIVE, f"{said}, which chance may explain", rise, interval, round(now_n)
    return Outcome.PASS, f"{said}", rise, interval, round(now_n)
