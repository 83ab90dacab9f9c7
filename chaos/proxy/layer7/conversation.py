"""A connection read as HTTP/1.1: its requests and replies, paired, in order.

Invariant: an exchange that no toxic strikes passes as the bytes that it came as, in the pieces that it came
in. Replies leave in the order of their requests, whoever made them.

Once something cannot be read (`pass_untouched`), both directions pass as they are, for good.
"""

from __future__ import annotations

import re
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from chaos.proxy.layer7.deflate import agreed
from chaos.proxy.layer7.exchange import Exchange
from chaos.proxy.layer7.replies import ReplyReader
from chaos.proxy.layer7.requests import RequestReader
from chaos.proxy.layer7.websocket import WebSocket

if TYPE_CHECKING:
    from chaos.proxy.layer7.head import ReplyHead
    from chaos.proxy.layer7.reader import Reader
    from chaos.proxy.link import Link
    from chaos.proxy.toxics.toxic import Stream, Toxic

_REQUEST_LINE: Final = re.compile(rb"[A-Z]{3,20} [^\s]{1,8000} HTTP/1\.[01]\r\n")


class Conversation:
    """Both readers of a connection, and the exchanges under way, oldest first."""

    def __init__(self, link: Link, *, joined: bool) -> None:
        self.link = link
        self.proxy = link.proxy
        self.loop = link.proxy.loop
        self.exchanges: deque[Exchange] = deque()
        self.over = False
        """The connection is being ended by a toxic."""
        self.reading = True
        """False once something could not be read."""
        self.websocket: WebSocket | None = None
        self.up = RequestReader(self, link.up)
        self.down = ReplyReader(self, link.down)
        self.hanging: Toxic | None = None
        """The toxic by which the client waits for a reply that does not come."""
        self._unread: set[Toxic] = set()
        self._struck: set[Toxic] = set()
        if joined:
            self.up.state = self._join
            self.down.state = self.pass_down

    # --- what the readers, and a WebSocket, may ask for -----------------------------------------------------

    def reader(self, stream: Stream) -> Reader:
        """The reader of a stream."""
        return self.up if stream == "upstream" else self.down

    def send(self, stream: Stream, data: bytes) -> None:
        """Pass bytes on."""
        self.reader(stream).next.feed(data, time.monotonic())

    def room(self, stream: Stream) -> bool:
        """Whether there is room for more."""
        return self.over or self.reader(stream).next.accepting()

    def ready(self, stream: Stream) -> None:
        """There is room again: read on."""
        self.reader(stream).prev.ready()

    def end(self, stream: Stream) -> None:
        """Pass the end of the stream on."""
        self.reader(stream).next.end()

    def close(self) -> None:
        """Close the connection in order (FIN), after what has been passed on to the client."""
        if not self.over:
            self.over = True
            self._stop_filters()
            self.up.drop()
            if self.link.down.done:
                self.link.up.close(self.up)
            else:
                self.link.down.close(self.down)
            self.up.finish()

    def reset(self) -> None:
        """Reset both ends (RST)."""
        if not self.over:
            self.over = True
            self._stop_filters()
            self.link.abort(reset=True)

    def lose(self, exchange: Exchange) -> None:
        """What a lost request looks like to the client, when it is its turn."""
        match exchange.lost:
            case "close":
                self.close()
            case "reset":
                self.reset()
            case _:
                self.hang(exchange)

    def hang(self, exchange: Exchange) -> None:
        """Nothing comes any more on this connection, until the toxic is gone; then it is closed."""
        toxic = next(struck.toxic for struck in exchange.strikes if struck.attributes.get("how") == "hang")
        if all(acting is not toxic for acting, _ in self.proxy.layer7):
            self.close()
            return
        self.hanging = toxic
        self.up.drop()
        self.down.state = self.drop
        self.up.prev.ready()

    @property
    def stuck(self) -> bool:
        """Whether nothing comes any more until a toxic is gone."""
        return not self.over and (
            self.hanging is not None
            or any(one.stuck for exchange in self.exchanges for one in exchange.filters)
            or (self.websocket is not None and self.websocket.stuck)
        )

    def drop(self, data: bytes) -> bytes:
        """Read, and drop: nobody gets this."""
        return b""

    def struck_by(self, toxic: Toxic) -> None:
        """Count a connection for a toxic, once."""
        if toxic not in self._struck:
            self._struck.add(toxic)
            toxic.counts.connections += 1

    # --- what cannot be read --------------------------------------------------------------------------------

    def pass_untouched(self, *, replies: bool = True) -> None:
        """From here on neither direction is read; where only requests cannot be, those before get their due.

        So replies that toxics hold or make up for earlier requests still leave, in order, before anything
        that comes after them.
        """
        if self.reading:
            self.reading = False
            self._count_unread()
            self.up.pass_untouched()
        if not self.over and (replies or not any(exchange.struck for exchange in self.exchanges)):
            self.down.pass_untouched()

    def _count_unread(self) -> None:
        for toxic, _ in self.proxy.layer7:
            if toxic not in self._unread:
                self._unread.add(toxic)
                toxic.counts.unread += 1

    def pass_up(self, data: bytes) -> bytes:
        """Pass it on as it came; toxics that would have had to read it are told."""
        self._count_unread()
        self.send("upstream", data)
        return b""

    def pass_down(self, data: bytes) -> bytes:
        """The same, downstream."""
        self._count_unread()
        self.send("downstream", data)
        return b""

    def _join(self, data: bytes) -> bytes:
        """The connection was there before it was read: begin where a request does, at the head of a read."""
        if _REQUEST_LINE.match(data) is None:
            return self.pass_up(data)
        self.up.state = self.up.between
        self.down.state = self.down.between
        return data

    # --- changes --------------------------------------------------------------------------------------------

    def toxics_changed(self) -> None:
        """Let go of what toxics hold that are gone; where there is none left, and no need, read no more."""
        if self.over:
            return
        acting = {toxic for toxic, _ in self.proxy.layer7}
        if self.hanging is not None and self.hanging not in acting:
            self.close()
            return
        for exchange in list(self.exchanges):
            for one in exchange.filters:
                if one.strike.toxic not in acting and not one.left:
                    one.leave()
        self.up.lift(acting)
        if self.websocket is not None and not self.over:
            self.websocket.toxics_changed(acting)
        if not self.reading:
            self._count_unread()
        self.rest()

    def rest(self) -> None:
        """Nothing is under way: where nobody wants it any more, read no more."""
        if self.over or self.exchanges or self.up.held or self.down.held or self.proxy.reads:
            return
        quiet = not self.reading or self.up.idle or self.up.state == self._join
        if self.websocket is not None:
            quiet = self.websocket.quiet()
        if quiet and self.link.conversation is self:
            self.link.read_no_more()

    def upgrade(self, exchange: Exchange, reply: ReplyHead) -> None:
        """The upstream has agreed to another protocol: read a WebSocket; what else there is passes on."""
        self.exchanges.clear()
        request = exchange.request
        terms = agreed(reply) if reply.status == 101 else None
        if request is not None and terms is not None and request.get("upgrade").lower() == "websocket":
            self.websocket = WebSocket(self, request, terms)
            self.up.state = self.websocket.up.take
            self.down.state = self.websocket.down.take
            self.up.resume()
        else:
            self.pass_untouched()

    def stop(self) -> None:
        """Nothing more reaches the client: what it sends passes as it is, unless a toxic has some of it."""
        if self.over:
            return
        self.over = True
        self.reading = False
        withheld = self.up.withholds
        self._stop_filters()
        if withheld:
            self.up.drop()
            self.up.finish()
        elif self.websocket is None:
            self.up.pass_untouched()

    def _stop_filters(self) -> None:
        self.up.forget()
        for exchange in self.exchanges:
            for one in exchange.filters:
                one.stop()
        self.exchanges.clear()
        if self.websocket is not None:
            self.websocket.stop()
