"""Suites: members, what is expected of them, and because of what."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chaos.documents.problems import BadInput
from chaos.documents.suites import load_suite, what_is

from .conftest import EXPERIMENT, Folder

Has = Callable[[list[str], str], None]
PATH = "chaos/suites/all.yaml"


@pytest.fixture
def suite(folder: Folder) -> Folder:
    """A project with a suite of two."""
    folder.write("more/fast.yaml", EXPERIMENT.replace("name: slow", "name: fast"))
    folder.write(
        PATH,
        """
        apiVersion: brownout/v1
        kind: Suite
        metadata: {name: all}
        spec:
          members:
            - experiment: slow
              expect: fail
              because: [pairing, effect/late-replies]
            - experiment: ../../more/fast.yaml
        """,
    )
    return folder


def refused(folder: Folder) -> list[str]:
    with pytest.raises(BadInput) as caught:
        load_suite("all", folder.project)
    return [str(problem) for problem in caught.value.problems]


def test_members_are_resolved_with_what_is_expected(suite: Folder) -> None:
    """Names, and paths relative to the suite; the default expectation is a pass."""
    members = load_suite("all", suite.project, sets={"phases.fault": "9s"}).members
    assert [(m.resolved.name, m.member.expect) for m in members] == [("slow", "fail"), ("fast", "pass")]
    assert members[0].member.because == ("pairing", "effect/late-replies")
    assert {m.resolved.experiment.spec.phases.fault for m in members} == {9.0}


def test_a_reference_is_an_experiment_or_a_suite(suite: Folder) -> None:
    """`run` takes both; an unknown name is one problem, with the nearest name of either."""
    assert what_is("all", suite.project) == "Suite"
    assert what_is("slow", suite.project) == "Experiment"
    assert what_is("more/fast.yaml", suite.project) == "Experiment"
    with pytest.raises(BadInput, match="there is no experiment or suite slo\n  hint: did you mean slow"):
        what_is("slo", suite.project)


def test_reasons_have_to_exist(suite: Folder, has: Has) -> None:
    """A suite cannot expect a failure of an objective that the experiment has not."""
    suite.change(PATH, "pairing, effect/late-replies", "pairings, effect/late")
    problems = refused(suite)
    has(
        problems,
        f"{PATH}:8:17: spec.members[0].because[0]: slow has no objective pairings\n  hint: did you mean pair",
    )
    has(problems, f"{PATH}:8:27: spec.members[0].because[1]: slow has no objective effect/late")


def test_all_that_is_wrong_in_a_suite_is_told_at_once(suite: Folder, has: Has) -> None:
    """Its own mistakes, unknown members, and what is wrong in the experiments."""
    suite.change(PATH, "expect: fail", "expect: failure")
    suite.change("chaos/experiments/slow.yaml", "latency: 250ms", "latency: 250")
    suite.change(PATH, "../../more/fast.yaml", "fats")
    problems = refused(suite)
    has(problems, f"{PATH}:7:15: spec.members[0].expect: expected pass, fail or inconclusive, got failure")
    has(problems, "chaos/experiments/slow.yaml:19:16: spec.faults[0].latency: expected a duration")
    has(problems, f"{PATH}:9:19: spec.members[1].experiment: there is no experiment fats")
    assert len(problems) == 3


def test_an_experiment_is_a_member_once(suite: Folder, has: Has) -> None:
    """Verdicts are told apart by the experiment's name."""
    suite.change(PATH, "../../more/fast.yaml", "slow")
    has(refused(suite), f"{PATH}:9:19: spec.members[1].experiment: slow is members[0] too")
