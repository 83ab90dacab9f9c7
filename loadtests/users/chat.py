"""A user that asks for one chat completion, plain or streamed, and checks the answer.

Invariant of the naive manner: as stock SDKs do, it takes a stream that ends for a whole answer, whether or
not its terminal event came, and does not try a stream again that has begun. The metric `brownout.streams`
tells what the client does not. The careful manner calls it `incomplete_stream`, and tries again.
"""

from __future__ import annotations

import json
from functools import lru_cache

from loadtests.items import Item, asked_in, is_right, item, prompt
from loadtests.options.chat import ChatOptions, ChatProfile
from loadtests.users.arrival import Arrival
from loadtests.users.chatapi import APIS, Completion, take_events
from loadtests.users.connect import Address, Broken
from loadtests.users.operation import UNFINISHED, Backoff, Desk, Operation, Subject, Try, Unfinished
from loadtests.users.retries import status_failure
from loadtests.users.sse import events
from loadtests.users.wire import Exchange, Pool, request_bytes

CHAT = "chat"
LONGEST_BACKOFF_S = 8.0
JITTER = 0.25


class ChatUser:
    """Asks one question for each arrival."""

    def __init__(self, desk: Desk, url: str, profile: ChatProfile) -> None:
        """Raises BadUrl."""
        self.desk = desk
        self.options: ChatOptions = profile.with_
        options = self.options
        self._api = APIS[options.api]
        self._careful = options.client == "careful"
        self._address = Address.of(url)
        self._pool = Pool(
            self._address, keep=options.connection == "pooled", connect_timeout_s=options.connect_timeout
        )
        self._retry = Backoff(options.retries, options.backoff, LONGEST_BACKOFF_S, JITTER, heed=self._careful)
        self._request = lru_cache(maxsize=4096)(self._made)
        self._attributes = (CHAT, self._api.provider, options.model)

    def __call__(self, arrival: Arrival) -> None:
        """Ask, and count how it went."""
        asked = item(arrival.rng.randrange(self.options.items))
        operation = Operation(self.desk, arrival, CHAT, arrival.due, Subject(item=asked.id, nonce=asked.id))
        first = _FirstChunk()
        try:
            done = operation.perform(
                lambda tried: self._attempt(operation, asked, tried, first), self._retry, arrival.rng
            )
            self._count_tokens(operation, done)
        except Broken:
            pass  # it is in the history and in the metrics: that is what a user is for
        finally:
            key = (operation.phase, self.desk.workload, *self._attributes, operation.error_type)
            self.desk.telemetry.chat.record(operation.duration_s, key)
            if first.at is not None:
                self.desk.telemetry.first_chunk.record(max(first.at - operation.due, 0.0), key)

    def _made(self, number: int) -> tuple[bytes, bytes]:
        options = self.options
        body = self._api.body(options, prompt(item(number)))
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if options.stream else "application/json",
            "User-Agent": "brownout",
            **self._api.headers,
        }
        return request_bytes("POST", self._address, self._api.path, headers, body), body

    def _attempt(self, operation: Operation, asked: Item, tried: Try, first: _FirstChunk) -> Completion:
        head, body = self._request(int(asked.id.removeprefix("item-")))
        trace = f"traceparent: {operation.arrival.traceparent()}\r\n\r\n"
        error_type: str | None = None
        into = Completion()
        first.at = None
        try:
            with Exchange(self._pool, tried, self.options.timeout) as exchange:
                exchange.send(head + trace.encode() + body)
                if exchange.status != 200:
                    detail = exchange.body()[:200].decode("utf-8", "replace")
                    raise status_failure(exchange.status, exchange.headers, detail)
                if self.options.stream:
                    self._stream(exchange, operation, into, first)
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
        answer = into.text
        named = asked_in(answer)
        tried.reply_nonce = named.id if named is not None else None
        tried.reward = 1.0 if is_right(asked, answer) else 0.0
        tried.expected = 1.0
        return into

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

    def _stream(self, exchange: Exchange, operation: Operation, into: Completion, first: _FirstChunk) -> None:
        clock = self.desk.clock
        try:
            for _ in take_events(events(exchange.chunks()), self._api, into):
                if first.at is None:
                    first.at = clock.now()
        except Broken as failure:
            if not into.terminal:  # else all that matters has come, and only the connection is lost
                failure.retry = self._careful
                raise
        finally:
            terminal = "true" if into.terminal else "false"
            self.desk.telemetry.streams.add((operation.phase, self.desk.workload, terminal))
        if not into.terminal and self._careful:
            raise Broken("incomplete_stream", "the stream ended without its terminal event")

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


class _FirstChunk:
    """When the first event of the try that counts came."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at: float | None = None
