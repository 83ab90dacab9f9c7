"""`http_delay`: the first byte of the reply, or of the request, comes later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.proxy.layer7.exchange import Exchange
from chaos.proxy.layer7.toxics.holding import Holding, Room

if TYPE_CHECKING:
    from chaos.proxy.layer7.head import ReplyHead
    from chaos.proxy.layer7.strike import Strike


class _Later(Holding):
    """Holds the head; the body waits behind it."""

    def head(self, head: ReplyHead) -> None:
        """See Sink."""
        if self.left or self.strike.hit.applied:
            if not self.queue(self.next.head, head):
                self.next.head(head)
            return
        delay_s = self.strike.delay_s()
        self.strike.applied(f"delayed by {delay_s * 1000:g} ms")
        self.hold(delay_s)
        self.queue(self.next.head, head)

    def data(self, data: bytes) -> None:
        """See Sink."""
        self.strike.saw(len(data))
        if not self.queue(self.next.data, data):
            self.next.data(data)


def act(strike: Strike, exchange: Exchange, room: Room) -> None:
    """Delay the request, or its reply."""
    if strike.toxic.stream == "downstream":
        exchange.filters.append(_Later(strike, room))
    else:
        delay_s = strike.delay_s()
        exchange.delay_s += delay_s
        strike.applied(f"delayed by {delay_s * 1000:g} ms", len(exchange.body))
