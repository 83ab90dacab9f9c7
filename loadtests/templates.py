"""Templates: text with `${name}` in it, and what each place in a request makes of a value.

`${name}` is replaced by a value, `${name.key}` by a part of it; `$${` is a literal `${` (before a brace, each
`$$` is a `$`), and any other `$` is itself.

Invariant: a value never changes the shape of what it is put into: in a path it is percent-encoded, in a
header it may not end the line, in JSON it is one JSON value or a part of one string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_-]+)*")
_OPENING: Final = re.compile(r"(\$+)\{")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no header value holds (RFC 9110, section 5.5): controls but for the tab."""

Values = Mapping[str, object]
"""What is known by now, by name."""


class BadTemplate(ValueError):
    """Text that is no template."""


class Missing(LookupError):
    """A name without a value: what would have given it failed."""


class Unsendable(ValueError):
    """A value that the place it is meant for cannot hold."""


@dataclass(frozen=True, slots=True)
class Name:
    """`${root.key.key}`: a value, or what is in it (keys of objects, indexes of lists)."""

    root: str
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join((self.root, *self.keys))

    def value(self, values: Values) -> object:
        """What it stands for. Raises Missing."""
        if self.root not in values:
            raise Missing(f"{self} has no value")
        found = values[self.root]
        for key in self.keys:
            if isinstance(found, Mapping) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isascii() and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            else:
                raise Missing(f"{self} has no value: there is no {key}")
        return found


@dataclass(frozen=True, slots=True)
class Template:
    """Literal text and names, in order."""

    parts: tuple[str | Name, ...]

    @property
    def names(self) -> tuple[Name, ...]:
        """The names in it."""
        return tuple(part for part in self.parts if isinstance(part, Name))

    @property
    def whole(self) -> Name | None:
        """The name that is all there is, or None."""
        return self.parts[0] if len(self.parts) == 1 and isinstance(self.parts[0], Name) else None

    def joined(self, values: Values, show: Callable[[object], str]) -> str:
        """The text with each value as `show` writes it. Raises Missing, and what `show` raises."""
        return "".join(part if isinstance(part, str) else show(part.value(values)) for part in self.parts)

    def text(self, values: Values) -> str:
        """Plain text, as a body has it. Raises Missing."""
        return self.joined(values, text_of)

    def path(self, values: Values) -> str:
        """A request's path and query; values are percent-encoded. Raises Missing, Unsendable."""
        return self.joined(values, _encoded)

    def header(self, values: Values) -> str:
        """A header's value. Raises Missing; Unsendable: it would not stay within its line."""
        return self.joined(values, _in_header)


def parse(text: str) -> Template:
    """The template that a text is.

    Raises BadTemplate: an unclosed `${`, or no name within.
    """
    parts: list[str | Name] = []
    literal: list[str] = []
    at = 0
    while found := _OPENING.search(text, at):
        dollars = len(found[1])
        literal.append(text[at : found.start()] + "$" * (dollars // 2))
        at = found.end()
        if dollars % 2 == 0:
            literal.append("{")
            continue
        end = text.find("}", at)
        if end < 0:
            raise BadTemplate("${ without its }; a literal ${ is written $${")
        name = text[at:end]
        if not _NAME.fullmatch(name):
            raise BadTemplate(f"expected a name such as ${{user}} or ${{user.id}}, got ${{{name[:40]}}}")
        if said := "".join(literal):
            parts.append(said)
        literal.clear()
        root, *keys = name.split(".")
        parts.append(Name(root, tuple(keys)))
        at = end + 1
    literal.append(text[at:])
    if said := "".join(literal):
        parts.append(said)
    return Template(tuple(parts))


def escaped(text: str) -> str:
    """The template that stands for `text` itself."""
    return _OPENING.sub(lambda found: found[1] * 2 + "{", text)


def text_of(value: object) -> str:
    """A value as text: a string is itself, all else is written as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _encoded(value: object) -> str:
    try:
        return quote(text_of(value), safe="")
    except UnicodeEncodeError as error:
        raise Unsendable("a lone surrogate is no character of a path") from error


def _in_header(value: object) -> str:
    text = text_of(value)
    if _CONTROL.search(text):
        raise Unsendable("a header cannot hold a control character, such as a line's end")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise Unsendable("a header cannot hold what is not Latin-1") from error
    return text


@dataclass(frozen=True, slots=True)
class JsonTemplate:
    """A JSON value with templates in its strings, as pieces of JSON text with names between them.

    A string that is one name alone becomes that value, of whatever type; beside other text it becomes text.
    """

    parts: tuple[str | _Hole, ...]

    @property
    def names(self) -> tuple[Name, ...]:
        """The names in it."""
        return tuple(part.name for part in self.parts if not isinstance(part, str))

    def dumped(self, values: Values) -> str:
        """The JSON text, in ASCII. Raises Missing."""
        return "".join(part if isinstance(part, str) else part.dumped(values) for part in self.parts)

    def value(self, values: Values) -> object:
        """The value itself. Raises Missing."""
        return json.loads(self.dumped(values))


@dataclass(frozen=True, slots=True)
class _Hole:
    name: Name
    whole: bool

    def dumped(self, values: Values) -> str:
        value = self.name.value(values)
        return _dumped(value) if self.whole else _dumped(text_of(value))[1:-1]


def json_template(value: object) -> JsonTemplate:
    """The template of a JSON value. Keys are literal. Raises BadTemplate."""
    parts: list[str | _Hole] = []
    for piece in _pieces(value):
        if isinstance(piece, str) and parts and isinstance(parts[-1], str):
            parts[-1] += piece
        else:
            parts.append(piece)
    return JsonTemplate(tuple(parts))


def strings(value: object, key: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The strings in a JSON value that may hold templates, and the steps to each."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from strings(inner, (*key, name))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from strings(inner, (*key, index))


def _pieces(value: object) -> Iterator[str | _Hole]:
    if isinstance(value, str):
        template = parse(value)
        if template.whole is not None:
            yield _Hole(template.whole, whole=True)
            return
        yield '"'
        for part in template.parts:
            yield _dumped(part)[1:-1] if isinstance(part, str) else _Hole(part, whole=False)
        yield '"'
    elif isinstance(value, Mapping):
        yield "{"
        for number, (name, inner) in enumerate(value.items()):
            yield f"{',' if number else ''}{_dumped(str(name))}:"
            yield from _pieces(inner)
        yield "}"
    elif isinstance(value, list | tuple):
        yield "["
        for number, inner in enumerate(value):
            if number:
                yield ","
            yield from _pieces(inner)
        yield "]"
    else:
        yield _dumped(value)


def _dumped(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
