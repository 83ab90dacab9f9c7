"""`validate`: files, folders, names, and documents of every kind."""

from __future__ import annotations

from collections.abc import Callable

from chaos.documents.checking import Checked, validate_paths

from .conftest import PROFILE, Folder

Has = Callable[[list[str], str], None]


def check(folder: Folder, *paths: str) -> tuple[Checked, list[str]]:
    checked = validate_paths(paths, folder.project)
    return checked, [str(problem) for problem in checked.problems]


def test_a_right_project_is_counted(folder: Folder) -> None:
    """All documents of the project's folders; YAML of other programs beside them is left alone."""
    folder.write("docker-compose.yml", "services: {}\n")
    folder.write("deploy/job.yaml", "apiVersion: batch/v1\nkind: Job\n")
    checked, problems = check(folder, ".")
    assert problems == []
    assert (checked.documents, checked.files) == (7, 5)


def test_files_names_and_folders_can_be_mixed(folder: Folder) -> None:
    """What is named twice is checked once."""
    checked, problems = check(folder, "slow", "chaos/experiments/slow.yaml", "chaos/targets", "here")
    assert problems == []
    assert (checked.documents, checked.files) == (2, 2)


def test_all_problems_of_all_files_are_told(folder: Folder, has: Has) -> None:
    """Each kind of document is checked as if it were about to be used."""
    folder.change("chaos/targets/here.yaml", "127.0.0.1", "10.0.0.1")
    folder.change("loadtests/profiles/players.yaml", "arrivals: 5/s", "arrivals: 0/s")
    folder.change("slo/objectives/all.yaml", "check: reply-pairing", "check: pairing")
    folder.change("slo/objectives/all.yaml", "objective: steps", "objective: step")
    folder.change("slo/objectives/all.yaml", "target: 0.95", "target: 95")
    folder.write(
        "chaos/suites/s.yaml",
        "apiVersion: brownout/v1\nkind: Suite\nmetadata: {name: s}\nspec: {members: [{experiment: none}]}\n",
    )
    folder.write("chaos/experiments/empty.yaml", "")
    project = folder.project  # as it is while its own file is right
    folder.change("brownout.yaml", "kind: Project", "kind: Project\nlease: 5")
    problems = [str(problem) for problem in validate_paths(["."], project).problems]
    for said in (
        "brownout.yaml:3:8: lease: expected a duration",
        "chaos/targets/here.yaml:6:24: spec.services.environment.url: runs may not touch",
        "loadtests/profiles/players.yaml:7:13: spec.arrivals: expected more than 0",
        "slo/objectives/all.yaml:6:15: spec.check: expected reply-pairing, reward-known, exactly-once or score-invariance, got pairing",
        "slo/objectives/all.yaml:13:19: spec.objective: there is no objective step\n  hint: did you",
        "slo/objectives/all.yaml:25:15: spec.objectives[0].target: expected less than 1, got 95",
        "chaos/suites/s.yaml:4:31: spec.members[0].experiment: there is no experiment none",
        "chaos/experiments/empty.yaml:1:1: expected a document, got an empty file",
    ):
        has(problems, said)


def test_twins_are_told_with_both_places(folder: Folder, has: Has) -> None:
    """Two documents of one kind and name in one folder."""
    folder.write("loadtests/profiles/twin.yaml", PROFILE)
    _, problems = check(folder, ".")
    has(
        problems,
        "loadtests/profiles/twin.yaml:3:18: metadata.name: players is the name of another load profile too\n"
        "  hint: the other one is at loadtests/profiles/players.yaml:3:18",
    )


def test_what_is_not_there_is_said(folder: Folder, has: Has) -> None:
    """Unknown names and paths, and folders without documents."""
    (folder.root / "bare").mkdir()
    _, problems = check(folder, "slwo", "x/y.yaml", "bare")
    has(
        problems,
        "there is no experiment, suite, target, load profile or objective slwo\n  hint: did",
    )
    has(problems, "x/y.yaml: cannot be read: no such file or directory")
    has(problems, "bare: expected YAML files, got a folder without any")


def test_outside_a_project_every_yaml_file_of_a_folder_counts(folder: Folder) -> None:
    """A folder without brownout.yaml is taken as it is."""
    folder.write("loose/deep/a.yaml", PROFILE)
    folder.write("loose/deep/b.yml", "a: 1\n")
    checked, problems = check(folder, "loose")
    assert checked.files == 2
    assert problems[0].startswith("loose/deep/b.yml:1:1: kind: is missing")
