"""Suites: experiments that are judged together, each resolved, with what is expected of it."""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chaos.documents.document import Document, validated
from chaos.documents.library import Library, Reference, Unknown
from chaos.documents.models import MOST_ITEMS, Member, Suite
from chaos.documents.problems import BadInput, Problem, did_you_mean, listed, problem_at, shown
from chaos.documents.project import ProjectFolder
from chaos.documents.resolve import Resolved, resolve_document
from chaos.documents.tree import Mapping, Place, Scalar, Sequence, Steps, descend, spelled


@dataclass(frozen=True)
class ResolvedMember:
    """One experiment of a suite, and what is expected of it."""

    member: Member
    resolved: Resolved


@dataclass(frozen=True)
class ResolvedSuite:
    """A suite with its experiments."""

    path: str
    suite: Suite
    members: tuple[ResolvedMember, ...]

    @property
    def name(self) -> str:
        """The suite's name."""
        return self.suite.metadata.name


def load_suite(
    ref: str,
    project: ProjectFolder,
    *,
    sets: Table[str, str] | None = None,
    target: str | None = None,
) -> ResolvedSuite:
    """The suite of that name or path, its experiments resolved; `sets` and `target` go for each of them.

    Raises:
        BadInput: with every problem that was found, of all its experiments.
    """
    library = Library(project)
    try:
        document = library.find(("Suite",), Reference(ref, Place("")))
    except Unknown as unknown:
        raise BadInput(unknown.problems) from None
    return resolve_suite(document, library, sets=sets, target=target)


def what_is(ref: str, project: ProjectFolder) -> Literal["Experiment", "Suite"]:
    """Whether a reference names an experiment or a suite. Raises BadInput when it is neither, or both."""
    try:
        document = Library(project).find(("Experiment", "Suite"), Reference(ref, Place("")))
    except Unknown as unknown:
        raise BadInput(unknown.problems) from None
    return "Suite" if document.kind == "Suite" else "Experiment"


def resolve_suite(
    document: Document, library: Library, *, sets: Table[str, str] | None = None, target: str | None = None
) -> ResolvedSuite:
    """As `load_suite`, for a document that is at hand. Raises BadInput."""
    found = validated("Suite", document.tree)
    suite = found if isinstance(found, Suite) else None
    problems: list[Problem] = list(found) if isinstance(found, list) else []
    members: list[ResolvedMember] = []
    seen: dict[str, int] = {}
    for steps, index, reference in _references(document):
        try:
            experiment = library.find(("Experiment",), reference)
            resolved = resolve_document(experiment, library, sets=sets, target=target)
        except Unknown as unknown:
            problems += unknown.problems
            continue
        except BadInput as bad:
            problems += bad.problems
            continue
        if resolved.name in seen:
            message = f"{resolved.name} is members[{seen[resolved.name]}] too"
            problems.append(reference.problem(message, "name each experiment once"))
        seen.setdefault(resolved.name, index)
        if suite is not None:
            member = suite.spec.members[index]
            problems += _because_problems(document.tree, steps, member, resolved)
            members.append(ResolvedMember(member, resolved))
    if problems or suite is None:
        raise BadInput(problems)
    return ResolvedSuite(document.path, suite, tuple(members))


def _references(document: Document) -> list[tuple[Steps, int, Reference]]:
    node, _ = descend(document.tree, ("spec", "members"))
    found: list[tuple[Steps, int, Reference]] = []
    for index, item in enumerate(node.items[:MOST_ITEMS] if isinstance(node, Sequence) else ()):
        steps: Steps = ("spec", "members", index)
        name = item.get("experiment") if isinstance(item, Mapping) else None
        if isinstance(name, Scalar) and isinstance(name.value, str) and name.value:
            key = spelled((*steps, "experiment"))
            found.append((steps, index, Reference(name.value, name.place, key, Path(document.path))))
    return found


def _because_problems(tree: Mapping, steps: Steps, member: Member, resolved: Resolved) -> list[Problem]:
    known = [r.objective.name for r in resolved.requirements]
    known += [f"effect/{fault.name}" for fault in resolved.experiment.spec.faults]
    problems: list[Problem] = []
    for index, name in enumerate(member.because):
        if name not in known:
            at: Steps = (*steps, "because", index)
            hint = did_you_mean(name, known, otherwise=f"they are {listed(known, 'and')}")
            message = f"{resolved.name} has no objective {shown(name)}"
            problems.append(problem_at(descend(tree, at)[1], spelled(at), message, hint))
    return problems
