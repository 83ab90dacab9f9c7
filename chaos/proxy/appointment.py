"""Something that is to take effect at a time: on time however long the request for it was under way.

The loop's timers count whole milliseconds from a time that is as old as the loop's turn, so what wakes early
goes back to sleep: an effect is never early.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from chaos.proxy.body import BodyError, Fields

FARTHEST_MS: Final = 60_000
_SOON_S: Final = 0.0005


def at_of(fields: Fields) -> float | None:
    """`at_ms` of a body (Unix milliseconds); None when it has none. Raises BodyError."""
    if not fields.has("at_ms"):
        return None
    at_ms = fields.number("at_ms", 0.0)
    if abs(at_ms - time.time() * 1000) > FARTHEST_MS:
        raise BodyError(f"at_ms: expected a time within {FARTHEST_MS} ms from now, got {at_ms:g}")
    return at_ms


class Appointment:
    """`act` is called at `at_ms` (Unix), at once when that is over; `since_ms` then says when it was."""

    __slots__ = ("_act", "_loop", "_timer", "at_ms", "since_ms")

    def __init__(self, at_ms: float, loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
        self.at_ms = at_ms
        self.since_ms: float | None = None
        self._loop = loop
        self._act = act
        self._timer: asyncio.TimerHandle | None = None
        self._wake()

    def _wake(self) -> None:
        self._timer = None
        left_s = self.at_ms / 1000 - time.time()
        if left_s > _SOON_S:
            self._timer = self._loop.call_later(left_s, self._wake)
            return
        self.since_ms = time.time() * 1000
        self._act()
        self.since_ms = time.time() * 1000  # not before it was done

    def cancel(self) -> None:
        """Forget it, unless it has come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def as_dict(self) -> dict[str, object]:
        """For the API."""
        return {"at_ms": self.at_ms, **({} if self.since_ms is None else {"since_ms": self.since_ms})}
