"""What the toxics of layer 7 do to a message of a WebSocket that they strike: one act for each type.

Several on one message act in their order, each on what the one before made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from chaos.proxy.layer7.edit import edited
from chaos.proxy.layer7.said import Said

if TYPE_CHECKING:
    from chaos.proxy.layer7.strike import Strike
    from chaos.proxy.toxics.toxic import Toxic


@dataclass(slots=True)
class Sending:
    """What is to be sent in a message's place: `items`, after `waits` (seconds, and for whose sake).

    Or only after the next one (`aside`); or nothing any more (`swallowed`, `closed`). `kept` are the messages
    that came before, the latest last; None for one that is too long.
    """

    items: list[Said]
    kept: Sequence[Said | None]
    waits: list[tuple[float, Toxic]] = field(default_factory=list)
    aside: Strike | None = None
    swallowed: Strike | None = None
    closed: Strike | None = None

    @property
    def size(self) -> int:
        """Bytes of their payloads."""
        return sum(item.size for item in self.items)


Act = Callable[["Strike", Sending], None]


def _delay(strike: Strike, sending: Sending) -> None:
    seconds = strike.delay_s()
    sending.waits.append((seconds, strike.toxic))
    strike.applied(f"delayed by {seconds * 1000:.0f} ms", sending.size)


def _drop(strike: Strike, sending: Sending) -> None:
    strike.applied("dropped", sending.size)
    sending.items = []


def _duplicate(strike: Strike, sending: Sending) -> None:
    strike.applied("sent twice", sending.size)
    sending.items += [item.again() for item in sending.items]


def _reorder(strike: Strike, sending: Sending) -> None:
    sending.aside = sending.aside or strike


def _replay(strike: Strike, sending: Sending) -> None:
    back = strike.attributes["back"]
    old = sending.kept[-back] if len(sending.kept) >= back else None
    if old is not None:
        strike.applied("an earlier message was sent", old.size)
        sending.items = [old.again() for _ in sending.items]


def _half_open(strike: Strike, sending: Sending) -> None:
    strike.applied("swallowed, and all after it", sending.size)
    sending.items, sending.swallowed = [], strike


def _close(strike: Strike, sending: Sending) -> None:
    sending.items, sending.closed = [], strike


def _edit(strike: Strike, sending: Sending) -> None:
    for at, item in enumerate(sending.items):
        made = edited(item.payload, strike.attributes) if item.text else None
        if made is not None:
            strike.applied(f"{strike.attributes['action']} {strike.attributes['pointer']}"[:100], len(made))
            sending.items[at] = Said(True, made)


MESSAGE_ACTS: Final[dict[str, Act]] = {
    "ws_delay": _delay,
    "ws_drop": _drop,
    "ws_duplicate": _duplicate,
    "ws_reorder": _reorder,
    "ws_replay": _replay,
    "ws_half_open": _half_open,
    "ws_close": _close,
    "json_edit": _edit,
}


def act(strikes: Sequence[Strike], sending: Sending) -> None:
    """Let toxics act, until there is nothing left to act on."""
    for strike in strikes:
        if not sending.items:
            break
        MESSAGE_ACTS[strike.toxic.type](strike, sending)
