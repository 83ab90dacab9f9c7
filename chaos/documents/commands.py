"""Which programs an experiment and its target may run: what the project allows, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import loadtests
from chaos.documents.document import Document
from chaos.documents.faults import CommandFault
from chaos.documents.models import Experiment
from chaos.documents.problems import Problem, listed, problem_at, shown
from chaos.documents.project import ProjectFolder
from chaos.documents.targets import CommandProcess, ComposeProcess, PidFileProcess, Target
from chaos.documents.tree import Mapping, Place, Scalar, Steps, descend, spelled

DOCKER = "docker"


def command_problems(tree: Mapping, experiment: Experiment, project: ProjectFolder) -> list[Problem]:
    """The programs of command faults that may not be run."""
    problems: list[Problem] = []
    for index, fault in enumerate(experiment.spec.faults):
        if isinstance(fault, CommandFault):
            for key, argv in (("inject", fault.inject), ("heal", fault.heal), ("check", fault.check)):
                if argv is not None:
                    problems += _problems(tree, ("spec", "faults", index, key), argv[0], project)
    return problems


def process_problems(document: Document, target: Target, project: ProjectFolder) -> list[Problem]:
    """The programs of a target's processes that may not be run."""
    return [
        problem
        for name, key, program in _programs(target)
        for problem in _problems(document.tree, ("spec", "processes", name, key), program, project)
    ]


_SHIPPED = Path(loadtests.__file__).resolve().parent / "profiles"
_OWN = ("argv", "venv", "cwd", "env", "env_from")
"""What decides which program a command workload starts, and how."""


def load_problems(
    profile: Document, merged: Mapping, experiment: str, steps: Steps, project: ProjectFolder
) -> list[Problem]:
    """The program of a command workload that may not be run; what is shipped, unchanged, needs no leave.

    `merged` is the profile's spec with the overrides that stand at `steps` in the file `experiment`.
    """
    kind, program = merged.get("user"), descend(merged, ("with", "argv", 0))[0]
    if not (isinstance(kind, Scalar) and kind.value == "command"):
        return []
    if not (isinstance(program, Scalar) and isinstance(program.value, str)):
        return []
    places = [descend(merged, ("with", key)) for key in _OWN]
    own = all(node is None or place.path == profile.path for node, place in places)
    if own and Path(profile.path).resolve().parent == _SHIPPED:
        return []
    written = program.place.path == experiment or program.place.path.startswith("--set")
    whole: Steps = (*(steps if experiment and written else ("spec",)), "with", "argv", 0)
    return _refused(program.value, program.place, spelled(whole), project)


def _programs(target: Target) -> Iterator[tuple[str, str, str]]:
    for name, process in target.spec.processes.items():
        match process:
            case CommandProcess():
                yield name, "command", process.command[0]
            case PidFileProcess() if process.start is not None:
                yield name, "start", process.start[0]
            case ComposeProcess():
                yield name, "compose", DOCKER


def _problems(tree: Mapping, steps: Steps, program: str, project: ProjectFolder) -> list[Problem]:
    return _refused(program, descend(tree, steps)[1], spelled(steps), project)


def _refused(program: str, place: Place, key: str, project: ProjectFolder) -> list[Problem]:
    allowed = project.config.allow_commands
    if any(fnmatchcase(program, pattern) for pattern in allowed):
        return []
    known = f"allowed are {listed(allowed, 'and')}" if allowed else "none is allowed yet"
    hint = f"{known}; add it to allow_commands in brownout.yaml if running it is yours to decide"
    return [problem_at(place, key, f"runs may not start the program {shown(program)}", hint)]
