from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from slo.metadata import RUNBOOK_ANNOTATION
from slo.objective import Level, Quantile, Ratio, Selector
from slo.openslo import SLODocument, boundaries, to_objective

SHIPPED = sorted((Path(__file__).parents[2] / "slo" / "objectives").glob("*.yaml"))
RATIO: dict[str, Any] = yaml.safe_load(
    """
    apiVersion: openslo/v1
    kind: SLO
    metadata: {name: good}
    spec:
      indicator:
        spec:
          ratioMetric:
            good: {metricSource: {type: OpenTelemetry, spec: {metric: d, filters: {e: null}, at_most: 250ms}}}
            total: {metricSource: {type: OpenTelemetry, spec: {metric: d}}}
      objectives: [{target: 0.95}]
    """
)
THRESHOLD: dict[str, Any] = yaml.safe_load(
    """
    apiVersion: openslo/v1
    kind: SLO
    metadata: {name: quick}
    spec:
      indicator:
        spec:
          thresholdMetric: {metricSource: {type: OpenTelemetry, spec: {metric: x.duration, quantile: 0.95}}}
      objectives: [{op: lte, value: 1s}]
    """
)


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one key set; `path` is `a.b.0.c`, and a value of ... takes the key away."""
    result = copy.deepcopy(document)
    at: Any = result
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        at = at[step]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return result


SOURCE = "spec.indicator.spec.thresholdMetric.metricSource.spec"
RATIO_METRIC = "spec.indicator.spec.ratioMetric"


def test_a_ratio_becomes_a_ratio() -> None:
    """Thresholds are seconds, null means absent, and the boundary that must exist is named."""
    objective = to_objective(SLODocument.model_validate(RATIO))
    assert objective.indicator == Ratio(
        good=Selector(metric="d", filters={"e": None}, at_most=0.25), total=Selector(metric="d"), target=0.95
    )
    assert boundaries(objective) == {"d": {0.25}}


def test_what_is_bad_may_be_counted_instead() -> None:
    """A ratio of bad observations stays one; nobody turns it round in their head."""
    good = RATIO["spec"]["indicator"]["spec"]["ratioMetric"]["good"]
    document = changed(changed(RATIO, f"{RATIO_METRIC}.bad", good), f"{RATIO_METRIC}.good", ...)
    indicator = to_objective(SLODocument.model_validate(document)).indicator
    assert isinstance(indicator, Ratio)
    assert (indicator.good, indicator.bad) == (None, Selector(metric="d", filters={"e": None}, at_most=0.25))


def test_a_percentage_is_a_target() -> None:
    """99.9 % is 0.999, without binary dust."""
    document = changed(RATIO, "spec.objectives.0", {"targetPercent": 99.9})
    indicator = to_objective(SLODocument.model_validate(document)).indicator
    assert isinstance(indicator, Ratio)
    assert indicator.target == 0.999


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ({"metric": "x.duration", "quantile": 0.95}, {"op": "lte", "value": "1s"}),
        ({"metric": "x.duration", "quantile": 0.95}, {"op": "lte", "value": 1, "target": 0.95}),
        ({"metric": "x.duration"}, {"op": "lte", "value": 1.0, "targetPercent": 95}),
    ],
)
def test_a_threshold_on_a_histogram_is_a_quantile(source: dict[str, Any], target: dict[str, Any]) -> None:
    """p95 <= 1 s, and 95 % of them within 1 s, are the same objective, however it is written."""
    document = changed(changed(THRESHOLD, SOURCE, source), "spec.objectives.0", target)
    objective = to_objective(SLODocument.model_validate(document))
    assert objective.indicator == Quantile(source=Selector(metric="x.duration"), quantile=0.95, at_most=1.0)
    assert objective.unit == "s"
    assert boundaries(objective) == {"x.duration": {1.0}}


def test_an_aggregation_is_a_level() -> None:
    """Gauges and sums are compared as numbers."""
    source = {"metric": "users", "aggregation": "max"}
    document = changed(changed(THRESHOLD, SOURCE, source), "spec.objectives.0", {"op": "lt", "value": 5})
    objective = to_objective(SLODocument.model_validate(document))
    assert objective.indicator == Level(
        source=Selector(metric="users"), aggregation="max", op="lt", bound=5.0
    )
    assert boundaries(objective) == {}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (changed(RATIO, "spec.objectives.0", {"target": 1.0}), "less than 1"),
        (changed(RATIO, "spec.objectives.0", {"target": 0.9, "targetPercent": 90}), "only one of target"),
        (changed(RATIO, "spec.objectives.0", {}), "a ratioMetric needs target"),
        (changed(RATIO, "spec.objectives.0.op", "lte"), "belong to a thresholdMetric"),
        (changed(RATIO, "spec.objectives", []), "at least 1 item"),
        (changed(RATIO, "spec.objectives", [{"target": 0.9}, {"target": 0.8}]), "at most 1 item"),
        (
            changed(RATIO, "spec.indicatorRef", "x"),
            "indicatorRef is not supported: write the indicator inline",
        ),
        (changed(RATIO, "spec.alertPolicies", []), "alertPolicies is not supported"),
        (changed(RATIO, "spec.budgetingMethod", "Timeslices"), "Occurrences"),
        (changed(RATIO, f"{RATIO_METRIC}.good", ...), "exactly one of good and bad"),
        (changed(RATIO, f"{RATIO_METRIC}.counter", False), "counter"),
        (changed(RATIO, f"{RATIO_METRIC}.raw", {}), "raw is not supported"),
        (changed(RATIO, f"{RATIO_METRIC}.total.metricSource.type", "Prometheus"), "OpenTelemetry"),
        (changed(RATIO, f"{RATIO_METRIC}.total.metricSource.spec.metrics", "d"), "Extra inputs"),
        (changed(RATIO, f"{RATIO_METRIC}.good.metricSource.spec.at_most", "fast"), "250ms"),
        (changed(RATIO, f"{RATIO_METRIC}.good.metricSource.spec.at_most", True), "250ms"),
        (changed(RATIO, "spec.indicator.spec.ratioMetric", ...), "exactly one of ratioMetric"),
        (changed(RATIO, "apiVersion", "openslo/v2"), "openslo/v1"),
        (changed(RATIO, "metadata.name", "Not A Name"), "pattern"),
        (changed(THRESHOLD, "spec.objectives.0.value", ...), "needs op and value"),
        (changed(THRESHOLD, "spec.objectives.0.op", "gt"), "expected op lte, got gt"),
        (changed(THRESHOLD, "spec.objectives.0.target", 0.5), "but the target is 0.5"),
        (changed(THRESHOLD, f"{SOURCE}.quantile", ...), "needs a target or a quantile"),
        (changed(THRESHOLD, f"{SOURCE}.aggregation", "max"), "only one of quantile"),
        (
            changed(
                changed(THRESHOLD, SOURCE, {"metric": "x", "aggregation": "max"}),
                "spec.objectives.0.target",
                0.5,
            ),
            "leave target out",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused(document: dict[str, Any], said: str) -> None:
    """Everything that would be ignored, or means nothing, is refused, and the message says what would do."""
    with pytest.raises(ValidationError, match=said):
        SLODocument.model_validate(document)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_objective_is_valid(path: Path) -> None:
    """Every shipped objective is called as its file, names a runbook, and has comments for its reader."""
    text = path.read_text()
    document = yaml.safe_load(text)
    assert document["metadata"]["name"] == path.stem
    assert document["metadata"]["annotations"][RUNBOOK_ANNOTATION]
    assert text.startswith("# ")
    if document["kind"] == "SLO":
        objective = to_objective(SLODocument.model_validate(document))
        assert objective.description
        assert objective.name == path.stem


def test_a_document_survives_json() -> None:
    """What was read is the same after a round trip through JSON, and has a JSON Schema."""
    for raw in (RATIO, THRESHOLD):
        document = SLODocument.model_validate(raw)
        assert SLODocument.model_validate_json(document.model_dump_json(exclude_none=True)) == document
    assert SLODocument.model_json_schema()["title"] == "SLODocument"
