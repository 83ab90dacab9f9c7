"""Where names lead: the referring file, the user's project, the shipped documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.documents.library import Library, Reference, Unknown
from chaos.documents.project import find_project
from chaos.documents.tree import Place

from .conftest import PROFILE, TARGET, Folder

Has = Callable[[list[str], str], None]


def find(folder: Folder, kind: str, text: str) -> Path:
    document = Library(folder.project).find((kind,), Reference(text, Place("")))  # type: ignore[arg-type]
    return Path(document.path)


def test_the_project_is_the_nearest_one_upward(folder: Folder) -> None:
    """From a folder deep inside, the project around it is found; a nearer one comes first."""
    deep = folder.root / "a" / "b"
    deep.mkdir(parents=True)
    assert find_project(deep).root == folder.root
    folder.write("a/brownout.yaml", "apiVersion: brownout/v1\nkind: Project\nruns: elsewhere\n")
    assert find_project(deep).runs == folder.root / "a" / "elsewhere"


def test_without_a_project_the_defaults_hold(tmp_path: Path) -> None:
    """No brownout.yaml: loopback only, and the shipped documents."""
    project = find_project(tmp_path)
    assert project.path is None
    assert project.allows("127.0.0.1")
    assert not project.allows("10.0.0.1")
    assert "demo" in Library(project).names(["Suite"])


def test_names_of_the_users_hide_shipped_ones(folder: Folder) -> None:
    """A target of the user's called demo-env is the one that is meant, and the listing says so."""
    assert find(folder, "Target", "demo-env").is_relative_to(Path(__file__).parents[2] / "chaos")
    mine = folder.write("chaos/targets/mine.yaml", TARGET.replace("name: here", "name: demo-env"))
    assert find(folder, "Target", "demo-env") == mine
    rows = [row for row in Library(folder.project).listing() if row.name == "demo-env"]
    assert [(row.where, row.hides_shipped) for row in rows] == [("project", True)]


def test_paths_are_relative_to_the_file_that_refers(folder: Folder, has: Has) -> None:
    """`../x.yaml` in an experiment starts at the experiment; an argument starts at the working directory."""
    folder.write("elsewhere/t.yaml", TARGET.replace("name: here", "name: there"))
    folder.change("chaos/experiments/slow.yaml", "target: here", "target: ../../elsewhere/t.yaml")
    assert folder.resolve("chaos/experiments/slow.yaml").target.metadata.name == "there"
    folder.change("chaos/experiments/slow.yaml", "../../elsewhere/t.yaml", "./none.yaml")
    has(
        folder.refused(),
        "chaos/experiments/slow.yaml:6:11: spec.target: ./none.yaml cannot be used",
    )


def test_a_document_of_the_same_file_comes_first(folder: Folder) -> None:
    """An experiment with its own target beside it uses that one."""
    text = (folder.root / "chaos/experiments/slow.yaml").read_text()
    folder.write(
        "one.yaml",
        text + "---\n" + "apiVersion: brownout/v1\nkind: Target\nmetadata: {name: here}\n"
        "spec: {services: {environment: {demo: environment}}}\n",
    )
    services = folder.resolve("./one.yaml").target.spec.services
    assert "demo" in services["environment"].model_fields_set


def test_one_of_several_in_a_file_is_named(folder: Folder, has: Has) -> None:
    """`file.yaml#name` picks one; without it the problem shows how."""
    other = PROFILE.replace("players", "others").replace("arrivals: 5/s", "arrivals: 7/s")
    folder.write("two.yaml", PROFILE + "    ---" + other)
    with pytest.raises(Unknown, match=r"hint: write \./two\.yaml#players"):
        find(folder, "LoadProfile", "./two.yaml")
    folder.change("chaos/experiments/slow.yaml", "profile: players", "profile: ../../two.yaml#others")
    assert folder.resolve().loads[0].profile.arrivals == 7


