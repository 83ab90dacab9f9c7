"""The JSON Schema of the documents, for editors: they complete keys, and mark what is wrong."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from chaos.documents.document import API_VERSIONS, MODELS, Kind

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(kinds: tuple[Kind, ...] = tuple(API_VERSIONS)) -> dict[str, Any]:
    """One schema for documents of any of `kinds`, told apart by `kind`."""
    models = [(MODELS[kind], "validation") for kind in kinds]
    by_model, schema = models_json_schema(
        models,  # type: ignore[arg-type] # the mode is a literal; a list of pairs does not keep that
        by_alias=True,
        schema_generator=GenerateJsonSchema,
    )
    branches = [by_model[MODELS[kind], "validation"] for kind in kinds]
    return {
        "$schema": _DIALECT,
        "title": "Brownout documents" if len(kinds) > 1 else f"Brownout {kinds[0]}",
        "oneOf": branches,
        "$defs": schema["$defs"],
    }
