"""Faults at layer 7 in the embedded proxy's terms: attributes, `where` and `id` as its API has them.

Its own checks decide what is right, so that nothing passes here that it would refuse. And back into words,
for plans and reports. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import JsonValue

from chaos.documents.layer7 import Layer7Base, Layer7Fault
from chaos.proxy.layer7.catalogue import LAYER7, Attribute, problem
from chaos.proxy.layer7.where import WhereError, where_of
from slo.quantities import format_duration

ONLY_EMBEDDED: Final = "leave out `toxiproxy:`, or point it at `brownout proxy`"
"""The remedy where a stock Toxiproxy is asked for what only the embedded proxy can."""
_NO_RETRY_AFTER: Final = -1
_ONLY_WITH: Final = {"value": "set", "factor": "scale"}
"""Attributes that only one `action` reads."""
_LONGEST: Final = 60


def layer7_attributes(fault: Layer7Fault) -> dict[str, JsonValue]:
    """All attributes of the fault's toxic: whole milliseconds, seconds and bytes; the rest as it is."""
    return {a.name: _in_units(getattr(fault, a.name), a) for a in LAYER7[fault.type].attributes}


def _in_units(value: Any, attribute: Attribute) -> Any:
    if value is None and attribute.default == _NO_RETRY_AFTER:
        return _NO_RETRY_AFTER
    match attribute.unit:
        case "ms":
            return max(1, round(value * 1e3)) if value > 0 else 0
        case "s" | "bytes":
            return round(value)
    return value


def where(fault: Layer7Base) -> dict[str, JsonValue]:
    """The fault's `where` for the API; empty where it is left out."""
    return fault.where.model_dump(mode="json", by_alias=True, exclude_none=True)


def id_from(fault: Layer7Base) -> dict[str, str]:
    """The fault's `id` for the API; empty where it is left out."""
    return {} if fault.id is None else fault.id.model_dump(by_alias=True, exclude_none=True)


def layer7_problem(fault: Layer7Fault) -> tuple[str, str] | None:
    """What the proxy would refuse: the key (with dots), and what was expected; None where all is right."""
    if fault.id is not None and len(id_from(fault)) != 1:
        return "id", "expected one of header and json"
    try:
        where_of(where(fault), LAYER7[fault.type].protocol)
    except WhereError as error:
        complaint: str | None = str(error)
    else:
        complaint = problem(fault.type, layer7_attributes(fault))
    if complaint is None:
        return None
    key, _, message = complaint.removeprefix("attributes.").partition(": ")
    return key, message


def attributes_in_words(toxic_type: str, attributes: Mapping[str, JsonValue]) -> list[str]:
    """`status 429`, `retry after 2s`: what a fault's attributes say, without those that say nothing."""
    return [
        _in_words(attribute, attributes[attribute.name])
        for attribute in LAYER7[toxic_type].attributes
        if attribute.name in attributes and _tells(attribute, attributes)
    ]


def _tells(attribute: Attribute, attributes: Mapping[str, JsonValue]) -> bool:
    if attribute.name in _ONLY_WITH:
        return attributes.get("action") == _ONLY_WITH[attribute.name]
    value = attributes[attribute.name]
    says_nothing = attribute.kind in ("text", "json", "boolean") or value in ("none", _NO_RETRY_AFTER)
    return value != attribute.default or not says_nothing


def _in_words(attribute: Attribute, value: JsonValue) -> str:
    name = attribute.name.replace("_", " ")
    if attribute.kind == "boolean":
        return name if value else f"not {name}"
    if attribute.unit in ("ms", "s") and isinstance(value, int):
        return f"{name} {format_duration(value / 1e3 if attribute.unit == 'ms' else value)}"
    if attribute.unit == "bytes":
        return f"{name} {value} B"
    return f"{name} {_shown(value) if attribute.kind in ('text', 'json') else value}"


def _shown(value: JsonValue) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def messages_in_words(where: Mapping[str, JsonValue], toxicity: float = 1.0) -> str:
    """`20% of the messages with path /v1/*`: which messages a fault strikes."""
    share = "all messages" if toxicity >= 1 else f"{toxicity * 100:.4g}% of the messages"
    fits: list[str] = []
    counted: list[str] = []
    for name, value in where.items():
        match name, value:
            case "header" | "json" | "reply_to", dict():
                lead = "" if name == "json" else f"{name} "
                fits += [
                    f"{lead}{key or 'the whole'}{f': {part}' if name == 'header' else f' = {_shown(part)}'}"
                    for key, part in value.items()
                ]
            case "nth", _:
                counted.append(f"no. {value} only")
            case "every", _:
                counted.append(f"one in {value}")
            case "first", _:
                counted.append(f"of the first {value}")
            case "message", _:
                fits.append(f"type {value}")
            case _:
                fits.append(f"{name} {value}")
    text = f"{share} with {', '.join(fits)}" if fits else share
    return f"{text} ({' '.join(counted)})" if counted else text
