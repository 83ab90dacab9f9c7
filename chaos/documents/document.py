"""One document: its kind, its name, where it was found, its tree, and its model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from chaos.documents import models, targets
from chaos.documents.problems import Problem, did_you_mean, listed, nearest, problem_at, shown
from chaos.documents.tree import Mapping, Node, Steps, plain
from chaos.documents.wording import problems_of
from slo.openslo import SLODocument

Kind = Literal["Experiment", "Target", "LoadProfile", "Suite", "SLO", "Invariant", "Recovery", "Project"]
Where = Literal["here", "project", "shipped"]
"""here: in the referring file, or given by path; project: the user's folders; shipped: with Brownout."""

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
_LONGEST_NAME = 63


MODELS: dict[Kind, type[BaseModel]] = {
    "Experiment": models.Experiment,
    "Target": targets.Target,
    "LoadProfile": models.LoadProfile,
    "Suite": models.Suite,
    "SLO": SLODocument,
    "Invariant": models.InvariantDocument,
    "Recovery": models.RecoveryDocument,
    "Project": models.Project,
}
"""The model that each kind of document is validated by."""
API_VERSIONS: dict[Kind, str] = {
    "Experiment": models.API_VERSION,
    "Target": models.API_VERSION,
    "LoadProfile": models.API_VERSION,
    "Suite": models.API_VERSION,
    "SLO": "openslo/v1",
    "Invariant": models.API_VERSION,
    "Recovery": models.API_VERSION,
    "Project": models.API_VERSION,
}
OBJECTIVE_KINDS: tuple[Kind, ...] = ("SLO", "Invariant", "Recovery")


@dataclass(frozen=True)
class Document:
    """A document whose kind is known; whether it is valid shows when its model is asked for."""

    kind: Kind
    name: str
    where: Where
    tree: Mapping

    @property
    def path(self) -> str:
        """The file that it stands in."""
        return self.tree.place.path

    @property
    def description(self) -> str:
        """What its author says of it, on one line; empty when nothing is said."""
        for key in ("metadata", "spec"):
            part = self.tree.get(key)
            text = part.text("description") if isinstance(part, Mapping) else None
            if isinstance(part, Mapping) and not text and key == "spec":
                text = part.text("hypothesis")
            if text and text.strip():
                return " ".join(text.split())
        return ""


def document_of(tree: Node, where: Where) -> Document | list[Problem]:
    """The document that a tree is, by its `apiVersion` and `kind`; or what is wrong with its head."""
    if not isinstance(tree, Mapping):
        hint = "a document has the keys apiVersion, kind, metadata and spec"
        return [problem_at(tree.place, "", f"expected a document, got {shown(plain(tree))}", hint)]
    kind = tree.text("kind")
    version = tree.text("apiVersion")
    if kind is None or kind not in API_VERSIONS:
        return [_wrong_head(tree, "kind", list(API_VERSIONS))]
    expected = API_VERSIONS[kind]
    if version != expected:
        return [_wrong_head(tree, "apiVersion", [expected])]
    metadata = tree.get("metadata")
    name = metadata.text("name") if isinstance(metadata, Mapping) else None
    return Document(kind, name if name and len(name) <= _LONGEST_NAME else "", where, tree)


def _wrong_head(tree: Mapping, key: str, choices: list[str]) -> Problem:
    entry = tree.entries.get(key)
    if entry is None:
        near = nearest(key, tree.entries)
        hint = f"is it written as {near} here?" if near else f"write {key}: {choices[0]}"
        return problem_at(tree.place, key, f"is missing; expected {listed(choices)}", hint)
    got = shown(plain(entry.value))
    hint = did_you_mean(got, choices)
    return problem_at(entry.value.place, key, f"expected {listed(choices)}, got {got}", hint)


def validated(kind: Kind, tree: Node) -> BaseModel | list[Problem]:
    """The model of a tree, or everything that is wrong with it."""
    return validated_as(MODELS[kind], tree)


def validated_as(model: type[M], tree: Node) -> M | list[Problem]:
    """As `validated`, by any model, or a union of them."""
    return parsed(TypeAdapter(model), model, tree)


def parsed(adapter: TypeAdapter[T], model: object, tree: Node, base: Steps = ()) -> T | list[Problem]:
    """The value of a tree, or its problems; `base` are the steps to the tree, for the keys that are shown.

    Validated as strict JSON, so that YAML's own types count: `"5"` is no number and `yes` is no boolean.
    Below a validator that sees a model before pydantic does, lists are Python's and fail in strict mode
    (tuples are wanted), so a second, lenient pass says what is wrong there.
    """
    data = plain(tree)
    try:
        return adapter.validate_json(json.dumps(data), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = problems_of(error, model, tree, base)
    try:
        value = adapter.validate_python(data, by_alias=True, by_name=False)
    except ValidationError as error:
        said = {(p.path, p.line, p.column, p.key) for p in problems}
        more = problems_of(error, model, tree, base)
        return problems + [p for p in more if (p.path, p.line, p.column, p.key) not in said]
    return problems or value
