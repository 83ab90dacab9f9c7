"""A toxic as the API knows it: what it is, on which stream, whom it strikes, and what it has done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from chaos.proxy.appointment import Appointment
    from chaos.proxy.layer7.strike import Rule

Stream = Literal["upstream", "downstream"]


@dataclass(slots=True)
class Counts:
    """What a toxic did: connections struck, bytes that reached it, and the times that it acted.

    `applied` counts resets, closes, delayed closes, delayed or swallowed chunks, cuts, edited messages:
    whatever the type does. At layer 7, `matched` counts the messages that `where` fitted, and `unread` the
    connections (and the messages on others) that could not be read, so that nobody knows whether it would
    have fitted.
    """

    connections: int = 0
    bytes: int = 0
    applied: int = 0
    matched: int = 0
    unread: int = 0

    def as_dict(self, layer7: bool) -> dict[str, int]:
        """For the API."""
        shown = {"connections": self.connections, "bytes": self.bytes, "applied": self.applied}
        return {**shown, "matched": self.matched, "unread": self.unread} if layer7 else shown


@dataclass(slots=True, eq=False)
class Toxic:
    """`stream_as_given` is echoed by the API; `stream` is what it means. For units see `attributes`.

    One with an `appointment` that has not come does not act yet. One of layer 7 has a `rule`. It draws by
    `seed` (the server's, where that is None) and `draw` (its name, where that is empty): so a fault that two
    runs call by one name strikes the same in both.
    """

    name: str
    type: str
    stream: Stream
    stream_as_given: str
    toxicity: float
    attributes: dict[str, Any]
    counts: Counts = field(default_factory=Counts)
    appointment: Appointment | None = None
    rule: Rule | None = None
    seed: int | None = None
    draw: str = ""

    @property
    def key(self) -> str:
        """What its draws are keyed by."""
        return self.draw or self.name

    @property
    def acts(self) -> bool:
        """Whether its time has come."""
        return self.appointment is None or self.appointment.since_ms is not None

    def as_dict(self) -> dict[str, object]:
        """As Toxiproxy writes it."""
        toxicity = self.toxicity
        return {
            "attributes": dict(self.attributes),
            "name": self.name,
            "type": self.type,
            "stream": self.stream_as_given,
            "toxicity": int(toxicity) if toxicity in (0, 1) else toxicity,
            **({} if self.rule is None else self.rule.as_dict()),
            **({} if self.appointment is None else self.appointment.as_dict()),
        }
