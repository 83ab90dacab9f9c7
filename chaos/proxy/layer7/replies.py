"""The replies of a connection: read, passed through the filters of the toxics that struck their requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.proxy.layer7.exchange import PLAIN, Answer, Ending, Exchange, Sink
from chaos.proxy.layer7.framing import BadFraming, Chunked, UntilClose, framing
from chaos.proxy.layer7.head import CHUNKED, HEAD_MAX, UNTIL_CLOSE, Beginning, ReplyHead, reply_head
from chaos.proxy.layer7.plain import PlainReplies
from chaos.proxy.layer7.reader import Reader

if TYPE_CHECKING:
    from chaos.proxy.layer7.conversation import Conversation
    from chaos.proxy.toxics.stage import Ends


class Writer:
    """The last of a reply's sinks: puts it on the wire."""

    def __init__(self, conversation: Conversation, exchange: Exchange) -> None:
        self._conversation = conversation
        self._exchange = exchange
        self._length = 0
        self._bodiless = False
        self.trailer = b""

    def head(self, head: ReplyHead) -> None:
        """See Sink."""
        self._length = head.length
        self._bodiless = self._exchange.method == "HEAD" or head.status in (204, 304)
        self._send(head.raw)

    def data(self, data: bytes) -> None:
        """See Sink."""
        if self._bodiless or not data:
            return
        self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._length == CHUNKED else data)

    def end(self, ending: Ending) -> None:
        """See Sink."""
        conversation = self._conversation
        if conversation.over:
            return
        match ending:
            case "whole":
                if self._length == CHUNKED and not self._bodiless:
                    self._send(b"0\r\n%b\r\n" % self.trailer)
                conversation.down.emitted(self._exchange, closes=self._length == UNTIL_CLOSE)
            case "close":
                conversation.close()
            case "reset":
                conversation.reset()
            case "hang":
                conversation.hang(self._exchange)

    def accepting(self) -> bool:
        """See Sink."""
        return self._conversation.room("downstream")

    def _send(self, data: bytes) -> None:
        if not self._conversation.over:
            self._conversation.send("downstream", data)


