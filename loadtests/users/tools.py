"""A user that has a session with an MCP server: begin, list the tools, call some, ask what was done, close.

Invariant of the naive manner: it does what a caller of the stock client does who takes what does not raise
for done, and starts anew after what does. So a tool's error counts as an answer (the metric tells
otherwise: `error.type=tool_error`), and a call that failed is made again, without an idempotency key: the
tool then runs twice if only the reply was lost.

Invariant of the careful manner: all tries of a call bear one idempotency key, as `_meta.idempotencyKey` and
as the header `Idempotency-Key` (MCP itself has none; servers of the field read one of these, or an argument:
`${key}`). A tool's error is an error. A session that the server has lost is begun anew.

Of each call whose executions are counted, the server is asked at the session's end how often it happened:
that row's reward is the number, and `done` says whether its client took the call for done. Replies alone
would not tell: one that was lost tells nothing, and one that came may be older than the second execution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import gevent

from loadtests import metrics
from loadtests.options.tools import SESSIONLESS, ToolsProfile
from loadtests.pointers import Nothing, Pointer
from loadtests.users.arrival import Arrival
from loadtests.users.chat import JITTER, LONGEST_BACKOFF_S
from loadtests.users.connect import Address, Broken
from loadtests.users.mcpsession import Reading, Request, Session
from loadtests.users.operation import UNFINISHED, Backoff, Desk, Operation, Retry, Subject, Try, Unfinished
from loadtests.users.toolcalls import Call, Draw
from loadtests.users.wire import Pool

INITIALIZE: Final = "initialize"
LIST: Final = "tools/list"
CALL: Final = "tools/call"
CLOSE: Final = "close"
_LOST: Final = frozenset({"connection_reset", "connection_closed", "connection_refused", "unreachable"})
"""What ends a stock client with all its calls."""

R = TypeVar("R")


class ToolsUser:
    """Has one session for each arrival."""

    def __init__(self, desk: Desk, url: str, profile: ToolsProfile) -> None:
        """Raises BadUrl."""
        self.desk = desk
        options = self.options = profile.with_
        self.careful = options.client == "careful"
        self.pool = Pool(
            Address.of(url), keep=options.connection == "pooled", connect_timeout_s=options.connect_timeout
        )
        self.retry = Backoff(options.retries, options.backoff, LONGEST_BACKOFF_S, JITTER, heed=self.careful)
        self.draw = Draw(options)
        self.once = Backoff(0, 0.0, 0.0, 0.0, heed=False)

    def __call__(self, arrival: Arrival) -> None:
        """Have it, and count how it went."""
        error_type: str | None = "generator_error"  # unless it ends in one of its own ways
        visit = _Visit(self, arrival)
        try:
            error_type = visit.run()
        except Unfinished:
            error_type = UNFINISHED
            raise
        finally:
            desk = self.desk
            desk.telemetry.tool_session.record(
                max(desk.clock.now() - arrival.due, 0.0),
                (desk.phases.at(arrival.due), desk.workload, self.options.protocol, error_type),
            )


class _Visit:
    """One session, as its user sees it."""

    def __init__(self, user: ToolsUser, arrival: Arrival) -> None:
        self._user = user
        self._desk = user.desk
        self._options = user.options
        self._careful = user.careful
        self._arrival = arrival
        self._calls = user.draw.calls(arrival)
        self._session = Session(user.pool, user.options)
        self._sent = 0
        self._told_error = False
        """Whether the last result said `isError`."""

    def run(self) -> str | None:
        """All of it; the error type of the first request that failed, or None. Raises Unfinished."""
        failed: list[str] = []
        due = self._arrival.due
        for operation in self._operations(due):
            failed += [operation.error_type] if operation.error_type else []
        return failed[0] if failed else None

    def _operations(self, due: float) -> Any:
        """Perform one operation after the other, and yield each; a failed one stops none after it."""
        if self._options.protocol != SESSIONLESS:
            operation = self._operation(INITIALIZE, due, Subject(step=0, episode=True))
            self._perform(
                operation, INITIALIZE, lambda tried: self._begin(operation, tried), self._user.retry
            )
            yield operation
            due = operation.end
        if self._options.list_tools:
            operation = self._operation(LIST, due, Subject(step=0, episode=True))
            self._plain(operation, Request(LIST))
            yield operation
            due = operation.end
        for call in self._calls:
            due = self._wait(due + call.pause_s)
            yield (operation := self._call(call, due))
            due = operation.end
        counted = [call for call in self._calls if call.tool.question is not None]
        if counted:
            due = self._wait(due + self._options.settle)
        for call in counted:
            yield (operation := self._ask(call, due))
            due = operation.end
        if self._session.id is not None:
            yield self._close(due)

    # --- operations

    def _begin(self, operation: Operation, tried: Try) -> None:
        session = self._session
        self._measured(operation, tried, lambda: session.begin(tried, self._trace(), self._unique()))
        self._measured(operation, tried, lambda: session.notify(tried, self._trace()))

    def _plain(self, operation: Operation, request: Request) -> None:
        def attempt(tried: Try) -> None:
            self._ready(operation)
            self._request(operation, request, tried)

        self._perform(operation, request.method, attempt, self._user.retry)

    def _call(self, call: Call, due: float) -> Operation:
        """One logical call, tries included."""
        subject = Subject(step=call.step, episode=True, item=call.item, nonce=call.nonce)
        operation = self._operation(call.tool.name, due, subject)

        def attempt(tried: Try) -> None:
            self._ready(operation)
            key = call.id if self._careful else f"{call.id}-{operation.number}"
            arguments = call.tool.arguments.value(call.values(key))
            request = _tool_request(call, call.tool.name, arguments, key if self._careful else None)
            result = self._request(operation, request, tried)
            text = _text(result)
            right = call.is_right(text, key)
            if right is not None:
                tried.expected, tried.reward = 1.0, float(right and not self._told_error)
            tried.reply_nonce = _nonce(result)
            if self._told_error and self._careful:
                raise Broken("tool_error", text[:200], retry=False)
            call.taken = True

        self._perform(operation, CALL, attempt, self._user.retry, tool=call.tool.name)
        return operation

    def _ask(self, call: Call, due: float) -> Operation:
        """How often a call was executed. Where that is not told, nothing is known of the call."""
        asked = call.tool.question
        if asked is None:
            raise ValueError(f"{call.tool.name}: nothing tells its executions")
        subject = Subject(step=call.step, episode=True, item=call.item, nonce=call.nonce)
        operation = self._operation(metrics.EXECUTIONS, due, subject)
        request = _tool_request(call, asked.tool, asked.arguments.value(call.values(call.id)), None)

        def attempt(tried: Try) -> None:
            self._ready(operation)
            result = self._request(operation, request, tried)
            tried.reply_nonce = _nonce(result)
            if self._told_error:
                raise Broken("tool_error", _text(result)[:200])
            tried.reward = _number(result.get("structuredContent"), asked.pointer)
            tried.done = call.taken

        self._perform(operation, CALL, attempt, self._user.retry, tool=asked.tool)
        return operation

    def _close(self, due: float) -> Operation:
        """End the session; that it cannot be ended is seen in its row, and matters to nobody."""
        operation = self._operation(CLOSE, due, Subject(episode=True))

        def attempt(tried: Try) -> None:
            self._measured(operation, tried, lambda: self._session.end(tried, self._trace()), "DELETE")

        try:
            operation.perform(attempt, self._user.once, self._arrival.rng)
        except Broken:
            operation.error_type = None
        return operation

    def _ready(self, operation: Operation) -> None:
        """Begin the session anew, if it was lost: an operation of its own, tried once. Raises Broken."""
        if self._session.begun:
            return
        now = self._desk.clock.now()
        again = self._operation(INITIALIZE, now, Subject(step=0, episode=True))
        self._perform(again, INITIALIZE, lambda tried: self._begin(again, tried), self._user.once)
        if again.error_type is not None:
            raise Broken(again.error_type, f"{operation.name} has no session")

    # --- what they share

    def _operation(self, name: str, due: float, subject: Subject) -> Operation:
        return Operation(self._desk, self._arrival, name, due, subject)

    def _perform(
        self,
        operation: Operation,
        method: str,
        attempt: Callable[[Try], None],
        retry: Retry,
        tool: str | None = None,
    ) -> None:
        """Run it, and record it once, however it ends. Raises Unfinished."""
        self._told_error = False
        try:
            operation.perform(attempt, retry, self._arrival.rng)
        except Broken:
            pass  # it is in the history and in the metrics: that is what a user is for
        finally:
            error_type = operation.error_type or ("tool_error" if self._told_error else None)
            self._desk.telemetry.tool.record(
                operation.duration_s,
                (operation.phase, self._desk.workload, method, tool, self._options.protocol, error_type),
            )

    def _request(self, operation: Operation, request: Request, tried: Try) -> dict[str, Any]:
        reading = Reading()
        self._told_error = False
        try:
            result = self._measured(
                operation,
                tried,
                lambda: self._session.request(request, tried, self._trace(), self._unique(), reading),
            )
        finally:
            if reading.streamed:
                terminal = "true" if reading.terminal else "false"
                self._desk.telemetry.streams.add((operation.phase, self._desk.workload, terminal))
        self._told_error = result.get("isError") is True
        return result

    def _measured(self, operation: Operation, tried: Try, send: Callable[[], R], verb: str = "POST") -> R:
        """Send one HTTP request, and count it. Raises Broken, Unfinished."""
        error_type: str | None = None
        begun = self._desk.clock.now()
        try:
            return send()
        except Broken as failure:
            error_type = failure.error_type
            if error_type in _LOST and not self._careful:
                self._session.forget()  # a stock client ends with its connection; its caller starts anew
                failure.retry = True
            raise
        except Unfinished:
            error_type = UNFINISHED
            raise
        finally:
            desk = self._desk
            status = str(tried.status) if tried.status else None
            desk.telemetry.http_request.record(
                desk.clock.now() - begun, (operation.phase, desk.workload, verb, status, error_type)
            )

    def _trace(self) -> str:
        return self._arrival.traceparent()

    def _unique(self) -> str:
        """A JSON-RPC id that no other request bears, whoever sends it."""
        self._sent += 1
        return f"{self._arrival.trace.hex()}-{self._sent}"

    def _wait(self, due: float) -> float:
        gevent.sleep(max(due - self._desk.clock.now(), 0.0))
        return due


def _tool_request(call: Call, tool: str, arguments: object, key: str | None) -> Request:
    meta = {"nonce": f"{call.nonce:016x}"}
    return Request(CALL, {"name": tool, "arguments": arguments, "_meta": meta}, tool, key)


def _text(result: dict[str, Any]) -> str:
    """What a result says: the `text` or `result` of its structure, and all its text contents."""
    structured, content = result.get("structuredContent"), result.get("content")
    parts = []
    if isinstance(structured, dict):
        parts += [value for name in ("text", "result") if isinstance(value := structured.get(name), str)]
    if isinstance(content, list):
        parts += [
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        ]
    return "\n".join(parts)


def _nonce(result: dict[str, Any]) -> str | None:
    """The nonce that a result echoes, in its structure or its `_meta`, or None."""
    for part in (result.get("structuredContent"), result.get("_meta")):
        if isinstance(part, dict) and isinstance(nonce := part.get("nonce"), str) and nonce:
            return nonce
    return None


def _number(value: object, pointer: Pointer) -> float:
    """The number at a JSON Pointer. Raises Broken."""
    try:
        found = pointer.resolve(value)
    except Nothing as error:
        raise Broken("protocol_error", f"a result without a number of executions: {error}") from error
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise Broken("protocol_error", f"expected a number of executions, got {str(found)[:40]}")
    return float(found)
