"""OpenSLO v1 documents of kind SLO, as far as they can be judged here, and their objectives.

Source: https://github.com/OpenSLO/OpenSLO, `openslo/v1`. OpenSLO leaves `metricSource.spec` to its type; ours
is `OpenTelemetry`: a metric's name, attribute filters, and a threshold to count up to, or how to read it.

Invariant: what is accepted is judged as written. Keys of OpenSLO that would be ignored are refused by name.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from slo.metadata import Metadata
from slo.model import Model
from slo.objective import Filter, Indicator, Level, Objective, Quantile, Ratio, Selector
from slo.quantities import parse_duration

_T = TypeVar("_T")


def _parse_threshold(value: Any) -> float:
    """A number in the metric's unit, or a duration, which becomes seconds. Raises a ValueError otherwise."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    return parse_duration(value)


Threshold = Annotated[
    float,
    BeforeValidator(_parse_threshold),
    WithJsonSchema(
        {
            "type": ["number", "string"],
            "description": "A number in the metric's unit, or a duration where that is seconds.",
            "examples": ["250ms", 0.25],
        }
    ),
]


class _Document(Model):
    """Refuses, with what to do instead, the keys of OpenSLO that are not supported."""

    unsupported: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, value: Any) -> Any:
        for key, instead in cls.unsupported.items():
            if isinstance(value, dict) and key in value:
                raise ValueError(f"{key} is not supported: {instead}")
        return value


class CountSpec(Model):
    """What to count: the observations of a histogram (up to `at_most`), or the increase of a sum."""

    metric: str = Field(min_length=1, max_length=255, description="The OpenTelemetry name of the metric.")
    filters: dict[str, Filter] = Field(
        default_factory=dict,
        description="Attributes (of points or resources) and their value, several values, or null: absent.",
    )
    at_most: Threshold | None = Field(
        None, description="Histograms: count the observations up to this bound."
    )


class ReadingSpec(Model):
    """What to read: the quantile of a histogram, or an aggregate of a gauge or a sum."""

    metric: str = Field(min_length=1, max_length=255, description="The OpenTelemetry name of the metric.")
    filters: dict[str, Filter] = Field(
        default_factory=dict,
        description="Attributes (of points or resources) and their value, several values, or null: absent.",
    )
    quantile: float | None = Field(
        None, gt=0, lt=1, description="Histograms: 0.95 for p95. If left out, it is the objective's target."
    )
    aggregation: Literal["max", "min", "last", "increase"] | None = Field(
        None, description="Gauges and sums: which number of the window to compare."
    )


class CountSource(_Document):
    """A metricSource that is counted."""

    unsupported: ClassVar[dict[str, str]] = {"metricSourceRef": "write type and spec inline"}
    type: Literal["OpenTelemetry"]
    spec: CountSpec


class ReadingSource(_Document):
    """A metricSource that is read as a number."""

    unsupported: ClassVar[dict[str, str]] = {"metricSourceRef": "write type and spec inline"}
    type: Literal["OpenTelemetry"]
    spec: ReadingSpec


class CountMetric(Model):
    """One side of a ratio."""

    metricSource: CountSource


class ReadingMetric(Model):
    """A number that is compared with a threshold."""

    metricSource: ReadingSource


class RatioMetric(_Document):
    """good / total, or 1 - bad / total."""

    unsupported: ClassVar[dict[str, str]] = dict.fromkeys(
        ("raw", "rawType"), "a ratio is counted here, so write good (or bad) and total"
    )
    counter: Literal[True] = Field(
        True, description="The metrics only ever grow; delta temporality is understood."
    )
    good: CountMetric | None = None
    bad: CountMetric | None = None
    total: CountMetric

    @model_validator(mode="after")
    def _one_side(self) -> RatioMetric:
        if (self.good is None) is (self.bad is None):
            raise ValueError("expected exactly one of good and bad beside total")
        return self


class IndicatorSpec(Model):
    """What is measured: a ratio of counts, or a number."""

    ratioMetric: RatioMetric | None = None
    thresholdMetric: ReadingMetric | None = None

    @model_validator(mode="after")
    def _one_metric(self) -> IndicatorSpec:
        if (self.ratioMetric is None) is (self.thresholdMetric is None):
            raise ValueError("expected exactly one of ratioMetric and thresholdMetric")
        return self


class InlineIndicator(Model):
    """An indicator, written inline."""

    metadata: Metadata | None = None
    spec: IndicatorSpec


class TimeWindow(_Document):
    """The budget's window, for production rules; a run is judged over its phases."""

    unsupported: ClassVar[dict[str, str]] = {"calendar": "use a rolling window"}
    duration: str = Field(pattern=r"^[1-9]\d{0,5}[mhdw]$")
    isRolling: Literal[True] = True


class SLOTarget(_Document):
    """What the indicator must be."""

    unsupported: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("timeSliceTarget", "timeSliceWindow"), "budgetingMethod is Occurrences here"),
        **dict.fromkeys(("indicator", "indicatorRef", "compositeWeight"), "write one SLO for each indicator"),
    }
    displayName: str = ""
    target: float | None = Field(None, gt=0, lt=1, description="The share that must be good: 0.95.")
    targetPercent: float | None = Field(None, gt=0, lt=100, description="The same in percent: 95.")
    op: Literal["lte", "lt", "gte", "gt"] | None = Field(None, description="How the number must compare.")
    value: Threshold | None = Field(None, description="What the number must compare with.")

    @property
    def share(self) -> float | None:
        """The target as a fraction, however it was written; rounded, so that 99.9 % is 0.999."""
        return round(self.targetPercent / 100, 12) if self.targetPercent is not None else self.target

    @model_validator(mode="after")
    def _one_target(self) -> SLOTarget:
        if self.target is not None and self.targetPercent is not None:
            raise ValueError("expected only one of target and targetPercent")
        return self


