"""A document as a tree that knows where each of its keys and values was written.

Nodes are immutable: a merged or amended tree is a new one, whose nodes keep the place that they came from,
so that a problem always points at what somebody wrote. At most 64 levels deep (`source` sees to it), so
walking a tree may recurse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

Step = str | int
"""One step down a tree: a key of a mapping or an index of a sequence."""
Steps = tuple[Step, ...]
_LONGEST_STEP = 80


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: a file, a line and a column (from 1), or line 0 for `--set`."""

    path: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value, with its text as it was written."""

    place: Place
    value: str | int | float | bool | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    place: Place
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping, where the key stands, and its value."""

    place: Place
    value: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping, in the order of the text."""

    place: Place
    entries: dict[str, Entry]

    def get(self, key: str) -> Node | None:
        """The value of `key`, or None."""
        entry = self.entries.get(key)
        return entry.value if entry else None

    def text(self, key: str) -> str | None:
        """The value of `key` when it is a string, else None."""
        node = self.get(key)
        return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None

    def having(self, key: str, value: Node, place: Place | None = None) -> Mapping:
        """This mapping with `key` set to `value`; the key stands at `place`, else at the value's."""
        return replace(self, entries={**self.entries, key: Entry(place or value.place, value)})


Node = Scalar | Sequence | Mapping
Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]


def plain(node: Node) -> Plain:
    """The data of a tree, without places."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key: plain(entry.value) for key, entry in node.entries.items()}


def planted(data: object, place: Place) -> Node:
    """The tree of plain data, all of it at one place."""
    if isinstance(data, dict):
        return Mapping(place, {str(key): Entry(place, planted(value, place)) for key, value in data.items()})
    if isinstance(data, list | tuple):
        return Sequence(place, tuple(planted(item, place) for item in data))
    if data is None or isinstance(data, str | int | float | bool):
        return Scalar(place, data, "" if data is None else str(data))
    raise TypeError(f"no value of a document: {type(data).__name__}")


def descend(node: Node, steps: Steps) -> tuple[Node | None, Place]:
    """The node at `steps`, or None where there is none; and the nearest place on the way.

    A sequence may be written as its only item (`load:`), so index 0 of a mapping is the mapping itself.
    """
    place = node.place
    found: Node | None = node
    for step in steps:
        if isinstance(found, Mapping) and isinstance(step, str) and step in found.entries:
            found = found.entries[step].value
        elif isinstance(found, Sequence) and isinstance(step, int) and 0 <= step < len(found.items):
            found = found.items[step]
        elif not (isinstance(found, Mapping) and step == 0):
            return None, place
        place = found.place
    return found, place


def as_written(node: Node, steps: Steps) -> Steps:
    """`steps` without the index of a sequence that was written as its only item."""
    result: list[Step] = []
    for step in steps:
        if not (step == 0 and isinstance(step, int) and isinstance(descend(node, tuple(result))[0], Mapping)):
            result.append(step)
    return tuple(result)


def key_place(node: Node, steps: Steps) -> Place:
    """Where the last key of `steps` stands; the nearest place on the way if it is not there."""
    parent, place = descend(node, steps[:-1])
    if steps and isinstance(parent, Mapping) and isinstance(steps[-1], str) and steps[-1] in parent.entries:
        return parent.entries[steps[-1]].place
    return descend(node, steps)[1] if steps else place


def placed(node: Node, steps: Steps, value: Node) -> Node:
    """The tree with `value` at `steps`; mappings on the way are created.

    Raises:
        LookupError: a step leads nowhere: into a scalar, or past the end of a sequence.
    """
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(node, Mapping):
        if step == 0 and isinstance(step, int):
            return placed(node, rest, value)
        if isinstance(step, str):
            entry = node.entries.get(step)
            below = entry.value if entry else Mapping(value.place, {})
            return node.having(step, placed(below, rest, value), entry.place if entry else value.place)
    if isinstance(node, Sequence) and isinstance(step, int) and 0 <= step < len(node.items):
        items = list(node.items)
        items[step] = placed(items[step], rest, value)
        return replace(node, items=tuple(items))
    raise LookupError(f"nothing at {step!r}")


def scalars(node: Node) -> Iterator[Scalar]:
    """All single values of a tree."""
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from scalars(item)
    else:
        for entry in node.entries.values():
            yield from scalars(entry.value)


def spelled(steps: Steps) -> str:
    """A path as people write it: `spec.faults[0].latency`."""
    text = ""
    for step in steps:
        word = step if isinstance(step, int) or len(step) <= _LONGEST_STEP else f"{step[:_LONGEST_STEP]}..."
        text += f"[{word}]" if isinstance(step, int) else f".{word}" if text else str(word)
    return text
