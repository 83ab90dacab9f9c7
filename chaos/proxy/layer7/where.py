"""`where`: which messages a toxic of layer 7 may strike.

A text matches whole and by case, `*` standing for any characters: `/v1/*`. All that is given has to fit; what
is left out fits anything. Of those that fit, `nth`, `every` and `first` take some by the order in which they
come; `toxicity` draws among the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.proxy.layer7.catalogue import TEXT_MAX

_OF_HTTP: Final = ("method", "path", "header", "json", "rpc", "tool")
_OF_WEBSOCKET: Final = ("path", "header", "json", "message", "reply_to")
_COUNTS: Final = ("nth", "every", "first")


class WhereError(ValueError):
    """A `where` that cannot be used; the message names the key and what was expected."""


def fits(pattern: str, text: str) -> bool:
    """Whether `text` is as `pattern` says, in time that grows with the text only."""
    if "*" not in pattern:
        return text == pattern
    first, *middle, last = pattern.split("*")
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def point(value: Any, pointer: str) -> Any:
    """What `pointer` (RFC 6901) leads to in `value`; raises LookupError where it leads nowhere."""
    for token in pointer.split("/")[1:]:
        token = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            if not token.isascii() or not token.isdecimal() or (len(token) > 1 and token[0] == "0"):
                raise LookupError(pointer)
            value = value[int(token)]
        elif isinstance(value, dict):
            value = value[token]
        else:
            raise LookupError(pointer)
    return value


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, str):
        return isinstance(found, str) and fits(wanted, found)
    return type(wanted) is type(found) and bool(wanted == found)


def json_fits(wanted: Mapping[str, Any], value: Any) -> bool:
    """Whether each pointer of `wanted` leads to its value in `value`; texts are patterns."""
    for pointer, expected in wanted.items():
        try:
            found = point(value, pointer)
        except (LookupError, ValueError):
            return False
        if not _same(expected, found):
            return False
    return True


@dataclass(frozen=True, slots=True)
class Where:
    """Conditions on a message. Header names are lower-case; `json` and `reply_to` are by JSON Pointer.

    `message` is `text` or `binary`; `reply_to` fits the message of the other direction that this one answers
    (the first that has not been answered). `rpc` is a JSON-RPC method, `tool` the name in a `tools/call`.
    """

    method: str = ""
    path: str = ""
    header: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, Any] = field(default_factory=dict)
    rpc: str = ""
    tool: str = ""
    message: str = ""
    reply_to: Mapping[str, Any] = field(default_factory=dict)
    nth: int = 0
    every: int = 0
    first: int = 0

    @property
    def needs_body(self) -> bool:
        """Whether a request's body has to be seen."""
        return bool(self.json or self.rpc or self.tool)

    def line_fits(self, method: str, path: str) -> bool:
        """Whether a request's first line fits; `path` is without the query."""
        return not (
            (self.method and not fits(self.method, method)) or (self.path and not fits(self.path, path))
        )

    def head_fits(self, method: str, path: str, headers: Iterable[tuple[str, str]]) -> bool:
        """Whether a request's head fits; `path` is without the query, header names are lower-case."""
        if not self.line_fits(method, path):
            return False
        if not self.header:
            return True
        given = list(headers)
        return all(
            any(name == wanted and fits(pattern, value) for name, value in given)
            for wanted, pattern in self.header.items()
        )

    def body_fits(self, value: Any) -> bool:
        """Whether a request's body, decoded from JSON, fits; a batch does when one of its requests does."""
        if self.json and not json_fits(self.json, value):
            return False
        if not (self.rpc or self.tool):
            return True
        calls = value if isinstance(value, list) else [value]
        return any(self._call_fits(call) for call in calls)

    def _call_fits(self, call: Any) -> bool:
        if not isinstance(call, dict) or not isinstance(method := call.get("method"), str):
            return False
        if self.rpc and not fits(self.rpc, method):
            return False
        if not self.tool:
            return True
        params = call.get("params")
        name = params.get("name") if isinstance(params, dict) else None
        return method == "tools/call" and isinstance(name, str) and fits(self.tool, name)

    def counted(self, number: int) -> bool:
        """Whether the `number`-th message that fits (from 1) is one that is asked for."""
        if self.nth:
            return number == self.nth
        if self.every and number % self.every:
            return False
        return not self.first or number <= self.first

    def as_dict(self) -> dict[str, Any]:
        """What was given, for the API."""
        return {
            name: dict(value) if isinstance(value, Mapping) else value
            for name in (*_OF_HTTP, "message", "reply_to", *_COUNTS)
            if (value := getattr(self, name))
        }


def where_of(value: Any, protocol: str) -> Where:
    """A `where` as the API was given it. Raises WhereError."""
    if value is None:
        return Where()
    if not isinstance(value, dict):
        raise WhereError(f"where: expected object, got {value!r}")
    allowed = {"http": _OF_HTTP, "sse": _OF_HTTP, "json-rpc": _OF_HTTP, "websocket": _OF_WEBSOCKET}.get(
        protocol, tuple(dict.fromkeys((*_OF_HTTP, *_OF_WEBSOCKET)))
    )
    given: dict[str, Any] = {}
    for name, part in value.items():
        if name not in allowed and name not in _COUNTS:
            raise WhereError(f"where.{name}: expected one of {', '.join((*allowed, *_COUNTS))}")
        given[name] = _part(name, part)
    if sum(name in given for name in ("nth", "every")) > 1 or ("nth" in given and "first" in given):
        raise WhereError("where: expected nth alone, or every and first")
    return Where(**given)


def _part(name: str, part: Any) -> Any:
    match name:
        case "nth" | "every" | "first":
            if isinstance(part, bool) or not isinstance(part, int) or not 1 <= part <= 2**53:
                raise WhereError(f"where.{name}: expected a whole number from 1, got {part!r}")
        case "header":
            if not isinstance(part, dict) or not all(isinstance(v, str) for v in part.values()):
                raise WhereError(f"where.header: expected names and texts, got {part!r}")
            part = {key.lower(): pattern for key, pattern in part.items()}
        case "json" | "reply_to":
            if not isinstance(part, dict) or not all(key == "" or key.startswith("/") for key in part):
                raise WhereError(f"where.{name}: expected JSON Pointers and values, got {part!r}")
        case "message":
            if part not in ("text", "binary"):
                raise WhereError(f"where.message: expected text or binary, got {part!r}")
        case _:
            if not isinstance(part, str) or not part:
                raise WhereError(f"where.{name}: expected a text, got {part!r}")
    if len(json.dumps(part)) > TEXT_MAX:
        raise WhereError(f"where.{name}: expected at most {TEXT_MAX} characters")
    return part
