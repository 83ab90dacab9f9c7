"""Requests and replies that do not arrive, and those that arrive twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.proxy.layer7.exchange import Ending, Exchange, Filter

if TYPE_CHECKING:
    from chaos.proxy.layer7.head import ReplyHead
    from chaos.proxy.layer7.strike import Strike
    from chaos.proxy.layer7.toxics.holding import Room


def request(strike: Strike, exchange: Exchange, room: Room) -> None:
    """`request_lost`: the upstream never sees it."""
    exchange.lost = strike.attributes["how"]
    strike.applied(f"request lost ({exchange.lost})", len(exchange.body))


def twice(strike: Strike, exchange: Exchange, room: Room) -> None:
    """`request_twice`: it counts as applied when the second delivery has been sent."""
    exchange.twice.append(strike)


class _Lost(Filter):
    """Swallows the reply; the client learns of it as `how` says, when the upstream has sent all of it."""

    def head(self, head: ReplyHead) -> None:
        """See Sink."""
        if self.left:
            self.next.head(head)
        else:
            self.strike.applied(f"reply lost ({self.strike.attributes['how']})", len(head.raw))

    def data(self, data: bytes) -> None:
        """See Sink."""
        if self.strike.hit.applied:
            self.strike.saw(len(data))
        else:
            self.next.data(data)

    def end(self, ending: Ending) -> None:
        """See Sink."""
        self.next.end(self.strike.attributes["how"] if self.strike.hit.applied else ending)


def reply(strike: Strike, exchange: Exchange, room: Room) -> None:
    """`reply_lost`: the upstream has acted, and the client never learns."""
    exchange.filters.append(_Lost(strike))
