"""A toxic as the API knows it: what it is, on which stream, whom it strikes, and what it has done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from chaos.proxy.appointment import Appointment

Stream = Literal["upstream", "downstream"]


@dataclass(slots=True)
class Counts:
    """What a toxic did: connections struck, bytes that reached it, and the times that it acted.

    `fired` counts resets, closes, delayed closes, delayed or swallowed chunks, cuts: whatever the type does.
    """

    connections: int = 0
    bytes: int = 0
    fired: int = 0

    def as_dict(self) -> dict[str, int]:
        """For the API."""
        return {"connections": self.connections, "bytes": self.bytes, "fired": self.fired}


@dataclass(slots=True, eq=False)
class Toxic:
    """`stream_as_given` is echoed by the API; `stream` is what it means. For units see `attributes`.

    One with an `appointment` that has not come does not act yet.
    """

    name: str
    type: str
    stream: Stream
    stream_as_given: str
    toxicity: float
    attributes: dict[str, int]
    counts: Counts = field(default_factory=Counts)
    appointment: Appointment | None = None

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
            **({} if self.appointment is None else self.appointment.as_dict()),
        }
