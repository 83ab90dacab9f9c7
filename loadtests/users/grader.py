"""A user that has one answer graded by a judge, and knows which grade it deserves.

Invariant of strict parsing: an answer without exactly one verdict on the scale that was asked for is
`unscored`, and has no reward. Lenient parsing always has one: what stock graders take, right or wrong. Each
answer is counted once in `brownout.grades`, whatever becomes of it, so that coverage is scored / all.

Beside that the manners are those of the chat user: a naive client takes a stream that ends, or an empty body,
for the judge's whole reply. A careful one does not, and asks again for a verdict that it cannot read.
"""

from __future__ import annotations

import json
from typing import Final

from loadtests.grading import (
    Case,
    Unreadable,
    case_prompt,
    lenient_score,
    reference_in,
    strict_score,
    submission,
)
from loadtests.items import item
from loadtests.options.chat import ChatOptions
from loadtests.options.grader import GraderOptions, GraderProfile
from loadtests.users.arrival import Arrival
from loadtests.users.chatapi import APIS, Completion, take_events
from loadtests.users.connect import Address, Broken
from loadtests.users.operation import UNFINISHED, Backoff, Desk, Operation, Subject, Try, Unfinished
from loadtests.users.retries import status_failure
from loadtests.users.sse import events
from loadtests.users.wire import Exchange, Pool, request_bytes

GRADE: Final = "grade"
UNSCORED: Final = "unscored"
LONGEST_BACKOFF_S: Final = 8.0
JITTER: Final = 0.25

SCORED: Final = "scored"
INCONSISTENT: Final = "inconsistent"
FAILED: Final = "failed"


class NoVerdict(Broken):
    """The judge has answered, and no score may be taken from it; `state` is why."""

    def __init__(self, state: str, detail: str, *, retry: bool) -> None:
        super().__init__(UNSCORED, detail, retry=retry)
        self.state = state


