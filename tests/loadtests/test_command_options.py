"""What a command profile cannot ask for, told with its place, and what it is filled with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from chaos import registry
from chaos.documents.checking import validate_paths
from chaos.documents.project import find_project
from loadtests import workloads
from loadtests.commands.program import minimal_environment
from loadtests.options.command import CommandOptions, CommandProfile, filled, found_program

PROFILE = """\
apiVersion: brownout/v1
kind: LoadProfile
metadata:
  name: mine
spec:
  user: command
  service: model
  with:
    argv: ["{python}", "-c", "pass"]
"""


def problems(folder: Path, text: str, allow: str = "'*'") -> list[str]:
    """What is wrong with a profile in a project, each as line:column: key: message."""
    (folder / "brownout.yaml").write_text(
        f"apiVersion: brownout/v1\nkind: Project\nallow_commands: [{allow}]\n"
    )
    path = folder / "loadtests" / "profiles" / "mine.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    checked = validate_paths([str(path)], find_project(folder))
    assert all(problem.path == str(path) for problem in checked.problems)
    return [f"{p.line}:{p.column}: {p.key}: {p.message}" for p in checked.problems]


def test_a_profile_that_is_right_is_told_so(tmp_path: Path) -> None:
    """A program that is there, and allowed, is no problem."""
    assert problems(tmp_path, PROFILE.format(python=sys.executable)) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("  arrivals: 3/s\n", "10:13: spec.arrivals: a command is run once in each phase"),
        ("  users: 3\n", "10:10: spec.users: a command is run once in each phase"),
        ("  max_in_flight: 3\n", "10:18: spec.max_in_flight: a command is run once in each phase"),
        ("    cwd: no/such\n", "10:10: spec.with.cwd: there is no folder"),
        ("    cwd: ${elsewhere}\n", "10:10: spec.with.cwd: unknown placeholder ${elsewhere}"),
        ("    env:\n      A: $x\n", "11:10: spec.with.env.A: unknown placeholder $"),
        ("    env:\n      1-A: x\n", "11:12: spec.with.env.1-A: expected the name of a variable"),
        ("    env_from: [A=B]\n", "10:16: spec.with.env_from[0]: expected the name of a variable"),
        ("    env: {A: x}\n    env_from: [A]\n", "11:16: spec.with.env_from[0]: A is set in env too"),
        ("    log: {format: junit, path: /x}\n", "10:32: spec.with.log.path: expected a pattern below"),
        ("    log: {format: junit, path: ../x}\n", "10:32: spec.with.log.path: expected a pattern below"),
        ("    log: {path: x}\n", "10:17: spec.with.log.path: the format none reads no file"),
        ("    log: {format: pytest}\n", "10:19: spec.with.log.format: expected"),
        ("    timeout: 5\n", "10:14: spec.with.timeout: expected a duration"),
        ("    each: step\n", "10:11: spec.with.each: expected"),
        ("    expect_exit: []\n", "10:18: spec.with.expect_exit: expected"),
        ("    shell: true\n", "10:5: spec.with.shell: no such key here"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, changed: str, expected: str) -> None:
    """Each mistake is told at validation: file, line, column and key."""
    found = problems(tmp_path, PROFILE.format(python=sys.executable) + changed)
    assert len(found) == 1, found
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("./no/such", "there is no program"),
        ("no-such-program-anywhere", "there is no program no-such-program-anywhere"),
        ("./brownout.yaml", "there is no program"),  # it is there, and no program
        ("${url}", "there is no program ${url}"),
    ],
)
def test_a_program_that_is_not_there_is_refused(tmp_path: Path, program: str, expected: str) -> None:
    """A program that is missing, or is none, is told before any run."""
    found = problems(tmp_path, PROFILE.format(python=program))
    assert [each.startswith(f"9:12: spec.with.argv[0]: {expected}") for each in found] == [True], found


def test_an_environment_that_is_missing_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment that is not made is told, with the command that makes it."""
    monkeypatch.setenv(workloads.HOME_VARIABLE, str(tmp_path))
    options: dict[str, Any] = {"argv": ["inspect"], "venv": "inspect"}
    profile = CommandProfile.model_validate({"user": "command", "service": "m", "with": options})
    (flaw,) = profile.placed(tmp_path).flaws()
    assert flaw.key == ("with", "venv")
    assert flaw.hint == "make it: python -m loadtests.workloads inspect"


