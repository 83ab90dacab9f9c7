"""Plans: what is planned is what was asked for, in order, and healed in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.documents.models import Experiment
from chaos.documents.project import find_project
from chaos.documents.resolve import Resolved, resolve
from chaos.documents.targets import Target
from chaos.plan import Plan, PlannedDemo, PlannedProxy, PlannedService
from chaos.planning import make_plan
from slo.effect import ShareEffect

TARGET = Target.model_validate(
    {
        "apiVersion": "brownout/v1",
        "kind": "Target",
        "metadata": {"name": "t"},
        "spec": {
            "services": {
                "env": {"url": "http://127.0.0.1:8000", "health": "/health"},
                "model": {"demo": "evals"},
            },
            "proxies": {"db": {"upstream": "127.0.0.1:5432", "listen": "127.0.0.1:7000"}},
            "toxiproxy": "http://127.0.0.1:8474",
        },
    }
)


def resolved_with(phases: tuple[float, float, float], faults: list[dict[str, Any]]) -> Resolved:
    """An experiment with these phases and faults, and nothing that load or objectives add."""
    names = ("baseline", "fault", "recovery")
    experiment = Experiment.model_validate(
        {
            "apiVersion": "brownout/v1",
            "kind": "Experiment",
            "metadata": {"name": "e"},
            "spec": {
                "target": "t",
                "load": {"profile": "p"},
                "phases": {name: f"{seconds:.3f}s" for name, seconds in zip(names, phases, strict=True)},
                "faults": faults,
                "objectives": [{"ref": "o"}],
            },
        }
    )
    return Resolved("e.yaml", Path("/project"), experiment, TARGET, (), (), {}, "")


def fault(name: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "type": "latency", "place": "env", "latency": "100ms", **keys}


@st.composite
def experiments(draw: st.DrawFn) -> Resolved:
    milliseconds = st.integers(500, 30_000)
    phases = draw(st.tuples(milliseconds, milliseconds, milliseconds))
    length = phases[1]
    faults = []
    for index in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, length - 1))
        lasts = draw(st.none() | st.integers(1, length - at))
        times = {"at": f"{at}ms"} | ({} if lasts is None else {"for": f"{lasts}ms"})
        kind = draw(
            st.sampled_from([{}, {"type": "reset_peer", "stream": "up", "toxicity": "10%"}, {"type": "down"}])
        )
        made = fault(f"f{index}", **times) | kind
        if kind:
            del made["latency"]
        faults.append(made)
    return resolved_with(tuple(p / 1000 for p in phases), faults)  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(experiments(), st.integers(0, 2**32))
def test_every_plan_keeps_its_rules(resolved: Resolved, seed: int) -> None:
    """Cues are sorted, each inject has its heal after it and within the fault phase, the end is last."""
    plan = make_plan(resolved, seed, 10)
    times = [cue.at_s for cue in plan.cues]
    assert times == sorted(times)
    assert plan.cues[0].subject == "baseline"
    assert plan.cues[0].at_s == 0
    assert plan.cues[-1].action == "end"
    assert plan.cues[-1].at_s == pytest.approx(sum(plan.phases.values()))
    assert plan.deadline_s > plan.cues[-1].at_s
    order = [(cue.action, cue.subject) for cue in plan.cues]
    begin, end = order.index(("phase", "fault")), order.index(("phase", "recovery"))
    for planned in plan.faults:
        inject, heal = order.index(("inject", planned.name)), order.index(("heal", planned.name))
        assert begin < inject < heal < end
        assert plan.cues[heal].at_s <= plan.cues[end].at_s
        assert planned.inject_at_s < planned.heal_at_s
    assert len(order) == len(set(order)) == 4 + 2 * len(plan.faults)


@settings(max_examples=50, deadline=None)
@given(experiments())
def test_a_plan_is_the_same_each_time_and_survives_json(resolved: Resolved) -> None:
    """Planning is a pure function, and `plan.json` reads back as the same plan."""
    plan = make_plan(resolved, 1, 10)
    assert plan == make_plan(resolved, 1, 10)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_attributes_are_in_the_proxys_units() -> None:
    """Milliseconds; microseconds for a slicer's delay; kB/s for a rate; bytes; streams in full."""
    resolved = resolved_with(
        (3, 6, 3),
        [
            fault("late", latency="1.5s", jitter="20ms", stream="up", toxicity="25%"),
            {"name": "slow", "type": "bandwidth", "place": "env", "rate": "64kB/s"},
            {"name": "cut", "type": "slicer", "place": "env", "average_size": "1kB", "delay": "50us"},
            {"name": "short", "type": "limit_data", "place": "env", "bytes": "2KiB"},
            {"name": "gone", "type": "down", "place": "env", "at": "1s", "for": "2s"},
        ],
    )
    late, slow, cut, short, gone = make_plan(resolved, 1, 10).faults
    assert (late.attributes, late.stream, late.toxicity) == (
        {"latency": 1500, "jitter": 20},
        "upstream",
        0.25,
    )
    assert slow.attributes["rate"] == 64
    assert (cut.attributes["average_size"], cut.attributes["delay"]) == (1000, 50)
    assert short.attributes["bytes"] == 2048
    assert (gone.type, gone.attributes, gone.inject_at_s, gone.heal_at_s) == ("down", {}, 4, 6)


def test_every_service_has_a_proxy_and_the_targets_own_come_after() -> None:
    """One proxy of each service's name, and those that the target has beside them."""
    plan = make_plan(resolved_with((3, 6, 3), [fault("f")]), 1, 10)
    assert plan.services == (
        PlannedService(name="env", address="127.0.0.1:8000", health="/health"),
        PlannedService(name="model", demo=PlannedDemo(service="evals")),
    )
    assert plan.proxies == (
        PlannedProxy(name="env", service="env"),
        PlannedProxy(name="model", service="model"),
        PlannedProxy(name="db", listen="127.0.0.1:7000", upstream="127.0.0.1:5432"),
    )
    assert plan.toxiproxy == "http://127.0.0.1:8474"


def test_a_demo_is_started_as_the_target_says() -> None:
    """What the target says of a demo's sessions is what it is told; one planned otherwise is another process."""
    plain = PlannedDemo(service="environment")
    few = PlannedDemo(service="environment", sessions=16, session_timeout_s=0.5)
    assert (plain.arguments, plain.process) == (("environment",), "environment")
    assert few.arguments == ("environment", "--max-sessions", "16", "--session-timeout", "0.5s")
    assert few.process != plain.process
    (service,) = make_plan(resolve("env-half-open-reaped", project=find_project()), 1, 10).services
    assert service.demo == PlannedDemo(service="environment", sessions=16, session_timeout_s=4.0)


def test_a_declared_effect_replaces_the_default() -> None:
    """What the author says must be seen is all that is looked for."""
    effect = {"metric": "m", "rises": "5%"}
    (planned,) = make_plan(resolved_with((3, 6, 3), [fault("f", effect=effect)]), 1, 10).faults
    assert planned.effects == (ShareEffect(metric="m", rises=0.05),)


def test_thresholds_become_boundaries(tmp_path: Path) -> None:
    """The bounds of objectives, of recoveries too, are bucket boundaries of their metrics."""
    plan = make_plan(resolve("env-proxy-down", project=find_project(tmp_path)), 1, 10)
    assert plan.boundaries == {"brownout.step.duration": (1.0,)}
    assert plan.workloads[0].place == "environment"
    assert plan.faults[0].effects
