"""What a retrieval endpoint has answered, and what is known of its index by then.

Keys are JSON Pointers of the profile's, so that any endpoint's own schema can be read.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from loadtests.options.search import SearchReply
from loadtests.pointers import Nothing, Pointer, parse
from loadtests.users.connect import Broken

Number = int | float

_MOST_NONCE: Final = 200


@dataclass(frozen=True, slots=True)
class Found:
    """A reply to a search: the ids in their order, and versions where they are told."""

    ids: tuple[str, ...] = ()
    versions: dict[str, Number] = field(default_factory=dict)
    index_version: Number | None = None
    nonce: str | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The answer to a write."""

    index_version: Number | None
    nonce: str | None


def found_in(body: bytes, keys: SearchReply, k: int, *, careful: bool) -> Found:
    """What a reply says. Raises Broken: it is no JSON or, to a careful client, not all that it should be.

    A naive client takes no body, and no results, for an answer without documents. More than `k` results are
    not looked at.
    """
    if not body and not careful:
        return Found()
    said = _json(body)
    results = _at(said, keys.results)
    if not isinstance(results, list):
        if careful:
            raise Broken("protocol_error", f"expected results at {keys.results}, got {body[:80]!r}")
        results = []
    ids: list[str] = []
    versions: dict[str, Number] = {}
    for result in results[:k]:
        ident = _at(result, keys.id)
        if isinstance(ident, bool) or not isinstance(ident, str | int):
            if careful:
                raise Broken("protocol_error", f"expected an id at {keys.id} of each result")
            continue
        ids.append(str(ident))
        version = _number(_at(result, keys.version))
        if version is not None:
            versions[str(ident)] = version
        elif careful and keys.version is not None:
            raise Broken("protocol_error", f"expected a version at {keys.version} of each result")
    index_version = _number(_at(said, keys.index_version))
    if careful and keys.index_version is not None and index_version is None:
        raise Broken("protocol_error", f"expected a number at {keys.index_version}, got {body[:80]!r}")
    return Found(tuple(ids), versions, index_version, _nonce(said, keys))


def acknowledged(body: bytes, keys: SearchReply) -> Acknowledged:
    """What the answer to a write says: all that it has to is its status. Never raises."""
    try:
        said = _json(body)
    except Broken:
        said = None
    return Acknowledged(_number(_at(said, keys.index_version)), _nonce(said, keys))


@lru_cache(maxsize=64)
def _pointer(text: str) -> Pointer:
    return parse(text)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Broken("protocol_error", f"expected JSON, got {body[:80]!r}") from error


def _at(value: Any, pointer: str | None) -> Any:
    try:
        return None if pointer is None else _pointer(pointer).resolve(value)
    except Nothing:
        return None


def _number(value: Any) -> Number | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def _nonce(said: Any, keys: SearchReply) -> str | None:
    nonce = _at(said, keys.nonce)
    return nonce[:_MOST_NONCE] if isinstance(nonce, str) and nonce else None


@dataclass(frozen=True, slots=True)
class Floor:
    """What a reply to a request that is sent now has to show, at least."""

    index: Number
    documents: Mapping[str, Number]

    def missing(self, found: Found) -> str:
        """What a reply does not show and should; empty: nothing."""
        if found.index_version is not None and found.index_version < self.index:
            return f"the index was at {self.index}, and is at {found.index_version}"
        for ident, version in found.versions.items():
            known = self.documents.get(ident)
            if known is not None and version < known:
                return f"{ident} was at {known}, and is at {version}"
        return ""


class Known:
    """What the index must show by now: all that was told more than `freshness_s` ago.

    Times are Unix seconds, of this worker's clock alone.
    """

    def __init__(self, freshness_s: float) -> None:
        self._freshness_s = freshness_s
        self._told: deque[tuple[float, str | None, Number]] = deque()
        self._newest: Number = -math.inf
        self._floor = Floor(-math.inf, {})

    def index(self, now: float, version: Number | None) -> None:
        """The index has reached `version`: a reply that came now says so."""
        if version is not None and version > self._newest:
            self._newest = version
            self._told.append((now, None, version))

    def document(self, now: float, ident: str, version: Number) -> None:
        """A document was written, and the write has been answered."""
        self._told.append((now, ident, version))

    def floor(self, now: float) -> Floor:
        """What holds for a request that is sent now, and not for one that was sent before."""
        while self._told and self._told[0][0] <= now - self._freshness_s:
            _, ident, version = self._told.popleft()
            floor = self._floor
            if ident is None:
                self._floor = Floor(max(floor.index, version), floor.documents)
            else:
                newest = max(floor.documents.get(ident, version), version)
                self._floor = Floor(floor.index, {**floor.documents, ident: newest})
        return self._floor
