"""`reply_replayed`: the reply to an earlier request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.proxy.layer7.events import Splitter, is_stream
from chaos.proxy.layer7.exchange import BODY_MAX, Ending, Exchange, Filter, reframed
from chaos.proxy.layer7.head import ReplyHead

if TYPE_CHECKING:
    from chaos.proxy.layer7.strike import Rule, Strike
    from chaos.proxy.layer7.toxics.holding import Room


class _Replayed(Filter):
    """Keeps the reply that comes for later, and sends the one that was kept `back` requests ago, if any.

    The first `back` requests get their own replies. What is longer than 1 MiB, or breaks off, is not kept;
    of an event stream that the client has left, having heard enough, its whole events are.
    """

    def __init__(self, strike: Strike, rule: Rule, method: str) -> None:
        super().__init__(strike)
        self._kept = rule.kept
        self._method = method
        self._head: ReplyHead | None = None
        self._body: list[bytes] | None = []
        self._size = 0
        self._old: tuple[ReplyHead, bytes] | None = None

    def head(self, head: ReplyHead) -> None:
        """See Sink."""
        self._head = head
        back = self.strike.attributes["back"]
        if len(self._kept) >= back and not self.left:
            self._old = self._kept[-back]
        while len(self._kept) > back:
            self._kept.popleft()
        if self._old is None:
            self.next.head(head)

    def data(self, data: bytes) -> None:
        """See Sink."""
        if self._old is None:
            self.next.data(data)
        self._size += len(data)
        if self._size > BODY_MAX:
            self._body = None
        elif self._body is not None:
            self._body.append(data)

    def end(self, ending: Ending) -> None:
        """See Sink."""
        self._keep(whole=ending == "whole")
        if self._old is None:
            self.next.end(ending)
            return
        head, body = self._old
        self.strike.applied("an earlier reply was sent", len(body))
        self.next.head(reframed(head, len(body), self._method))
        self.next.data(body)
        self.next.end("whole")

    def leave(self) -> None:
        """The client gets its own reply after all, if all of it is there still."""
        super().leave()
        if self._old is not None and self._head is not None and self._body is not None:
            self._old = None
            self.next.head(self._head)
            for part in self._body:
                self.next.data(part)

    def stop(self) -> None:
        """See Filter."""
        if self._head is not None and is_stream(self._head):
            self._keep(whole=False)

    def _keep(self, *, whole: bool) -> None:
        """Keep what has come, once, for a later request."""
        if self._head is None or self._body is None:
            return
        body, self._body = b"".join(self._body), None
        if not whole and is_stream(self._head):
            body = b"".join(Splitter().take(body))
            whole = bool(body)
        if whole:
            self._kept.append((self._head, body))


def act(strike: Strike, exchange: Exchange, room: Room) -> None:
    """Replay."""
    rule = strike.toxic.rule
    if rule is not None:
        exchange.filters.append(_Replayed(strike, rule, exchange.method))
