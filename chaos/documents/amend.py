"""`--set KEY=VALUE`: one value of an experiment changed before it is validated.

KEY is a path into the experiment: `spec.phases.fault`, `spec.faults[0].latency`. What does not begin with
`spec.` or `metadata.` is taken from `spec`, and an item of a list may be named instead of counted, by its
`name`, `profile` or `ref`: `faults.late-replies.latency`, `load.env-episodes.arrivals`. VALUE is read as
YAML. Problems with the value say `--set`, as that is where it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping as Table

from chaos.documents.problems import BadInput, Problem, did_you_mean, listed, problem_at
from chaos.documents.source import parse_text
from chaos.documents.tree import Mapping, Node, Place, Scalar, Sequence, Step, descend, placed

_PART = re.compile(r"([^.\[\]]+)|\[(\d{1,6})\]")
_KEY = re.compile(r"^[^.\[\]]+(\[\d{1,6}\])*(\.[^.\[\]]+(\[\d{1,6}\])*)*$")
_NAMING_KEYS = ("name", "profile", "ref", "experiment")
_ROOTS = ("spec", "metadata")


def parse_sets(texts: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` arguments as a table; the last one of a key counts. Raises BadInput."""
    table: dict[str, str] = {}
    problems: list[Problem] = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            hint = "for instance --set phases.fault=10s"
            problems.append(Problem(f"--set {text}", 0, 0, "", "expected KEY=VALUE", hint))
        table[key.strip()] = value
    if problems:
        raise BadInput(problems)
    return table


def amended(tree: Mapping, sets: Table[str, str]) -> tuple[Mapping, list[Problem]]:
    """The tree with all values set, and what is wrong with the keys (or the YAML of the values)."""
    problems: list[Problem] = []
    result: Node = tree
    for key, text in sets.items():
        place = Place(f"--set {key}={text}")
        value = _value(text, place)
        if isinstance(value, list):
            problems += value
            continue
        steps = _steps(result, key, place)
        if isinstance(steps, Problem):
            problems.append(steps)
            continue
        try:
            result = placed(result, tuple(steps), value)
        except LookupError:
            problems.append(problem_at(place, "", f"there is nothing at {key}"))
    return (result if isinstance(result, Mapping) else tree), problems


def _value(text: str, place: Place) -> Node | list[Problem]:
    if not text.strip():
        return Scalar(place, None)
    source = parse_text(text, place.path)
    if source.problems:
        return [Problem(place.path, 0, 0, "", p.message, p.hint) for p in source.problems]
    if len(source.documents) != 1:
        return Scalar(place, None) if not source.documents else [problem_at(place, "", "expected one value")]
    return _moved(source.documents[0], place)


def _moved(node: Node, place: Place) -> Node:
    """The same tree, all of it at `place`: a line and a column would mean nothing here."""
    if isinstance(node, Scalar):
        return Scalar(place, node.value, node.text)
    if isinstance(node, Sequence):
        return Sequence(place, tuple(_moved(item, place) for item in node.items))
    result = Mapping(place, {})
    for key, entry in node.entries.items():
        result = result.having(key, _moved(entry.value, place), place)
    return result


def _steps(tree: Node, key: str, place: Place) -> list[Step] | Problem:
    """The steps that `key` spells, names of items replaced by their indexes."""
    if not _KEY.match(key) or len(key) > 500:
        hint = "for instance spec.phases.fault or faults[0].latency"
        return problem_at(place, "", f"expected a path to a value, got {key[:60]}", hint)
    parts: list[Step] = [int(index) if index else name for name, index in _PART.findall(key)]
    if parts[0] not in _ROOTS:
        parts.insert(0, "spec")
    steps: list[Step] = []
    while parts:
        node, _ = descend(tree, tuple(steps))
        if isinstance(node, Sequence) and isinstance(parts[0], str):
            found = _named(node, parts)
            if isinstance(found, Problem):
                return problem_at(place, "", found.message, found.hint)
            index, used = found
            steps.append(index)
            parts = parts[used:]
        elif isinstance(node, Sequence) and isinstance(parts[0], int) and parts[0] >= len(node.items):
            return problem_at(place, "", f"there are {len(node.items)} items, counted from [0]")
        elif isinstance(node, Mapping) and isinstance(parts[0], int) and parts[0] > 0:
            return problem_at(place, "", "there is one item, counted from [0]")
        elif isinstance(node, Scalar) and node.value is not None:
            return problem_at(place, "", f"{steps[-1]} is a single value; nothing is below it")
        else:
            steps.append(parts.pop(0))
    return steps


def _named(node: Sequence, parts: list[Step]) -> tuple[int, int] | Problem:
    """The index of the item that the first of `parts` name, and how many of them (names may hold dots)."""
    names: list[str] = []
    for item in node.items:
        texts = (item.text(key) for key in _NAMING_KEYS) if isinstance(item, Mapping) else iter(())
        names.append(next((text for text in texts if text), ""))
    words = [part for part in parts if isinstance(part, str)]
    for used in range(len(words), 0, -1):
        wanted = ".".join(words[:used])
        if wanted in names and parts[:used] == list(words[:used]):
            return names.index(wanted), used
    known = [name for name in names if name]
    hint = did_you_mean(words[0], known, otherwise=f"known are {listed(known, 'and')}" if known else "")
    return Problem("", 0, 0, "", f"there is no item named {words[0]}", hint)
