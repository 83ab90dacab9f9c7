"""Request bodies: JSON as Toxiproxy decodes it. Key case does not matter, unknown keys and what follows the
first value are ignored, null leaves the default (or what an earlier key of that name gave), and what is no
Unicode becomes U+FFFD: a text that could not be written back must not get in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, NoReturn

_MISSING: Final = object()


class BodyError(ValueError):
    """A body that cannot be used; the API answers 400 `bad request body: …`."""


def _no_constant(name: str) -> NoReturn:
    raise BodyError(f"invalid number {name}")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """By lower-case keys. Of keys that come twice the last one counts; objects are merged."""
    fields: dict[str, object] = {}
    for key, value in pairs:
        key = key.lower()
        before = fields.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            before.update({name: field for name, field in value.items() if field is not None})
        elif value is not None or before is None:
            fields[key] = value
    return fields


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_object)


def _unicode(text: str) -> str:
    """With U+FFFD in the place of each half of a surrogate pair (from an escape such as \\ud800)."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def decode(raw: bytes) -> object:
    """The first JSON value in `raw`. Raises BodyError."""
    try:
        text = raw.decode(errors="replace").lstrip(" \t\r\n")
        if not text:
            raise BodyError("EOF")
        return _DECODER.raw_decode(text)[0]
    except json.JSONDecodeError as error:
        rest = error.doc[error.pos :].strip()
        raise BodyError(f"{error.msg} at {error.pos}" if rest else "unexpected EOF") from error
    except RecursionError as error:
        raise BodyError("exceeded max depth") from error
    except BodyError:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise BodyError(str(error)) from error


def kind(value: object) -> str:
    """JSON's name for the type of `value`."""
    for types, name in (
        (bool, "bool"),
        ((int, float), "number"),
        (str, "string"),
        (dict, "object"),
        (list, "array"),
    ):
        if isinstance(value, types):
            return name
    return "null"


@dataclass(frozen=True, slots=True)
class Fields:
    """An object's fields, by their lower-case names; `place` says where, for messages."""

    values: dict[str, object]
    place: str = ""

    @classmethod
    def of(cls, value: object, place: str = "") -> Fields:
        """The fields of a JSON object; none of null. Raises BodyError."""
        if value is None:
            return cls({}, place)
        if not isinstance(value, dict):
            raise BodyError(f"{place + ': ' if place else ''}expected object, got {kind(value)}")
        return cls(value, place)

    def _get(self, name: str, expected: str) -> object:
        value = self.values.get(name)
        if value is None:
            return _MISSING
        if kind(value) != expected:
            raise BodyError(f"{self._at(name)}: expected {expected}, got {kind(value)}")
        return value

    def _at(self, name: str) -> str:
        return f"{self.place}.{name}" if self.place else name

    def has(self, name: str) -> bool:
        """Whether the field is there, and not null."""
        return self.values.get(name) is not None

    def string(self, name: str, default: str = "") -> str:
        """A string field. Raises BodyError."""
        value = self._get(name, "string")
        return _unicode(value) if isinstance(value, str) else default

    def boolean(self, name: str, default: bool) -> bool:
        """A boolean field. Raises BodyError."""
        value = self._get(name, "bool")
        return value if isinstance(value, bool) else default

    def number(self, name: str, default: float) -> float:
        """A number. Raises BodyError."""
        value = self._get(name, "number")
        try:
            return float(value) if isinstance(value, int | float) else default
        except OverflowError as error:
            raise BodyError(f"{self._at(name)}: expected a smaller number") from error

    def integer(self, name: str, default: int) -> int:
        """An integer, written without a point. Raises BodyError."""
        value = self._get(name, "number")
        if isinstance(value, float):
            raise BodyError(f"{self._at(name)}: expected integer, got {value}")
        return value if isinstance(value, int) else default

    def fields(self, name: str) -> Fields:
        """A nested object. Raises BodyError."""
        return Fields.of(self.values.get(name), self._at(name))
