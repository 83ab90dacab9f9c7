"""`reply_replayed`: the reply to an earlier request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.proxy.layer7.exchange import BODY_MAX, Ending, Exchange, Filter, reframed
from chaos.proxy.layer7.head import ReplyHead

if TYPE_CHECKING:
    from chaos.proxy.layer7.strike import Rule, Strike
    from chaos.proxy.layer7.toxics.holding import Room


class _Replayed(Filter):
    """Keeps the reply that comes for later, and sends the one that was kept `back` requests ago, if there is one.

    What is longer than 1 MiB, or breaks off, is not kept. The first `back` requests get their own replies.
    """

    def __init__(self, strike: Strike, rule: Rule, method: str) -> None:
        super().__init__(strike)
        self._kept = rule.kept
        self._method = method
        self._head: ReplyHead | None = None
        self._body: list[bytes] | None = []
        self._size = 0
        back = strike.attributes["back"]
        self._old = self._kept[-back] if len(self._kept) >= back and not self.left else None
        while len(self._kept) > back:
            self._kept.popleft()

    def head(self, head: ReplyHead) -> None:
        """See Sink."""
        self._head = head
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
        if self._head is not None and self._body is not None and ending == "whole":
            self._kept.append((self._head, b"".join(self._body)))
        if self._old is None:
            self.next.end(ending)
            return
        head, body = self._old
        self.strike.applied("an earlier reply was sent", len(body))
        self.next.head(reframed(head, len(body), self._method))
        self.next.data(body)
        self.next.end("whole")


def act(strike: Strike, exchange: Exchange, room: Room) -> None:
    """Replay."""
    rule = strike.toxic.rule
    if rule is not None:
        exchange.filters.append(_Replayed(strike, rule, exchange.method))
