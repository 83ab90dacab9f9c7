"""A user that asks for a chat completion, or holds a conversation, plain or streamed, and checks the answer.

Invariant of the naive manner: as stock SDKs do, it takes a stream that ends for a whole answer, whether or
not its terminal event came, and does not try a stream again that has begun. The metric `brownout.streams`
tells what the client does not. The careful manner calls it `incomplete_stream`, and tries again.

Retry-After is heeded as the provider's SDK does, or not at all (`retry_after`): the SDKs do heed it, so a
naive client, which by itself does not, is there no stock SDK but a hand-written loop.
"""

from __future__ import annotations

import json
import os
from typing import Final

from loadtests.options.chat import ChatOptions, ChatProfile
from loadtests.users.arrival import Arrival
from loadtests.users.chatapi import APIS, Completion, Message, take_events
from loadtests.users.connect import Address, Broken
from loadtests.users.operation import UNFINISHED, Desk, Operation, Subject, Try, Unfinished
from loadtests.users.questions import Question, Questions
from loadtests.users.sdkretries import JITTER as JITTER
from loadtests.users.sdkretries import LONGEST_BACKOFF_S as LONGEST_BACKOFF_S
from loadtests.users.sdkretries import SdkRetry
from loadtests.users.sse import events
from loadtests.users.wire import Exchange, Pool, request_bytes

CHAT: Final = "chat"
MOST_KEPT: Final = 4096
"""Requests that are kept, to be sent again."""
HIDDEN: Final = "***"
"""What stands for an API key that a service repeats in its complaint."""


class NoKey(ValueError):
    """The environment has no API key under the name that the profile gives."""


