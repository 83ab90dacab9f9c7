"""The requests of a connection: read, shown to the toxics, and passed on.

One header is changed without a toxic: before an https upstream the value of Host becomes the upstream's own
authority, where it stands, since what is behind a shared front (a provider's API) is refused by another name.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from chaos.proxy.layer7 import aim
from chaos.proxy.layer7.delivery import deliver
from chaos.proxy.layer7.exchange import BODY_MAX, PLAIN, Exchange
from chaos.proxy.layer7.framing import BadFraming, framing
from chaos.proxy.layer7.head import HEAD_MAX, Beginning, RequestHead, request_head
from chaos.proxy.layer7.plain import PlainRequests, request_line
from chaos.proxy.layer7.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from chaos.proxy.layer7.conversation import Conversation
    from chaos.proxy.layer7.strike import Rule
    from chaos.proxy.toxics.stage import Ends
    from chaos.proxy.toxics.toxic import Toxic

_PIPELINED_MAX: Final = 64
"""Exchanges under way beyond which no more is read from the client."""
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class RequestReader(Reader):
    """The reader of the upstream direction. A request that is to be struck is held until that is decided."""

    def __init__(self, conversation: Conversation, pipe: Ends) -> None:
        super().__init__(pipe)
        self.state = self.between
        self._conversation = conversation
        self._proxy = conversation.proxy
        self._exchanges = conversation.exchanges
        self._raw: list[bytes] = []
        """What has come of a request that is collected."""
        self._size = 0
        self._fitting: list[tuple[Toxic, Rule]] = []
        self._beginning: Beginning | None = None
        """The head whose end has not come yet."""
        self._plain = PlainRequests()
        self._timer: asyncio.TimerHandle | None = None
        self._full = False
        """So many exchanges are under way that the next head has to wait."""
        self._expects = False
        """The client waits to be told to send the body of a request that the upstream does not see yet."""

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self.state == self.between and not self.held and not self.blocked

    def accepting(self) -> bool:
        """Whether there is room for more."""
        if self._conversation.hanging is not None:
            return True  # to be dropped; and so that the client's end is seen
        if self._conversation.websocket is not None:
            return self._conversation.websocket.up.accepting()
        return not self.blocked and len(self._exchanges) < _PIPELINED_MAX and self.next.accepting()

    def ready(self) -> None:
        """The upstream has room again."""
        self.prev.ready()

    # --- heads ----------------------------------------------------------------------------------------------

    def express(self, data: bytes) -> None:
        """Take a read where no other stage is.

        Most are one whole request that nothing strikes: it goes on at once, in one function, for calls are
        what this would cost. Bytes of this way are not counted as `chained`.
        """
        proxy, exchanges = self._proxy, self._exchanges
        if (
            self.held
            or self.blocked
            or self.busy
            or self._beginning
            or proxy.authority
            or len(exchanges) >= _PIPELINED_MAX
            or self.state != self.between
            or (line := request_line(data)) is None
            or (proxy.layer7 and proxy.lines.fit(proxy.layer7, line))
            or not self._plain.take(data)
        ):
            self._long_way(data)
            return
        exchanges.append(PLAIN)
        self._write(data)

    def between(self, data: bytes) -> bytes:
        """Read the head of the next request."""
        if len(self._exchanges) >= _PIPELINED_MAX:
            self._full = self.blocked = True
            return data
        beginning = self._beginning
        end = data.find(b"\r\n\r\n") + 4 if beginning is None else beginning.end(data)
        if data[0] == 13:  # an empty line before a request says nothing: RFC 9112, 2.2
            return self._empty_line(data)
        if end < 4:
            if beginning is None:
                beginning = self._beginning = Beginning(reply=False)
            if beginning.broken(data):
                self._conversation.pass_untouched(replies=False)
                return self.state(data)
            return data
        self._beginning = None
        raw = data if end == len(data) else data[:end]
        head = request_head(raw) if end <= HEAD_MAX else None
        if head is None:
            self._conversation.pass_untouched(replies=False)
            return self.state(data)
        if self._proxy.authority:
            raw = head.replace("host", self._proxy.authority)
            data, end = raw + data[end:], len(raw)
        exchange = self._exchange = Exchange(head)
        self._exchanges.append(exchange)
        if self._proxy.layer7:
            fitting = aim.fitting(self._proxy.layer7, head)
            if fitting:
                return self._show(exchange, head, fitting, raw, data[end:])
        return self.pass_on(head.length, data, end)

    def _empty_line(self, data: bytes) -> bytes:
        if data.startswith(b"\r\n"):
            self._send(data[:2])
            return data[2:]
        if len(data) > 1:
            self._conversation.pass_untouched(replies=False)
            return self.state(data)
        return data

    def _dropped(self, data: bytes) -> bytes:
        """Drop the body of a request that does not go on."""
        self._expects = False
        try:
            size = self._body.take(data)
        except BadFraming:
            self._conversation.close()  # half of a request that the upstream has not seen: nothing can follow
            return b""
        if self._body.done:
            self.passed()
        return data[size:]

    def unreadable(self) -> None:
        """See Reader: replies to the requests before it get their due."""
        self._conversation.pass_untouched(replies=False)

    def passed(self) -> None:
        """The request has come; the next one may."""
        exchange = self._exchange
        exchange.whole = True
        self.state = self.between if self._conversation.reading else self._conversation.pass_up
        if exchange.request is not None and exchange.request.upgrade and not exchange.answered:
            self.blocked = self._conversation.reading  # of which protocol what follows is, the reply tells
        if exchange.answer is not None or exchange.lost is not None:
            self._conversation.down.advance()

    def _send(self, data: bytes) -> None:
        self._conversation.send("upstream", data)

    # --- what may be struck ---------------------------------------------------------------------------------

    def _show(
        self,
        exchange: Exchange,
        head: RequestHead,
        fitting: list[tuple[Toxic, Rule]],
        raw: bytes,
        rest: bytes,
    ) -> bytes:
        """Decide now, or once the body has come."""
        self._fitting = fitting
        self._raw = [raw]
        self._body = framing(head.length, keep=True)
        if self._body.done:
            exchange.body_seen = True
            self._decide()
            return rest
        if head.length > BODY_MAX or not any(aim.needs_body(toxic, rule) for toxic, rule in fitting):
            self._decide()
        else:
            self._size = 0
            self.state = self._collect
        if self.state in (self._collect, self._dropped):
            self._invite(rest)
        return rest

    def _invite(self, rest: bytes) -> None:
        """The upstream does not see this request's head yet: is its client to be told to go on?"""
        head = self._exchange.request
        self._expects = (
            head is not None
            and not rest
            and not head.version_1_0
            and head.get("expect").lower() == "100-continue"
        )
        self.invite()

    def invite(self) -> None:
        """Tell the client to send its body, once all replies before have left."""
        if self._expects and self._exchanges and self._exchanges[0] is self._exchange:
            self._expects = False
            self._exchange.hears_100 = True
            self._conversation.send("downstream", _CONTINUE)

    def _collect(self, data: bytes) -> bytes:
        """Hold a body until it is whole, or too long."""
        self._expects = False
        try:
            size = self._body.take(data)
        except BadFraming:
            self._conversation.pass_untouched(replies=False)
            return self.state(data)
        self._raw.append(data[:size])
        self._size += size
        if self._body.done:
            self._exchange.body = b"".join(self._body.pieces())
            self._exchange.body_seen = True
            self._decide()
        elif self._size > BODY_MAX:
            self._decide()
        return data[size:]

    def _decide(self) -> None:
        """Draw for each toxic that fits, let it say what becomes of the exchange, and do that."""
        exchange, fitting, self._fitting = self._exchange, self._fitting, []
        head = exchange.request
        if head is None:
            return
        self._body.keep = False
        self._body.pieces()  # of a body that was too long
        aim.decide(self._conversation, exchange, head, fitting)
        self._perform(exchange)

    # --- what becomes of it ---------------------------------------------------------------------------------

    def _perform(self, exchange: Exchange) -> None:
        """Let the request go on, or not, now or later."""
        if exchange.lost is not None or not exchange.forward:
            self._raw = []
            exchange.answered = True
            self.state = self._dropped
            if self._body.done:
                self.passed()
            return
        if exchange.delay_s > 0:
            self.blocked = True
            self._timer = self._conversation.loop.call_later(exchange.delay_s, self._go)
            return
        self._go_on(exchange)

    def _go(self) -> None:
        self._timer = None
        self.blocked = False
        self._go_on(self._exchange)
        self.resume()

    def _go_on(self, exchange: Exchange) -> None:
        (head, *body), self._raw = self._raw, []
        if exchange.new_head is not None:
            head = exchange.new_head
        raw = head + (b"".join(body) if exchange.new_body is None else exchange.new_body)
        self._send(raw)
        for struck in exchange.twice:
            deliver(self._proxy, raw, struck)
        self.state = self.in_body if self._conversation.reading else self._conversation.pass_up
        if self._body.done:
            self.passed()

    def lift(self, acting: AbstractSet[Toxic]) -> None:
        """A delay whose toxic is gone ends now, and so does holding a body for toxics that are."""
        self._fitting = [(toxic, rule) for toxic, rule in self._fitting if toxic in acting]
        if self._timer is None and self.state == self._collect:
            if not any(aim.needs_body(toxic, rule) for toxic, rule in self._fitting):
                self._decide()
            return
        if self._timer is not None and not any(
            one.toxic in acting and one.toxic.type == "http_delay" for one in self._exchange.strikes
        ):
            self._timer.cancel()
            self._go()

    def resume(self) -> None:
        """Go on, unless the request is still delayed."""
        if self._timer is None:
            self._full = False
            super().resume()

    def refill(self) -> None:
        """An exchange is over: the next head need not wait any more."""
        if self._full:
            self.resume()

    # --- the end --------------------------------------------------------------------------------------------

    def end(self) -> None:
        """The client sends no more: what is held of a request that will never be whole goes on as it came."""
        conversation = self._conversation
        if conversation.stuck:
            self.ending = True
            conversation.close()
        elif conversation.over:
            self.next.end()
        elif conversation.websocket is not None:
            conversation.websocket.up.end()
        elif self.blocked:
            self.ending = True
        else:
            if self.state == self._collect:
                conversation.pass_untouched(replies=False)
            if self.held:
                held, self.held = self.held, b""
                self._send(held)
            self.next.end()

    def pass_untouched(self) -> None:
        """What is held goes on as it came, and what comes too; only a request that is delayed stays so."""
        if self._timer is not None or self.state == self._conversation.drop:
            return
        if self.state == self._dropped:
            self._conversation.close()  # half of a request that the upstream has not seen: nothing can follow
            return
        if self.state == self._collect:
            raw, self._raw = b"".join(self._raw), []
            self._send(raw)
        self._exchange.whole = True
        self.state = self._conversation.pass_up
        self.resume()

    def drop(self) -> None:
        """Nobody gets what is held, nor what comes."""
        self.forget()
        self.held = b""
        self.blocked = False
        self.state = self._conversation.drop

    def finish(self) -> None:
        """The reply's side is over: so is an end that waited for it."""
        if self.ending:
            self.ending = False
            self.next.end()

    @property
    def withholds(self) -> bool:
        """Whether there is a request under way that the upstream does not see, or not yet."""
        return self._timer is not None or self.state == self._dropped

    def forget(self) -> None:
        """Cancel what was to come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._raw = []

    def stop(self) -> None:
        """Nothing more reaches the upstream; replies may still come."""
        super().stop()
        self.forget()
        exchange = self._exchange
        if not exchange.whole and exchange.struck:
            exchange.whole = True  # as far as it goes
            self._conversation.loop.call_soon(self._conversation.down.advance)
