"""What toxics of layer 7 struck: one entry a message, kept by the proxy so that it outlives the toxic.

Entries are read by number, so a reader that comes now and then misses none that are still kept and knows how
many it has missed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

KEPT: Final = 100_000
"""Entries that a proxy keeps, about 300 bytes each; the oldest go first."""
PAGE: Final = 5_000
"""Entries that one reply of the API has at most."""


@dataclass(slots=True)
class Hit:
    """One message that a toxic struck.

    `number` counts a proxy's hits from 1; `at_ms` is Unix milliseconds; `what` names it (`POST /v1/messages`,
    `text message`); `id`, `attempt` and `ordinal` are what it was drawn by; `trace` is the trace id of its
    `traceparent`; `connection` the ordinal of its connection; `stream` the toxic's. `applied` says what the
    toxic did, empty while, or if, it did nothing (there was no such event, no such value); `bytes` is how
    many of the message's reached it.
    """

    number: int
    at_ms: float
    toxic: str
    type: str
    stream: str
    what: str
    id: str
    attempt: int
    ordinal: int
    connection: int
    trace: str = ""
    applied: str = ""
    bytes: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For the API, which leaves out what is empty."""
        return {
            name: value
            for name in self.__slots__
            if (value := getattr(self, name)) != "" or name in ("toxic", "type")
        }


class Hits:
    """The latest hits of a proxy."""

    __slots__ = ("_kept", "_number")

    def __init__(self) -> None:
        self._kept: deque[Hit] = deque(maxlen=KEPT)
        self._number = 0

    def next_number(self) -> int:
        """The number of the next hit."""
        return self._number + 1

    def add(self, hit: Hit) -> None:
        """Keep a hit that bears the next number."""
        self._number += 1
        self._kept.append(hit)

    def after(self, number: int) -> tuple[list[Hit], int]:
        """At most a page of those after `number`, oldest first, and how many in between are gone."""
        oldest = self._number - len(self._kept) + 1
        missed = max(0, oldest - number - 1)
        skip = max(0, number + 1 - oldest)
        return list(islice(self._kept, skip, skip + PAGE)), missed