class ChatUser:
    """Asks one question, or holds one conversation, for each arrival."""

    def __init__(self, desk: Desk, url: str, profile: ChatProfile) -> None:
        """Raises BadUrl, NoKey, BadPrompts."""
        self.desk = desk
        self.options: ChatOptions = profile.with_
        options = self.options
        self._api = APIS[options.api]
        self._careful = options.client == "careful"
        self._address = Address.of(url)
        self._pool = Pool(
            self._address, keep=options.connection == "pooled", connect_timeout_s=options.connect_timeout
        )
        self._retry = SdkRetry(options.api, options.retries, options.backoff, heed=options.heeds)
        self._questions = Questions(options)
        self._key = _key(options.api_key_env)
        self._headers = self._with_headers()
        self._openings: dict[str, tuple[bytes, bytes]] = {}
        self._attributes = (CHAT, self._api.provider, options.model)

    def __call__(self, arrival: Arrival) -> None:
        """Ask, and count how it went."""
        asked = self._questions.drawn(arrival.rng)
        several = len(asked.turns) > 1
        said: tuple[str, ...] = ()
        due = arrival.due
        for turn in range(len(asked.turns)):
            subject = Subject(item=asked.id, nonce=asked.nonce, step=turn if several else None)
            operation = Operation(self.desk, arrival, CHAT, due, subject)
            try:
                said += (self._perform(operation, asked, said).text,)
            except Broken:
                return  # it is in the history and in the metrics; what comes after has nothing to go on from
            due = operation.end

    def _perform(self, operation: Operation, asked: Question, said: tuple[str, ...]) -> Completion:
        """One turn, `said` being the answers so far. Raises Broken, Unfinished."""
        request = self._made(asked, said) if said else self._opening(asked)
        stream = _Stream()
        try:
            done = operation.perform(
                lambda tried: self._attempt(operation, asked, request, tried, stream, len(said)),
                self._retry,
                operation.arrival.rng,
            )
            self._count_tokens(operation, done)
            return done
        finally:
            key = (operation.phase, self.desk.workload, *self._attributes, operation.error_type)
            self.desk.telemetry.chat.record(operation.duration_s, key)
            if stream.first is not None:
                self.desk.telemetry.first_chunk.record(max(stream.first - operation.due, 0.0), key)

    def _with_headers(self) -> dict[str, str]:
        options = self.options
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if options.stream else "application/json",
            "User-Agent": "brownout",
            **(self._api.headers if self._key is None else self._api.authorized(self._key)),
        }
        own = {name.lower() for name in options.headers}
        return {name: value for name, value in headers.items() if name.lower() not in own} | options.headers

    def _opening(self, asked: Question) -> tuple[bytes, bytes]:
        """The request of a first turn; most are asked again and again."""
        made = self._openings.get(asked.id)
        if made is None:
            made = self._made(asked, ())
            if len(self._openings) < MOST_KEPT:
                self._openings[asked.id] = made
        return made

    def _made(self, asked: Question, said: tuple[str, ...]) -> tuple[bytes, bytes]:
        """The request's head and body."""
        messages: list[Message] = []
        for number, turn in enumerate(asked.turns[: len(said) + 1]):
            messages.append({"role": "user", "content": turn})
            if number < len(said):
                messages.append({"role": "assistant", "content": said[number]})
        body = self._api.conversation(self.options, messages, asked.system)
        path = self.options.path or self._api.path
        return request_bytes("POST", self._address, path, self._headers, body), body

    def _attempt(
        self,
        operation: Operation,
        asked: Question,
        request: tuple[bytes, bytes],
        tried: Try,
        stream: _Stream,
        turn: int,
    ) -> Completion:
        head, body = request
        trace = f"traceparent: {operation.arrival.traceparent()}\r\n\r\n"
        error_type: str | None = None
        into = Completion()
        stream.begin()
        try:
            with Exchange(self._pool, tried, self.options.timeout) as exchange:
                exchange.send(head + trace.encode() + body)
                if exchange.status != 200:
                    raise self._retry.refusal(exchange.status, exchange.headers, self._detail(exchange))
                if self.options.stream:
                    self._stream(exchange, operation, into, stream)
                else:
                    self._plain(exchange, into)
        except Broken as failure:
            error_type = failure.error_type
            raise
        except Unfinished:
            error_type = UNFINISHED
            raise
        finally:
            self._count_request(operation, tried, error_type)
        if turn == len(asked.turns) - 1:
            tried.reward, tried.expected, tried.reply_nonce = asked.verdict(into.text)
        return into

    def _detail(self, exchange: Exchange) -> str:
        """The beginning of a complaint; services repeat keys that they do not know."""
        detail = exchange.body().decode("utf-8", "replace")
        return (detail if self._key is None else detail.replace(self._key, HIDDEN))[:200]

    def _plain(self, exchange: Exchange, into: Completion) -> None:
        body = exchange.body()
        if not body and not self._careful:
            return  # stock SDKs hand an empty body on as an empty answer
        try:
            self._api.whole(json.loads(body), into)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise Broken(
                "protocol_error", f"expected a completion, got {body[:80]!r}", retry=self._careful
            ) from error

    def _stream(self, exchange: Exchange, operation: Operation, into: Completion, stream: _Stream) -> None:
        desk = self.desk
        key = (operation.phase, desk.workload, *self._attributes)
        pieces = 0
        try:
            for _ in take_events(events(exchange.chunks()), self._api, into):
                if into.pieces == pieces:
                    continue  # a notice of the service's, nothing that was generated
                pieces = into.pieces
                gap = stream.chunk(desk.clock.now())
                if gap is not None:
                    desk.telemetry.output_chunk.record(gap, key)
                    self._count_stall(operation, gap)
        except Broken as failure:
            if not into.terminal:  # else all that matters has come, and only the connection is lost
                failure.retry = self._careful
                raise
        finally:
            if not into.terminal and stream.last is not None:
                self._count_stall(operation, desk.clock.now() - stream.last)
            terminal = "true" if into.terminal else "false"
            desk.telemetry.streams.add((operation.phase, desk.workload, terminal))
        if not into.terminal and self._careful:
            raise Broken("incomplete_stream", "the stream ended without its terminal event")

    def _count_stall(self, operation: Operation, gap_s: float) -> None:
        if gap_s > self.options.stall:
            self.desk.telemetry.stalls.add((operation.phase, self.desk.workload))

    def _count_request(self, operation: Operation, tried: Try, error_type: str | None) -> None:
        desk = self.desk
        status = str(tried.status) if tried.status else None
        desk.telemetry.http_request.record(
            desk.clock.now() - tried.start, (operation.phase, desk.workload, "POST", status, error_type)
        )

    def _count_tokens(self, operation: Operation, done: Completion) -> None:
        key = (operation.phase, self.desk.workload, *self._attributes)
        if done.input_tokens is not None:
            self.desk.telemetry.tokens.record(done.input_tokens, (*key, "input"))
        if done.output_tokens is not None:
            self.desk.telemetry.tokens.record(done.output_tokens, (*key, "output"))


def _key(name: str | None) -> str | None:
    """The API key; it is kept in memory only. Raises NoKey."""
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise NoKey(f"api_key_env: the load generator's environment has no {name}")
    if not key.isascii() or not key.isprintable():
        raise NoKey(f"api_key_env: {name} holds what no header can carry")
    return key


class _Stream:
    """When chunks of the try that counts came."""

    __slots__ = ("first", "last")

    def __init__(self) -> None:
        self.first: float | None = None
        self.last: float | None = None

    def begin(self) -> None:
        """A try begins."""
        self.first = self.last = None

    def chunk(self, now: float) -> float | None:
        """A chunk came; the seconds since the one before it, if there was one."""
        before, self.last = self.last, now
        if before is None:
            self.first = now
            return None
        return now - before
