"""The requests of a connection: read, shown to the toxics, and passed on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from chaos.proxy.layer7.body import decoded
from chaos.proxy.layer7.exchange import BODY_MAX, Exchange
from chaos.proxy.layer7.framing import BadFraming, Framing, framing
from chaos.proxy.layer7.head import HEAD_MAX, RequestHead, may_become_request, request_head
from chaos.proxy.layer7.identity import ATTEMPT_HEADER, NONCES, IdFrom, hashed, json_id
from chaos.proxy.layer7.reader import Reader
from chaos.proxy.layer7.strike import Message, Rule, strike
from chaos.proxy.layer7.toxics import ACTS, NEED_THE_REQUEST

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from chaos.proxy.layer7.conversation import Conversation
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
        self._exchange = Exchange(None)
        self._body: Framing = framing(0, keep=False)
        self._raw: list[bytes] = []
        """What has come of a request that is collected."""
        self._size = 0
        self._fitting: list[tuple[Toxic, Rule]] = []
        self._look_at = 1
        self._timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self.state == self.between and not self.held and not self.blocked

    def accepting(self) -> bool:
        """Whether there is room for more."""
        return not self.blocked and len(self._exchanges) < _PIPELINED_MAX and self.next.accepting()

    def ready(self) -> None:
        """The upstream has room again."""
        self.prev.ready()

    # --- heads ----------------------------------------------------------------------------------------------

    def between(self, data: bytes) -> bytes:
        """Read the head of the next request."""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(data) >= self._look_at and data != b"\r":
                self._look_at = 2 * len(data)
                if not may_become_request(data):
                    self._conversation.pass_untouched()
                    return self.state(data)
            return data
        self._look_at = 1
        if data.startswith(b"\r\n"):  # an empty line before a request says nothing: RFC 9112, 2.2
            self._send(data[:2])
            return data[2:]
        raw = data if end == len(data) else data[:end]
        head = request_head(raw)
        if head is None or end > HEAD_MAX:
            self._conversation.pass_untouched()
            return self.state(data)
        exchange = self._exchange = Exchange(head)
        self._exchanges.append(exchange)
        if self._proxy.layer7:
            fitting = self._fit(head)
            if fitting:
                return self._show(exchange, head, fitting, raw, data[end:])
        return self._pass_on(exchange, head, data, end)

    def _fit(self, head: RequestHead) -> list[tuple[Toxic, Rule]]:
        method, path = head.method, head.path
        return [
            (toxic, rule)
            for toxic, rule in self._proxy.layer7
            if rule.protocol != "websocket"
            and not (head.upgrade and rule.protocol == "json")
            and rule.where.head_fits(method, path, head.headers if rule.where.header else ())
        ]

    def _pass_on(self, exchange: Exchange, head: RequestHead, data: bytes, end: int) -> bytes:
        """A request that nothing strikes: in one piece, if it came in one."""
        length = head.length
        if length >= 0 and end + length <= len(data):
            end += length
            self._send(data if end == len(data) else data[:end])
            self._is_whole(exchange)
            return data[end:]
        self._send(data[:end])
        self._body = framing(length, keep=False)
        self.state = self._in_body
        return data[end:]

    def _in_body(self, data: bytes) -> bytes:
        """Pass a body on."""
        size = self._take(data)
        if size is None:
            return self.state(data)
        self._send(data if size == len(data) else data[:size])
        if self._body.done:
            self._is_whole(self._exchange)
        return data[size:]

    def _dropped(self, data: bytes) -> bytes:
        """Drop the body of a request that does not go on."""
        size = self._take(data)
        if size is None:
            self._conversation.close()  # half of a request that the upstream has not seen: nothing can follow
            return b""
        if self._body.done:
            self._is_whole(self._exchange)
        return data[size:]

    def _take(self, data: bytes) -> int | None:
        try:
            return self._body.take(data)
        except BadFraming:
            self._conversation.pass_untouched()
            return None

    def _is_whole(self, exchange: Exchange) -> None:
        """The request has come; the next one may."""
        exchange.whole = True
        self.state = self.between
        if exchange.request is not None and exchange.request.upgrade and exchange.forward:
            self.blocked = True  # what follows may be of another protocol: the reply tells
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
        if head.length > BODY_MAX or not any(_needs_body(toxic, rule) for toxic, rule in fitting):
            self._decide()
            return rest
        self._size = 0
        self.state = self._collect
        if not rest and head.get("expect").lower() == "100-continue" and exchange is self._exchanges[0]:
            exchange.hears_100 = True
            self._conversation.send("downstream", _CONTINUE)
        return rest

    def _collect(self, data: bytes) -> bytes:
        """Hold a body until it is whole, or too long."""
        try:
            size = self._body.take(data)
        except BadFraming:
            self._give_up()
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

    def _give_up(self) -> None:
        """What has been held was no strict HTTP: it goes on as it came."""
        raw, self._raw = b"".join(self._raw), []
        self._conversation.pass_untouched()
        self._send(raw)

    def _decide(self) -> None:
        """Draw for each toxic that fits, let it say what becomes of the exchange, and do that."""
        exchange, fitting, self._fitting = self._exchange, self._fitting, []
        head = exchange.request
        if head is None:
            return
        self._body.keep = False
        readable = exchange.body_seen and self._parse(exchange, head)
        for toxic, rule in fitting:
            if _needs_body(toxic, rule) and not readable:
                toxic.counts.unread += 1
            elif not rule.where.needs_body or rule.where.body_fits(exchange.parsed):
                struck = strike(
                    toxic, rule, self._proxy.seed, self._proxy.hits, self._message(exchange, head)
                )
                if struck is not None:
                    self._conversation.struck_by(toxic)
                    exchange.strikes.append(struck)
                    ACTS[toxic.type](struck, exchange, self._conversation)
        self._perform(exchange)

    def _parse(self, exchange: Exchange, head: RequestHead) -> bool:
        """Whether the body could be read; where it is JSON it is `parsed`."""
        body = decoded(exchange.body, head.get("content-encoding"))
        if body is None:
            return False
        exchange.parse(body)
        return True

    def _message(self, exchange: Exchange, head: RequestHead) -> Message:
        def identify(source: IdFrom) -> tuple[str, int | None]:
            told = head.get(ATTEMPT_HEADER)
            attempt = int(told) if told.isascii() and told.isdigit() and len(told) < 9 else None
            ident = head.get(source.header)[:200] if source.header else ""
            if not ident:
                ident = json_id(exchange.parsed, (source.json,) if source.json else NONCES) or ""
            if not ident and exchange.body_seen:
                ident = hashed(head.method.encode(), head.target, exchange.essence())
            return ident, attempt

        parent = head.get("traceparent").split("-")
        what = f"{head.method} {head.path}"
        call = exchange.parsed
        if isinstance(call, dict) and isinstance(call.get("method"), str):
            what += f" {call['method']}"
        return Message(
            what=what[:200],
            connection=self._conversation.link.ordinal,
            identify=identify,
            trace=parent[1][:32] if len(parent) > 2 else "",
        )

    # --- what becomes of it ---------------------------------------------------------------------------------

    def _perform(self, exchange: Exchange) -> None:
        """Let the request go on, or not, now or later."""
        if exchange.lost is not None or not exchange.forward:
            self._raw = []
            exchange.answered = True
            self.state = self._dropped
            if self._body.done:
                self._is_whole(exchange)
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
        for _ in range(exchange.copies):
            self._conversation.deliver(raw, exchange)
        self.state = self._in_body
        if self._body.done:
            self._is_whole(exchange)

    def lift(self, acting: AbstractSet[Toxic]) -> None:
        """A delay whose toxic is gone ends now."""
        if self._timer is not None and not any(
            one.toxic in acting and one.toxic.type == "http_delay" for one in self._exchange.strikes
        ):
            self._timer.cancel()
            self._go()

    def resume(self) -> None:
        """Go on, unless the request is still delayed."""
        if self._timer is None:
            super().resume()

    # --- the end --------------------------------------------------------------------------------------------

    def end(self) -> None:
        """The client sends no more: what is held of a request that will never be whole goes on as it came."""
        if self._conversation.stuck:
            self._conversation.close()
        elif self.blocked and self._conversation.websocket is None:
            self.ending = True
        elif self._conversation.websocket is not None:
            self._conversation.websocket.up.end()
        else:
            if self.state == self._collect:
                self._give_up()
            if self.held:
                held, self.held = self.held, b""
                self._send(held)
            self.next.end()

    def forget(self) -> None:
        """Cancel what was to come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._raw = []

    def stop(self) -> None:
        """The connection has ended."""
        super().stop()
        self._conversation.stop()


def _needs_body(toxic: Toxic, rule: Rule) -> bool:
    """Whether a request's body has to be seen before it can be decided whether, and how, it is struck."""
    if rule.where.needs_body or toxic.type in NEED_THE_REQUEST:
        return True
    if toxic.type == "json_edit":
        return toxic.stream == "upstream"
    return toxic.toxicity < 1 and not rule.id.header
