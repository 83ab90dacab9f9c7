"""The variables of a profile: constants, and what is drawn for each arrival."""

from __future__ import annotations

import os
import random
import uuid
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, JsonValue, model_validator

from loadtests.options.base import Flaw
from loadtests.options.check import Said
from loadtests.tables import BadTable, read_table

_SOURCES = ("value", "values", "range", "file", "random", "env")


def _or_scalar(schema: dict[str, Any]) -> None:
    """In the JSON Schema: a constant may be written as it is."""
    own = dict(schema)
    schema.clear()
    schema["anyOf"] = [own, {"type": ["string", "number", "boolean", "null"]}]


class Variable(Said):
    """A name's value: a constant, or one of several, drawn for each arrival or taken in order."""

    model_config = ConfigDict(json_schema_extra=_or_scalar)

    value: JsonValue = Field(None, description="A constant of any type.")
    values: tuple[JsonValue, ...] | None = Field(None, min_length=1, description="One of these.")
    range: tuple[int, int] | None = Field(None, description="A whole number from the first to the last.")
    file: str | None = Field(None, min_length=1, description="A row of a CSV file, or of JSON lines.")
    column: str | None = Field(None, min_length=1, description="With file: this column of the row alone.")
    random: Literal["uuid"] | None = Field(None, description="A UUID, drawn from the arrival's own chances.")
    env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="An environment variable: for secrets, which are then written down nowhere.",
    )
    draw: Literal["random", "in_order"] = Field(
        "random", description="in_order: the arrival's ordinal tells which one, over and over."
    )

    @model_validator(mode="before")
    @classmethod
    def _constant(cls, data: Any) -> Any:
        return {"value": data} if data is None or isinstance(data, str | int | float | bool) else data

    @model_validator(mode="after")
    def _one_source(self) -> Variable:
        said = [name for name in _SOURCES if name in self.model_fields_set]
        if len(said) != 1 or (said[0] != "value" and getattr(self, said[0]) is None):
            raise ValueError("expected exactly one of value, values, range, file, random and env")
        if self.column is not None and self.file is None:
            raise ValueError("column goes with file")
        if "draw" in self.model_fields_set and said[0] in ("value", "random", "env"):
            raise ValueError(f"draw does not go with {said[0]}")
        if self.range is not None and self.range[0] > self.range[1]:
            raise ValueError(f"expected a range that goes up, got {self.range[0]} to {self.range[1]}")
        return self

    def placed(self, root: Path) -> Variable:
        """With its file made absolute."""
        return self if self.file is None else self.model_copy(update={"file": str(root / self.file)})

    def flaws(self, key: tuple[str | int, ...]) -> list[Flaw]:
        """What is wrong with its file, or its environment variable."""
        if self.env is not None and self.env not in os.environ:
            return [
                Flaw((*key, "env"), f"the environment variable {self.env} is not set", "set it for the run")
            ]
        if self.file is None:
            return []
        try:
            table = read_table(self.file)
        except BadTable as error:
            where = (*key, "file")
            return [
                Flaw(where, f"{wrong.message}", file=self.file, at=(wrong.line, wrong.column))
                if wrong.line
                else Flaw(where, f"{Path(self.file).name} {wrong.message}")
                for wrong in error.lines
            ]
        if self.column is not None and self.column not in table.columns:
            return [Flaw((*key, "column"), f"expected {_listed(table.columns)}, got {self.column}")]
        return []

    def lacks(self, keys: tuple[str, ...]) -> str | None:
        """Why `${name.keys}` can never have a value, or None where it may."""
        if not keys:
            return None
        if self.file is not None and self.column is None:
            try:
                table = read_table(self.file)
            except BadTable:
                return None  # that is told of the file
            of_csv = self.file.lower().endswith(".csv")
            if keys[0] in table.columns and (len(keys) == 1 or not of_csv):
                return None
            if not of_csv and len(keys) > 1:
                return None  # a row's own shape tells
            return f"{Path(self.file).name} has the columns {_listed(table.columns)}, not {'.'.join(keys)}"
        if self.range is not None or self.random is not None or self.env is not None:
            return f"it has no {'.'.join(keys)}: it is a single value"
        if "value" in self.model_fields_set and not isinstance(self.value, dict | list):
            return f"it has no {'.'.join(keys)}: it is a single value"
        return None

    def choices(self) -> Choices:
        """What it is drawn from. Raises BadTable."""
        if self.file is not None:
            rows = read_table(self.file).rows
            if self.column is not None:
                rows = tuple(row.get(self.column) if isinstance(row, dict) else None for row in rows)
            return Choices(rows, self.draw == "in_order")
        if self.range is not None:
            return Choices(range(self.range[0], self.range[1] + 1), self.draw == "in_order")
        if self.random is not None:
            return Choices(None, False)
        if self.env is not None:
            return Choices((os.environ.get(self.env, ""),), False)
        return Choices(self.values if self.values is not None else (self.value,), self.draw == "in_order")


class Choices:
    """The values of one variable."""

    def __init__(self, values: tuple[object, ...] | range | None, in_order: bool) -> None:
        """None: UUIDs."""
        self._values = values
        self._in_order = in_order

    def take(self, ordinal: int, rng: random.Random) -> object:
        """The value of the `ordinal`-th arrival. Draws from `rng` unless there is no choice."""
        if self._values is None:
            return drawn_uuid(rng)
        if self._in_order or len(self._values) == 1:
            return self._values[ordinal % len(self._values)]
        return self._values[rng.randrange(len(self._values))]


def drawn_uuid(rng: random.Random) -> str:
    """A UUID (version 4) by the chances of `rng`."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown} or {len(names) - 12} more" if len(names) > 12 else shown or "none"
