"""A stage that reads one direction of a connection; see `conversation`.

It is of no toxic, so nothing is counted for it.
"""

from __future__ import annotations

from abc import abstractmethod
from time import monotonic
from typing import TYPE_CHECKING

from chaos.proxy.layer7.exchange import Exchange
from chaos.proxy.layer7.framing import BadFraming, Framing, framing
from chaos.proxy.toxics.stage import Ends, Stage

if TYPE_CHECKING:
    from collections.abc import Callable


class Reader(Stage):
    """Takes bytes apart into messages by `state`, which takes what there is and gives back what it left.

    While `blocked`, what comes is held. `held` is bounded by the reader before it, which stops when this one
    does not accept.
    """

    __slots__ = (
        "_body",
        "_exchange",
        "_long_way",
        "_write",
        "at",
        "blocked",
        "busy",
        "ending",
        "held",
        "state",
    )

    state: Callable[[bytes], bytes]
    at: float
    """When what is being read arrived (see Next): for what is passed on as it came."""

    def __init__(self, pipe: Ends) -> None:
        self.pipe = pipe
        self._exchange = Exchange(None)
        """The one whose message is being read."""
        self._body: Framing = framing(0, keep=False)
        self.at = 0.0
        self.held = b""
        self.blocked = False
        self.busy = False
        self.ending = False

    def alone(
        self, write: Callable[[bytes], None], long_way: Callable[[bytes], None]
    ) -> Callable[[bytes], None]:
        """What takes reads while no other stage is there: it writes to the socket, or goes the `long_way`."""
        self._write, self._long_way = write, long_way
        return self.express

    @abstractmethod
    def express(self, data: bytes) -> None:
        """Take a read, the shortest way."""

    def feed(self, data: bytes, at: float) -> None:
        """Read `data`, unless something before it is being waited for."""
        if self.held:
            data = self.held + data
            self.held = b""
        if self.busy:  # called from within itself
            self.held = data
            return
        self.busy = True
        self.at = at
        try:
            while data and not self.blocked:
                state = self.state
                left = state(data)
                if len(left) == len(data) and self.state is state:  # not enough of it for a step
                    break
                data = left
        finally:
            self.busy = False
        self.held = data + self.held if self.held else data

    # --- what nothing strikes -------------------------------------------------------------------------------

    def pass_on(self, length: int, data: bytes, end: int) -> bytes:
        """A message whose head ends at `end`, then a body of `length`: in one piece, if it came in one."""
        if length >= 0 and end + length <= len(data):
            end += length
            self.next.feed(data if end == len(data) else data[:end], self.at)
            self.passed()
            return data[end:]
        self.next.feed(data[:end], self.at)
        self._body = framing(length, keep=False)
        self.state = self.in_body
        return data[end:]

    def in_body(self, data: bytes) -> bytes:
        """Pass a body on."""
        try:
            size = self._body.take(data)
        except BadFraming:
            self.unreadable()
            return self.state(data)
        self.next.feed(data if size == len(data) else data[:size], self.at)
        if self._body.done:
            self.passed()
        return data[size:]

    @abstractmethod
    def passed(self) -> None:
        """The message of `_exchange` has gone on as a whole."""

    @abstractmethod
    def unreadable(self) -> None:
        """What comes is no strict HTTP: it is to pass as it is."""

    # --- waiting --------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """What was waited for has come: go on with what is held."""
        self.blocked = False
        if self.busy:
            return
        if self.held:
            self.feed(b"", monotonic())
        if self.ending and not self.blocked:
            self.ending = False
            self.end()
        if not self.pipe.done:
            self.prev.ready()

    def stop(self) -> None:
        """The connection has ended."""
        self.held = b""
        self.blocked = True
