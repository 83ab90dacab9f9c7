"""What a plain HTTP reply is held against, and what is taken out of it for the steps after it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from loadtests import patterns, pointers, templates
from slo.model import Model
from slo.quantities import Duration

_compiled = lru_cache(maxsize=4096)(patterns.parse)


def _parses(parse: Callable[[str], object]) -> AfterValidator:
    def parsed(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(parsed)


def _json(value: JsonValue) -> JsonValue:
    """Templates in its strings are looked at where their places are known: in `flaws`."""
    for inner in _values(value):
        if isinstance(inner, float) and not math.isfinite(inner):
            raise ValueError(f"expected a value that JSON has, got {inner}")
        if isinstance(inner, dict) and (key := next((key for key in inner if "${" in key), None)):
            raise ValueError(f"templates stand in values, not in keys; got the key {key[:60]}")
    return value


def _values(value: JsonValue) -> Iterator[JsonValue]:
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from _values(each)


def statuses_of(value: Any) -> tuple[int | str, ...]:
    """One status, a class of them, or a list of these, as a tuple. Raises ValueError."""
    found = tuple(value) if isinstance(value, list | tuple) else (value,)
    for each in found or (None,):
        right = isinstance(each, int) and not isinstance(each, bool) and 100 <= each <= 599
        if not right and not (isinstance(each, str) and _CLASS.fullmatch(each)):
            shown = "nothing" if each is None else each
            raise ValueError(f"expected a status such as 200, a class such as 2xx, or a list, got {shown}")
    return found


def _token(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"expected a header's name such as Content-Type, got {text[:60]}")
    return text


_CLASS: Final = re.compile(r"[1-5]xx")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
HeaderName = Annotated[str, AfterValidator(_token)]
"""A token, as RFC 9110 has it."""
PointerText = Annotated[str, _parses(pointers.parse)]
PatternText = Annotated[str, Field(max_length=2000), _parses(_compiled)]
TemplateText = Annotated[str, _parses(templates.parse)]
JsonTemplateValue = Annotated[JsonValue, AfterValidator(_json)]
STATUS_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "integer", "minimum": 100, "maximum": 599},
        {"type": "string", "pattern": "^[1-5]xx$"},
    ]
}
STATUSES_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [*STATUS_SCHEMA["anyOf"], {"type": "array", "minItems": 1, "items": STATUS_SCHEMA}],
    "examples": [200, "2xx", [200, 404]],
}
Statuses = Annotated[tuple[int | str, ...], BeforeValidator(statuses_of), WithJsonSchema(STATUSES_SCHEMA)]
"""One status, a class of them such as `2xx`, or a list of these."""


def expected(statuses: tuple[int | str, ...]) -> frozenset[int]:
    """All statuses that are meant."""
    found: set[int] = set()
    for status in statuses:
        if isinstance(status, int):
            found.add(status)
        else:
            hundred = int(status[0]) * 100
            found.update(range(hundred, hundred + 100))
    return frozenset(found)


class Said(Model):
    """A model that is written as it was said: `equals: null` is not the same as no `equals`."""

    @model_serializer(mode="wrap")
    def _as_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        return {key: value for key, value in written.items() if key in self.model_fields_set}


class Check(Said):
    """One thing that must hold of a reply: of a header, a place in its JSON, its body, or its latency."""

    header: HeaderName | None = Field(None, description="A header's name.")
    pointer: PointerText | None = Field(None, description="A JSON pointer (RFC 6901) into the body.")
    body: PatternText | None = Field(None, description="A regular expression (RE2) that the body must match.")
    latency: Duration | None = Field(None, gt=0, description="Most time from when the step was due.")
    equals: JsonTemplateValue = Field(None, description="The value; templates may stand in it.")
    matches: PatternText | None = Field(None, description="A regular expression (RE2) for the text there.")
    exists: bool | None = Field(None, description="Whether it must be there, or must not.")
    min: float | None = Field(None, description="The least number.")
    max: float | None = Field(None, description="The greatest number.")

    @model_validator(mode="after")
    def _one_subject(self) -> Check:
        subjects = [
            name for name in ("header", "pointer", "body", "latency") if name in self.model_fields_set
        ]
        if len(subjects) != 1 or getattr(self, subjects[0]) is None:
            raise ValueError("expected exactly one of header, pointer, body and latency")
        said = self.model_fields_set - set(subjects)
        known = {"header": {"equals", "matches", "exists"}, "body": set(), "latency": set()}
        for name in sorted(said - known.get(subjects[0], said)):
            raise ValueError(f"{name} does not go with {subjects[0]}")
        if self.exists is False and len(said) > 1:
            raise ValueError("what must not exist cannot be held against anything else")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"expected min to be at most max, got {self.min:g} and {self.max:g}")
        return self

    @cached_property
    def body_pattern(self) -> patterns.Pattern:
        """`body`, compiled."""
        return _compiled(self.body or "")

    @cached_property
    def matches_pattern(self) -> patterns.Pattern:
        """`matches`, compiled."""
        return _compiled(self.matches or "")

    @cached_property
    def parsed_pointer(self) -> pointers.Pointer:
        """`pointer`, parsed."""
        return pointers.parse(self.pointer or "")

    @cached_property
    def equals_template(self) -> templates.JsonTemplate:
        """`equals`, parsed."""
        return templates.json_template(self.equals)

    @property
    def needs_body(self) -> bool:
        """Whether it looks at the body."""
        return self.pointer is not None or self.body is not None


class Extraction(Said):
    """Where in a reply a value is: at a JSON pointer, in a header, or what a regular expression matches."""

    pointer: PointerText | None = Field(None, description="A JSON pointer (RFC 6901) into the body.")
    header: HeaderName | None = Field(None, description="A header's name.")
    regex: PatternText | None = Field(
        None, description="A regular expression (RE2) over the body: its first group, or all of its match."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Extraction:
        if sum(each is not None for each in (self.pointer, self.header, self.regex)) != 1:
            raise ValueError("expected exactly one of pointer, header and regex")
        return self

    @cached_property
    def pattern(self) -> patterns.Pattern:
        """`regex`, compiled."""
        return _compiled(self.regex or "")

    @cached_property
    def parsed_pointer(self) -> pointers.Pointer:
        """`pointer`, parsed."""
        return pointers.parse(self.pointer or "")

    @property
    def needs_body(self) -> bool:
        """Whether it looks at the body."""
        return self.header is None
