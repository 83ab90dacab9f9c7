"""`brownout validate`: documents of any kind, each checked as far as if it were about to be used."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from chaos.documents.document import Document, validated
from chaos.documents.hosts import target_problems
from chaos.documents.library import FOLDERS, NAMED_KINDS, NOUNS, Library, Reference, Unknown, yaml_files
from chaos.documents.loads import profile_problems
from chaos.documents.problems import BadInput, Problem, in_order, problem_at, shown, shown_path
from chaos.documents.project import PROJECT_FILE, ProjectFolder, read_project
from chaos.documents.requirements import ResolvedObjectives, objective_of
from chaos.documents.resolve import Resolved, resolve_document
from chaos.documents.suites import resolve_suite
from chaos.documents.targets import Target
from chaos.documents.tree import Place, Scalar, descend

_SKIPPED = {".git", ".venv", "node_modules", "__pycache__", "runs"}


@dataclass(frozen=True)
class Checked:
    """What `validate_paths` looked at, what is wrong with it, and the experiments that are right."""

    problems: tuple[Problem, ...]
    documents: int
    files: int
    experiments: tuple[Resolved, ...] = ()


def validate_paths(paths: Iterable[str], project: ProjectFolder) -> Checked:
    """Check files, folders (with all below them) and names. Nothing is raised for what is found."""
    library = Library(project)
    problems: list[Problem] = []
    named: list[Document] = []
    files: dict[Path, Path] = {}
    for text in paths:
        path = Path(text)
        if _is_folder(path):
            below = _files_below(path)
            if not below:
                problems.append(Problem(text, 0, 0, "", "expected YAML files, got a folder without any"))
            files.update({found.absolute(): found for found in below})
        elif Reference(text, Place("")).is_path or path.exists():
            files[path.absolute()] = path
        else:
            try:
                named.append(library.find(NAMED_KINDS, Reference(text, Place(""))))
            except Unknown as unknown:
                problems += unknown.problems
    documents = [document for document in named if Path(document.path).absolute() not in files]
    others = {Path(document.path).absolute() for document in documents}
    for path in files.values():
        if path.name == PROJECT_FILE:
            try:
                read_project(path)
            except BadInput as bad:
                problems += bad.problems
        found, wrong = library.documents_in(path)
        problems += wrong
        documents += found
    experiments: list[Resolved] = []
    for document in documents:
        problems += _problems(document, library, experiments)
    problems += _twice(documents)
    return Checked(in_order(problems), len(documents), len(files) + len(others), tuple(experiments))


def _problems(document: Document, library: Library, experiments: list[Resolved]) -> list[Problem]:
    """Everything that is wrong with one document, references included; `experiments` gains what is right."""
    try:
        if document.kind == "Experiment":
            experiments.append(resolve_document(document, library))
        elif document.kind == "Suite":
            experiments += [member.resolved for member in resolve_suite(document, library).members]
        elif document.kind in ("SLO", "Invariant", "Recovery"):
            return _objective_problems(document, library)
        else:
            model = validated(document.kind, document.tree)
            if isinstance(model, list):
                return model
            if isinstance(model, Target):
                return target_problems(document, model, library.project)
            if document.kind == "LoadProfile":
                return profile_problems(document, library)
    except BadInput as bad:
        return list(bad.problems)
    return []


def _objective_problems(document: Document, library: Library) -> list[Problem]:
    model = validated(document.kind, document.tree)
    if isinstance(model, list):
        return model
    result = ResolvedObjectives()
    reference = Reference(document.name, document.tree.place, "", Path(document.path))
    objective_of(reference, library, result)
    return result.problems


def _twice(documents: list[Document]) -> list[Problem]:
    """Names that two of the documents share, within one kind and one folder."""
    problems: list[Problem] = []
    first: dict[tuple[str, str, Path], Document] = {}
    for document in documents:
        key = (NOUNS[document.kind], document.name, Path(document.path).parent.absolute())
        other = first.setdefault(key, document)
        if other is not document and document.name:
            place = _name_place(document)
            there = _name_place(other)
            message = f"{shown(document.name)} is the name of another {key[0]} too"
            hint = f"the other one is at {shown_path(there.path)}:{there.line}:{there.column}"
            problems.append(problem_at(place, "metadata.name", message, hint))
    return problems


def _name_place(document: Document) -> Place:
    node, place = descend(document.tree, ("metadata", "name"))
    return node.place if isinstance(node, Scalar) else place


def _files_below(folder: Path) -> list[Path]:
    """The YAML files in a folder and below it; of a project, those in the folders that hold documents.

    A project has YAML of other programs beside it (a docker-compose.yml, say), which is none of our business.
    """
    if (folder / PROJECT_FILE).is_file():
        folders = dict.fromkeys(FOLDERS.values())
        return [folder / PROJECT_FILE, *(path for name in folders for path in yaml_files(folder / name))]
    found: list[Path] = []
    for where, below, _ in os.walk(folder):  # it follows no links, and passes over what it may not read
        below[:] = sorted(name for name in below if name not in _SKIPPED and not name.startswith("."))
        found += yaml_files(Path(where))
    return found


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, say, which reading will tell
        return False
