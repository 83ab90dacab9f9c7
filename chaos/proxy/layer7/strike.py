"""Whether a toxic of layer 7 strikes a message, and the record of that it did."""

from __future__ import annotations

import time
import typing
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaos.proxy.layer7.catalogue import Protocol
from chaos.proxy.layer7.hits import Hit, Hits
from chaos.proxy.layer7.identity import IdFrom, Lasting, Ordinals, Persist, uniform
from chaos.proxy.layer7.where import Where

if TYPE_CHECKING:
    from chaos.proxy.toxics.toxic import Toxic


@dataclass(slots=True)
class Rule:
    """What a toxic of layer 7 has besides its attributes. `fitted` counts the messages that `where` fitted,
    `kept` is what the type keeps of those that it struck.
    """

    protocol: Protocol
    where: Where = field(default_factory=Where)
    id: IdFrom = field(default_factory=IdFrom)
    persist: Persist = "none"
    ordinals: Ordinals = field(default_factory=Ordinals)
    lasting: Lasting = field(default_factory=Lasting)
    fitted: int = 0
    kept: deque[Any] = field(default_factory=deque)

    def as_dict(self) -> dict[str, Any]:
        """What was given, for the API."""
        return {
            **({"where": where} if (where := self.where.as_dict()) else {}),
            **({"id": ident} if (ident := self.id.as_dict()) else {}),
            **({} if self.persist == "none" else {"persist": self.persist}),
        }


class Strikable(typing.Protocol):
    """What there is to know of a message that may be struck."""

    @property
    def what(self) -> str:
        """What names it, for people."""

    @property
    def connection(self) -> int:
        """The ordinal of its connection."""

    @property
    def trace(self) -> str:
        """Its trace id, or nothing."""

    def identify(self, source: IdFrom) -> tuple[str, int | None]:
        """Its id, and its attempt (None: not told)."""


@dataclass(slots=True)
class Message:
    """A message whose names are known."""

    what: str
    connection: int
    identify: Callable[[IdFrom], tuple[str, int | None]]
    trace: str = ""


@dataclass(slots=True, eq=False)
class Strike:
    """One message that `toxic` strikes. `attributes` are as they were when it was struck."""

    toxic: Toxic
    hit: Hit
    seed: int
    attributes: dict[str, Any]

    def applied(self, what: str, size: int = 0) -> None:
        """The toxic has done `what`, to `size` bytes; the first time counts."""
        if not self.hit.applied:
            self.toxic.counts.applied += 1
            self.hit.applied = what
        self.saw(size)

    def saw(self, size: int) -> None:
        """Bytes of the message have reached the toxic."""
        self.toxic.counts.bytes += size
        self.hit.bytes += size

    def uniform(self, purpose: str) -> float:
        """A number in [0, 1) for this message alone."""
        hit = self.hit
        return uniform(self.seed, f"{self.toxic.key}\0{purpose}", hit.id, hit.attempt, hit.ordinal)

    def delay_s(self) -> float:
        """`delay`, give or take a uniform `jitter`, in seconds."""
        jitter = self.attributes["jitter"]
        delay = self.attributes["delay"] + (2 * self.uniform("jitter") - 1) * jitter
        return float(max(0.0, delay)) / 1000


def _drawn(toxic: Toxic, rule: Rule, seed: int, of: tuple[str, int | None, int]) -> bool:
    """Whether a message of this id, attempt and ordinal is one of the share that is struck."""
    ident, told, ordinal = of
    if rule.persist == "none":
        return uniform(seed, toxic.key, ident, told or 0, ordinal) < toxic.toxicity
    if told is None:
        return uniform(seed, toxic.key, ident, 0, 0) < toxic.toxicity
    if told:
        struck = rule.lasting.take(ident, told)
    else:
        struck = uniform(seed, toxic.key, ident, 0, ordinal) < toxic.toxicity
    if struck:
        rule.lasting.add(ident, told + 1)
    return struck


def strike(toxic: Toxic, rule: Rule, seed: int, hits: Hits, message: Strikable) -> Strike | None:
    """Whether `toxic` strikes a message that its `where` fits; counts it, and records it if so."""
    toxic.counts.matched += 1
    rule.fitted += 1
    seed = seed if toxic.seed is None else toxic.seed
    ident, told = message.identify(rule.id)
    attempt = told or 0
    ordinal = rule.ordinals.next(ident, attempt) if ident else rule.fitted - 1
    if not rule.where.counted(rule.fitted):
        return None
    if toxic.toxicity < 1 and not _drawn(toxic, rule, seed, (ident, told, ordinal)):
        return None
    hit = Hit(
        number=hits.next_number(),
        at_ms=round(time.time() * 1000, 3),
        toxic=toxic.name,
        type=toxic.type,
        stream=toxic.stream,
        what=message.what,
        id=ident,
        attempt=attempt,
        ordinal=ordinal,
        connection=message.connection,
        trace=message.trace,
    )
    hits.add(hit)
    return Strike(toxic, hit, seed, dict(toxic.attributes))
