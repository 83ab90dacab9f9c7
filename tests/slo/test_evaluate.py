from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.effect import QuantileEffect, ShareEffect
from slo.evaluate import judge_objective, quantile_name, target_text
from slo.evidence import judge_effect
from slo.finding import Finding, Window
from slo.objective import Indicator, Level, Objective, Quantile, Ratio, Recovery, Selector
from slo.outcome import Outcome
from slo.recovery import judge_recovery
from slo.series import HistogramPoint, NumberPoint, Samples, StreamKey
from slo.statistics import wilson

T0 = 1_000_000.0
WINDOW = Window(start=T0, end=T0 + 10, phase="fault")


def counted(good: int, bad: int, unit: str = "s") -> Samples:
    """Steps of the fault phase: so many within 1 s, so many not."""
    samples, key = Samples(), StreamKey("step", unit, (("brownout.phase", "fault"),))
    samples.add(key, HistogramPoint(T0, T0 + 1, good + bad, 0, (1.0,), (good, bad)))
    return samples


def judged(indicator: Indicator, samples: Samples, unit: str = "", min_samples: int = 1) -> Finding:
    objective = Objective(name="it", unit=unit, indicator=indicator)
    return judge_objective(objective, WINDOW, samples, min_samples=min_samples, runbook="env-slow")


@given(st.integers(0, 300), st.integers(0, 300), st.floats(0.01, 1.0), st.integers(1, 100))
def test_an_outcome_needs_the_whole_interval(good: int, bad: int, target: float, least: int) -> None:
    """Ratio and quantile agree, and each outcome is what the interval, the data and the samples allow."""
    samples, n = counted(good, bad), good + bad
    ratio = judged(
        Ratio(good=Selector(metric="step", at_most=1.0), total=Selector(metric="step"), target=target),
        samples,
        min_samples=least,
    )
    if n < least or n == 0:
        assert ratio.outcome is Outcome.INCONCLUSIVE
    else:
        low, high = wilson(good, n)
        expected = Outcome.PASS if low >= target else Outcome.FAIL if high < target else Outcome.INCONCLUSIVE
        assert ratio.outcome is expected
        assert (ratio.value, ratio.interval, ratio.bad) == (good / n, (low, high), bad)
    assert ratio.samples == n
    if target < 1:
        quantile = Quantile(source=Selector(metric="step"), quantile=target, at_most=1.0)
        assert judged(quantile, samples, min_samples=least).outcome is ratio.outcome


def test_a_finding_carries_all_that_a_reader_needs() -> None:
    """Phase, window, target, unit and runbook go with the numbers."""
    indicator = Quantile(source=Selector(metric="step"), quantile=0.95, at_most=1.0)
    finding = judged(indicator, counted(200, 0), unit="s")
    assert (finding.objective, finding.kind, finding.phase) == ("it", "quantile", "fault")
    assert (finding.target, finding.unit, finding.runbook) == ("p95 at most 1s", "s", "env-slow")
    assert finding.window == WINDOW
    assert finding.value == pytest.approx(0.95)


def test_targets_read_as_sentences() -> None:
    """A table shows the target in words and units."""
    step = Selector(metric="step")
    ratio = Ratio(good=step, total=step, target=0.999)
    level = Level(source=step, aggregation="increase", op="lt", bound=5)
    assert target_text(Objective(name="x", indicator=ratio)) == "at least 99.9 %"
    assert target_text(Objective(name="x", unit="{token}", indicator=level)) == "increase below 5 token"
    assert [quantile_name(q) for q in (0.5, 0.95, 0.999)] == ["p50", "p95", "p99.9"]


def test_a_ratio_names_one_side() -> None:
    """Good and bad at once, or neither, is an error where the objective is made."""
    step = Selector(metric="step")
    for sides in ({}, {"good": step, "bad": step}):
        with pytest.raises(ValueError, match="exactly one of good and bad"):
            Ratio(total=step, target=0.5, **sides)


def test_units_are_not_mixed() -> None:
    """A threshold in seconds is not held against a metric in milliseconds."""
    indicator = Quantile(source=Selector(metric="step"), quantile=0.5, at_most=1.0)
    finding = judged(indicator, counted(100, 0, unit="ms"), unit="s")
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert "step is reported in ms, but its threshold is in s" in finding.reason
    level = Level(source=Selector(metric="step"), aggregation="max", op="lte", bound=1)
    assert judged(level, counted(100, 0, unit="ms"), unit="s").outcome is Outcome.INCONCLUSIVE


def test_recoveries_and_effects_say_when_a_threshold_cannot_be_counted() -> None:
    """A threshold off the boundaries is inconclusive wherever it is used."""
    step = Selector(metric="step", at_most=0.3)
    inner = Objective(name="it", indicator=Ratio(good=step, total=Selector(metric="step"), target=0.9))
    recovery = Recovery(name="back", objective=inner, within_s=1, window_s=1, windows=1)
    finding = judge_recovery(recovery, counted(5, 0), T0, T0 + 5, min_samples=1, runbook="x")
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert "no bucket boundary at 0.3" in finding.reason
    assert (finding.runbook, finding.target, finding.phase) == ("x", "within 1s of the heal", "recovery")


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_an_effect_never_fails(a: int, b: int, c: int, d: int) -> None:
    """Whatever was counted, an effect was seen or is not known; it was seen only if the numbers rose."""
    samples = Samples()
    for name, error, counts in (("ok", None, ((a, c), (b, d))), ("bad", "timeout", ((c, a), (d, b)))):
        pairs = (("error.type", error),) if error else ()
        key = StreamKey("step", "s", (("service.instance.id", name), *pairs))
        samples.add(key, HistogramPoint(T0, T0, 0, 0, (0.1, 0.2), (0, 0, 0)))
        for index, (fast, slow) in enumerate(((counts[0]), tuple(map(sum, zip(*counts, strict=True)))), 1):
            point = HistogramPoint(T0, T0 + index, fast + slow, 0, (0.1, 0.2), (fast, slow, 0))
            samples.add(key, point)
    before, during = Window(start=T0, end=T0 + 1), Window(start=T0 + 1, end=T0 + 2)
    effects = (
        QuantileEffect.model_validate({"metric": "step", "quantile": "p90", "rises": "50ms"}),
        ShareEffect.model_validate({"metric": "step", "rises": 0.1}),
    )
    for effect in effects:
        finding = judge_effect(effect, samples, before, during)
        assert finding.outcome in (Outcome.PASS, Outcome.INCONCLUSIVE)
        if finding.outcome.passes:
            assert finding.value is not None
            assert finding.value >= (0.05 if effect is effects[0] else 0.1) - 1e-9
        assert finding.kind == "effect"


def test_a_level_of_something_that_is_no_number_is_inconclusive() -> None:
    """An infinite reading decides nothing, and still can be written down."""
    samples, key = Samples(), StreamKey("n", "", ())
    samples.add(key, NumberPoint(T0, T0 + 1, float("inf"), "gauge"))
    finding = judged(Level(source=Selector(metric="n"), aggregation="max", op="lte", bound=1), samples)
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert Finding.model_validate_json(finding.model_dump_json()) == finding
