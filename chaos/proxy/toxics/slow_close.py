"""Delays the closing of connections by `delay` ms."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from chaos.proxy.toxics.stage import Ends, Stage

if TYPE_CHECKING:
    from chaos.proxy.toxics.toxic import Toxic


class SlowClose(Stage):
    """The toxic `slow_close`: passes the end of the stream on after `delay`."""

    __slots__ = ("ending", "timer")

    def __init__(self, toxic: Toxic, pipe: Ends) -> None:
        super().__init__(toxic, pipe)
        self.timer: asyncio.TimerHandle | None = None
        self.ending = False

    def end(self) -> None:
        """Wait, then pass the end on."""
        if self.ending:
            return
        self.ending = True
        self.toxic.counts.applied += 1
        self.timer = self.pipe.loop.call_later(self.toxic.attributes["delay"] / 1000, self._pass_on)

    def _pass_on(self) -> None:
        self.stop()
        self.ending = False
        self.next.end()

    def update(self) -> None:
        """A pending close waits for the new delay."""
        if self.ending:
            self.stop()
            self.timer = self.pipe.loop.call_later(self.toxic.attributes["delay"] / 1000, self._pass_on)

    def leave(self) -> None:
        """A pending close is passed on at once."""
        if self.ending:
            self._pass_on()

    def stop(self) -> None:
        """Forget a pending close."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