def test_a_name_that_is_defined_twice_is_refused_with_both_places(folder: Folder) -> None:
    """Two documents of one kind and name in one layer: neither is chosen."""
    folder.write("chaos/targets/twin.yaml", TARGET)
    with pytest.raises(Unknown) as caught:
        find(folder, "Target", "here")
    assert "here is defined twice: chaos/targets/here.yaml:1 and chaos/targets/twin.yaml:1" in str(
        caught.value
    )


def test_an_unknown_name_is_told_at_its_place(folder: Folder, has: Has) -> None:
    """All unknown references of an experiment at once, each with the nearest known name."""
    path = "chaos/experiments/slow.yaml"
    folder.change(path, "target: here", "target: heer")
    folder.change(path, "profile: players", "profile: player")
    folder.change(path, "ref: pairing", "ref: paring")
    folder.change(path, "runbook: other", "runbook: othr")
    problems = folder.refused()
    has(problems, f"{path}:6:11: spec.target: there is no target heer\n  hint: did you mean here?")
    has(
        problems,
        f"{path}:8:14: spec.load.profile: there is no load profile player\n  hint: did you mean players?",
    )
    has(
        problems,
        f"{path}:22:12: spec.objectives[0].ref: there is no objective paring\n  hint: did you mean pairing?",
    )
    has(
        problems,
        f"{path}:25:16: spec.objectives[1].runbook: there is no runbook othr\n  hint: did you mean other?",
    )
    assert len(problems) == 4


def test_a_broken_file_is_only_told_when_it_may_hold_what_is_sought(folder: Folder) -> None:
    """A neighbour that cannot be parsed does not disturb; but it is named when the reference is not found."""
    folder.write("chaos/targets/broken.yaml", "a: [")
    folder.resolve()
    folder.change("chaos/experiments/slow.yaml", "target: here", "target: gone")
    assert any("broken.yaml:2:1: not valid YAML" in problem for problem in folder.refused())


def test_runbooks_are_files_and_nothing_else(folder: Folder) -> None:
    """A runbook's name does not lead out of its folder."""
    library = Library(folder.project)
    assert library.find_runbook("other") == folder.root / "runbooks/other.md"
    assert library.find_runbook("../brownout") is None
    assert library.find_runbook("none") is None


def test_the_listing_says_what_each_is(folder: Folder) -> None:
    """Kinds, names, one-line descriptions, and where each is from."""
    rows = {(row.kind, row.name): row for row in Library(folder.project).listing()}
    assert rows["runbook", "mixed-up"].description == "Mixed up"
    assert rows["experiment", "slow"].where == "project"
    assert rows["suite", "demo"].where == "shipped"
    assert rows["suite", "demo"].description


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Project\n", "brownout.yaml:1:1: apiVersion: is missing"),
        ("apiVersion: brownout/v1\nkind: Target\n", "brownout.yaml:2:7: kind: expected Project, got Target"),
        (
            "apiVersion: brownout/v1\nkind: Project\nallow_host: []\n",
            "brownout.yaml:3:1: allow_host: no such key",
        ),
        (
            "apiVersion: brownout/v1\nkind: Project\nlease: 10\n",
            "brownout.yaml:3:8: lease: expected a duration",
        ),
        (
            "apiVersion: brownout/v1\nkind: Project\nallow_hosts: ['*']\n",
            "brownout.yaml:3:14: allow_hosts: expected ",
        ),
        (
            "apiVersion: brownout/v1\nkind: Project\nallow_hosts: [10.0.0.0/99]\n",
            "brownout.yaml:3:14: allow_hosts:",
        ),
        ("apiVersion: brownout/v1\nkind: Project\n---\na: 1\n", "brownout.yaml:4:1: expected one document"),
    ],
)
def test_a_wrong_project_file_is_refused(folder: Folder, text: str, said: str, has: Has) -> None:
    """The project's own file is checked like any document."""
    from chaos.documents.problems import BadInput

    folder.write("brownout.yaml", text)
    with pytest.raises(BadInput) as caught:
        find_project(folder.root)
    has([str(p) for p in caught.value.problems], said)
