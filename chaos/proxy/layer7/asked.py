"""What a request to the API says of a toxic of layer 7. Here keys and values are taken as they are written.

(Toxiproxy's decoder does not heed the case of keys, which pointers and header names need.)
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from chaos.proxy.body import BodyError
from chaos.proxy.layer7.catalogue import LAYER7
from chaos.proxy.layer7.identity import IdError, Persist, id_of
from chaos.proxy.layer7.strike import Rule
from chaos.proxy.layer7.where import WhereError, where_of
from chaos.proxy.toxics.toxic import Stream

_STREAMS: dict[str, Stream] = {"upstream": "upstream", "downstream": "downstream"}


def _plain(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body.decode(errors="replace"))
    except (ValueError, RecursionError) as error:
        raise BodyError(f"expected one JSON object: {error}") from error
    if not isinstance(value, dict):
        raise BodyError("expected object")
    return value


def stream_of(toxic_type: str, given: str) -> tuple[str, Stream]:
    """The stream as given and as meant; the type's first one where none was given. Raises BodyError."""
    streams = LAYER7[toxic_type].streams
    given = given or streams[0]
    stream = _STREAMS[given.lower()]
    if stream not in streams:
        raise BodyError(f"stream: a toxic {toxic_type} is {streams[0]}, got {given}")
    return given, stream


def attributes_of(body: bytes, toxic_type: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a body, over those given; unknown ones are refused. Raises BodyError."""
    given = _plain(body).get("attributes")
    if given is None:
        return attributes
    if not isinstance(given, dict):
        raise BodyError("attributes: expected object")
    for name in given:
        if name not in attributes:
            expected = ", ".join(attributes) or "none"
            raise BodyError(f"attributes.{name[:100]}: expected one of {expected}")
    return {name: given.get(name, value) for name, value in attributes.items()}


def rule_of(body: bytes, toxic_type: str) -> Rule | None:
    """`where`, `id` and `persist` of a body; None for a type of layer 4. Raises BodyError."""
    spec = LAYER7.get(toxic_type)
    if spec is None:
        return None
    plain = _plain(body)
    asked = plain.get("persist") or "none"
    if asked not in ("none", "request"):
        raise BodyError(f"persist: expected none or request, got {asked!r}")
    persist: Persist = "request" if asked == "request" else "none"
    try:
        return Rule(
            spec.protocol, where_of(plain.get("where"), spec.protocol), id_of(plain.get("id")), persist
        )
    except (WhereError, IdError) as error:
        raise BodyError(str(error)) from error


def after_of(query: str) -> int:
    """The number of `?after=N`; 0 where there is none. Raises BodyError."""
    (text,) = parse_qs(query).get("after", ["0"])[:1]
    if not (text.isascii() and text.isdigit() and len(text) < 17):
        raise BodyError(f"after: expected a whole number, got {text[:100]}")
    return int(text)
