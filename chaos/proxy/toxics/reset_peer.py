"""Resets the connection (RST, both ends) `timeout` ms after data, or its end, first flows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from chaos.proxy.toxics.stage import Ends, Stage

if TYPE_CHECKING:
    from chaos.proxy.toxics.toxic import Toxic


class ResetPeer(Stage):
    """The toxic `reset_peer`: nothing is passed on once it has been set off."""

    __slots__ = ("doomed", "timer")

    def __init__(self, toxic: Toxic, pipe: Ends) -> None:
        super().__init__(toxic, pipe)
        self.timer: asyncio.TimerHandle | None = None
        self.doomed = False

    def feed(self, data: bytes, at: float) -> None:
        """Swallow it, and set the reset off."""
        self.toxic.counts.bytes += len(data)
        self.end()

    def end(self) -> None:
        """Set the reset off, the first time."""
        if not self.doomed:
            self.doomed = True
            self._arm()

    def _arm(self) -> None:
        timeout_ms = self.toxic.attributes["timeout"]
        if timeout_ms > 0:
            self.timer = self.pipe.loop.call_later(timeout_ms / 1000, self._fire)
        else:
            self._fire()

    def _fire(self) -> None:
        self.timer = None
        self.toxic.counts.applied += 1
        self.pipe.reset()

    def accepting(self) -> bool:
        """There is always room to swallow more."""
        return True

    def update(self) -> None:
        """A pending reset waits for the new time."""
        if self.doomed:
            self.stop()
            self._arm()

    def leave(self) -> None:
        """A pending reset comes at once: data was taken from the connection, it cannot go on."""
        if self.doomed:
            self.stop()
            self._fire()

    def stop(self) -> None:
        """Forget a pending reset."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
