"""`json_edit`: a value in the body of a request or a reply, or in each event of a stream, is another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.proxy.layer7.body import decoded
from chaos.proxy.layer7.edit import edited
from chaos.proxy.layer7.events import data_of, is_stream, with_data
from chaos.proxy.layer7.exchange import BODY_MAX, Ending, Exchange, Filter, reframed
from chaos.proxy.layer7.toxics.events import Events
from chaos.proxy.layer7.toxics.holding import Room

if TYPE_CHECKING:
    from chaos.proxy.layer7.head import ReplyHead
    from chaos.proxy.layer7.strike import Strike


class _EditedBody(Filter):
    """Holds the reply until it is whole; what is too long, or cannot be read, goes on as it came."""

    def __init__(self, strike: Strike, method: str) -> None:
        super().__init__(strike)
        self._method = method
        self._head: ReplyHead | None = None
        self._body: list[bytes] = []
        self._size = 0

    def head(self, head: ReplyHead) -> None:
        """See Sink."""
        if self.left or self._method == "HEAD" or head.length > BODY_MAX:
            self._unread(head.length > BODY_MAX)
            self.next.head(head)
        else:
            self._head = head

    def _unread(self, unread: bool) -> None:
        self.strike.toxic.counts.unread += unread

    def data(self, data: bytes) -> None:
        """See Sink."""
        self.strike.saw(len(data))
        if self._head is None:
            self.next.data(data)
            return
        self._body.append(data)
        self._size += len(data)
        if self._size > BODY_MAX:
            self._unread(True)
            self._go_on(self._head)

    def _go_on(self, head: ReplyHead) -> None:
        """As it came."""
        self._head = None
        self.next.head(head)
        for part in self._body:
            self.next.data(part)
        self._body.clear()

    def end(self, ending: Ending) -> None:
        """See Sink."""
        head = self._head
        if head is not None:
            if ending == "whole" and not self.left:
                self._edit(head)
            else:
                self._go_on(head)
        self.next.end(ending)

    def leave(self) -> None:
        """See Filter."""
        super().leave()
        if self._head is not None:
            self._go_on(self._head)

    def _edit(self, head: ReplyHead) -> None:
        raw = b"".join(self._body)
        encoding = head.get("content-encoding")
        plain = decoded(raw, encoding)
        made = None if plain is None else edited(plain, self.strike.attributes)
        if made is None:
            self._unread(plain is None)
            self._go_on(head)
            return
        self.strike.applied(_what(self.strike))
        self._head = None
        self.next.head(reframed(head, len(made), self._method, drop=("content-encoding",)))
        self.next.data(made)


class _EditedEvents(Events):
    def event(self, event: bytes) -> None:
        """See Events."""
        made = edited(data_of(event), self.strike.attributes)
        if made is not None:
            self.strike.applied(_what(self.strike))
            event = with_data(event, made)
        self.next.data(event)


class _Edited(Filter):
    """Which of the two it is, the head tells."""

    def __init__(self, strike: Strike, method: str, room: Room) -> None:
        super().__init__(strike)
        self._events = _EditedEvents(strike, room)
        self._body = _EditedBody(strike, method)
        self._one: Filter = self._body

    def head(self, head: ReplyHead) -> None:
        """See Sink."""
        self._one = self._events if is_stream(head) else self._body
        self._one.next = self.next
        self._one.head(head)

    def data(self, data: bytes) -> None:
        """See Sink."""
        self._one.data(data)

    def end(self, ending: Ending) -> None:
        """See Sink."""
        self._one.end(ending)

    def leave(self) -> None:
        """See Filter."""
        super().leave()
        self._events.leave()
        self._body.leave()


def _what(strike: Strike) -> str:
    return f"{strike.attributes['action']} {strike.attributes['pointer']}"[:100]


def act(strike: Strike, exchange: Exchange, room: Room) -> None:
    """Edit the request, or its reply."""
    if strike.toxic.stream == "downstream":
        exchange.filters.append(_Edited(strike, exchange.method, room))
        return
    body = exchange.new_body
    if body is None and exchange.request is not None:
        body = decoded(exchange.body, exchange.request.get("content-encoding"))
    made = None if body is None else edited(body, strike.attributes)
    if made is not None:
        strike.applied(_what(strike), len(made))
        exchange.change_body(made)
