"""`http_truncate`: the body of a reply, cut short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.proxy.layer7.exchange import Ending, Exchange, Filter, reframed
from chaos.proxy.layer7.head import ReplyHead

if TYPE_CHECKING:
    from chaos.proxy.layer7.strike import Strike
    from chaos.proxy.layer7.toxics.holding import Room


class _Short(Filter):
    """With a right length the rest is dropped; with a wrong one the connection closes where it is cut."""

    def __init__(self, strike: Strike, method: str) -> None:
        super().__init__(strike)
        self._method = method
        self._keeps: int = strike.attributes["bytes"]
        self._seen = 0
        self._cut = False
        self._promised = False
        """The client has been told the shorter length."""

    def head(self, head: ReplyHead) -> None:
        """See Sink."""
        if self.left:
            self._keeps = 2**62
        elif head.length > self._keeps and self.strike.attributes["length"] == "right":
            head = reframed(head, self._keeps, self._method)
            self._promised = True
        self.next.head(head)

    def data(self, data: bytes) -> None:
        """See Sink."""
        room = max(0, self._keeps - self._seen)
        self._seen += len(data)
        if self._cut:
            return
        if len(data) <= room:
            self.next.data(data)
            return
        self._cut = True
        self.strike.applied(f"cut after {self._keeps} bytes", len(data))
        if room:
            self.next.data(data[:room])
        self.next.end("close" if self.strike.attributes["length"] == "wrong" else "whole")

    def end(self, ending: Ending) -> None:
        """See Sink."""
        if not self._cut:
            self.next.end(ending)

    def leave(self) -> None:
        """See Filter."""
        super().leave()
        if not self._promised:
            self._keeps = 2**62


def act(strike: Strike, exchange: Exchange, room: Room) -> None:
    """Cut the reply."""
    exchange.filters.append(_Short(strike, exchange.method))
