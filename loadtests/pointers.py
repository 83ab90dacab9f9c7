"""JSON pointers (RFC 6901): which part of a JSON value is meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_BAD_ESCAPE: Final = re.compile(r"~(?![01])")


class BadPointer(ValueError):
    """Text that is no JSON pointer."""


class Nothing(LookupError):
    """There is nothing where a pointer points."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """The keys on the way down; none is the whole value."""

    keys: tuple[str, ...]

    def resolve(self, document: object) -> object:
        """What it points at. Raises Nothing."""
        found = document
        for key in self.keys:
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and _INDEX.fullmatch(key) and int(key) < len(found):
                found = found[int(key)]
            else:
                raise Nothing(f"there is no {key[:40]!r}")
        return found


def parse(text: str) -> Pointer:
    """The pointer that a text is. Raises BadPointer."""
    if not text:
        return Pointer(())
    if not text.startswith("/"):
        raise BadPointer(f"expected a JSON pointer such as /items/0/id, got {text[:60]}")
    if _BAD_ESCAPE.search(text):
        raise BadPointer(f"expected ~0 (for ~) or ~1 (for /) after each ~, got {text[:60]}")
    return Pointer(tuple(key.replace("~1", "/").replace("~0", "~") for key in text[1:].split("/")))


def written(keys: tuple[str, ...]) -> str:
    """The text of the pointer with these keys."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
