"""`session_swap`: a request that bears another session's id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.proxy.layer7.exchange import Exchange

if TYPE_CHECKING:
    from chaos.proxy.layer7.strike import Strike
    from chaos.proxy.layer7.toxics.holding import Room

_UNKNOWN = "brownout-unknown-session"


def act(strike: Strike, exchange: Exchange, room: Room) -> None:
    """Swap; a request without an id, or the first client's alone, goes on as it came."""
    rule, head = strike.toxic.rule, exchange.request
    name = strike.attributes["header"].lower()
    if rule is None or head is None or not (own := head.get(name)):
        return
    if strike.attributes["to"] == "unknown":
        other = _UNKNOWN
    else:
        other = next((ident for ident in reversed(rule.kept) if ident != own), "")
        if own in rule.kept:
            rule.kept.remove(own)
        rule.kept.append(own)
        while len(rule.kept) > 100:
            rule.kept.popleft()
    if other:
        exchange.change_head(drop=(name,), add=((strike.attributes["header"], other),))
        strike.applied("another session's id")
