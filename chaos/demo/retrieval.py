"""The demo retrieval endpoint: searches the documents of the environment's workspaces, and takes new ones.

Invariant: what was written is found by every search that comes after its answer, and every reply says of
which version the index was, of which version each document, and echoes its request's nonce. So a reply that
is stale, or another request's, shows. The index is in memory: a restart forgets what was written.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from heapq import nsmallest
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chaos.demo.body import BodyRefused, read_object
from loadtests.retrieval import Page, corpus, rarity

MOST_DOCUMENTS: Final = 10_000
_ID: Final = re.compile(r"[\w.-]{1,100}", re.ASCII)
_WORD: Final = re.compile(r"[a-z0-9]+")

Version = Annotated[int, Field(ge=0, le=2**53)]
Nonce = Annotated[str, Field(max_length=1000)]


class Search(BaseModel):
    """What is searched for."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: Annotated[str, Field(min_length=1, max_length=10_000)]
    k: Annotated[int, Field(ge=1, le=1000)] = 10
    nonce: Nonce = ""


class Written(BaseModel):
    """A document as it is to be; an older version than the one that is there changes nothing."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: Annotated[str, Field(max_length=1000)]
    text: Annotated[str, Field(max_length=100_000)]
    version: Version
    nonce: Nonce = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A document in the index."""

    page: Page
    version: int
    words: frozenset[str]


class Index:
    """Documents by word. `version` is 1 for the corpus, and one more with each change."""

    def __init__(self) -> None:
        self.version = 0
        self._entries: dict[str, Entry] = {}
        self._having: defaultdict[str, set[str]] = defaultdict(set)
        for page in corpus():
            self.write(page, 1)
        self.version = 1

    def __contains__(self, ident: str) -> bool:
        return ident in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def write(self, page: Page, version: int) -> int:
        """Take in a document unless it is newer already; the version that is there now."""
        old = self._entries.get(page.id)
        if old is not None:
            if old.version > version or (old.version == version and old.page == page):
                return old.version
            for word in old.words:
                self._having[word].discard(page.id)
        entry = Entry(page, version, frozenset(_WORD.findall(f"{page.title} {page.text}".lower())))
        self._entries[page.id] = entry
        for word in entry.words:
            self._having[word].add(page.id)
        self.version += 1
        return version

    def search(self, query: str, k: int) -> list[tuple[float, Entry]]:
        """The `k` best documents with their scores: those that share rare words with the query."""
        scores: defaultdict[str, float] = defaultdict(float)
        for word in set(_WORD.findall(query.lower())):
            having = self._having.get(word, ())
            worth = rarity(len(self._entries), len(having))
            for ident in having:
                scores[ident] += worth
        best = nsmallest(k, scores.items(), key=lambda found: (-found[1], found[0]))
        return [(score, self._entries[ident]) for ident, score in best]


def routes() -> list[Route]:
    """The endpoint's routes, over an index of its own."""
    index = Index()

    async def search(request: Request) -> Response:
        """`POST /search`: the documents that fit a query best."""
        try:
            asked = Search.model_validate(await read_object(request))
        except (ValidationError, BodyRefused) as error:
            return _refuse(error)
        results = [
            {
                "id": entry.page.id,
                "title": entry.page.title,
                "text": entry.page.text,
                "score": round(score, 6),
                "version": entry.version,
            }
            for score, entry in index.search(asked.query, asked.k)
        ]
        return JSONResponse({"results": results, "index_version": index.version, "nonce": asked.nonce})

    async def put(request: Request) -> Response:
        """`PUT /documents/ID`: a document is there in this version, or in a newer one."""
        ident = request.path_params["ident"]
        try:
            written = Written.model_validate(await read_object(request))
        except (ValidationError, BodyRefused) as error:
            return _refuse(error)
        if not _ID.fullmatch(ident):
            return _error(400, "id: expected 1 to 100 letters, digits, dots, dashes or underscores")
        if ident not in index and len(index) >= MOST_DOCUMENTS:
            return _error(507, f"expected at most {MOST_DOCUMENTS} documents")
        version = index.write(Page(ident, written.title, written.text), written.version)
        answer = {"id": ident, "version": version, "index_version": index.version, "nonce": written.nonce}
        return JSONResponse(answer)

    return [
        Route("/search", search, methods=["POST"]),
        Route("/documents/{ident}", put, methods=["PUT"]),
    ]


def _refuse(error: ValidationError | BodyRefused) -> Response:
    if isinstance(error, BodyRefused):
        return _error(error.status, str(error))
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return _error(400, f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}")


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message}}, status)
