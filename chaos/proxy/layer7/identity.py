"""Which message is which, so that the same ones are struck in every run, whatever came in between.

A draw is hash(seed, draw, id, attempt, ordinal) below the toxicity, where
- id is what `id` names (a header, or a value in the JSON), else the nonce of the shipped environments, else a
  hash of the request: method, target and body, or a WebSocket message;
- attempt is what the client says (`x-stainless-retry-count` of the OpenAI and Anthropic SDKs), else 0;
- ordinal counts the messages of that id and attempt, from 0.

So neither concurrency nor order change which messages are struck: the n-th of the same id has the n-th draw.
A retry draws anew: it has another attempt, or another ordinal. With `persist: request` it does not: it meets
what the attempt before it met; where a client does not tell its attempts apart, all of an id meet the same.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Literal

from chaos.proxy.layer7.where import point

ATTEMPT_HEADER: Final = "x-stainless-retry-count"
NONCES: Final = ("/data/nonce", "/data/observation/nonce", "/nonce", "/params/_meta/nonce")
"""Where the shipped services have the nonce of a request, and of what answers it."""
KNOWN_MAX: Final = 200_000
"""Ids whose ordinals a toxic remembers (250 bytes each); beyond that the longest unseen is forgotten."""
_ID_MAX: Final = 200
_SCALE: Final = 2.0**-64

_Key = str | tuple[str, int]

Persist = Literal["none", "request"]


class IdError(ValueError):
    """An `id` that cannot be used; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class IdFrom:
    """Where a message's id is: at most one of a header (lower-case) and a JSON Pointer."""

    header: str = ""
    json: str = ""

    def as_dict(self) -> dict[str, str]:
        """What was given, for the API."""
        return {name: value for name, value in (("header", self.header), ("json", self.json)) if value}


def id_of(value: Any) -> IdFrom:
    """An `id` as the API was given it. Raises IdError."""
    if value is None:
        return IdFrom()
    if (
        not isinstance(value, dict)
        or set(value) not in ({"header"}, {"json"})
        or not all(isinstance(part, str) and part for part in value.values())
    ):
        raise IdError(f'id: expected {{"header": NAME}} or {{"json": POINTER}}, got {value!r}')
    if not value.get("json", "/").startswith("/"):
        raise IdError(f"id.json: expected a JSON Pointer, got {value['json']!r}")
    return IdFrom(value.get("header", "").lower(), value.get("json", ""))


def json_id(value: Any, pointers: tuple[str, ...]) -> str | None:
    """The first of `pointers` that leads to a text or a whole number in `value`."""
    if not isinstance(value, dict | list):
        return None
    for pointer in pointers:
        try:
            found = point(value, pointer)
        except (LookupError, ValueError):
            continue
        if isinstance(found, str) and found:
            return found[:_ID_MAX]
        if isinstance(found, int) and not isinstance(found, bool):
            return str(found)[:_ID_MAX]
    return None


def _bytes(text: str) -> bytes:
    """JSON may name halves of surrogate pairs, which UTF-8 does not have."""
    return text.encode("utf-8", "surrogatepass")


def hashed(*parts: bytes) -> str:
    """An id for what bears none."""
    told = b"".join([len(part).to_bytes(8) + part for part in parts])
    return f"#{blake2b(told, digest_size=12).hexdigest()}"


class Ordinals:
    """How many messages of each id and attempt there have been; of bounded memory."""

    __slots__ = ("_most", "_seen", "forgotten")

    def __init__(self, most: int = KNOWN_MAX) -> None:
        self._most = most
        self._seen: OrderedDict[_Key, int] = OrderedDict()
        self.forgotten = 0
        """Ids that were forgotten: should they come again, they count from 0."""

    def next(self, ident: str, attempt: int) -> int:
        """The ordinal of a message, which is counted."""
        key = _key(ident, attempt)
        ordinal = self._seen.pop(key, 0)
        self._seen[key] = ordinal + 1
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
            self.forgotten += 1
        return ordinal


class Lasting:
    """Attempts that are to be struck because the ones before them were; of bounded memory.

    They are counted, as requests of one id (the same body twice) cannot be told apart.
    """

    __slots__ = ("_due", "_most")

    def __init__(self, most: int = KNOWN_MAX) -> None:
        self._most = most
        self._due: OrderedDict[_Key, int] = OrderedDict()

    def add(self, ident: str, attempt: int) -> None:
        """Expect one more."""
        key = _key(ident, attempt)
        self._due[key] = self._due.pop(key, 0) + 1
        if len(self._due) > self._most:
            self._due.popitem(last=False)

    def take(self, ident: str, attempt: int) -> bool:
        """Whether one is expected; it is not any more."""
        key = _key(ident, attempt)
        due = self._due.pop(key, 0)
        if due > 1:
            self._due[key] = due - 1
        return due > 0


def _key(ident: str, attempt: int) -> _Key:
    return (ident, attempt) if attempt else ident


def uniform(seed: int, draw: str, ident: str, attempt: int, ordinal: int) -> float:
    """A number in [0, 1) for one message and one toxic."""
    text = f"{seed}\0{draw}\0{ident}\0{attempt}\0{ordinal}"
    return int.from_bytes(blake2b(_bytes(text), digest_size=8).digest()) * _SCALE