class SLOSpec(_Document):
    """One indicator and one objective."""

    unsupported: ClassVar[dict[str, str]] = {
        "indicatorRef": "write the indicator inline, under indicator",
        "alertPolicies": "runs are judged, not alerted on",
    }
    description: str = ""
    service: str = Field("", description="The service that the objective is about.")
    indicator: InlineIndicator
    timeWindow: tuple[TimeWindow, ...] = Field((), max_length=1)
    budgetingMethod: Literal["Occurrences"] = "Occurrences"
    objectives: tuple[SLOTarget, ...] = Field(min_length=1, max_length=1)

    @model_validator(mode="after")
    def _fits(self) -> SLOSpec:
        target, spec = self.objectives[0], self.indicator.spec
        if spec.ratioMetric is not None:
            if target.share is None:
                raise ValueError("a ratioMetric needs target (or targetPercent) in its objective")
            if target.op is not None or target.value is not None:
                raise ValueError("op and value belong to a thresholdMetric; a ratioMetric has a target only")
        elif spec.thresholdMetric is not None:
            _check_threshold(spec.thresholdMetric.metricSource.spec, target)
        return self


class SLODocument(Model):
    """An OpenSLO v1 document of kind SLO."""

    apiVersion: Literal["openslo/v1"]
    kind: Literal["SLO"]
    metadata: Metadata
    spec: SLOSpec


def _check_threshold(spec: ReadingSpec, target: SLOTarget) -> None:
    if target.value is None or target.op is None:
        raise ValueError("a thresholdMetric needs op and value in its objective")
    if spec.aggregation is not None:
        if spec.quantile is not None:
            raise ValueError("expected only one of quantile (histograms) and aggregation (gauges and sums)")
        if target.share is not None:
            raise ValueError(
                "an aggregation gives one number, of which no share can be good: leave target out"
            )
        return
    if target.op != "lte":
        raise ValueError(
            f"a histogram is judged by what is at most a bound: expected op lte, got {target.op}"
        )
    quantile = spec.quantile if spec.quantile is not None else target.share
    if quantile is None:
        raise ValueError("a thresholdMetric needs a target or a quantile (histograms), or an aggregation")
    if target.share is not None and not math.isclose(target.share, quantile):
        raise ValueError(
            f"p{100 * quantile:g} <= {target.value:g} means that a share of {quantile:g} is, "
            f"but the target is {target.share:g}: leave one of them out"
        )


def to_objective(document: SLODocument) -> Objective:
    """The objective that a document states. A valid document always has one."""
    spec, target = document.spec, document.spec.objectives[0]
    ratio, threshold = spec.indicator.spec.ratioMetric, spec.indicator.spec.thresholdMetric
    indicator: Indicator
    unit = "1"
    if ratio is not None:
        indicator = Ratio(
            good=_selector(ratio.good) if ratio.good else None,
            bad=_selector(ratio.bad) if ratio.bad else None,
            total=_selector(ratio.total),
            target=_given(target.share),
        )
    else:
        source = _given(threshold).metricSource.spec
        indicator = _of_threshold(source, target)
        unit = _unit(source.metric)
    description = spec.description or document.metadata.description or document.metadata.displayName
    return Objective(
        name=document.metadata.name,
        description=" ".join(description.split()),
        unit=unit,
        indicator=indicator,
    )


def _of_threshold(source: ReadingSpec, target: SLOTarget) -> Quantile | Level:
    selector, value = Selector(metric=source.metric, filters=source.filters), float(_given(target.value))
    if source.aggregation is not None:
        return Level(source=selector, aggregation=source.aggregation, op=_given(target.op), bound=value)
    quantile = source.quantile if source.quantile is not None else _given(target.share)
    return Quantile(source=selector, quantile=quantile, at_most=value)


def _given(value: _T | None) -> _T:
    """A value that the model's validators have made sure of."""
    assert value is not None, "checked when the document was validated"  # noqa: S101
    return value


def _selector(metric: CountMetric) -> Selector:
    spec = metric.metricSource.spec
    at_most = None if spec.at_most is None else float(spec.at_most)
    return Selector(metric=spec.metric, filters=spec.filters, at_most=at_most)


def _unit(metric: str) -> str:
    """`s` of what is a duration by its semantic-convention name; else unknown until it is reported."""
    return "s" if metric.endswith((".duration", ".time_to_first_chunk")) else ""


def boundaries(objective: Objective) -> dict[str, set[float]]:
    """The bucket boundaries, by metric and in its unit, that must exist for the objective to be counted."""
    indicator = objective.indicator
    wanted: dict[str, set[float]] = {}
    if isinstance(indicator, Ratio):
        for selector in (indicator.good, indicator.bad, indicator.total):
            if selector is not None and selector.at_most is not None:
                wanted.setdefault(selector.metric, set()).add(selector.at_most)
    elif isinstance(indicator, Quantile):
        wanted[indicator.source.metric] = {indicator.at_most}
    return wanted
