"""The options of users that query a retrieval endpoint."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from loadtests.options.base import ClientManner, Flaw, Profile
from loadtests.pointers import parse
from loadtests.retrieval import BadQuery, numbered, read_query
from slo.model import Model
from slo.quantities import Duration, Share

_MOST_FLAWS: Final = 20
_MOST_BYTES: Final = 64 * 1024 * 1024


_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ONE_LINE: Final = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_PATH: Final = re.compile(r"/[^\x00-\x20\x7f#]*")
_OWN: Final = {"host", "content-length", "transfer-encoding", "connection", "traceparent"}


def _checked(text: str) -> str:
    parse(text)
    return text


def _path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise ValueError(f"expected a path such as /search, percent-encoded, got {text[:60]!r}")
    return text


def _header(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"expected a header's name, got {name[:60]!r}")
    if name.lower() in _OWN:
        raise ValueError(f"{name} is set by the user itself")
    return name


def _one_line(text: str) -> str:
    if not _ONE_LINE.fullmatch(text):
        raise ValueError(f"expected one line of Latin-1 text, got {text[:60]!r}")
    return text


UrlPath = Annotated[str, AfterValidator(_path)]


Pointer = Annotated[str, Field(pattern=r"^/.+", examples=["/results"]), AfterValidator(_checked)]
"""A JSON Pointer (RFC 6901) to something within a value."""


def _put(into: dict[str, Any], pointer: str, value: Any) -> None:
    """Set what `pointer` leads to, with the objects on the way. Raises ValueError."""
    *way, name = parse(pointer).keys
    for key in way:
        into = into.setdefault(key, {})
        if not isinstance(into, dict):
            raise ValueError(f"{pointer} leads through what is no object")
    into[name] = value


def _copied(value: Any) -> Any:
    """A copy of a JSON value's objects, so that setting in it leaves the options as they are."""
    return {name: _copied(each) for name, each in value.items()} if isinstance(value, dict) else value


class SearchRequest(Model):
    """Where a search has what, by JSON Pointers into its body."""

    query: Pointer = "/query"
    k: Pointer | None = Field("/k", description="How many documents are asked for; null: it is not said.")
    nonce: Pointer | None = Field("/nonce", description="A nonce that the reply may echo; null: none.")
    more: dict[str, Any] = Field(default_factory=dict, description="What the body holds besides.")

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        self.body("", 1, "")
        return self

    def body(self, query: str, k: int, nonce: str) -> dict[str, Any]:
        """The body of a search. Raises ValueError: one of the pointers leads through a value."""
        made = {name: _copied(each) for name, each in self.more.items()}
        for pointer, value in ((self.query, query), (self.k, k), (self.nonce, nonce)):
            if pointer is not None:
                _put(made, pointer, value)
        return made


class SearchReply(Model):
    """Where a reply has what. `id` and `version` are within each result; null: the reply does not say."""

    results: Pointer = "/results"
    id: Pointer = "/id"
    version: Pointer | None = "/version"
    index_version: Pointer | None = "/index_version"
    nonce: Pointer | None = "/nonce"


class SearchOptions(Model):
    """Queries with known relevant documents, and documents that are written to be found."""

    client: ClientManner = "careful"
    path: UrlPath = "/search"
    headers: dict[Annotated[str, AfterValidator(_header)], Annotated[str, AfterValidator(_one_line)]] = Field(
        default_factory=dict, description="Headers of each request, such as Authorization."
    )
    request: SearchRequest = Field(default_factory=SearchRequest)
    reply: SearchReply = Field(default_factory=SearchReply)
    k: int = Field(10, ge=1, le=1000, description="How many documents a search asks for.")
    queries: str | None = Field(
        None,
        min_length=1,
        description='A file of queries, one {"query": …, "relevant": [ID, …]} a line; else the demo\'s.',
    )
    writes: Share = Field(
        0.0, description="The share of users that first write a document, and then search for it."
    )
    documents: UrlPath = Field(
        "/documents/{id}", pattern=r"\{id\}", description="Where a document is PUT, with {id} for its id."
    )
    freshness: Duration = Field(
        0.0, ge=0, le=3600, description="How long the index may take to show what was written."
    )
    timeout: Duration = Field(10.0, gt=0)
    connect_timeout: Duration = Field(10.0, gt=0)
    retries: int = Field(2, ge=0, le=20)
    backoff: Duration = Field(0.1, ge=0, description="First pause before a retry; doubles up to 8 s.")
    connection: Literal["pooled", "fresh"] = "pooled"

    @model_validator(mode="after")
    def _can_tell(self) -> Self:
        if self.writes and self.reply.version is None:
            raise ValueError("writes needs reply.version, by which a document is known to be the one written")
        return self


class SearchProfile(Profile):
    """Users that query a retrieval endpoint."""

    user: Literal["search"]
    with_: SearchOptions = Field(default_factory=SearchOptions, alias="with")

    def placed(self, root: Path) -> Self:
        """With the file of queries made absolute."""
        options = self.with_
        if options.queries is None:
            return self
        placed = options.model_copy(update={"queries": str(root / options.queries)})
        return self.model_copy(update={"with_": placed})

    def flaws(self) -> list[Flaw]:
        """A file of queries that cannot be read, or holds lines that are no query."""
        name = self.with_.queries
        if name is None:
            return []
        key = ("with", "queries")
        try:
            if Path(name).stat().st_size > _MOST_BYTES:
                return [Flaw(key, f"{name}: expected at most {_MOST_BYTES // 2**20} MiB of queries")]
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            hint = "a path that is relative starts at the project's folder"
            reason = error.strerror if isinstance(error, OSError) else "expected UTF-8"
            return [Flaw(key, f"{name}: {reason}", hint)]
        flaws: list[Flaw] = []
        count = 0
        for number, line in numbered(text):
            count += 1
            try:
                read_query(line)
            except BadQuery as error:
                example = '{"query": "who leads Cedar", "relevant": ["doc-09"]}'
                flaws.append(Flaw(key, str(error), f"such as {example}", name, (number, error.column)))
                if len(flaws) >= _MOST_FLAWS:
                    break
        if not count:
            flaws.append(Flaw(key, f"{name}: expected at least one query, and it has none"))
        return flaws
