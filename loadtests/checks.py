"""What a reply is held against, and what is taken out of it.

Invariant: a check that could not be made has failed: a body that is no JSON has nothing at any pointer, and
`exists: false` does not hold for it either.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final

from loadtests.options.check import Check, Extraction
from loadtests.pointers import Nothing
from loadtests.templates import Values, text_of

_SHOWN: Final = 80


class NotJson(ValueError):
    """A body that is no JSON."""


class Reply:
    """A response's headers (names in lower case) and its body, decoded. Its text and JSON are made once."""

    def __init__(self, headers: Mapping[str, str], body: bytes) -> None:
        self.headers = headers
        self._body = body
        self._text: str | None = None
        self._document: list[object] = []

    @property
    def text(self) -> str:
        """The body as text; what is no UTF-8 in it is replaced."""
        if self._text is None:
            self._text = self._body.decode("utf-8", "replace")
        return self._text

    @property
    def document(self) -> object:
        """The body's JSON. Raises NotJson."""
        if not self._document:
            try:
                self._document.append(json.loads(self._body, parse_constant=_refused))
            except (ValueError, RecursionError) as error:
                raise NotJson(f"the body is no JSON: {_cut(self.text) or 'it is empty'}") from error
        return self._document[0]


def failure(check: Check, reply: Reply, values: Values, elapsed_s: float) -> str | None:
    """Why the check does not hold, or None. `elapsed_s`: since the step was due. Raises templates.Missing."""
    if check.latency is not None:
        return _too_late(check.latency, elapsed_s)
    if check.body is not None:
        if check.body_pattern.found(reply.text):
            return None
        return f"body: expected a match of {check.body}, got {_cut(reply.text) or 'an empty body'}"
    if check.header is not None:
        why = _of_header(check, reply, values)
        return None if why is None else f"header {check.header}: {why}"
    why = _of_pointer(check, reply, values)
    return None if why is None else f"pointer {check.pointer or 'of the whole body'}: {why}"


def extracted(extraction: Extraction, reply: Reply) -> object:
    """What a reply gives. Raises LookupError: nothing, and why."""
    if extraction.header is not None:
        found = reply.headers.get(extraction.header.lower())
        if found is None:
            raise LookupError(f"there is no header {extraction.header}")
        return found
    if extraction.regex is not None:
        taken = extraction.pattern.taken(reply.text)
        if taken is None:
            raise LookupError(f"nothing matches {extraction.regex} in {_cut(reply.text) or 'an empty body'}")
        return taken
    try:
        return extraction.parsed_pointer.resolve(reply.document)
    except NotJson as error:
        raise LookupError(str(error)) from error


def _too_late(limit_s: float, elapsed_s: float) -> str | None:
    if elapsed_s <= limit_s:
        return None
    return f"latency: expected at most {limit_s * 1000:g} ms, got {elapsed_s * 1000:.0f} ms"


def _of_header(check: Check, reply: Reply, values: Values) -> str | None:
    found = reply.headers.get((check.header or "").lower())
    if check.exists is False:
        return None if found is None else f"expected none, got {_cut(found)}"
    if found is None:
        return "it is not there"
    if "equals" in check.model_fields_set and found != text_of(check.equals_template.value(values)):
        return f"expected {_cut(text_of(check.equals_template.value(values)))}, got {_cut(found)}"
    if check.matches is not None and not check.matches_pattern.found(found):
        return f"expected a match of {check.matches}, got {_cut(found)}"
    return None


def _of_pointer(check: Check, reply: Reply, values: Values) -> str | None:
    try:
        found = check.parsed_pointer.resolve(reply.document)
    except NotJson as error:
        return str(error)
    except Nothing as error:
        return None if check.exists is False else str(error)
    if check.exists is False:
        return f"expected nothing, got {_shown(found)}"
    if "equals" in check.model_fields_set:
        wanted = check.equals_template.value(values)
        if not same(found, wanted):
            return f"expected {_shown(wanted)}, got {_shown(found)}"
    if check.matches is not None:
        if not isinstance(found, str):
            return f"expected text, got {_shown(found)}"
        if not check.matches_pattern.found(found):
            return f"expected a match of {check.matches}, got {_shown(found)}"
    if check.min is not None or check.max is not None:
        return _out_of_bounds(found, check.min, check.max)
    return None


def _out_of_bounds(found: object, least: float | None, most: float | None) -> str | None:
    if isinstance(found, bool) or not isinstance(found, int | float) or math.isnan(found):
        return f"expected a number, got {_shown(found)}"
    if least is not None and found < least:
        return f"expected at least {least:g}, got {_shown(found)}"
    if most is not None and found > most:
        return f"expected at most {most:g}, got {_shown(found)}"
    return None


def same(left: object, right: object) -> bool:
    """Whether two JSON values are the same: 1 is 1.0, but true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def _shown(value: object) -> str:
    return _cut(json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    text = " ".join(text[: 4 * _SHOWN].split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")
