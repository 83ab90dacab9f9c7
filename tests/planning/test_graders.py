"""The suite `graders` and its experiments: what fails, and that each remedy is the same fault again."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.documents.project import find_project
from chaos.documents.resolve import resolve
from chaos.documents.suites import load_suite
from chaos.planning import make_plan


@pytest.fixture(autouse=True)
def no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for someone who has no project of their own."""
    monkeypatch.chdir(tmp_path)


def test_the_graders_suite_expects_what_was_promised() -> None:
    """What fails does so because of what it corrupts; each remedy passes."""
    members = load_suite("graders", find_project()).members
    assert [(m.resolved.name, m.member.expect, m.member.because) for m in members] == [
        ("eval-judge-null", "fail", ("reward-known",)),
        ("eval-judge-null-strict", "pass", ()),
        ("eval-search-stale", "fail", ("search-recall", "search-freshness")),
        ("eval-search-stale-careful", "pass", ()),
    ]


@pytest.mark.parametrize(
    ("broken", "remedy"),
    [("eval-judge-null", "eval-judge-null-strict"), ("eval-search-stale", "eval-search-stale-careful")],
)
def test_a_remedy_meets_the_same_fault(broken: str, remedy: str) -> None:
    """Fault and timeline are the same: only the client differs, and what is asked of it holds for both."""
    first, second = (make_plan(resolve(name, project=find_project()), 1, 10) for name in (broken, remedy))
    assert first.faults == second.faults
    assert first.cues == second.cues
    assert first.workloads != second.workloads
    judged = {requirement.objective.name for requirement in first.requirements}
    assert {requirement.objective.name for requirement in second.requirements} <= judged
