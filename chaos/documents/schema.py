"""The JSON Schema of the documents, for editors: they complete keys, and mark what is wrong."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from chaos.documents.document import API_VERSIONS, MODELS, Kind

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(kinds: tuple[Kind, ...] = tuple(API_VERSIONS)) -> dict[str, Any]:
    """One schema for documents of any of `kinds`, told apart by `kind`."""
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(MODELS[kind], "validation") for kind in kinds]
    by_model, schema = models_json_schema(models, by_alias=True)
    branches = [by_model[MODELS[kind], "validation"] for kind in kinds]
    _tidy(schema["$defs"])
    return {
        "$schema": _DIALECT,
        "title": "Brownout documents" if len(kinds) > 1 else f"Brownout {kinds[0]}",
        "oneOf": branches,
        "$defs": schema["$defs"],
    }


def _tidy(schema: Any) -> None:
    """Take out what says nothing to an editor: bounds and defaults of quantities, in seconds."""
    if isinstance(schema, list):
        for item in schema:
            _tidy(item)
    elif isinstance(schema, dict):
        if schema.get("type") == "string":
            for key in ("gt", "ge", "lt", "le"):
                schema.pop(key, None)
            if not isinstance(schema.get("default", ""), str):
                del schema["default"]
        if "default" in schema and schema["default"] is None:
            del schema["default"]
        for value in schema.values():
            _tidy(value)
