"""What is asked on the command line, and what of it is refused."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from chaos.capacity.plans import measured_phase, point_plan, return_plan
from chaos.capacity.request import Options, asked
from chaos.cli.capacity import command
from chaos.documents.problems import BadInput
from chaos.documents.project import find_project
from chaos.plan import Plan
from loadtests.arrivals import Spike


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options("q.yaml#one-at-a-time"), "--profile NAME and --objective NAME"),
        (Options("q.yaml#queue", faults=("late",)), "has no fault late"),
        (Options("q.yaml#queue", load="other"), "there is no load other"),
        (Options("q.yaml#queue", start=9, highest=3), "at least --from"),
        (Options("q.yaml#queue", objectives=("env-recovery",)), "there is no objective that a held rate"),
        (Options("q.yaml#queue", objectives=("nothing-like-it",)), "there is no objective nothing-like-it"),
        (Options("q.yaml#queue", sets=("spec.load.users=3", "spec.load.arrivals=")), "arrivals"),
        (Options("nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_searched_is_refused(project: Path, options: Options, message: str) -> None:
    """Each mistake is told before anything is started."""
    with pytest.raises(BadInput) as refused:
        asked(options, find_project(), 1)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "9"], "expected a rate such as 20/s, got 9"),
        (["--precision", "0%"], "expected more than 0"),
        (["--point-max", "1s"], "expected at least --point-min"),
    ],
)
def test_a_quantity_without_its_unit_is_refused(words: list[str], message: str) -> None:
    """Rates, shares and times are read as they are in YAML."""
    with pytest.raises(click.BadParameter) as refused:
        command.main(["queue", *words], standalone_mode=False)
    assert message in refused.value.message


def test_objectives_may_be_the_experiments_own_or_others(project: Path) -> None:
    """One that stands in the experiment's file is found, beside one that is shipped."""
    what = asked(Options("q.yaml#queue", objectives=("step-goodness", "web-in-time")), find_project(), 1)
    assert [r.objective.name for r in what.ground.plan.requirements] == ["step-goodness", "web-in-time"]


def test_a_target_alone_is_searched_without_a_fault(project: Path) -> None:
    """Load and objectives come from the command line; nothing is ever injected."""
    options = Options("demo-env", profile="env-episodes", objectives=("step-goodness",))
    what = asked(options, find_project(), 1)
    assert what.ground.faults == ()
    assert (what.start, what.highest) == (8, 512)
    plan = point_plan(what.ground, "control", 20, warm_s=2, hold_s=30)
    assert plan.faults == () and {cue.action for cue in plan.cues} == {"phase", "end"}


def test_a_points_faults_are_there_from_its_first_moment_to_its_last(project: Path) -> None:
    """Whatever times the experiment gives them: a point of the fault arm is measured under the fault alone."""
    ground = asked(Options("q.yaml#queue"), find_project(), 1).ground
    plan = point_plan(ground, "fault", 20, warm_s=2, hold_s=30)
    assert measured_phase("fault") == "fault"
    assert [(f.name, f.inject_at_s, f.heal_at_s) for f in plan.faults] == [
        ("late-replies", 2, 32),
        ("late-requests", 2, 32),
    ]
    assert [(c.at_s, c.action) for c in plan.cues] == [
        (0, "phase"),
        (2, "phase"),
        (2, "inject"),
        (2, "inject"),
        (32, "heal"),
        (32, "heal"),
        (32, "end"),
    ]
    assert plan.workloads[0].profile.arrivals == 20
    assert all(r.phases == ("fault",) for r in plan.requirements)
    assert Plan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan


def test_a_return_goes_up_and_comes_back_within_one_run(project: Path) -> None:
    """There is no pause between the overload and the rate that is returned to, in which it could heal by itself."""
    ground = asked(Options("q.yaml#queue"), find_project(), 1).ground
    plan = return_plan(ground, "fault", rate=5, overload=40, warm_s=2, overload_s=5, allowed_s=20)
    spike = plan.workloads[0].profile.arrivals
    assert isinstance(spike, Spike)
    assert (spike.base, spike.peak, spike.at, spike.for_) == (5, 40, 4, 5)
    assert plan.phases == {"baseline": 2, "fault": 27}
