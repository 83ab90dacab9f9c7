"""The API's connections: how many there may be, how long they may take, and what became of them.

Invariant: whoever sends a request is answered, whatever others do: connections that only wait, or send their
request byte by byte, make room for new ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from chaos.proxy.descriptors import api_connections

if TYPE_CHECKING:
    from chaos.proxy.connection import Connection
    from chaos.proxy.http import Request, Response

Reason = Literal["crowded", "idle", "slow", "unread"]
REASONS: Final = get_args(Reason)
"""Why a connection was ended: to make room; nothing asked; its request or its reply took too long."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What API clients may take: bytes of a request's head and body, seconds, connections (of all)."""

    head_bytes: int = 64 * 1024
    body_bytes: int = 1024 * 1024
    request_s: float = 30.0
    """From a request's first byte to its last, and for a client to take its reply."""
    idle_s: float = 60.0
    connections: int = 0
    """0: as many as the descriptors allow."""


class Clients:
    """All connections of the API, those that have waited longest first. `answer` is set before any comes."""

    answer: Callable[[Request], Awaitable[Response]]

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.most = limits.connections or api_connections()
        self.open: dict[Connection, None] = {}
        self.replies: Counter[int] = Counter()
        """Replies by status."""
        self.dropped: Counter[Reason] = Counter()

    def came(self, connection: Connection) -> None:
        """A connection is open. Where there are too many, the one that has waited longest goes."""
        self.open[connection] = None
        if len(self.open) > self.most:
            waiting = (other for other in self.open if not other.busy)
            self.drop(next(waiting, connection), "crowded")

    def asked(self, connection: Connection) -> None:
        """It has made a request: now it has waited for the shortest time."""
        if connection in self.open:
            del self.open[connection]
            self.open[connection] = None

    def went(self, connection: Connection) -> None:
        """It has ended."""
        self.open.pop(connection, None)

    def drop(self, connection: Connection, reason: Reason) -> None:
        """End a connection, and count it."""
        self.dropped[reason] += 1
        self.went(connection)
        connection.abort()
