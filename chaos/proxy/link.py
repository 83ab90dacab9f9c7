"""One proxied connection: two sockets, and a pipe in each direction.

Invariant: a stream without toxics costs one call per read (`data_received` writes straight to the other
socket); a chain of stages is there only while a toxic strikes that stream of that connection.
Back-pressure goes from the slower socket, through the chain, to the reader of the faster one, so what a
connection holds is bounded. A half-close is passed on as one.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final, cast

from chaos.proxy import draw
from chaos.proxy.toxics import STAGES
from chaos.proxy.toxics.stage import Next, Previous, Stage

if TYPE_CHECKING:
    from chaos.proxy.proxy import Proxy
    from chaos.proxy.toxics.toxic import Stream, Toxic

_LINGER_0: Final = struct.pack("ii", 1, 0)


class Side(asyncio.Protocol):
    """One socket of a connection. What it reads goes to `write`: to the other socket, or into a chain."""

    __slots__ = ("link", "lost", "paused", "pipe", "reading", "transport", "write")

    pipe: Pipe
    """The pipe that leads away from this socket."""
    write: Callable[[bytes], None]

    def __init__(self, link: Link) -> None:
        self.link = link
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self.paused = False
        self.reading = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self.transport = cast(asyncio.Transport, transport)
        self.link.opened(self)

    def data_received(self, data: bytes) -> None:
        """Data has come."""
        self.pipe.received += len(data)
        self.write(data)

    def eof_received(self) -> bool:
        """The peer sends no more; it may still want to read."""
        self.pipe.eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self.lost = True
        self.link.gone(self)

    def pause_writing(self) -> None:
        """The socket's send buffer is full."""
        self.paused = True
        self.link.into(self).regulate()

    def resume_writing(self) -> None:
        """The socket's send buffer has room again."""
        self.paused = False
        self.link.into(self).room()

    def read(self, wanted: bool) -> None:
        """Read on, or do not for now."""
        if self.transport is not None and not self.lost and wanted is not self.reading:
            self.reading = wanted
            if wanted:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def close(self) -> None:
        """Close after what has been written (FIN)."""
        if self.transport is not None and not self.lost:
            self.transport.close()

    def abort(self, *, reset: bool = False) -> None:
        """Close now; with a reset (RST) if asked."""
        if self.transport is None or self.lost:
            return
        if reset:
            raw = self.transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        self.transport.abort()


class Pipe:
    """One direction of a connection, and both ends of its chain: what stages see as next and previous."""

    __slots__ = (
        "chained",
        "closing",
        "dest",
        "done",
        "ended",
        "link",
        "loop",
        "received",
        "sent",
        "source",
        "stages",
        "stream",
    )

    def __init__(self, link: Link, stream: Stream, source: Side, dest: Side) -> None:
        self.link = link
        self.loop = link.proxy.loop
        self.stream = stream
        self.source = source
        self.dest = dest
        self.stages: list[Stage] = []
        self.received = 0
        """Bytes read from the source."""
        self.chained = 0
        """Those of them that went into the chain, or nowhere."""
        self.sent = 0
        """Those that came out of the chain."""
        self.ended = False
        """The source has sent its end, or is gone."""
        self.closing = False
        """The end closes the connection instead of half of it."""
        self.done = False
        """The end has reached the destination, or the destination is gone: nothing more is sent."""

    # --- from the source ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Both sockets are open: set the chain up and let data in."""
        self.rebuild()
        self.regulate()

    @property
    def passed_on(self) -> int:
        """Bytes given to the destination: by the short way, and out of the chain."""
        return self.received - self.chained + self.sent

    def receive(self, data: bytes) -> None:
        """Data for the chain."""
        self.chained += len(data)
        self.stages[0].feed(data, time.monotonic())
        if self.source.reading and self.stages and not self.stages[0].accepting():
            self.source.read(False)

    def drop(self, data: bytes) -> None:
        """Data that nobody gets any more."""
        self.chained += len(data)

    def eof(self) -> None:
        """The source sends no more."""
        if not self.link.open:
            self.link.early_end = True
            return
        if self.ended:
            return
        self.ended = True
        if self.done:
            return
        (self.stages[0] if self.stages else self).end()

    def regulate(self) -> None:
        """Read from the source exactly while there is room."""
        if not self.link.open:
            return
        head: Next = self.stages[0] if self.stages else self
        self.source.read(self.done or head.accepting())

    def room(self) -> None:
        """The destination has room again."""
        last: Previous = self.stages[-1] if self.stages else self
        last.ready()

    # --- as the last stage's next, and the first one's previous ---------------------------------------------

    def feed(self, data: bytes, at: float) -> None:
        """Data for the destination."""
        if not self.done and self.dest.transport is not None:
            self.sent += len(data)
            self.dest.transport.write(data)

    def end(self) -> None:
        """The end for the destination: half a close, or a whole one if nothing can come back any more."""
        if self.done:
            return
        self._finish()
        back = self.link.back(self)
        if self.closing or self.source.lost or back.done:
            self.dest.close()
            if back.done:
                self.source.close()
            else:
                back.eof()
        elif self.dest.transport is not None:
            self.dest.transport.write_eof()

    def accepting(self) -> bool:
        """Whether the destination takes more."""
        return self.done or not self.dest.paused

    def ready(self) -> None:
        """There is room at the head of the chain."""
        self.regulate()

    # --- for the toxics -------------------------------------------------------------------------------------

    def close(self, stage: Stage) -> None:
        """Close the connection after what `stage` has let through."""
        if self.done or stage not in self.stages:
            return
        self.closing = self.ended = True
        self.source.write = self.drop
        position = self.stages.index(stage)
        for earlier in self.stages[: position + 1]:
            earlier.stop()
        self.stages = self.stages[position + 1 :]
        self.source.read(True)
        (self.stages[0] if self.stages else self).end()

    def reset(self) -> None:
        """Reset both ends of the connection."""
        self.link.abort(reset=True)

    def generator(self, toxic: Toxic) -> Random:
        """The seeded generator of this toxic on this stream of this connection."""
        proxy = self.link.proxy
        return draw.generator(proxy.seed, proxy.name, self.link.ordinal, toxic.name, self.stream)

    # --- the chain ------------------------------------------------------------------------------------------

    def rebuild(self) -> None:
        """Make the chain that the proxy's toxics ask for now, keeping the stages that stay.

        Stages whose toxic is gone (or no longer strikes) give on what they hold first.
        """
        proxy, ordinal = self.link.proxy, self.link.ordinal
        wanted = [toxic for toxic in proxy.chain(self.stream) if proxy.strikes(toxic, ordinal)]
        for stage in list(self.stages):
            if stage.toxic not in wanted and stage in self.stages:
                stage.leave()
                if stage in self.stages:  # leaving may have ended the connection, and the chain with it
                    self.stages.remove(stage)
                    self._relink()
        if self.done or self.closing:
            return  # nothing new strikes what is ending
        present = {stage.toxic: stage for stage in self.stages}
        added = [STAGES[toxic.type](toxic, self) for toxic in wanted if toxic not in present]
        present.update((stage.toxic, stage) for stage in added)
        self.stages = [present[toxic] for toxic in wanted]
        self._relink()
        for stage in added:
            stage.start()
        self.room()
        self.regulate()

    def rebuild_if_open(self) -> None:
        """The proxy's toxics have changed."""
        if self.link.open:
            self.rebuild()

    def update(self, toxic: Toxic) -> None:
        """The attributes or the toxicity of `toxic` have changed."""
        if not self.link.open:
            return
        self.rebuild()
        for stage in self.stages:
            if stage.toxic is toxic:
                stage.update()
                break
        self.regulate()

    def _relink(self) -> None:
        previous: Previous = self
        following: list[Next] = [*self.stages[1:], self]
        for stage, after in zip(self.stages, following, strict=False):
            stage.prev = previous
            stage.next = after
            previous = stage
        if self.ended or self.done:
            self.source.write = self.drop
        elif self.stages:
            self.source.write = self.receive
        elif self.dest.transport is not None:
            self.source.write = self.dest.transport.write

    def _finish(self) -> None:
        """Nothing more goes to the destination. What still comes is read and dropped: so a close is a FIN."""
        self.done = True
        self.source.write = self.drop
        for stage in self.stages:
            stage.stop()
        self.stages = []
        self.regulate()

    def dest_gone(self) -> None:
        """The destination is gone."""
        if not self.done:
            self._finish()

    def source_gone(self) -> None:
        """The source is gone: its end follows what it sent; then the destination is closed as a whole."""
        if self.done:
            self.dest.close()
        else:
            self.eof()


