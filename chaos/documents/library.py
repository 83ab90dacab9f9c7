"""Where documents are found: in the referring file, in the user's project, then among the shipped ones.

The user's project has the same folders as Brownout itself. A name of the user's hides a shipped one of the
same kind; two documents of one kind and name within one layer are refused. Files are parsed once, and only
those of the folders that are asked about.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from chaos.documents.document import Document, Kind, Where, document_of
from chaos.documents.problems import Problem, did_you_mean, listed, problem_at, shown, shown_path
from chaos.documents.project import PROJECT_FILE, ProjectFolder
from chaos.documents.source import Source, read_source
from chaos.documents.tree import Place

FOLDERS: dict[Kind, str] = {
    "Experiment": "chaos/experiments",
    "Suite": "chaos/suites",
    "Target": "chaos/targets",
    "LoadProfile": "loadtests/profiles",
    "SLO": "slo/objectives",
    "Invariant": "slo/objectives",
    "Recovery": "slo/objectives",
}
RUNBOOKS = "runbooks"
_LONGEST_PATH = 1000
_RUNBOOK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NOUNS: dict[Kind, str] = {
    "Experiment": "experiment",
    "Suite": "suite",
    "Target": "target",
    "LoadProfile": "load profile",
    "SLO": "objective",
    "Invariant": "objective",
    "Recovery": "objective",
    "Project": "project",
}


class Unknown(LookupError):
    """A reference that leads nowhere, or to something that is wrong."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True)
class Reference:
    """A reference as it was written, and where. `home` is the file whose other documents come first."""

    text: str
    place: Place
    key: str = ""
    home: Path | None = None

    def problem(self, message: str, hint: str = "") -> Problem:
        """A problem at the place of the reference."""
        return problem_at(self.place, self.key, message, hint)

    @property
    def is_path(self) -> bool:
        """Whether it names a file rather than a document."""
        return "/" in self.text or self.text.split("#")[0].endswith((".yaml", ".yml"))


@dataclass(frozen=True)
class Listed:
    """One thing that can be named: for `brownout list` and for suggestions."""

    kind: str
    name: str
    description: str
    where: Where
    path: str
    hides_shipped: bool = False


