"""The demo corpus, and queries whose relevant documents are known: what a retrieval endpoint should find.

Invariant: corpus and queries follow from the number of workspaces, so the demo endpoint and the load
generator agree on them without talking to each other; a query's relevant documents are those that its words
were taken from. Standard library only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from loadtests.task import LEADS
from loadtests.workspace import workspace

WORKSPACES: Final = 8
"""How many of the demo environment's workspaces the demo corpus holds: those of the seeds from 0."""
NOTES: Final = 20
"""Documents that load writes, each over and over."""


@dataclass(frozen=True, slots=True)
class Page:
    """A document of the corpus."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, and the ids of all documents that are relevant.

    `recall` is what a sound index finds of them; None: as many as the reply has room for.
    """

    text: str
    relevant: tuple[str, ...]
    recall: float | None = None

    def expected(self, k: int) -> float:
        """The recall of a sound reply with `k` documents."""
        return self.recall if self.recall is not None else min(1.0, k / len(self.relevant))


class BadQuery(ValueError):
    """A line of a file of queries that is none; `column` is where, from 1."""

    def __init__(self, message: str, column: int = 1) -> None:
        super().__init__(message)
        self.column = column


@lru_cache(maxsize=8)
def corpus(workspaces: int = WORKSPACES) -> tuple[Page, ...]:
    """The documents of the first so many workspaces."""
    return tuple(
        Page(f"ws{seed}-{document.id}", document.title, document.text)
        for seed in range(workspaces)
        for document in workspace(seed).documents.values()
    )


@lru_cache(maxsize=8)
def queries(workspaces: int = WORKSPACES) -> tuple[Query, ...]:
    """One query for each person who leads a project: the documents that name them are relevant."""
    pages = corpus(workspaces)
    return tuple(
        Query(f"project led by {lead}", tuple(page.id for page in pages if lead in page.text))
        for lead in LEADS
    )


def note(number: int, version: int) -> Page:
    """A document that load writes; its own query finds it and no other."""
    word = f"note{number:04}"
    return Page(word, f"Memo {word}", f"Memo {word} was filed as version {version}.")


def note_query(number: int) -> Query:
    """What finds a note."""
    ident = note(number, 0).id
    return Query(f"memo {ident}", (ident,))


def read_query(line: str) -> Query:
    """A query from a line of JSON: {"query": TEXT, "relevant": [ID, ...], "recall": 0..1 or left out}.

    Raises BadQuery.
    """
    try:
        said = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadQuery(f"expected an object in JSON: {error.msg}", error.colno) from error
    except RecursionError as error:
        raise BadQuery("expected an object in JSON, not one so deep") from error
    if not isinstance(said, dict) or set(said) - {"query", "relevant", "recall"}:
        raise BadQuery(f"expected an object with query, relevant and recall, got {line.strip()[:60]}")
    text, relevant, recall = said.get("query"), said.get("relevant"), said.get("recall")
    if not isinstance(text, str) or not text.strip():
        raise BadQuery(f"query: expected a text, got {json.dumps(text)[:60]}")
    if (
        not isinstance(relevant, list)
        or not relevant
        or not all(isinstance(each, str | int) and not isinstance(each, bool) for each in relevant)
    ):
        raise BadQuery(f"relevant: expected a list of ids, got {json.dumps(relevant)[:60]}")
    if recall is not None and (
        isinstance(recall, bool) or not isinstance(recall, int | float) or not 0 <= recall <= 1
    ):
        raise BadQuery(f"recall: expected a number from 0 to 1, got {json.dumps(recall)[:60]}")
    ids = tuple(dict.fromkeys(map(str, relevant)))
    return Query(text, ids, None if recall is None else float(recall))


def numbered(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a file of queries with their numbers from 1, without empty ones."""
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def recall(found: Sequence[str], relevant: Collection[str]) -> float:
    """The share of `relevant` that is in `found`; a document that comes twice counts once."""
    return len(set(found) & set(relevant)) / len(relevant)


def reciprocal_rank(found: Sequence[str], relevant: Collection[str]) -> float:
    """One over the place of the first relevant document; 0 where there is none."""
    wanted = set(relevant)
    return next((1 / place for place, each in enumerate(found, 1) if each in wanted), 0.0)


def rarity(documents: int, having: int) -> float:
    """How much a word that `having` of so many documents have tells of one: BM25's idf.

    Source: Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009, section 3 (with +1, so that
    it is above 0).
    """
    return math.log(1 + (documents - having + 0.5) / (having + 0.5))
