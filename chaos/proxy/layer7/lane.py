"""What waits to be sent on one direction of a WebSocket, in order.

Invariant: while nothing waits, what is put goes at once; what waits for the sake of a toxic goes as soon as
that toxic is gone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from chaos.proxy.layer7.conversation import Conversation
    from chaos.proxy.toxics.toxic import Stream, Toxic

_BYTES_MAX: Final = 64 * 1024
_PARTS_MAX: Final = 1024


@dataclass(slots=True)
class _Wait:
    until: float
    """By the loop's clock, in seconds."""
    toxic: Toxic


class Lane:
    """Parts are bytes, waits, and what is to be done when all before it has been sent."""

    def __init__(self, conversation: Conversation, stream: Stream) -> None:
        self._conversation = conversation
        self._stream = stream
        self._parts: deque[bytes | _Wait | Callable[[], None]] = deque()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._parts)

    def put(self, data: bytes) -> None:
        """Send `data` when it is its turn."""
        if self._parts:
            self._parts.append(data)
            self._bytes += len(data)
        else:
            self._conversation.send(self._stream, data)

    def wait(self, seconds: float, toxic: Toxic) -> None:
        """What is put from now on waits; those who wait at the same time do not add up."""
        if seconds > 0:
            self._parts.append(_Wait(self._conversation.loop.time() + seconds, toxic))
            self._go_on()

    def then(self, act: Callable[[], None]) -> None:
        """Do `act` when all before it has been sent."""
        if self._parts:
            self._parts.append(act)
        else:
            act()

    def accepting(self) -> bool:
        """Whether there is room for more."""
        return self._bytes < _BYTES_MAX and len(self._parts) < _PARTS_MAX

    def _go_on(self) -> None:
        """Send what need not wait any more, up to what has to; set the timer for that."""
        if self._timer is not None:
            return
        full = not self.accepting()
        while self._parts:
            part = self._parts[0]
            if isinstance(part, _Wait):
                wait = part.until - self._conversation.loop.time()
                if wait > 0:
                    self._timer = self._conversation.loop.call_later(wait, self._wake)
                    break
                self._parts.popleft()
            elif isinstance(part, bytes):
                self._parts.popleft()
                self._bytes -= len(part)
                self._conversation.send(self._stream, part)
            else:
                self._parts.popleft()
                part()
        if full and self.accepting() and not self._conversation.over:
            self._conversation.ready(self._stream)

    def _wake(self) -> None:
        self._timer = None
        self._go_on()

    def healed(self, acting: AbstractSet[Toxic]) -> None:
        """What waits for the sake of toxics that are not among these goes on, in order."""
        for part in self._parts:
            if isinstance(part, _Wait) and part.toxic not in acting:
                part.until = 0.0
        self._cancel()
        self._go_on()

    def release(self) -> None:
        """All goes on now."""
        self.healed(frozenset())

    def stop(self) -> None:
        """The connection has ended."""
        self._cancel()
        self._parts.clear()
        self._bytes = 0

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
