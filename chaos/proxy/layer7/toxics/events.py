"""Toxics of event streams. A reply that is none passes as it came, and they have not been applied."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from chaos.proxy.layer7.events import EVENT_MAX, Splitter, has_data, is_stream, is_terminal
from chaos.proxy.layer7.exchange import Ending, Exchange, reframed
from chaos.proxy.layer7.head import CHUNKED, ReplyHead
from chaos.proxy.layer7.toxics.answers import error_body, request_id
from chaos.proxy.layer7.toxics.holding import Holding, Room

if TYPE_CHECKING:
    from chaos.proxy.layer7.strike import Strike


class Events(Holding):
    """Gives each event to `event`. `count` is how many there have been, comments aside."""

    def __init__(self, strike: Strike, room: Room) -> None:
        super().__init__(strike, room)
        self._splitter: Splitter | None = None
        self.count = 0
        self.over = False
        """The toxic has ended the stream: what still comes is dropped."""

    def event(self, event: bytes) -> None:
        """Take one event with its blank line; `count` includes it."""
        raise NotImplementedError

    def wants(self, head: ReplyHead) -> bool:
        """See Filter."""
        return is_stream(head) and super().wants(head)

    def head(self, head: ReplyHead) -> None:
        """See Sink."""
        if is_stream(head) and not self.left:
            if head.get("content-encoding").lower() in ("", "identity"):
                self._splitter = Splitter()
                if head.length >= 0:
                    head = reframed(head, CHUNKED, "GET")
            else:
                self.strike.toxic.counts.unread += 1
        if not self.queue(self.next.head, head):
            self.next.head(head)

    def data(self, data: bytes) -> None:
        """See Sink."""
        if self.over:
            return
        splitter = self._splitter
        if splitter is None:
            self._pass(data)
            return
        self.strike.saw(len(data))
        for event in splitter.take(data):
            if not self.queue(self._take, event):
                self._take(event)
        if splitter.size > EVENT_MAX:
            self.strike.toxic.counts.unread += 1
            self._flush()

    def _take(self, event: bytes) -> None:
        if self.over:
            return
        self.count += has_data(event)
        if self.left or not has_data(event):
            self.next.data(event)
        else:
            self.event(event)

    def _pass(self, data: bytes) -> None:
        if not self.queue(self.next.data, data):
            self.next.data(data)

    def _flush(self) -> None:
        splitter, self._splitter = self._splitter, None
        if splitter is not None and splitter.size:
            self._pass(splitter.rest)

    def end(self, ending: Ending) -> None:
        """See Sink."""
        if self.over:
            return
        self._flush()
        if not self.queue(self.end, ending):
            self.next.end(ending)

    def finish(self, ending: Ending) -> None:
        """End the stream here."""
        self.over = True
        self.next.end(ending)


class _Cut(Events):
    def event(self, event: bytes) -> None:
        """See Events."""
        if self.count <= self.strike.attributes["events"]:
            self.next.data(event)
            return
        how = self.strike.attributes["how"]
        self.strike.applied(f"stream cut after {self.count - 1} events ({how})")
        if how == "frame":
            self.next.data(event[: max(1, len(event) // 2)])
        self.finish("whole" if how == "clean" else "close")


class _Error(Events):
    def event(self, event: bytes) -> None:
        """See Events."""
        if self.count <= self.strike.attributes["events"]:
            self.next.data(event)
            return
        self.strike.applied(f"error event after {self.count - 1} events")
        provider = self.strike.attributes["provider"]
        status = 529 if provider == "anthropic" else 500
        body = json.dumps(error_body(provider, status, request_id(self.strike))).encode()
        name = b"" if provider == "openai" else b"event: error\n"
        self.next.data(name + b"data: " + body + b"\n\n")
        self.finish("whole")


class _Unfinished(Events):
    def event(self, event: bytes) -> None:
        """See Events."""
        if is_terminal(event):
            self.strike.applied("terminal events left out")
        else:
            self.next.data(event)


class _Stall(Events):
    def event(self, event: bytes) -> None:
        """See Events."""
        if self.count > self.strike.attributes["events"] and not self.strike.hit.applied:
            stall_ms = self.strike.attributes["stall"]
            self.strike.applied(f"stalled after {self.count - 1} events")
            self.hold(stall_ms / 1000 if stall_ms else None)
            self.queue_first(self.next.data, event)
        else:
            self.next.data(event)


class _Slow(Events):
    def event(self, event: bytes) -> None:
        """See Events."""
        delay_ms = self.strike.attributes["first" if self.count == 1 else "every"]
        if not delay_ms:
            self.next.data(event)
            return
        self.strike.applied("events delayed")
        self.hold(delay_ms / 1000)
        self.queue_first(self.next.data, event)


def _act(kind: type[Events]) -> Callable[[Strike, Exchange, Room], None]:
    def act(strike: Strike, exchange: Exchange, room: Room) -> None:
        exchange.filters.append(kind(strike, room))

    return act


cut = _act(_Cut)
error = _act(_Error)
unfinished = _act(_Unfinished)
stall = _act(_Stall)
delay = _act(_Slow)
