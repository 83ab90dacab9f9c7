"""Closes the connection after `bytes` have passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.proxy.toxics.stage import Ends, Stage

if TYPE_CHECKING:
    from chaos.proxy.toxics.toxic import Toxic


class LimitData(Stage):
    """The toxic `limit_data`: counts per connection, across updates; at 0 the first data closes it."""

    __slots__ = ("passed",)

    def __init__(self, toxic: Toxic, pipe: Ends) -> None:
        super().__init__(toxic, pipe)
        self.passed = 0

    def feed(self, data: bytes, at: float) -> None:
        """Pass on what is within the limit, and close at the limit."""
        self.toxic.counts.bytes += len(data)
        room = max(0, self.toxic.attributes["bytes"] - self.passed)
        data = data[:room]
        self.passed += len(data)
        if data:
            self.next.feed(data, at)
        if len(data) == room and not self.pipe.done:
            self.toxic.counts.applied += 1
            self.pipe.close(self)
