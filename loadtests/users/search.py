"""A user that searches, and knows which documents are relevant and how new the index has to be.

A reply is stale when its index, or a document in it, is older than what this worker was told more than
`freshness` before it asked: by the answer to a write, or by another reply. Each search is counted once in
`brownout.searches`.

The naive manner takes what comes, as clients do that read `results` and nothing else: stale replies, those to
other requests, and no results at all. It is seen by the recall, the echoed nonce and the counts. The careful
manner takes none of these; it searches again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from loadtests.options.search import SearchOptions, SearchProfile
from loadtests.retrieval import (
    NOTES,
    Query,
    note,
    note_query,
    numbered,
    queries,
    read_query,
    recall,
    reciprocal_rank,
)
from loadtests.users.arrival import Arrival
from loadtests.users.connect import Address, Broken
from loadtests.users.found import Acknowledged, Found, Known, acknowledged, found_in
from loadtests.users.operation import UNFINISHED, Backoff, Desk, Operation, Subject, Try, Unfinished
from loadtests.users.retries import status_failure
from loadtests.users.wire import Exchange, Pool, request_bytes

R = TypeVar("R")

WRITE: Final = "write"
READ_BACK: Final = "read_back"
SEARCH: Final = "search"

STALE: Final = "stale"
FRESH: Final = "fresh"
FAILED: Final = "failed"
LONGEST_BACKOFF_S: Final = 8.0
JITTER: Final = 0.25
POLL_S: Final = 0.05
"""The pause before a document that was written is looked for again."""


@dataclass(slots=True)
class _Polling:
    """Tries again soon what is stale and may be; anything else as `backoff` has it, on a count of its own."""

    backoff: Backoff
    failures: int = 0

    def pause_s(self, number: int, failure: Broken, rng: random.Random) -> float | None:
        """See Retry."""
        if isinstance(failure, _NotYet):
            return POLL_S
        self.failures += 1
        return self.backoff.pause_s(self.failures - 1, failure, rng)


class _NotYet(Broken):
    """What was written is not there, and need not be yet."""


class SearchUser:
    """Sends one query for each arrival; some write a document before, and look for it."""

    def __init__(self, desk: Desk, url: str, profile: SearchProfile) -> None:
        """Raises BadUrl; OSError and BadQuery: the file of queries has changed since it was validated."""
        self.desk = desk
        self.options: SearchOptions = profile.with_
        options = self.options
        self._careful = options.client == "careful"
        self._pool = Pool(
            Address.of(url), keep=options.connection == "pooled", connect_timeout_s=options.connect_timeout
        )
        self._retry = Backoff(options.retries, options.backoff, LONGEST_BACKOFF_S, JITTER, heed=self._careful)
        own = {name.lower() for name in options.headers}
        common = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "brownout"}
        self._headers = {
            **{name: value for name, value in common.items() if name.lower() not in own},
            **options.headers,
        }
        self._queries = _queries(options)
        self._known = Known(options.freshness)

    def __call__(self, arrival: Arrival) -> None:
        """Search, and count how it went."""
        rng = arrival.rng
        query = rng.choice(self._queries)
        writes, number = rng.random() < self.options.writes, rng.randrange(NOTES)
        due = arrival.due
        if writes:
            due = self._write_and_find(arrival, number)
        self._find(self._operation(arrival, SEARCH, 2, due, query.text[:200]), query)

    def _operation(self, arrival: Arrival, name: str, step: int, due: float, item: str) -> Operation:
        subject = Subject(step=step, item=item, nonce=arrival.nonce(step))
        return Operation(self.desk, arrival, name, due, subject)

    # --- writing

    def _write_and_find(self, arrival: Arrival, number: int) -> float:
        """Write a document and search for it; the time that this took until."""
        page = note(number, version := int(self.desk.clock.now() * 1000))
        operation = self._operation(arrival, WRITE, 0, arrival.due, page.id)
        said = {"title": page.title, "text": page.text, "version": version}
        path = self.options.documents.replace("{id}", page.id)
        made = self._made("PUT", path, {**said, "nonce": f"{operation.subject.nonce:016x}"})
        try:
            self._performed(operation, lambda tried: self._written(operation, made, tried))
        except Broken:
            return operation.end  # it is in the history and in the metrics: that is what a user is for
        self._known.document(operation.end, page.id, version)
        reading = self._operation(arrival, READ_BACK, 1, operation.end, page.id)
        self._find(reading, note_query(number), version, operation.end + self.options.freshness)
        return reading.end

    def _written(self, operation: Operation, made: tuple[bytes, bytes], tried: Try) -> Acknowledged:
        answer = acknowledged(self._exchange(operation, "PUT", made, tried), self.options.reply)
        tried.reply_nonce = answer.nonce
        if self._careful:
            self._check_nonce(operation, answer.nonce)
        self._known.index(self.desk.clock.now(), answer.index_version)
        return answer

    # --- searching

    def _find(
        self, operation: Operation, query: Query, version: int | None = None, until: float = 0.0
    ) -> None:
        """Search; with `version` for a document that must be there in it, by `until` at the latest."""
        nonce = f"{operation.subject.nonce:016x}"
        made = self._made(
            "POST", self.options.path, self.options.request.body(query.text, self.options.k, nonce)
        )
        own = None if version is None else (query.relevant[0], version, until)
        state = FAILED
        try:
            found, stale = self._performed(
                operation, lambda tried: self._found(operation, query, own, made, tried)
            )
            state = STALE if stale else FRESH
            if version is None:
                key = (operation.phase, self.desk.workload)
                self.desk.telemetry.recall.record(recall(found.ids, query.relevant), key)
                self.desk.telemetry.reciprocal_rank.record(reciprocal_rank(found.ids, query.relevant), key)
        except Broken as failure:
            state = STALE if failure.error_type == STALE else FAILED
        except Unfinished:
            state = UNFINISHED
            raise
        finally:
            self.desk.telemetry.searches.add((operation.phase, self.desk.workload, state))

    def _found(
        self,
        operation: Operation,
        query: Query,
        own: tuple[str, int, float] | None,
        made: tuple[bytes, bytes],
        tried: Try,
    ) -> tuple[Found, bool]:
        """One try: what was found, and whether it is stale. Raises Broken."""
        floor = self._known.floor(self.desk.clock.now())
        body = self._exchange(operation, "POST", made, tried)
        found = found_in(body, self.options.reply, self.options.k, careful=self._careful)
        tried.reply_nonce = found.nonce
        if self._careful:
            self._check_nonce(operation, found.nonce)
        now = self.desk.clock.now()
        reason = floor.missing(found)
        self._known.index(now, found.index_version)
        if own is not None:
            ident, version, until = own
            there = found.versions.get(ident, -1) >= version
            if not there and now < until:
                raise _NotYet(STALE, f"{ident} is not there yet")
            reason = reason if there else f"{ident} was written as version {version}, and is not there"
            tried.reward, tried.expected = float(there), 1.0
        else:
            tried.reward, tried.expected = recall(found.ids, query.relevant), query.expected(self.options.k)
        if reason and self._careful:
            tried.reward = tried.expected = None
            raise Broken(STALE, reason)
        return found, bool(reason)

    # --- both

    def _performed(self, operation: Operation, attempt: Callable[[Try], R]) -> R:
        """Perform it, with an observation of how long it took. Raises Broken, Unfinished."""
        retry = _Polling(self._retry)
        try:
            return operation.perform(attempt, retry, operation.arrival.rng)
        finally:
            self.desk.telemetry.http_operation.record(
                operation.duration_s,
                (operation.phase, self.desk.workload, operation.name, operation.error_type),
            )

    def _made(self, method: str, path: str, said: object) -> tuple[bytes, bytes]:
        body = json.dumps(said).encode()
        return request_bytes(method, self._pool.address, path, self._headers, body), body

    def _exchange(self, operation: Operation, method: str, made: tuple[bytes, bytes], tried: Try) -> bytes:
        """The body of a good reply. Raises Broken, Unfinished."""
        head, body = made
        trace = f"traceparent: {operation.arrival.traceparent()}\r\n\r\n"
        error_type: str | None = None
        try:
            with Exchange(self._pool, tried, self.options.timeout) as exchange:
                exchange.send(head + trace.encode() + body)
                answer = exchange.body()
                if not 200 <= exchange.status < 300:
                    detail = answer[:200].decode("utf-8", "replace")
                    raise status_failure(exchange.status, exchange.headers, detail)
                return answer
        except Broken as failure:
            error_type = failure.error_type
            raise
        except Unfinished:
            error_type = UNFINISHED
            raise
        finally:
            desk, status = self.desk, str(tried.status) if tried.status else None
            desk.telemetry.http_request.record(
                desk.clock.now() - tried.start, (operation.phase, desk.workload, method, status, error_type)
            )

    @staticmethod
    def _check_nonce(operation: Operation, echoed: str | None) -> None:
        if echoed is not None and echoed != f"{operation.subject.nonce:016x}":
            raise Broken("protocol_error", f"the reply is to the request {echoed[:40]}")


def _queries(options: SearchOptions) -> tuple[Query, ...]:
    if options.queries is None:
        return queries()
    text = Path(options.queries).read_text(encoding="utf-8")
    return tuple(read_query(line) for _, line in numbered(text))
