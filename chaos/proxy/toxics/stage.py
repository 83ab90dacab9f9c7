"""What a toxic does to one direction of one connection: a stage in a chain, from the reader to the writer.

A stage is only there where its toxic strikes. Data goes along the chain by `feed`, the end of the stream by
`end`. Room goes the other way: whoever holds data stops accepting at its limit, which stops the reader; when
there is room again, `ready` tells the one before.
"""

from __future__ import annotations

import asyncio
import math
import time
from abc import abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from random import Random

    from chaos.proxy.toxics.toxic import Toxic

_SOON_S: Final = 0.0005
"""Timers count in milliseconds; what is due within half of one goes at once, and averages stay right."""


class Next(Protocol):
    """Where a stage sends what it lets through."""

    def feed(self, data: bytes, at: float) -> None:
        """Take `data`; `at` is when it arrived (monotonic seconds), plus the delays so far."""

    def end(self) -> None:
        """Take the end of the stream."""

    def accepting(self) -> bool:
        """Whether there is room for more."""


class Previous(Protocol):
    """Whom a stage tells that there is room again."""

    def ready(self) -> None:
        """There is room again."""


class Ends(Protocol):
    """What a stage may ask of its connection."""

    done: bool
    """The connection took the end of this stream, or was ended: nothing more may be sent."""
    loop: asyncio.AbstractEventLoop

    def close(self, stage: Stage) -> None:
        """Close the connection in order (FIN), after what this stage has let through."""

    def reset(self) -> None:
        """Reset the connection at both ends (RST)."""

    def generator(self, toxic: Toxic) -> Random:
        """The seeded generator of this toxic on this stream of this connection."""


class Stage:
    """Lets everything through; toxics change what they need to. `next` and `prev` are set by the chain."""

    __slots__ = ("next", "pipe", "prev", "toxic")

    next: Next
    prev: Previous

    def __init__(self, toxic: Toxic, pipe: Ends) -> None:
        self.toxic = toxic
        self.pipe = pipe
        toxic.counts.connections += 1

    def start(self) -> None:
        """The stage is in the chain now."""

    def feed(self, data: bytes, at: float) -> None:
        """Take `data` that arrived at `at`."""
        self.toxic.counts.bytes += len(data)
        self.next.feed(data, at)

    def end(self) -> None:
        """Take the end of the stream."""
        self.next.end()

    def accepting(self) -> bool:
        """Whether there is room for more."""
        return self.next.accepting()

    def ready(self) -> None:
        """The next one has room again."""
        self.prev.ready()

    def update(self) -> None:
        """The toxic's attributes have changed."""

    def leave(self) -> None:
        """The stage leaves the chain: pass on what is held, at once."""

    def stop(self) -> None:
        """The connection has ended: cancel timers, drop what is held."""


class HoldingStage(Stage):
    """Holds data until it is due, in order; what the due time is, the toxic says."""

    one_a_turn = False
    """Whether each piece must reach the socket by itself: the loop joins what is written in one turn."""
    __slots__ = ("ending", "held", "limit_bytes", "limit_chunks", "queue", "timer")

    def __init__(self, toxic: Toxic, pipe: Ends) -> None:
        super().__init__(toxic, pipe)
        self.queue: deque[tuple[bytes, float]] = deque()
        self.held = 0
        self.limit_bytes = 64 * 1024
        self.limit_chunks = 1024
        self.ending = False
        self.timer: asyncio.Handle | None = None

    @abstractmethod
    def due(self) -> float:
        """When the head of the queue may go (monotonic seconds; `inf` for never)."""

    def take(self) -> tuple[bytes, float]:
        """Remove and return what goes now."""
        data, at = self.queue.popleft()
        self.held -= len(data)
        return data, at

    def feed(self, data: bytes, at: float) -> None:
        """Queue `data`, and send what is due."""
        self.toxic.counts.bytes += len(data)
        self.enqueue(data, at)
        if self.timer is None:
            self.pump()

    def enqueue(self, data: bytes, at: float) -> None:
        """Put `data` at the end of the queue."""
        self.queue.append((data, at))
        self.held += len(data)

    def end(self) -> None:
        """Pass the end on after what is held; at once when nothing is."""
        if self.queue:
            self.ending = True
        else:
            self.next.end()

    def accepting(self) -> bool:
        """Whether less than the limits is held."""
        return self.held < self.limit_bytes and len(self.queue) < self.limit_chunks

    def ready(self) -> None:
        """Go on sending what has become due meanwhile."""
        if self.timer is None:
            self.pump()

    def pump(self) -> None:
        """Send what is due while there is room for it, then set the timer for the rest."""
        was_full = not self.accepting()
        while self.queue and not self.pipe.done and self.next.accepting():
            wait = self.due() - time.monotonic()
            if wait > _SOON_S:
                self._sleep(wait)
                break
            data, at = self.take()
            self.next.feed(data, at)
            if self.one_a_turn and self.queue and not self.pipe.done:
                self.timer = self.pipe.loop.call_soon(self._wake)
                break
        if self.pipe.done:
            return
        if self.ending and not self.queue:
            self.ending = False
            self.next.end()
        elif was_full and self.accepting():
            self.prev.ready()

    def _sleep(self, seconds: float) -> None:
        if seconds != math.inf:
            self.timer = self.pipe.loop.call_later(math.ceil(seconds * 1000) / 1000, self._wake)

    def _wake(self) -> None:
        self.timer = None
        self.pump()

    def _release(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        while self.queue and not self.pipe.done:
            data, at = self.queue.popleft()
            self.held -= len(data)
            self.next.feed(data, at)
        if self.ending and not self.pipe.done:
            self.ending = False
            self.next.end()

    def update(self) -> None:
        """What is held goes at once; the new attributes hold for what comes."""
        self._release()

    def leave(self) -> None:
        """What is held goes at once, and the end with it."""
        self._release()

    def stop(self) -> None:
        """Drop what is held."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.queue.clear()
        self.held = 0
        self.ending = False
