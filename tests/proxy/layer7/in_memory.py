"""A proxy whose sockets are in memory and whose time is its own: what comes, and in which pieces, is the test's.

All else is the real thing: `Proxy`, `Link`, `Pipe`, the toxics, and asyncio's loop. Nothing waits for real time: where
the loop would wait for a timer, its clock goes forward to it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from chaos.proxy.certificates import TlsAsked, TlsContexts
from chaos.proxy.layer7.asked import rule_of
from chaos.proxy.layer7.catalogue import LAYER7
from chaos.proxy.link import Link
from chaos.proxy.log import Log
from chaos.proxy.proxy import Protocol, Proxy
from chaos.proxy.toxics.attributes import defaults
from chaos.proxy.toxics.toxic import Stream, Toxic


class _Jumping(selectors.DefaultSelector):
    """Where it would wait, time goes forward instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            self.now += timeout
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """asyncio's loop, with such a clock. `errors` are what its callbacks raised."""

    def __init__(self) -> None:
        self.clock = _Jumping()
        super().__init__(self.clock)
        self.errors: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        """Seconds, of its own."""
        return self.clock.now

    @property
    def timers(self) -> int:
        """Timers that wait to go off."""
        waiting = cast(Any, self)._scheduled
        return sum(not timer.cancelled() for timer in waiting)

    def turn(self, times: int = 6) -> None:
        """Do what is to be done at once; no timer goes off."""
        for _ in range(times):
            self.call_soon(self.stop)
            self.run_forever()

    def pass_time(self, seconds: float) -> None:
        """Let that much time pass."""
        self.run_until_complete(asyncio.sleep(seconds))
        self.turn()


class _Socket:
    """What is asked of a socket: its number, and to be closed with a reset."""

    def __init__(self) -> None:
        self.resets = False

    def fileno(self) -> int:
        return 5

    def setsockopt(self, *option: object) -> None:
        self.resets = True

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 1


class End(asyncio.Transport):
    """One socket of the proxy, as its peer sees it: `got` is what came, `ending` how it ended, as far as it did."""

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self.loop = loop
        self.protocol: asyncio.Protocol
        self.socket = _Socket()
        self.got = bytearray()
        self.ending = ""
        self.closed = False
        self.slow = False
        """The peer does not read."""
        self.most_written = 0
        """Bytes that were given to a peer that does not read."""
        self._reading = True
        self._waiting: list[bytes | None] = []

    # --- the peer -------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send a piece; it arrives when the proxy reads."""
        self._waiting.append(data)
        self._deliver()

    def finish(self) -> None:
        """Send no more."""
        self._waiting.append(None)
        self._deliver()

    def reset(self) -> None:
        """Reset the connection."""
        self._over(ConnectionResetError(104, "reset"))

    def stall(self, slow: bool) -> None:
        """Read no more, or read on."""
        if slow is not self.slow and not self.closed:
            self.slow = slow
            (self.protocol.pause_writing if slow else self.protocol.resume_writing)()

    def _deliver(self) -> None:
        while self._waiting and self._reading and not self.closed:
            data = self._waiting.pop(0)
            if data is None:
                self.protocol.eof_received()
            else:
                self.protocol.data_received(data)

    @property
    def unread(self) -> int:
        """Pieces that the proxy has not read yet."""
        return len(self._waiting)

    # --- asyncio's ------------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio.Transport."""
        return self.socket if name == "socket" else default

    def is_reading(self) -> bool:
        """See asyncio.Transport."""
        return self._reading

    def pause_reading(self) -> None:
        """See asyncio.Transport."""
        self._reading = False

    def resume_reading(self) -> None:
        """See asyncio.Transport."""
        self._reading = True
        self.loop.call_soon(self._deliver)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio.Transport."""
        if self.ending == "FIN":
            raise RuntimeError("Cannot call write() after write_eof()")
        if not self.closed:
            self.got += data
            if self.slow:
                self.most_written += len(data)

    def write_eof(self) -> None:
        """See asyncio.Transport."""
        self.ending = self.ending or "FIN"

    def is_closing(self) -> bool:
        """See asyncio.Transport."""
        return self.closed

    def close(self) -> None:
        """See asyncio.Transport."""
        self.ending = self.ending or "FIN"
        self._over(None)

    def abort(self) -> None:
        """See asyncio.Transport."""
        self.ending = "RST" if self.socket.resets else self.ending or "FIN"
        self._over(None)

    def _over(self, error: Exception | None) -> None:
        if not self.closed:
            self.closed = True
            self._waiting.clear()
            self.loop.call_soon(self.protocol.connection_lost, error)


class _Proxy(Proxy):
    """A proxy that reaches its upstream in memory."""

    dialled: list[End]

    async def dial(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Connect."""
        end = End(cast(Loop, self.loop))
        end.protocol = protocol()
        self.dialled.append(end)
        end.protocol.connection_made(end)


class Pair:
    """A connection through the proxy: what its client and its upstream see."""

    def __init__(self, memory: Memory) -> None:
        proxy = memory.proxy
        self.link = Link(proxy, memory.connections)
        memory.connections += 1
        self.client = End(memory.loop)
        self.client.protocol = self.link.client
        before = len(proxy.dialled)
        self.link.client.connection_made(self.client)
        memory.loop.turn()
        self.upstream = proxy.dialled[before]

    @property
    def over(self) -> bool:
        """Whether the proxy holds neither socket any more."""
        return self.client.closed and self.upstream.closed


class Memory:
    """A proxy, its loop, and its toxics by name."""

    def __init__(self, protocol: Protocol = "http") -> None:
        self.loop = Loop()
        self.log = Log()
        self.proxy = _Proxy(
            "memory",
            "127.0.0.1:1",
            "127.0.0.1:2",
            seed=7,
            loop=self.loop,
            log=self.log,
            protocol=protocol,
            tls=TlsAsked(),
            contexts=TlsContexts(),
        )
        self.proxy.dialled = []
        self.proxy.enabled = True
        self.connections = 0

    def pair(self) -> Pair:
        """A new connection."""
        return Pair(self)

    def add(
        self,
        type: str,
        *,
        stream: str = "",
        toxicity: float = 1.0,
        name: str = "t",
        rule: bytes = b"{}",
        **attributes: Any,
    ) -> Toxic:
        """Add a toxic; `rule` is a body of the API's request, for its `where` and `id`."""
        given = cast(Stream, stream or (LAYER7[type].streams[0] if type in LAYER7 else "downstream"))
        toxic = Toxic(name, type, given, given, toxicity, {**defaults(type), **attributes})
        toxic.rule = rule_of(rule, type)
        self.proxy.add(toxic)
        self.loop.turn()
        return toxic

    def heal(self, toxic: Toxic) -> None:
        """Take a toxic away."""
        self.proxy.remove(toxic)
        self.loop.turn()

    def check(self) -> None:
        """Nothing has gone wrong within the proxy."""
        assert not self.loop.errors, self.loop.errors
        assert self.log.defects == 0

    def close(self) -> None:
        """End all, and see that nothing is left."""
        self.proxy.drop_links()
        self.loop.turn()
        try:
            assert not self.proxy.links
            assert self.loop.timers == 0
            self.check()
        finally:
            self.loop.close()


@contextmanager
def in_memory(protocol: Protocol = "http") -> Iterator[Memory]:
    """A proxy for the block. After it nothing is left, and nothing has gone wrong."""
    memory = Memory(protocol)
    try:
        yield memory
    except BaseException:
        memory.loop.close()
        raise
    memory.close()
