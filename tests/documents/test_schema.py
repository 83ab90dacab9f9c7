"""The JSON Schema: what is right validates, what is wrong does not."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from chaos.documents.document import API_VERSIONS, MODELS
from chaos.documents.library import FOLDERS, Library, yaml_files
from chaos.documents.project import find_project
from chaos.documents.scaffold import scaffold_folder
from chaos.documents.schema import schema_of
from chaos.documents.source import parse_text, read_source
from chaos.documents.tree import plain

from .conftest import EXPERIMENT, OBJECTIVES, PROFILE, TARGET, Folder


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = schema_of()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def data_of(text: str) -> list[Any]:
    return [plain(tree) for tree in parse_text(text, "x.yaml").documents]


def test_every_kind_has_its_branch() -> None:
    """Each kind is told by its `kind`, and can be had alone."""
    assert set(MODELS) == set(API_VERSIONS)
    assert len(schema_of()["oneOf"]) == len(API_VERSIONS)
    for kind in API_VERSIONS:
        schema = schema_of((kind,))
        jsonschema.Draft202012Validator.check_schema(schema)
        assert len(schema["oneOf"]) == 1


def test_shipped_documents_validate(validator: jsonschema.Draft202012Validator, folder: Folder) -> None:
    """Everything that Brownout ships, and what `init` lays out, satisfies the schema."""
    library = Library(find_project(folder.root))
    shipped = [
        p for name in dict.fromkeys(FOLDERS.values()) for p in yaml_files(library.folder("shipped", name))
    ]
    paths = [*shipped, *scaffold_folder().rglob("*.yaml")]
    assert len(paths) > 15
    for path in paths:
        for tree in read_source(path).documents:
            assert not list(validator.iter_errors(plain(tree))), path


@pytest.mark.parametrize(
    "text", [EXPERIMENT, TARGET, PROFILE, OBJECTIVES], ids=["experiment", "target", "profile", "slo"]
)
def test_right_documents_validate(validator: jsonschema.Draft202012Validator, text: str) -> None:
    """What the reader accepts, the schema accepts."""
    for data in data_of(text):
        validator.validate(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("latency: 250ms", "latency: 250"),
        ("latency: 250ms", "latancy: 250ms"),
        ("type: latency", "type: latncy"),
        ("baseline: 3s\n", "\n"),
        ("fault: 6s", "fault: 6"),
        ("- ref: pairing", "- ref: 5"),
        ("phases: [baseline]", "phases: [basline]"),
        ("kind: Experiment", "kind: Experimnt"),
        ("apiVersion: brownout/v1", "apiVersion: v1"),
        ("name: slow", "name: Slow"),
        ("for: 2s", "for_: 2s"),
        ("profile: players", "profil: players"),
    ],
)
def test_wrong_documents_do_not(validator: jsonschema.Draft202012Validator, old: str, new: str) -> None:
    """What the reader refuses for its form, an editor marks."""
    assert old in EXPERIMENT
    (data,) = data_of(EXPERIMENT.replace(old, new, 1))
    assert not validator.is_valid(data)


def test_a_load_may_be_one_or_several(validator: jsonschema.Draft202012Validator) -> None:
    """Editors accept `load:` as a mapping and as a list."""
    (data,) = data_of(EXPERIMENT)
    validator.validate(data)
    data["spec"]["load"] = [data["spec"]["load"]]
    validator.validate(data)