def test_a_program_needs_leave(tmp_path: Path) -> None:
    """What the project does not allow is not run, whoever wrote the profile."""
    found = problems(tmp_path, PROFILE.format(python=sys.executable), allow="pytest")
    assert found == [f"9:12: spec.with.argv[0]: runs may not start the program {sys.executable}"]


EXPERIMENT = """\
apiVersion: brownout/v1
kind: Experiment
metadata:
  name: mine
spec:
  target: demo-evals
  load:
    profile: eval-inspect
    with:
      {override}
  phases: {{baseline: 1s, fault: 1s, recovery: 1s}}
  faults:
    - {{name: slow, type: latency, place: model, latency: 1ms}}
  objectives:
    - ref: score-invariance{phases}
"""


@pytest.mark.parametrize(
    "override", ["argv: [sh]", "env: {LD_PRELOAD: /evil.so}", "env_from: [SECRET]", "cwd: /", "venv: null"]
)
def test_a_shipped_profile_that_is_changed_needs_leave(tmp_path: Path, override: str) -> None:
    """What is shipped may run; what an experiment makes of it is the experiment's, and needs leave."""
    path = tmp_path / "mine.yaml"
    path.write_text(EXPERIMENT.format(override=override, phases=""))
    checked = validate_paths([str(path)], find_project(tmp_path))
    assert any("runs may not start the program" in problem.message for problem in checked.problems)


def test_scores_are_not_compared_with_themselves(tmp_path: Path) -> None:
    """score-invariance cannot be asked for in the baseline; without phases it is judged after it."""
    path = tmp_path / "mine.yaml"
    path.write_text(EXPERIMENT.format(override="timeout: 5s", phases="\n      phases: [baseline, fault]"))
    checked = validate_paths([str(path)], find_project(tmp_path))
    assert any("compares with the baseline" in problem.message for problem in checked.problems)


def test_placeholders_are_filled_once() -> None:
    """What is filled in is not looked at again, and a dollar sign can be written."""
    assert (
        filled("${url}/v1 $$ $${url} ${no}", {"url": "${seed}", "seed": "7"}) == "${seed}/v1 $ ${url} ${no}"
    )


@pytest.mark.parametrize("argv", [[], None, "python -c pass"])
def test_argv_is_a_list(argv: Any) -> None:
    """No shell reads a command, so it cannot be a line of text."""
    with pytest.raises(ValidationError):
        CommandOptions.model_validate({"argv": argv})


def test_a_placed_profile_is_the_same_when_placed_again(tmp_path: Path) -> None:
    """A plan holds absolute paths, and reads back as it is."""
    options = {"argv": ["./x", "y"], "cwd": "z"}
    profile = CommandProfile.model_validate({"user": "command", "service": "m", "with": options})
    placed = profile.placed(tmp_path)
    assert placed.with_.argv == (str(tmp_path / "x"), "y")
    assert placed.with_.cwd == str(tmp_path / "z")
    again = CommandProfile.model_validate_json(placed.model_dump_json(by_alias=True))
    assert again.placed(Path("/elsewhere")) == placed == again


def test_the_stage_s_mark_reaches_every_program() -> None:
    """By it a stage finds the programs of a worker that was killed; the worker's own plan is not passed on."""
    source = {
        registry.MARKER: "stage",
        "BROWNOUT_LOAD_PLAN": "x",
        "SECRET": "y",
        "PATH": "/bin",
        "LC_ALL": "C",
    }
    assert minimal_environment(source) == {registry.MARKER: "stage", "PATH": "/bin", "LC_ALL": "C"}


def test_a_program_is_found_on_the_path() -> None:
    """A name without a slash is looked up as a shell would."""
    found = found_program(CommandOptions(argv=("sh",)))
    assert found is not None
    assert Path(found).name == "sh"
