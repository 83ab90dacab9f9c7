"""A filter that holds a reply for a while, in order and within a bound."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from chaos.proxy.layer7.exchange import Ending, Filter
from chaos.proxy.layer7.head import ReplyHead

if TYPE_CHECKING:
    from chaos.proxy.layer7.strike import Strike

HELD_MAX: Final = 64 * 1024
"""Bytes that a filter holds before it accepts no more."""


class Downstream(Protocol):
    """Whom to tell that there is room again."""

    def drained(self) -> None:
        """A filter that held something has room again."""


class Room(Protocol):
    """What an act may ask of the connection."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, for timers."""

    @property
    def down(self) -> Downstream:
        """The reader of the replies."""


class Holding(Filter):
    """While it is `held`, parts queue up; `hold` begins that, its end lets them go on."""

    def __init__(self, strike: Strike, room: Room) -> None:
        super().__init__(strike)
        self._room = room
        self._queue: deque[tuple[Callable[..., None], ReplyHead | bytes | Ending]] = deque()
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self.held = False
        self._stopped = False

    @property
    def stuck(self) -> bool:
        """Whether it holds until its toxic is gone."""
        return self.held and self._timer is None

    def hold(self, seconds: float | None) -> None:
        """Hold what comes for `seconds`; None: until the toxic is gone."""
        if self._stopped:
            return
        self.held = True
        if seconds is not None:
            self._timer = self._room.loop.call_later(seconds, self.release)

    def release(self) -> None:
        """Let what is held go on, up to where it is held again."""
        self._forget_time()
        self.held = False
        full = self._size >= HELD_MAX
        while self._queue and not self.held:
            take, part = self._queue.popleft()
            if isinstance(part, bytes):
                self._size -= len(part)
            take(part)
        if full and self._size < HELD_MAX:
            self._room.down.drained()

    def queue(self, take: Callable[..., None], part: ReplyHead | bytes | Ending) -> bool:
        """Whether a part has been queued, to be given to `take` later."""
        if not self.held:
            return False
        if isinstance(part, bytes):
            self._size += len(part)
        self._queue.append((take, part))
        return True

    def queue_first(self, take: Callable[[bytes], None], part: bytes) -> None:
        """Queue a part before all others."""
        self._size += len(part)
        self._queue.appendleft((take, part))

    def end(self, ending: Ending) -> None:
        """See Sink."""
        if not self.queue(self.end, ending):
            self.next.end(ending)

    def accepting(self) -> bool:
        """See Sink."""
        return self._size < HELD_MAX and self.next.accepting()

    def leave(self) -> None:
        """What is held goes on at once, and nothing is held any more."""
        super().leave()
        self.release()

    def stop(self) -> None:
        """Nothing that is held, or comes, goes anywhere any more."""
        self._stopped = True
        self._forget_time()
        self._queue.clear()
        self._size = 0

    def _forget_time(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
