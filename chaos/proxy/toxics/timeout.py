"""Swallows all data; closes the connection after `timeout` ms in which none came (0: never)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from chaos.proxy.toxics.stage import Ends, Stage

if TYPE_CHECKING:
    from chaos.proxy.toxics.toxic import Toxic


class Timeout(Stage):
    """The toxic `timeout`: the time starts again with each chunk. Removing it closes what it struck."""

    __slots__ = ("timer",)

    def __init__(self, toxic: Toxic, pipe: Ends) -> None:
        super().__init__(toxic, pipe)
        self.timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the time."""
        self.stop()
        timeout_ms = self.toxic.attributes["timeout"]
        if timeout_ms > 0:
            self.timer = self.pipe.loop.call_later(timeout_ms / 1000, self._fire)

    def _fire(self) -> None:
        self.timer = None
        self.toxic.counts.applied += 1
        self.pipe.close(self)

    def feed(self, data: bytes, at: float) -> None:
        """Swallow it, and start the time again."""
        self.toxic.counts.bytes += len(data)
        self.toxic.counts.applied += 1
        self.start()

    def end(self) -> None:
        """The end closes the connection at once: what came before it is lost."""
        self.pipe.close(self)

    def accepting(self) -> bool:
        """There is always room to swallow more."""
        return True

    def update(self) -> None:
        """Start the time again, at the new value."""
        self.start()

    def leave(self) -> None:
        """Data was taken from the connection: it cannot go on."""
        self.pipe.close(self)

    def stop(self) -> None:
        """Stop the time."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
