"""What the toxics of layer 7 do to a request that they strike, and to its reply: one act for each type.

An act is called when the request is about to go on; it says on the exchange what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chaos.proxy.layer7.exchange import Exchange
from chaos.proxy.layer7.strike import Strike
from chaos.proxy.layer7.toxics import answers, delay, edit, events, losses, replay, session, truncate
from chaos.proxy.layer7.toxics.holding import Room

Act = Callable[[Strike, Exchange, Room], None]

ACTS: Final[dict[str, Act]] = {
    "http_reply": answers.reply,
    "http_empty": answers.empty,
    "http_delay": delay.act,
    "http_truncate": truncate.act,
    "json_edit": edit.act,
    "request_lost": losses.request,
    "reply_lost": losses.reply,
    "request_twice": losses.twice,
    "reply_replayed": replay.act,
    "sse_cut": events.cut,
    "sse_error": events.error,
    "sse_unfinished": events.unfinished,
    "sse_stall": events.stall,
    "sse_delay": events.delay,
    "rpc_error": answers.rpc_error,
    "tool_error": answers.tool_error,
    "rpc_malformed": answers.rpc_malformed,
    "session_swap": session.act,
}

NEED_THE_REQUEST: Final = frozenset(
    {"http_empty", "request_twice", "rpc_error", "tool_error", "rpc_malformed"}
)
"""Those that have to see a request's body to act."""