class Link:
    """A connection of `proxy`, its `ordinal`-th: the client's socket and the one to the upstream."""

    __slots__ = ("client", "dial", "down", "early", "early_end", "open", "ordinal", "proxy", "server", "up")

    def __init__(self, proxy: Proxy, ordinal: int) -> None:
        self.proxy = proxy
        self.ordinal = ordinal
        self.open = False
        self.early: list[bytes] = []
        self.early_end = False
        self.dial: asyncio.Task[None] | None = None
        self.client = Side(self)
        self.server = Side(self)
        self.up = Pipe(self, "upstream", self.client, self.server)
        self.down = Pipe(self, "downstream", self.server, self.client)
        self.client.pipe, self.server.pipe = self.up, self.down
        self.client.write, self.server.write = self._keep, self.down.drop

    def into(self, side: Side) -> Pipe:
        """The pipe that leads to `side`."""
        return self.down if side is self.client else self.up

    def back(self, pipe: Pipe) -> Pipe:
        """The pipe of the other direction."""
        return self.down if pipe is self.up else self.up

    def opened(self, side: Side) -> None:
        """A socket is open: dial the upstream for a client; start when both are."""
        if side is self.client:
            self.proxy.links.add(self)
            self.dial = self.proxy.loop.create_task(self._dial())
        elif self.client.lost:
            side.abort()
        else:
            self.open = True
            self.down.open()
            self.up.open()
            if self.early:
                self.client.write(b"".join(self.early))
                self.early.clear()
            if self.early_end:
                self.up.eof()

    def _keep(self, data: bytes) -> None:
        """The client was faster than the upstream: keep one read, and read no more until it is there.

        The loop starts to read after `connection_made`, whatever that does, so it cannot be paused before.
        """
        self.early.append(data)
        self.client.read(False)

    async def _dial(self) -> None:
        try:
            await self.proxy.dial(lambda: self.server)
        except OSError as error:
            self.proxy.unreachable(error)
            self.server.lost = True
            self.client.close()
        finally:
            self.dial = None

    def gone(self, side: Side) -> None:
        """A socket is gone."""
        if self.dial is not None:
            self.dial.cancel()
        self.into(side).dest_gone()
        side.pipe.source_gone()
        if self.client.lost and (self.server.lost or self.server.transport is None):
            self._forget()

    def abort(self, *, reset: bool = False) -> None:
        """Close both sockets now; with a reset if asked."""
        if self.dial is not None:
            self.dial.cancel()
        for pipe in (self.up, self.down):
            pipe.dest_gone()
        self.client.abort(reset=reset)
        self.server.abort(reset=reset)

    def _forget(self) -> None:
        if self in self.proxy.links:
            self.proxy.links.discard(self)
            self.proxy.account(self)
