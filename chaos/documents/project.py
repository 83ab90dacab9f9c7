"""The user's project: the nearest folder, upward from the working directory, that holds a `brownout.yaml`.

Which hosts a run may touch is said here and nowhere else: a target cannot widen it by its own word.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chaos.documents.allowlist import host_allowed
from chaos.documents.document import document_of, validated_as
from chaos.documents.models import Project
from chaos.documents.problems import BadInput, problem_at
from chaos.documents.source import read_source

PROJECT_FILE = "brownout.yaml"


@dataclass(frozen=True)
class ProjectFolder:
    """A project: its configuration, and where it lives. `path` is None when there is no `brownout.yaml`."""

    root: Path
    config: Project
    path: Path | None = None

    @property
    def runs(self) -> Path:
        """The folder that run folders go to."""
        return self.root / self.config.runs

    def allows(self, host: str) -> bool:
        """Whether runs may touch `host` (a name or an address, without port or brackets)."""
        return host_allowed(host, self.config.allow_hosts)


def find_project(start: Path | None = None) -> ProjectFolder:
    """The project around `start` (default: the working directory); without a `brownout.yaml`, the defaults.

    Raises:
        BadInput: the file is there and is wrong.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        path = folder / PROJECT_FILE
        if path.is_file():
            return ProjectFolder(folder, read_project(path), path)
    return ProjectFolder(start, Project(apiVersion="brownout/v1", kind="Project"))


def read_project(path: Path) -> Project:
    """The configuration in a `brownout.yaml`. Raises BadInput."""
    source = read_source(path)
    if source.problems:
        raise BadInput(source.problems)
    if len(source.documents) > 1:
        place = source.documents[1].place
        raise BadInput([problem_at(place, "", "expected one document in this file, got several")])
    tree = source.documents[0]
    document = document_of(tree, "project")
    if isinstance(document, list):
        raise BadInput(document)
    if document.kind != "Project":
        place = document.tree.entries["kind"].value.place
        message = f"expected Project, got {document.kind}"
        raise BadInput(
            [problem_at(place, "kind", message, "only the project itself is called brownout.yaml")]
        )
    project = validated_as(Project, tree)
    if isinstance(project, list):
        raise BadInput(project)
    return project
