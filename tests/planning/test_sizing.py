"""How many load processes a plan gets when nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.documents.project import find_project
from chaos.documents.resolve import resolve
from chaos.planning import make_plan
from chaos.sizing import workers_needed


@pytest.fixture(autouse=True)
def no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for someone who has no project of their own."""
    monkeypatch.chdir(tmp_path)


def needed(name: str, **sets: str) -> int:
    """The workers that a shipped experiment needs, with values of its own."""
    return workers_needed(make_plan(resolve(name, sets=sets, project=find_project()), 1, 10))


@pytest.mark.parametrize(
    "name", ["env-slow-steps", "eval-stream-cut", "eval-search-stale", "eval-judge-null"]
)
def test_a_small_load_needs_one_process(name: str) -> None:
    """A second one would take seconds to start, and a core that the service may need."""
    assert needed(name) == 1


def test_a_rate_that_one_core_cannot_send_needs_more() -> None:
    """The peak counts, not what the rate is most of the time."""
    assert needed("env-slow-steps", **{"load.arrivals": "1000/s"}) > 4
    spike = "{shape: spike, base: 1/s, peak: 1000/s, at: 1s, for: 1s}"
    assert needed("env-slow-steps", **{"load.arrivals": spike}) > 4


def test_how_many_questions_there_are_changes_nothing() -> None:
    """A user asks one of them, however many there are to choose from."""
    assert needed("eval-stream-cut", **{"load.with.items": "100000"}) == 1
