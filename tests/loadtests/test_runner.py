from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests import runner

boundaries = st.lists(st.floats(0, 1e6), max_size=20)


def test_what_the_caller_has_set_does_not_change_the_load(tmp_path: Path) -> None:
    """Locust's and OpenTelemetry's own variables are left behind, and loopback is never sent to a proxy."""
    caller = {
        "LOCUST_RUN_TIME": "1s",
        "OTEL_EXPORTER_OTLP_HEADERS": "k=v",
        "NO_PROXY": "example.org",
        "A": "b",
    }
    kept = runner.environment(tmp_path / "plan.json", caller)
    assert not [name for name in kept if name.startswith(("LOCUST_", "OTEL_"))]
    assert kept["A"] == "b"
    assert kept["NO_PROXY"] == "example.org,127.0.0.1,localhost,::1"
    assert kept[runner.PLAN_VARIABLE] == str(tmp_path / "plan.json")


def test_control_lines_are_one_line_of_json_each() -> None:
    """The conductor's words arrive whole: a line each, with the phase's name and exact start."""
    assert json.loads(runner.phase_line("fault", 1795248752.300225)) == {
        "phase": "fault",
        "from": 1795248752.300225,
    }
    assert json.loads(runner.stop_line()) == {"stop": True}
    assert runner.phase_line("fault", 1.0).count("\n") == runner.stop_line().count("\n") == 1


@given(boundaries, boundaries)
def test_merged_boundaries_hold_both_in_order(default: list[float], wanted: list[float]) -> None:
    """Each threshold is a bucket boundary, none comes twice, and they ascend."""
    merged = runner.merge_boundaries(default, wanted)
    assert set(merged) == set(default) | set(wanted)
    assert list(merged) == sorted(set(merged))


@pytest.mark.parametrize("boundary", [-1.0, float("inf"), float("nan")])
def test_an_impossible_boundary_is_refused(boundary: float) -> None:
    """A threshold that no bucket can end at is refused when the plan is taken up."""
    with pytest.raises(ValueError, match="boundaries"):
        runner.merge_boundaries([1.0], [boundary])