class Library:
    """All documents that a project can refer to. Reading errors of files nobody asked for stay unsaid."""

    def __init__(self, project: ProjectFolder) -> None:
        self.project = project
        self._sources: dict[Path, Source] = {}
        self._folders: dict[tuple[Where, str], tuple[list[Document], list[Problem]]] = {}

    # --- looking things up

    def find(self, kinds: tuple[Kind, ...], reference: Reference) -> Document:
        """The document of one of `kinds` that is referred to.

        Raises:
            Unknown: there is none, there are two, or the file that should hold it is wrong.
        """
        if reference.is_path:
            return self._by_path(kinds, reference)
        if reference.home is not None:
            documents = self.documents_in(reference.home)[0]
            found = [d for d in documents if d.kind in kinds and d.name == reference.text]
            if found:
                return self._only(found, reference)
        unreadable: list[Problem] = []
        for where in self.layers():
            documents, problems = self._layer(where, kinds)
            unreadable += problems
            found = [d for d in documents if d.kind in kinds and d.name == reference.text]
            if found:
                return self._only(found, reference)
        raise Unknown([self._unknown(kinds, reference), *unreadable])

    def find_runbook(self, name: str) -> Path | None:
        """The file of a runbook, or None."""
        if not _RUNBOOK.fullmatch(name):
            return None
        for where in self.layers():
            path = self.folder(where, RUNBOOKS) / f"{name}.md"
            if path.is_file():
                return path
        return None

    def runbook_names(self) -> list[str]:
        """The names of all runbooks."""
        folders = [self.folder(where, RUNBOOKS) for where in self.layers()]
        return sorted({path.stem for folder in folders for path in folder.glob("*.md")} - {"README"})

    def names(self, kinds: Iterable[Kind]) -> list[str]:
        """All names of documents of some kinds, sorted."""
        wanted = tuple(kinds)
        return sorted(
            {d.name for where in self.layers() for d in self._layer(where, wanted)[0] if d.kind in wanted}
        )

    def listing(self) -> list[Listed]:
        """Everything that can be named, by kind and name; what a document of the user's hides is left out."""
        rows: dict[tuple[str, str], Listed] = {}
        for where in reversed(self.layers()):
            for kind in FOLDERS:
                for d in self._layer(where, (kind,))[0]:
                    if d.kind == kind and d.name:
                        hides = (NOUNS[kind], d.name) in rows
                        rows[NOUNS[kind], d.name] = Listed(
                            NOUNS[kind], d.name, d.description, where, d.path, hides
                        )
            for path in sorted(self.folder(where, RUNBOOKS).glob("*.md")):
                if path.stem != "README":
                    hides = ("runbook", path.stem) in rows
                    rows["runbook", path.stem] = Listed(
                        "runbook", path.stem, _title(path), where, str(path), hides
                    )
        order = [*dict.fromkeys(NOUNS[kind] for kind in FOLDERS), "runbook"]
        return sorted(rows.values(), key=lambda row: (order.index(row.kind), row.name))

    # --- files and folders

    def layers(self) -> tuple[Where, ...]:
        """Where names are looked up, nearest first."""
        if self.project.path is None or self.folder("project", RUNBOOKS) == self.folder("shipped", RUNBOOKS):
            return ("shipped",)
        return ("project", "shipped")

    def folder(self, where: Where, folder: str) -> Path:
        """The folder of one layer: `chaos/experiments`, `runbooks`, ..."""
        if where != "shipped":
            return self.project.root / folder
        package, _, rest = folder.partition("/")
        home = importlib.import_module(package).__path__[0]
        return Path(home) / rest if rest else Path(home)

    def source(self, path: Path) -> Source:
        """A file, parsed once."""
        key = path.absolute()
        if key not in self._sources:
            self._sources[key] = read_source(path)
        return self._sources[key]

    def documents_in(self, path: Path, where: Where = "here") -> tuple[list[Document], list[Problem]]:
        """The documents of a file whose heads are right, and what is wrong with the rest of it."""
        source = self.source(path)
        problems = list(source.problems)
        documents: list[Document] = []
        for tree in source.documents:
            found = document_of(tree, where)
            if isinstance(found, list):
                problems += found
            else:
                documents.append(found)
        return documents, problems

    def _layer(self, where: Where, kinds: tuple[Kind, ...]) -> tuple[list[Document], list[Problem]]:
        documents: list[Document] = []
        problems: list[Problem] = []
        for folder in dict.fromkeys(FOLDERS[kind] for kind in kinds if kind in FOLDERS):
            if (where, folder) not in self._folders:
                self._folders[where, folder] = self._read_folder(self.folder(where, folder), where)
            found, wrong = self._folders[where, folder]
            documents += found
            problems += wrong
        return documents, problems

    def _read_folder(self, folder: Path, where: Where) -> tuple[list[Document], list[Problem]]:
        documents: list[Document] = []
        problems: list[Problem] = []
        for path in yaml_files(folder):
            found, wrong = self.documents_in(path, where)
            documents += found
            problems += wrong
        return documents, problems

    def _by_path(self, kinds: tuple[Kind, ...], reference: Reference) -> Document:
        text, _, name = reference.text.partition("#")
        if len(reference.text) > _LONGEST_PATH:
            raise Unknown([reference.problem(f"expected a path, got {len(reference.text)} characters")])
        base = Path(reference.place.path).parent if reference.place.line else Path.cwd()
        path = Path(text) if Path(text).is_absolute() else base / text
        documents, problems = self.documents_in(path)
        matching = [d for d in documents if d.kind in kinds and (not name or d.name == name)]
        if not matching and problems:
            raise Unknown([reference.problem(f"{shown(reference.text)} cannot be used"), *problems])
        if not matching:
            message = f"expected a file with {_a(kinds)}{f' named {name}' if name else ''}, got {shown(text)}"
            there = listed((f"{d.kind} {d.name}" for d in documents), "and")
            raise Unknown([reference.problem(message, f"it holds {there}")])
        return self._only(matching, reference)

    def _only(self, found: list[Document], reference: Reference) -> Document:
        if len(found) == 1:
            return found[0]
        places = listed((f"{shown_path(d.path)}:{d.tree.place.line}" for d in found), "and")
        if len({d.name for d in found}) > 1:
            hint = f"write {reference.text}#{found[0].name}"
            raise Unknown([reference.problem(f"{shown(reference.text)} holds several: {places}", hint)])
        raise Unknown(
            [reference.problem(f"{shown(found[0].name)} is defined twice: {places}", "rename one of them")]
        )

    def _unknown(self, kinds: tuple[Kind, ...], reference: Reference) -> Problem:
        names = self.names(kinds)
        otherwise = f"known are {listed(names, 'and')}" if names else ""
        if not otherwise and self.project.path is None:
            otherwise = f"no {PROJECT_FILE} was found from {self.project.root} upward"
        hint = did_you_mean(reference.text, names, otherwise=otherwise)
        noun = NOUNS[kinds[0]] if len({NOUNS[k] for k in kinds}) == 1 else _a(kinds).partition(" ")[2]
        return reference.problem(f"there is no {noun} {shown(reference.text)}", hint)


def yaml_files(folder: Path) -> list[Path]:
    """The YAML files of a folder, sorted; not those below it."""
    try:
        return sorted(p for p in folder.iterdir() if p.suffix in (".yaml", ".yml") and p.is_file())
    except OSError:
        return []


def _a(kinds: tuple[Kind, ...]) -> str:
    nouns = list(dict.fromkeys(NOUNS[kind] for kind in kinds))
    article = "an" if nouns[0][0] in "aeiou" else "a"
    return f"{article} {listed(nouns)}"


def _title(path: Path) -> str:
    """The first heading of a Markdown file."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("#"):
                    return line.lstrip("# ").strip()
    except OSError:
        pass
    return ""


NAMED_KINDS: tuple[Kind, ...] = tuple(FOLDERS)
"""The kinds that can be referred to by name."""
