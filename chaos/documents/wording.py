"""Validation errors in our words: place, key, what was expected, what was found, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping as Table
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from chaos.documents.problems import Problem, did_you_mean, listed, nearest, problem_at, shown
from chaos.documents.shape import Spot, fields_at, follow
from chaos.documents.tree import Mapping, Node, Scalar, Sequence, Steps, descend, key_place, plain, spelled
from slo.quantities import format_duration

_MOST_TRANSLATED = 1000
_EXPECTED = {
    "string_type": "text",
    "string_sub_type": "text",
    "string_unicode": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping of keys to values",
    "mapping_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "iterable_type": "a list",
    "none_required": "nothing",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}
_PATTERNS = {
    r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$": "a name of lower-case letters, digits, '-' and '.', at most 63",
    r"^http://[^/@\s]+$": "an address such as http://127.0.0.1:8000",
    r"^https?://[^/@\s]+$": "an address such as http://127.0.0.1:8000 or https://api.example.com",
    r"^(https://[^/@\s]+|[^/@\s]+:\d{1,5})$": "an address such as 127.0.0.1:8000 or https://api.example.com",
    r"^[^/@\s]+:\d{1,5}$": "an address such as 127.0.0.1:8000",
    r"^[^/@\s]*:\d{1,5}$": "an address such as 127.0.0.1:0",
    r"^/": "a path that begins with /",
    r"^/.*": "a JSON Pointer such as /data/reward",
    r"^(/|$)": "a JSON Pointer such as /data/reward",
    r"^[A-Za-z0-9_.-]{1,253}$": "a host's name such as model.internal",
    r"^[A-Za-z0-9][A-Za-z0-9_.-]*$": "a service's name as docker-compose has it",
    r"^[a-z0-9][a-z0-9_-]*$": "a project's name as docker-compose has it",
}


def problems_of(
    error: ValidationError, model: type[BaseModel] | Any, tree: Node, base: Steps = ()
) -> list[Problem]:
    """The problems behind a pydantic error, at their places in `tree`.

    `base` are the steps from the document's root to the part that was validated, for the keys that are shown.
    """
    found: dict[tuple[str, int, int, str], Problem] = {}
    for detail in error.errors(include_url=False)[:_MOST_TRANSLATED]:
        spot = follow(model, detail["loc"]).in_text(tree)
        problem = _translated(detail, spot, model, tree, base)
        if problem is not None:
            # the members of a union that has no discriminator complain one by one, about the same value
            at = (problem.path, problem.line, problem.column, problem.key)
            found[at] = _either(found[at], problem) if at in found else problem
    return list(found.values())


def _either(first: Problem, second: Problem) -> Problem:
    one, two = (re.match(r"^expected (.*), got (.*)$", p.message) for p in (first, second))
    if one and two and one[2] == two[2] and two[1] not in one[1]:
        hint = first.hint or second.hint
        message = f"expected {one[1]} or {two[1]}, got {one[2]}"
        return Problem(first.path, first.line, first.column, first.key, message, hint)
    return first


def _translated(
    detail: ErrorDetails, spot: Spot, model: type[BaseModel] | Any, tree: Node, base: Steps
) -> Problem | None:
    kind, context = detail["type"], detail.get("ctx", {})
    steps = spot.steps
    node, place = descend(tree, steps)
    value = plain(node) if node is not None else None
    if kind == "missing":
        return None if _is_mistyped(spot, tree) else _missing(steps, tree, base)
    if kind in ("extra_forbidden", "unexpected_keyword_argument") or spot.is_key:
        at = key_place(tree, steps)
        if spot.is_key:
            return problem_at(at, spelled(base + steps), _said(kind, context, steps[-1], detail["msg"]))
        return problem_at(at, spelled(base + steps), "no such key here", _key_hint(spot, tree))
    if kind.startswith("union_tag"):
        return _wrong_tag(detail, steps, tree, base)
    if kind in ("too_short", "too_long") and _is_consequence(node, kind, context):
        return None
    if _EXPECTED.get(kind) == "a list" and isinstance(node, Sequence):
        return None  # it is one: only that a validator of its parent has touched it
    message = _said(kind, context, value, detail["msg"])
    if kind == "value_error" and isinstance(node, Mapping) and message.split()[0] in node.entries:
        steps = (*steps, message.split()[0])  # a key that a validator speaks of
        place = key_place(tree, steps)
    return problem_at(place, spelled(base + steps), message, _hint(kind, context, node, detail, model))


def _missing(steps: Steps, tree: Node, base: Steps) -> Problem:
    parent = steps[:-1]
    place = key_place(tree, parent) if parent else descend(tree, parent)[1]
    if parent and isinstance(parent[-1], int):
        place = descend(tree, parent)[1]
    node, _ = descend(tree, parent)
    near = nearest(steps[-1], node.entries) if isinstance(node, Mapping) else None
    hint = f"is it written as {near} here?" if near else ""
    return problem_at(place, spelled(base + steps), "is missing", hint)


def _is_mistyped(spot: Spot, tree: Node) -> bool:
    """Whether a missing key is there under a wrong name, which is then a problem of its own."""
    parent, _ = descend(tree, spot.steps[:-1])
    unknown = set(parent.entries) - set(spot.keys) if isinstance(parent, Mapping) else set()
    near = nearest(spot.steps[-1], unknown)
    return near is not None and nearest(near, spot.keys) == spot.steps[-1]


def _key_hint(spot: Spot, tree: Node) -> str:
    parent, _ = descend(tree, spot.steps[:-1])
    present = set(parent.entries) if isinstance(parent, Mapping) else set()
    free = [key for key in spot.keys if key not in present]
    known = f"expected {listed(free)}" if free else ""
    return did_you_mean(spot.steps[-1], free, otherwise=known)


def _wrong_tag(detail: ErrorDetails, steps: Steps, tree: Node, base: Steps) -> Problem:
    context = detail.get("ctx", {})
    key = str(context.get("discriminator", "")).strip("'")
    choices = re.findall(r"'([^']*)'", str(context.get("expected_tags", "")))
    node, place = descend(tree, steps)
    if not isinstance(node, Mapping):
        got = shown(plain(node)) if node is not None else "nothing"
        return problem_at(place, spelled(base + steps), f"expected a mapping of keys to values, got {got}")
    if key not in node.entries:
        return _missing((*steps, key), tree, base)
    tag = node.entries[key].value
    message = f"expected {listed(choices)}, got {shown(plain(tag))}" if choices else "expected another word"
    return problem_at(tag.place, spelled((*base, *steps, key)), message, did_you_mean(plain(tag), choices))


def _is_consequence(node: Node | None, kind: str, context: Table[str, Any]) -> bool:
    """Whether a list is too short only because its items are wrong, which has been said of each."""
    if not isinstance(node, Sequence | Mapping):
        return False
    length = len(node.items) if isinstance(node, Sequence) else len(node.entries)
    if isinstance(node, Mapping) and context.get("field_type") == "Tuple":
        length = 1
    if kind == "too_short":
        return length >= int(context.get("min_length", 0))
    return length <= int(context.get("max_length", length))


def _count(number: object, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _said(kind: str, context: Table[str, Any], value: Any, original: str) -> str:
    """One sentence: what was expected, and what is there."""
    got = shown(value)
    if kind == "quantity":
        return f"expected {context['kind']} such as {context['example']}, got {got}"
    if kind in ("literal_error", "enum"):
        choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        return f"expected {listed(choices)}, got {got}" if choices else f"expected another value, got {got}"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        bound = f"{context[key]:g}"
        if isinstance(value, str) and re.fullmatch(r"[\d.]+(us|ms|s|m|h|d).*", value):
            bound = format_duration(float(context[key]))
        return f"expected {words} {bound}, got {got}"
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern", ""))
        return f"expected {_PATTERNS.get(pattern, f'text that matches {pattern}')}, got {got}"
    if kind == "string_too_short":
        least = context.get("min_length", 1)
        return (
            "expected some text, got none"
            if least == 1
            else f"expected at least {_count(least, 'character')}"
        )
    if kind == "string_too_long":
        return f"expected at most {_count(context.get('max_length'), 'character')}, got {got}"
    if kind in ("too_short", "too_long"):
        words, number = ("at least", "min_length") if kind == "too_short" else ("at most", "max_length")
        return f"expected {words} {_count(context.get(number), 'item')}, got {context.get('actual_length')}"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error") or original)
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, got {got}"
    return re.sub(r"^Input should be (a valid )?", "expected ", original) + f", got {got}"


def _hint(
    kind: str, context: Table[str, Any], node: Node | None, detail: ErrorDetails, model: type[BaseModel] | Any
) -> str:
    value = plain(node) if node is not None else None
    if kind == "quantity":
        hint = str(context.get("hint") or "")
        return hint if "inf" not in hint and "nan" not in hint else ""
    if kind in ("literal_error", "enum"):
        return did_you_mean(value, re.findall(r"'([^']*)'", str(context.get("expected", ""))))
    if kind.startswith("string") and isinstance(node, Scalar) and not isinstance(value, str) and node.text:
        return f'put it in quotes: "{node.text[:60]}"'
    if kind in ("bool_type", "bool_parsing") and isinstance(value, str):
        meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(value.lower())
        return f"did you mean {meant}?" if meant else ""
    if kind in ("int_type", "float_type") and isinstance(node, Scalar) and isinstance(value, str):
        return "write the number without quotes" if re.fullmatch(r"[-+]?[0-9.]+", value) else ""
    if kind.endswith("_type") and not isinstance(value, dict):
        keys = fields_at(model, detail["loc"])
        return f"its keys are {listed(keys, 'and')}" if keys and kind.startswith(("model", "dict")) else ""
    return ""
