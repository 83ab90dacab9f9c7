"""`init`: a project of one's own that is right from the first minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.documents.checking import validate_paths
from chaos.documents.library import Library
from chaos.documents.problems import BadInput
from chaos.documents.project import find_project
from chaos.documents.resolve import resolve
from chaos.documents.scaffold import PLACEHOLDER, lay_out, scaffold_folder


def test_what_is_laid_out_is_right_and_under_the_users_name(tmp_path: Path) -> None:
    """Every document validates, the experiment resolves, and the placeholder is nowhere."""
    folder = tmp_path / "my-gym"
    files = lay_out(folder)
    project = find_project(folder)
    assert project.root == folder
    checked = validate_paths([str(folder)], project)
    assert [str(problem) for problem in checked.problems] == []
    assert checked.documents == 5
    resolved = resolve("my-gym-slow", project=project)
    assert resolved.runbooks["my-gym-slow"] == folder / "runbooks/my-gym-slow.md"
    assert {path.name for path in files} >= {"brownout.yaml", "README.md", "my-gym.yaml", "my-gym-slow.yaml"}
    for path in files:
        assert PLACEHOLDER not in path.read_text()
        assert PLACEHOLDER not in str(path)


def test_the_scaffold_itself_is_a_project(tmp_path: Path) -> None:
    """What is shipped is valid as it stands, with every kind of document that a user writes."""
    names = {
        (row.kind, row.name)
        for row in Library(find_project(scaffold_folder())).listing()
        if row.where == "project"
    }
    assert {kind for kind, _ in names} == {"experiment", "target", "load profile", "objective", "runbook"}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder that holds anything, or a file of that name, is left as it is."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("mine", "file"):
        with pytest.raises(BadInput, match="is there already"):
            lay_out(tmp_path / name)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("name", "near"), [("My Gym", "my-gym"), ("gym_1", "gym-1"), ("gym.", "gym"), ("é", "")]
)
def test_a_name_that_documents_cannot_have_is_refused(tmp_path: Path, name: str, near: str) -> None:
    """With the nearest one that they can."""
    with pytest.raises(BadInput) as caught:
        lay_out(tmp_path / name)
    assert caught.value.problems[0].hint == (f"did you mean {near}?" if near else "")
