"""Which toxics a request is for: by its head, then, where that takes it, by its body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chaos.proxy.layer7.body import decoded
from chaos.proxy.layer7.identity import ATTEMPT_HEADER, NONCES, IdFrom, hashed, json_id
from chaos.proxy.layer7.strike import Rule, strike
from chaos.proxy.layer7.toxics import ACTS, NEED_THE_REQUEST

if TYPE_CHECKING:
    from chaos.proxy.layer7.conversation import Conversation
    from chaos.proxy.layer7.exchange import Exchange
    from chaos.proxy.layer7.head import RequestHead
    from chaos.proxy.layer7.plain import Line
    from chaos.proxy.toxics.toxic import Toxic

Fitting = list[tuple["Toxic", Rule]]


_LINES_MAX: Final = 1000
_LINE_MAX: Final = 500


class Lines:
    """Which first lines of requests some toxic may be for: every request asks, and most services have few."""

    __slots__ = ("_known", "_layer7")

    def __init__(self) -> None:
        self._layer7: tuple[tuple[Toxic, Rule], ...] = ()
        self._known: dict[bytes, bool] = {}

    def fit(self, layer7: tuple[tuple[Toxic, Rule], ...], line: Line) -> bool:
        """Whether a request may be struck that begins like this."""
        if layer7 is not self._layer7 or len(self._known) > _LINES_MAX:
            self._layer7 = layer7
            self._known.clear()
        first = line[0]
        known = self._known.get(first)
        if known is None:
            known = _line_fits(layer7, line)
            if len(first) <= _LINE_MAX:
                self._known[first] = known
        return known


def _line_fits(layer7: tuple[tuple[Toxic, Rule], ...], line: Line) -> bool:
    method, path = line[1].decode(), line[2].partition(b"?")[0].decode()
    return any(rule.protocol != "websocket" and rule.where.line_fits(method, path) for _, rule in layer7)


def fitting(layer7: tuple[tuple[Toxic, Rule], ...], head: RequestHead) -> Fitting:
    """The toxics whose `where` fits a request's head."""
    method, path = head.method, head.path
    return [
        (toxic, rule)
        for toxic, rule in layer7
        if rule.protocol != "websocket"
        and not (head.upgrade and rule.protocol == "json")
        and rule.where.head_fits(method, path, head.headers if rule.where.header else ())
    ]


def needs_body(toxic: Toxic, rule: Rule) -> bool:
    """Whether a request's body has to be seen before it can be decided whether, and how, it is struck."""
    if rule.where.needs_body or toxic.type in NEED_THE_REQUEST:
        return True
    if toxic.type == "json_edit":
        return toxic.stream == "upstream"
    return toxic.toxicity < 1 and not rule.id.header


def decide(conversation: Conversation, exchange: Exchange, head: RequestHead, those: Fitting) -> None:
    """Draw for each toxic whose `where` fits the body too, and let those that strike act on the exchange."""
    proxy = conversation.proxy
    readable = exchange.body_seen and _parse(exchange, head)
    for toxic, rule in those:
        if not readable and needs_body(toxic, rule):
            toxic.counts.unread += 1
        elif not rule.where.needs_body or rule.where.body_fits(exchange.parsed):
            message = _Request(exchange, head, conversation.link.ordinal)
            struck = strike(toxic, rule, proxy.seed, proxy.hits, message)
            if struck is not None:
                conversation.struck_by(toxic)
                exchange.strikes.append(struck)
                ACTS[toxic.type](struck, exchange, conversation)
    exchange.body, exchange.parsed = b"", None


def _parse(exchange: Exchange, head: RequestHead) -> bool:
    """Whether the body could be read; where it is JSON it is `parsed`."""
    if not exchange.body:
        return True
    body = decoded(exchange.body, head.get("content-encoding"))
    if body is None:
        return False
    exchange.parse(body)
    return True


class _Request:
    """A request as `strike` sees it. What only a hit needs is found out only then."""

    __slots__ = ("_exchange", "_head", "connection")

    def __init__(self, exchange: Exchange, head: RequestHead, connection: int) -> None:
        self._exchange = exchange
        self._head = head
        self.connection = connection

    def identify(self, source: IdFrom) -> tuple[str, int | None]:
        """See Message."""
        head, exchange = self._head, self._exchange
        told = head.get(ATTEMPT_HEADER)
        attempt = int(told) if told.isascii() and told.isdigit() and len(told) < 9 else None
        ident = head.get(source.header)[:200] if source.header else ""
        if not ident and exchange.parsed is not None:
            ident = json_id(exchange.parsed, (source.json,) if source.json else NONCES) or ""
        if not ident and exchange.body_seen:
            ident = hashed(head.method.encode(), head.target, exchange.essence())
        return ident, attempt

    @property
    def what(self) -> str:
        """Method and path, and the method of a JSON-RPC call."""
        call = self._exchange.parsed
        what = f"{self._head.method} {self._head.path}"
        if isinstance(call, dict) and isinstance(call.get("method"), str):
            what += f" {call['method']}"
        return what[:200]

    @property
    def trace(self) -> str:
        """The trace id of its `traceparent`."""
        parent = self._head.get("traceparent").split("-")
        return parent[1][:32] if len(parent) > 2 else ""