class ReplyReader(Reader):
    """The reader of the downstream direction. A reply waits until all before it have left."""

    def __init__(self, conversation: Conversation, pipe: Ends) -> None:
        super().__init__(pipe)
        self.state = self.between
        self._conversation = conversation
        self._exchanges = conversation.exchanges
        self._head: ReplyHead | None = None
        self._writer: Writer | None = None
        self._plain = PlainReplies()
        self._beginning: Beginning | None = None
        """The head whose end has not come yet."""
        self._advancing = False

    def accepting(self) -> bool:
        """Whether there is room for more."""
        if self._conversation.websocket is not None:
            return self._conversation.websocket.down.accepting()
        sink = self._exchange.sink if self.state == self._filtered else None
        return not self.blocked and (self.next.accepting() if sink is None else sink.accepting())

    def ready(self) -> None:
        """The client has room again."""
        if self._exchanges and self._exchanges[0].answered:
            self.advance()
        self.prev.ready()

    # --- what comes from the upstream -----------------------------------------------------------------------

    def express(self, data: bytes) -> None:
        """Take a read where no other stage is: see RequestReader.express."""
        exchanges = self._exchanges
        if (
            not exchanges
            or self.held
            or self.blocked
            or self.busy
            or self._beginning
            or ((front := exchanges[0]) is not PLAIN and not front.passes)
            or self.state != self.between
            or not self._plain.take(data)
        ):
            self._long_way(data)
            return
        self._write(data)
        if front is PLAIN:
            exchanges.popleft()
            its = self._conversation
            if exchanges or its.up.blocked or not (its.reading and its.proxy.reads):
                self._next(front)
        else:
            self._exchange = front
            self.passed()

    def between(self, data: bytes) -> bytes:
        """Read the head of the next reply."""
        exchanges = self._exchanges
        if not exchanges:
            exchanges.append(Exchange(None))  # a reply that nobody asked for, such as a 408
        exchange = exchanges[0]
        if exchange is PLAIN:
            exchange = exchanges[0] = Exchange(None)
            exchange.whole = True
        if exchange.answered:
            self.blocked = True  # until those before it have left
            return data
        beginning = self._beginning
        end = data.find(b"\r\n\r\n") + 4 if beginning is None else beginning.end(data)
        if end < 4:
            if beginning is None:
                beginning = self._beginning = Beginning(reply=True)
            if beginning.broken(data):
                self._conversation.pass_untouched()
                return self.state(data)
            return data
        self._beginning = None
        raw = data if end == len(data) else data[:end]
        head = reply_head(raw, exchange.method) if end <= HEAD_MAX else None
        if head is None:
            self._conversation.pass_untouched()
            return self.state(data)
        self._exchange, self._head = exchange, head
        tunnels = exchange.method == "CONNECT" and 200 <= head.status < 300
        if exchange.answer is not None and (tunnels or head.status == 101):
            self._break_off(exchange)  # the client hears of ours, not of another protocol
            return b""
        if head.status < 200 or tunnels:
            return self._interim(exchange, head, data, end)
        if exchange.filters:
            exchange.filters = [one for one in exchange.filters if one.wants(head)]
        if exchange.filters or exchange.answer is not None:
            return self._begin(exchange, head, data[end:])
        return self.pass_on(head.length, data, end)

    def _interim(self, exchange: Exchange, head: ReplyHead, data: bytes, end: int) -> bytes:
        """A reply before the reply, or the way into another protocol."""
        if head.status == 100 and exchange.hears_100:
            exchange.hears_100 = False
            return data[end:]
        self._send(data[:end])
        if head.status == 101 or head.status >= 200:
            self._conversation.upgrade(exchange, head)
            return self.state(data[end:]) if end < len(data) else b""
        return data[end:]

    def unreadable(self) -> None:
        """See Reader."""
        self._conversation.pass_untouched()

    def passed(self) -> None:
        """A reply has left that nothing struck."""
        exchange = self._exchange
        exchange.answered = True
        self.state = self.between
        if self._exchanges and self._exchanges[0] is exchange:
            self._exchanges.popleft()
        self._next(exchange)

    def _send(self, data: bytes) -> None:
        self._conversation.send("downstream", data)

    # --- through the filters --------------------------------------------------------------------------------

    def _begin(self, exchange: Exchange, head: ReplyHead, rest: bytes) -> bytes:
        """The upstream's reply to a request that was struck: through the filters, or dropped for our own."""
        self._body = framing(head.length, keep=True)
        if exchange.answer is None:
            self._open(exchange).head(head)
        self.state = self._filtered
        if self._body.done:
            self._close()
        return rest

    def _open(self, exchange: Exchange) -> Sink:
        """Set the reply's sinks up; toxics act in their order."""
        self._writer = Writer(self._conversation, exchange)
        sink: Sink = self._writer
        for one in reversed(exchange.filters):
            one.next = sink
            sink = one
        exchange.sink = sink
        return sink

    def _filtered(self, data: bytes) -> bytes:
        """Pass a body through the filters."""
        exchange = self._exchange
        try:
            size = self._body.take(data)
        except BadFraming:
            self._break_off(exchange)
            return b""
        for piece in self._body.pieces():
            if exchange.sink is not None and not self._conversation.over:
                exchange.sink.data(piece)
        if self._body.done and not self._conversation.over:
            self._close()
        return data[size:]

    def _close(self) -> None:
        """The upstream's reply has come as a whole."""
        exchange = self._exchange
        exchange.answered = True
        self.state = self.between
        if exchange.sink is not None:
            if isinstance(self._body, Chunked) and self._writer is not None:
                self._writer.trailer = self._body.trailer
            exchange.sink.end("whole")
        else:
            self.advance()

    def _break_off(self, exchange: Exchange) -> None:
        """The upstream's reply will never be whole."""
        exchange.answered = exchange.last = True
        self.state = self._conversation.drop
        if exchange.sink is not None:
            exchange.sink.end("close")
        elif exchange.answer is not None:
            self.advance()

    # --- in order -------------------------------------------------------------------------------------------

    def emitted(self, exchange: Exchange, *, closes: bool) -> None:
        """A reply has left through its filters."""
        if self._exchanges and self._exchanges[0] is exchange:
            self._exchanges.popleft()
        if closes or exchange.last:
            self._conversation.close()
            return
        if not exchange.answered:  # a toxic has ended it before the upstream has: the rest is dropped
            for one in exchange.filters:
                one.stop()
            exchange.sink = None
        self._next(exchange)

    def _next(self, exchange: Exchange) -> None:
        """`exchange` is over: go on with the one after it."""
        conversation = self._conversation
        if not conversation.reading:
            conversation.pass_untouched(replies=False)
        if conversation.up.blocked and exchange.request is not None and exchange.request.upgrade:
            conversation.up.resume()  # no other protocol, after all
        else:
            conversation.up.refill()
        if self._exchanges or self.blocked:
            conversation.up.invite()
            self.advance()
        elif not conversation.proxy.reads:
            conversation.loop.call_soon(conversation.rest)  # not while this one reads

    def advance(self) -> None:
        """Send what we answer ourselves as soon as it is its turn, then read on."""
        conversation = self._conversation
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._exchanges and not conversation.over:
                front = self._exchanges[0]
                if not front.whole or not front.answered or front.sink is not None:
                    break
                if front.lost is not None:
                    conversation.lose(front)
                    break
                if front.answer is None or not self.next.accepting():
                    break
                self._answer(front, front.answer)
        finally:
            self._advancing = False
        if conversation.over:
            return
        if self.blocked and not (self._exchanges and self._exchanges[0].answered):
            self.resume()
        conversation.up.prev.ready()

    def _answer(self, exchange: Exchange, answer: Answer) -> None:
        sink = self._open(exchange)
        head = answer.head(exchange.method)
        if exchange.request is not None and not exchange.request.keeps_alive:
            exchange.last = True
        if exchange.method == "CONNECT" or head.has_token("connection", "close"):
            exchange.last = True
        sink.head(head)
        if answer.body:
            sink.data(answer.body)
        sink.end("whole")

    def pass_untouched(self) -> None:
        """What is held goes on as it came, and so does what comes."""
        for exchange in self._exchanges:
            for one in exchange.filters:
                one.stop()
        self._exchanges.clear()
        self.state = self._conversation.pass_down
        self.resume()

    def drained(self) -> None:
        """A filter that held something has room again."""
        if not self._conversation.over:
            self.prev.ready()

    # --- the end --------------------------------------------------------------------------------------------

    def end(self) -> None:
        """The upstream sends no more."""
        conversation = self._conversation
        if conversation.over:
            self.next.end()
            return
        if conversation.websocket is not None:
            conversation.websocket.down.end()
            return
        if self.state == self._filtered:
            if isinstance(self._body, UntilClose):
                self._close()
            else:
                self._break_off(self._exchange)
            if self._conversation.over:
                return
        front = self._exchanges[0] if self._exchanges else None
        if front is not None and front.answered:
            self.ending = self.blocked = True  # its reply is still on its way through the filters
            return
        if self.held:
            held, self.held = self.held, b""
            self._send(held)
        self.next.end()

    def stop(self) -> None:
        """Nothing more reaches the client."""
        super().stop()
        self._conversation.stop()
