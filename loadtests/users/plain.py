"""A user that sends plain HTTP requests, the steps of one arrival. (Not `http`: that is Python's own.)

Each step is an operation of its own and goes on when one before it has failed, so that none is absent from
the numbers because of another: one that needs a value which an earlier step did not give is recorded as
`not_sent`. What is the same for every arrival is made into bytes once.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from typing import Final

from loadtests.checks import Reply, extracted, failure
from loadtests.options.http import HttpOptions, HttpProfile
from loadtests.options.variable import drawn_uuid
from loadtests.templates import Missing, Unsendable, parse, text_of
from loadtests.users import following
from loadtests.users.arrival import Arrival
from loadtests.users.chat import JITTER, LONGEST_BACKOFF_S
from loadtests.users.compiled import Answer, Client, Compiled
from loadtests.users.connect import Address, Broken
from loadtests.users.decoding import decoded
from loadtests.users.jar import Jar
from loadtests.users.operation import UNFINISHED, Backoff, Desk, Operation, Subject, Try
from loadtests.users.prepared import Prepared
from loadtests.users.retries import status_failure
from loadtests.users.wire import Pool

CHECK_FAILED: Final = "check_failed"
EXTRACT_FAILED: Final = "extract_failed"
NOT_SENT: Final = "not_sent"
_TOLD: Final = (CHECK_FAILED, EXTRACT_FAILED, NOT_SENT)
_LOG = logging.getLogger(__name__)


class HttpUser:
    """Performs the profile's steps for each arrival."""

    compiled: tuple[Compiled, ...] | None
    """All steps as bytes, where each is the same for every arrival, its status alone tells whether a reply is
    right, and nothing of a reply matters to the next request; else None."""

    def __init__(self, desk: Desk, url: str, profile: HttpProfile) -> None:
        """Raises BadUrl; BadTable: a variable's file cannot be read."""
        self.desk = desk
        self._options: HttpOptions = profile.with_
        options = self._options
        self._address = Address.of(url)
        pool = Pool(
            self._address, keep=options.connection == "pooled", connect_timeout_s=options.connect_timeout
        )
        self.timeout_s = options.timeout
        self._client = Client(desk, pool, options.timeout)
        self._retry = Backoff(
            options.retries, options.backoff, LONGEST_BACKOFF_S, JITTER, heed=options.client == "careful"
        )
        self._choices = {name: variable.choices() for name, variable in options.vars.items()}
        self._item = None if options.item is None else parse(options.item)
        self._steps = [Prepared(number, step, self._address) for number, step in enumerate(options.steps)]
        self._uuids = [prepared.number for prepared in self._steps if "uuid" in prepared.names]
        made = [prepared.compiled for prepared in self._steps if prepared.compiled and prepared.plain]
        alike = len(made) == len(self._steps) and self._item is None
        self.compiled = (
            tuple(made) if alike and not options.cookies and options.redirects == "count" else None
        )
        self._told: set[tuple[str, str]] = set()

    def __call__(self, arrival: Arrival) -> None:
        """Perform them, and count how it went."""
        self._go(arrival, 0, arrival.due)

    @property
    def pool(self) -> Pool:
        """Where its connections come from."""
        return self._client.pool

    def take_from(self, pool: Pool) -> None:
        """Take connections from another pool from now on."""
        self._client.pool = pool

    def carry_on(
        self, arrival: Arrival, step: int, due: float, first: tuple[Try, Broken] | None = None
    ) -> None:
        """Go on with the step `step`, due at `due`; `first` is its first try, if that has failed elsewhere.

        For users that are `compiled`; that try is written down here.
        """
        if first is not None:
            self._count_request(first[0], step, due, first[1].error_type)
        self._go(arrival, step, due, first)

    def cut_off(self, arrival: Arrival, step: int, due: float, tried: Try) -> None:
        """The run has ended during the first try of the step `step`: it is unfinished."""
        self._count_request(tried, step, due, UNFINISHED)
        subject = Subject(step=step)
        operation = Operation(self.desk, arrival, self._steps[step].step.name, due, subject)
        operation.cut_off(tried)
        self._count(operation)

    def _go(self, arrival: Arrival, start: int, due: float, first: tuple[Try, Broken] | None = None) -> None:
        values, uuids = self._drawn(arrival)
        jar = Jar(tls=self._address.tls) if self._options.cookies else None
        for prepared in self._steps[start:]:
            subject = self._subject(arrival, prepared, values, uuids)
            operation = Operation(self.desk, arrival, prepared.step.name, due, subject)
            attempt = partial(self._attempt, operation, prepared, values, jar)
            try:
                operation.perform(attempt, self._retry, arrival.rng, first)
            except Broken as broken:  # it is in the history and in the metrics: that is what a user is for
                self._tell(operation, broken)
            finally:
                self._count(operation)
            due, first = operation.end, None

    def _count(self, operation: Operation) -> None:
        self.desk.telemetry.http_operation.record(
            operation.duration_s,
            (operation.phase, self.desk.workload, operation.name, operation.error_type),
        )

    def _count_request(self, tried: Try, step: int, due: float, error_type: str) -> None:
        status = str(tried.status) if tried.status else None
        phase = self.desk.phases.at(due)
        self.desk.telemetry.http_request.record(
            self.desk.clock.now() - tried.start,
            (phase, self.desk.workload, self._steps[step].step.method, status, error_type),
        )

    def _drawn(self, arrival: Arrival) -> tuple[dict[str, object], dict[int, str]]:
        """All that is left to chance: the variables' values, and a UUID for each step that wants one."""
        values = {name: drawn.take(arrival.ordinal, arrival.rng) for name, drawn in self._choices.items()}
        uuids = {number: drawn_uuid(arrival.rng) for number in self._uuids}
        values["arrival"] = arrival.ordinal
        if self._item is not None:
            with suppress(Missing):  # a step that needs it is not sent
                values["item"] = self._item.text(values)
        return values, uuids

    def _subject(
        self, arrival: Arrival, prepared: Prepared, values: dict[str, object], uuids: dict[int, str]
    ) -> Subject:
        number = prepared.number
        nonce = None
        if "nonce" in prepared.names or prepared.step.echo is not None:
            nonce = arrival.nonce(number)
            values["nonce"] = f"{nonce:016x}"
        values["step"] = number
        values["uuid"] = uuids.get(number)
        item = values.get("item")
        return Subject(step=number, item=None if item is None else text_of(item), nonce=nonce)

    def _attempt(
        self, operation: Operation, prepared: Prepared, values: dict[str, object], jar: Jar | None, tried: Try
    ) -> None:
        """One try: the request and what it is redirected to, then the checks. Raises Broken."""
        try:
            request = prepared.request(values)
        except (Missing, Unsendable) as error:
            raise Broken(NOT_SENT, str(error), retry=False) from error
        answer = self._answer(operation, tried, request, jar)
        if answer.status not in prepared.expected:
            detail = answer.body[:200].decode("utf-8", "replace")
            raise status_failure(answer.status, answer.headers, detail)
        if not prepared.plain:
            body = answer.body
            if prepared.reads_body and "content-encoding" in answer.headers:
                body = decoded(body, answer.headers["content-encoding"])
            self._hold(operation, prepared, values, Reply(answer.headers, body), tried)

    def _answer(self, operation: Operation, tried: Try, request: Compiled, jar: Jar | None) -> Answer:
        """The reply, with `redirects: follow` the last one on the way. Raises Broken."""
        for _ in range(following.MOST):
            cookies = jar.header(request.path) if jar is not None else ""
            answer = self._client.send(operation, tried, request, f"Cookie: {cookies}\r\n" if cookies else "")
            if jar is not None:
                jar.take(answer.cookies, request.path)
            onward = self._redirected(request, answer)
            if onward is None:
                return answer
            request = onward
        raise status_failure(answer.status, answer.headers, f"more than {following.MOST} redirects")

    def _redirected(self, request: Compiled, answer: Answer) -> Compiled | None:
        location = answer.headers.get("location")
        if self._options.redirects == "count" or answer.status not in following.REDIRECTS or not location:
            return None
        path = following.target(self._address, request.path, location)
        return None if path is None else request.redirected(self._address, answer.status, path)

    def _hold(
        self, operation: Operation, prepared: Prepared, values: dict[str, object], reply: Reply, tried: Try
    ) -> None:
        """Hold a reply against the step's checks, and take out of it what is wanted. Raises Broken."""
        step = prepared.step
        if step.echo is not None:
            with suppress(LookupError):  # what is not there is told below, if nothing else was wrong
                tried.reply_nonce = text_of(extracted(step.echo, reply))
        elapsed_s = self.desk.clock.now() - operation.due
        for check in step.checks:
            why = failure(check, reply, values, elapsed_s)
            if why is not None:
                raise Broken(CHECK_FAILED, why, retry=False)
        if step.echo is not None and tried.reply_nonce is None:
            raise Broken(EXTRACT_FAILED, "echo: the nonce is not repeated", retry=False)
        taken: dict[str, object] = {}
        for name, extraction in step.extract.items():
            try:
                taken[name] = extracted(extraction, reply)
            except LookupError as error:
                raise Broken(EXTRACT_FAILED, f"{name}: {error}", retry=False) from error
        values.update(taken)

    def _tell(self, operation: Operation, broken: Broken) -> None:
        """Say what did not hold, the first time that it did not: the history has only its kind."""
        if broken.error_type in _TOLD:
            known = (operation.name, str(broken).partition(": ")[2].partition(":")[0])
            if known not in self._told:
                self._told.add(known)
                _LOG.warning("%s: the step %s: %s (said once)", self.desk.workload, operation.name, broken)
