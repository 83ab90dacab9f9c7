"""Opens connections for users who find none idle; the first that is free, old or new, is theirs.

Invariant: users are served in the order in which they came, and at most `MOST` connections are being opened
at once. So a burst at the start, when there is no connection yet, does not open one for each user while the
first ones are about to be free again; and a service that accepts connections gets as many as there are users.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import gevent

from loadtests.users.connect import Broken, Connection
from loadtests.users.wire import Pool

MOST: Final = 32
"""Connections that are being opened at once."""

V = TypeVar("V")


class Openers(Generic[V]):
    """The users who wait for a connection to one address."""

    def __init__(
        self, pool: Pool, now: Callable[[], float], failed: Callable[[V, float, Broken], None]
    ) -> None:
        """New connections go to `pool`, which asks `next` for who is to have them. `failed(user, since, why)`
        is told of a user for whom none could be opened, who waited from `since` on (Unix seconds).
        """
        self._pool = pool
        self._now = now
        self._failed = failed
        self._waiting: deque[tuple[V, float]] = deque()
        self._open: set[gevent.Greenlet] = set()
        self._alarm: Any = None

    def wait(self, user: V) -> None:
        """A user who found no connection idle."""
        self._waiting.append((user, self._now()))
        if self._alarm is None:
            self._arm(self._pool.connect_timeout_s)
        self._open_more()

    def next(self) -> tuple[V, float] | None:
        """Who has waited longest, and since when; None when nobody waits."""
        return self._waiting.popleft() if self._waiting else None

    def end(self) -> list[tuple[V, float]]:
        """Open nothing any more; who still waits, and since when."""
        left = list(self._waiting)
        self._waiting.clear()
        if self._alarm is not None:
            self._alarm.stop()
        gevent.killall(list(self._open))
        return left

    def _open_more(self) -> None:
        while len(self._open) < min(len(self._waiting), MOST):
            self._open.add(gevent.spawn(self._open_one))

    def _open_one(self) -> None:
        try:
            connection = Connection(self._pool.address, self._pool.connect_timeout_s)
        except Broken as failure:
            self._open.discard(gevent.getcurrent())
            unlucky = self.next()
            if unlucky is not None:  # else everybody has got another one
                self._failed(*unlucky, failure)
        else:
            self._open.discard(gevent.getcurrent())
            self._pool.give(connection)
        self._open_more()

    def _arm(self, after_s: float) -> None:
        self._alarm = gevent.get_hub().loop.timer(max(after_s, 0.0))
        self._alarm.start(self._expire)

    def _expire(self) -> None:
        """Who has waited as long as a connection may take has waited in vain."""
        self._alarm.close()
        self._alarm = None
        oldest = self._now() - self._pool.connect_timeout_s
        while self._waiting and self._waiting[0][1] <= oldest:
            user, since = self._waiting.popleft()
            self._failed(user, since, Broken("timeout", "no connection in time"))
        if self._waiting:
            self._arm(self._waiting[0][1] - oldest)
