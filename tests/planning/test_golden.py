"""The shipped experiments: they resolve, and their plans are known.

`BROWNOUT_REGENERATE=1 pytest tests/planning` writes the plans again, to be looked at and committed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chaos.documents.checking import validate_paths
from chaos.documents.library import FOLDERS, Library
from chaos.documents.project import find_project
from chaos.documents.resolve import resolve
from chaos.documents.suites import load_suite
from chaos.plan_view import plan_text
from chaos.planning import make_plan
from loadtests.workloads import NAMES, is_made

GOLDEN = Path(__file__).parents[1] / "golden" / "plans"
SHIPPED = [
    "env-half-open",
    "env-half-open-reaped",
    "env-paused",
    "env-paused-careful",
    "env-proxy-down",
    "env-reward-dropped",
    "env-slow-steps",
    "env-slow-steps-careful",
    "env-stale-observation",
    "eval-bandwidth-squeeze",
    "eval-connection-resets",
    "eval-empty-completion",
    "eval-fault-without-effect",
    "eval-inspect-stream-cut",
    "eval-judge-null",
    "eval-judge-null-strict",
    "eval-overloaded-529",
    "eval-rate-limit-storm",
    "eval-rate-limit-storm-retry-after",
    "eval-search-stale",
    "eval-search-stale-careful",
    "eval-service-killed",
    "eval-stream-cut",
    "eval-stream-cut-careful",
    "eval-tool-reply-lost",
    "eval-tool-reply-lost-careful",
]

NEEDS = {"eval-inspect-stream-cut": "inspect"}
"""What a virtual environment has to be there for: validation asks for the program."""


def needs(*environments: str) -> None:
    """Skip (which fails in CI) where one is not there."""
    if not all(map(is_made, environments)):
        pytest.skip("no virtual environments of evals: run `make tools`")


@pytest.fixture(autouse=True)
def no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for someone who has no project of their own."""
    monkeypatch.chdir(tmp_path)


def test_all_shipped_documents_are_right() -> None:
    """Every shipped document validates, with all that it refers to."""
    needs(*NAMES)
    library = Library(find_project())
    folders = [str(library.folder("shipped", name)) for name in dict.fromkeys(FOLDERS.values())]
    checked = validate_paths(folders, find_project())
    assert [str(problem) for problem in checked.problems] == []
    assert checked.documents >= 18
    assert library.names(["Experiment"]) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_the_plan_of_a_shipped_experiment_is_the_known_one(name: str) -> None:
    """What a run would do and touch does not change unseen."""
    if name in NEEDS:
        needs(NEEDS[name])
    text = plan_text(make_plan(resolve(name, project=find_project()), 1, 10))
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("BROWNOUT_REGENERATE"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_the_demo_suite_expects_what_was_promised() -> None:
    """One fails because of reply pairing, one is inconclusive because of its fault, the others pass."""
    members = load_suite("demo", find_project()).members
    assert [(m.resolved.name, m.member.expect, m.member.because) for m in members] == [
        ("env-slow-steps", "fail", ("reply-pairing",)),
        ("env-slow-steps-careful", "pass", ()),
        ("eval-connection-resets", "pass", ()),
        ("env-proxy-down", "pass", ()),
        ("eval-fault-without-effect", "inconclusive", ("effect/slow-scorer",)),
    ]
    total = sum(make_plan(m.resolved, 1, 10).cues[-1].at_s for m in members)
    assert total <= 70, "with start-up, the suite has to end within 90 s"


def test_the_layer4_suite_expects_what_was_promised() -> None:
    """What fails does so because of the failure that it rehearses; each remedy passes, and so does the crash."""
    members = load_suite("layer4", find_project()).members
    assert [(m.resolved.name, m.member.expect, m.member.because) for m in members] == [
        ("env-half-open", "fail", ("env-sessions-held",)),
        ("env-half-open-reaped", "pass", ()),
        ("env-paused", "fail", ("reply-pairing",)),
        ("env-paused-careful", "pass", ()),
        ("eval-bandwidth-squeeze", "fail", ("chat-latency",)),
        ("eval-service-killed", "pass", ()),
    ]


def test_the_reaped_experiment_differs_in_the_session_timeout_alone() -> None:
    """The runbook's act is what is verified; beside it there is only more time, to see slots come back."""
    held, reaped = (
        make_plan(resolve(name, project=find_project()), 1, 10)
        for name in ("env-half-open", "env-half-open-reaped")
    )
    first, second = held.services[0].demo, reaped.services[0].demo
    assert first is not None
    assert second is not None
    assert second == first.model_copy(update={"session_timeout_s": 4.0})
    assert [f.model_copy(update={"heal_at_s": 0}) for f in held.faults[:1]] == [
        f.model_copy(update={"heal_at_s": 0}) for f in reaped.faults[:1]
    ]
    assert held.faults[1:] == reaped.faults[1:]
    assert held.requirements == reaped.requirements
    assert held.workloads == reaped.workloads
    assert reaped.phases == held.phases | {"fault": reaped.phases["fault"]}


@pytest.mark.parametrize("naive_name", ["env-slow-steps", "env-paused"])
def test_the_careful_experiment_differs_in_the_client_alone(naive_name: str) -> None:
    """The runbook's act is what is verified: nothing else has changed."""
    naive, careful = (
        make_plan(resolve(name, project=find_project()), 1, 10)
        for name in (naive_name, f"{naive_name}-careful")
    )
    assert naive.faults == careful.faults
    assert naive.phases == careful.phases
    assert naive.requirements == careful.requirements
    options = [plan.workloads[0].profile.with_.model_dump() for plan in (naive, careful)]
    assert {key for key in options[0] if options[0][key] != options[1][key]} == {"client"}