class GraderUser:
    """Has one answer graded for each arrival."""

    def __init__(self, desk: Desk, url: str, profile: GraderProfile) -> None:
        """Raises BadUrl."""
        self.desk = desk
        self.options: GraderOptions = profile.with_
        options = self.options
        self._api = APIS[options.api]
        self._careful = options.client == "careful"
        self._pool = Pool(
            Address.of(url), keep=options.connection == "pooled", connect_timeout_s=options.connect_timeout
        )
        self._retry = Backoff(options.retries, options.backoff, LONGEST_BACKOFF_S, JITTER, heed=self._careful)
        self._chat = ChatOptions(
            api=options.api, model=options.model, stream=options.stream, max_tokens=options.max_tokens
        )
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if options.stream else "application/json",
            "User-Agent": "brownout",
            **self._api.headers,
        }
        self._attributes = ("chat", self._api.provider, options.model)

    def __call__(self, arrival: Arrival) -> None:
        """Have it graded, as often as the profile says, and count what came of it."""
        options = self.options
        asked = item(arrival.rng.randrange(options.items))
        right = arrival.rng.random() >= options.wrong
        answer, expected = submission(asked, right=right), 1.0 if right else 0.0
        due, state, scores = arrival.due, FAILED, list[float]()
        try:
            for step in range(options.repeat):
                nonce = arrival.nonce(step)
                case = Case(asked, answer, f"{nonce:016x}", options.verdict, options.scale)
                subject = Subject(step=step, item=asked.id, nonce=nonce)
                operation = Operation(self.desk, arrival, GRADE, due, subject)
                scores.append(self._graded(operation, case, _Wanted(expected, scores, options.repeat)))
                due = operation.end
            state = SCORED
        except NoVerdict as failure:
            state = failure.state
        except Broken:
            pass  # it is in the history and in the metrics: that is what a user is for
        except Unfinished:
            state = UNFINISHED
            raise
        finally:
            self.desk.telemetry.grades.add((self.desk.phases.at(arrival.due), self.desk.workload, state))

    def _graded(self, operation: Operation, case: Case, wanted: _Wanted) -> float:
        """The score of one reply, tries included. Raises Broken, Unfinished."""
        body = self._api.body(self._chat, case_prompt(case))
        head = request_bytes("POST", self._pool.address, self._api.path, self._headers, body)
        rng = operation.arrival.rng
        try:
            done, score = operation.perform(
                lambda tried: self._attempt(operation, case, wanted, (head, body), tried), self._retry, rng
            )
        finally:
            key = (operation.phase, self.desk.workload, *self._attributes, operation.error_type)
            self.desk.telemetry.chat.record(operation.duration_s, key)
        self._count_tokens(operation, done)
        return score

    def _attempt(
        self, operation: Operation, case: Case, wanted: _Wanted, made: tuple[bytes, bytes], tried: Try
    ) -> tuple[Completion, float]:
        head, body = made
        trace = f"traceparent: {operation.arrival.traceparent()}\r\n\r\n"
        error_type: str | None = None
        try:
            with Exchange(self._pool, tried, self.options.timeout) as exchange:
                exchange.send(head + trace.encode() + body)
                if exchange.status != 200:
                    detail = exchange.body()[:200].decode("utf-8", "replace")
                    raise status_failure(exchange.status, exchange.headers, detail)
                done = self._streamed(exchange, operation) if self.options.stream else self._whole(exchange)
        except Broken as failure:
            error_type = failure.error_type
            raise
        except Unfinished:
            error_type = UNFINISHED
            raise
        finally:
            desk, status = self.desk, str(tried.status) if tried.status else None
            desk.telemetry.http_request.record(
                desk.clock.now() - tried.start, (operation.phase, desk.workload, "POST", status, error_type)
            )
        tried.reply_nonce = reference_in(done.text)
        score = self._read(done.text, case)
        wanted.check(score)
        tried.reward = score
        tried.expected = wanted.expected
        return done, score

    def _read(self, text: str, case: Case) -> float:
        options = self.options
        if options.parsing == "lenient":
            return lenient_score(text, case, 1.0 if options.otherwise == "max" else 0.0)
        try:
            return strict_score(text, case)
        except Unreadable as error:
            raise NoVerdict(error.reason, str(error), retry=self._careful) from error

    def _whole(self, exchange: Exchange) -> Completion:
        body, into = exchange.body(), Completion()
        if not body and not self._careful:
            return into  # stock SDKs hand an empty body on as an empty answer
        try:
            self._api.whole(json.loads(body), into)
            into.parts = [into.text]  # which only texts join to
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise Broken(
                "protocol_error", f"expected a completion, got {body[:80]!r}", retry=self._careful
            ) from error
        return into

    def _streamed(self, exchange: Exchange, operation: Operation) -> Completion:
        into = Completion()
        try:
            for _ in take_events(events(exchange.chunks()), self._api, into):
                pass
            into.parts = [into.text]
        except TypeError as error:
            raise Broken("protocol_error", "expected pieces of text", retry=self._careful) from error
        except Broken as failure:
            if not into.terminal:  # else all that matters has come, and only the connection is lost
                failure.retry = self._careful
                raise
        finally:
            terminal = "true" if into.terminal else "false"
            self.desk.telemetry.streams.add((operation.phase, self.desk.workload, terminal))
        if not into.terminal and self._careful:
            raise Broken("incomplete_stream", "the stream ended without its terminal event")
        return into

    def _count_tokens(self, operation: Operation, done: Completion) -> None:
        key = (operation.phase, self.desk.workload, *self._attributes)
        if isinstance(done.input_tokens, int):
            self.desk.telemetry.tokens.record(done.input_tokens, (*key, "input"))
        if isinstance(done.output_tokens, int):
            self.desk.telemetry.tokens.record(done.output_tokens, (*key, "output"))


class _Wanted:
    """The grade that is deserved, and what earlier verdicts on the same answer were.

    The score is taken with the last verdict: only there is a grade expected.
    """

    __slots__ = ("_before", "expected")

    def __init__(self, grade: float, before: list[float], repeat: int) -> None:
        self._before = before
        self.expected = grade if len(before) == repeat - 1 else None

    def check(self, score: float) -> None:
        """Raises NoVerdict when it differs from the verdict before."""
        if self._before and self._before[-1] != score:
            before = self._before[-1]
            raise NoVerdict(INCONSISTENT, f"judged {before:g}, and then {score:g}", retry=False)
