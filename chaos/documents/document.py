"""One document: its kind, its name, where it was found, its tree, and its model."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Literal, TypeVar, cast

from pydantic import BaseModel, ValidationError

from chaos.documents import models
from chaos.documents.problems import Problem, did_you_mean, listed, problem_at, shown
from chaos.documents.tree import Mapping, Node, Scalar, plain
from chaos.documents.wording import problems_of

Kind = Literal["Experiment", "Target", "LoadProfile", "Suite", "SLO", "Invariant", "Recovery", "Project"]
Where = Literal["here", "project", "shipped"]
"""here: in the referring file, or given by path; project: the user's folders; shipped: with Brownout."""

M = TypeVar("M", bound=BaseModel)


@functools.cache
def model_of(kind: Kind) -> type[BaseModel]:
    """The model that a kind of document is validated by."""
    if kind == "SLO":
        from slo.openslo import SLODocument

        return SLODocument
    return {
        "Experiment": models.Experiment,
        "Target": models.Target,
        "LoadProfile": models.LoadProfile,
        "Suite": models.Suite,
        "Invariant": models.InvariantDocument,
        "Recovery": models.RecoveryDocument,
        "Project": models.Project,
    }[kind]


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
    expected = API_VERSIONS[cast(Kind, kind)]
    if version != expected:
        return [_wrong_head(tree, "apiVersion", [expected])]
    metadata = tree.get("metadata")
    name = metadata.text("name") if isinstance(metadata, Mapping) else None
    return Document(cast(Kind, kind), name or "", where, tree)


def _wrong_head(tree: Mapping, key: str, choices: list[str]) -> Problem:
    entry = tree.entries.get(key)
    if entry is None:
        near = [other for other in tree.entries if did_you_mean(other, [key])]
        hint = f"is it written as {near[0]} here?" if near else f"write {key}: {choices[0]}"
        return problem_at(tree.place, key, f"is missing; expected {listed(choices)}", hint)
    got = shown(plain(entry.value))
    hint = did_you_mean(got, choices)
    return problem_at(entry.value.place, key, f"expected {listed(choices)}, got {got}", hint)


def validated(kind: Kind, tree: Node) -> BaseModel | list[Problem]:
    """The model of a tree, or everything that is wrong with it."""
    return validated_as(model_of(kind), tree)


def validated_as(model: type[M], tree: Node) -> M | list[Problem]:
    """As `validated`, by any model.

    Validated as strict JSON: YAML's own types count, so that `"5"` is no number and `yes` is no boolean.
    """
    try:
        return model.model_validate_json(json.dumps(plain(tree)), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        return problems_of(error, model, tree)


def scalar_at(tree: Mapping, *keys: str) -> Scalar | None:
    """The single value under `keys`, or None."""
    node: Node | None = tree
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node if isinstance(node, Scalar) else None
