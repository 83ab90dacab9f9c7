"""One proxied connection: two sockets, and a pipe in each direction.

Invariant: a stream without toxics costs one call per read (`data_received` writes straight to the other
socket); a chain of stages is there only while a toxic strikes that stream of that connection.
Back-pressure goes from the slower socket, through the chain, to the reader of the faster one, so what a
connection holds is bounded. A half-close is passed on as one.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from chaos.proxy.layer7.conversation import Conversation
from chaos.proxy.pipe import Pipe

if TYPE_CHECKING:
    from chaos.proxy.proxy import Proxy

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
        if isinstance(exc, ConnectionError):
            self.link.proxy.resets[self.link.into(self).stream] += 1
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

    def descriptor(self) -> int:
        """The number of the socket's descriptor; 0 when it is closed."""
        raw = None if self.transport is None else self.transport.get_extra_info("socket")
        return 0 if raw is None else int(raw.fileno())

    def vanished(self) -> bool:
        """Whether the peer has reset the connection while it was not read, so that nobody noticed."""
        if self.transport is None or self.lost:
            return False
        if self.reading and not self.pipe.ended and not self.link.early_end:
            return False
        raw = self.transport.get_extra_info("socket")
        try:
            raw.getpeername()
        except (
            OSError
        ) as error:  # so it is too after both ends were sent in order, with data still to be read
            return error.errno == errno.ENOTCONN and raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        return False

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


class Link:
    """A connection of `proxy`, its `ordinal`-th: the client's socket and the one to the upstream."""

    __slots__ = (
        "client",
        "conversation",
        "dial",
        "down",
        "early",
        "early_end",
        "open",
        "ordinal",
        "proxy",
        "server",
        "up",
    )

    def __init__(self, proxy: Proxy, ordinal: int) -> None:
        self.proxy = proxy
        self.ordinal = ordinal
        self.open = False
        self.early: list[bytes] = []
        self.early_end = False
        self.dial: asyncio.Task[None] | None = None
        self.conversation: Conversation | None = None
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
        """A socket is open: dial the upstream for a client; start when both are.

        From here on the dial must not be cancelled: it would close the socket, and nobody would be told.
        """
        if side is self.server:
            if side.lost:  # the dial was given up when this was on its way
                return
            self.dial = None
        if not self.proxy.admits(side):
            self.abort()
        elif side is self.client:
            if not self.proxy.enabled:  # it was accepted at the last moment
                side.abort()
                return
            self.proxy.accepted += 1
            self.proxy.links.add(self)
            self.dial = self.proxy.loop.create_task(self._dial())
        elif self.client.lost:
            side.abort()
        else:
            self.open = True
            if self.proxy.reads:
                self._read(joined=False)
            self.down.open()
            self.up.open()
            if self.early:
                self.client.write(b"".join(self.early))
                self.early.clear()
            if self.early_end:
                self.up.eof()

    def _read(self, *, joined: bool) -> None:
        self.conversation = Conversation(self, joined=joined)
        self.up.reader, self.down.reader = self.conversation.up, self.conversation.down

    def read_anew(self) -> None:
        """The toxics of layer 7 have changed: begin to read, tell whoever reads, or read no more."""
        if not self.open:
            return
        if self.conversation is None:
            if self.proxy.reads and not (self.up.done or self.down.done):
                self._read(joined=True)
                self.up.rebuild()
                self.down.rebuild()
        else:
            self.conversation.toxics_changed()

    def read_no_more(self) -> None:
        """Nothing is held or half read: both directions go the short way again."""
        for pipe in (self.up, self.down):
            if pipe.reader in pipe.stages:
                pipe.stages.remove(pipe.reader)
        self.conversation = self.up.reader = self.down.reader = None
        for pipe in (self.up, self.down):
            if not pipe.done:
                pipe.rebuild()

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

    def _hang_up(self) -> None:
        """Give the dial up. The loop closes its socket, if it comes to be, and tells nobody."""
        if self.dial is not None:
            self.dial.cancel()
            self.server.lost = True

    def gone(self, side: Side) -> None:
        """A socket is gone."""
        self._hang_up()
        self.into(side).dest_gone()
        side.pipe.source_gone()
        if self.client.lost and (self.server.lost or self.server.transport is None):
            self._forget()

    def vanished(self) -> bool:
        """Whether one of the peers has reset its connection, and nobody noticed."""
        for side in (self.client, self.server):
            if side.vanished():
                self.proxy.resets[self.into(side).stream] += 1
                return True
        return False

    def abort(self, *, reset: bool = False) -> None:
        """Close both sockets now; with a reset if asked."""
        self._hang_up()
        for pipe in (self.up, self.down):
            pipe.dest_gone()
        self.client.abort(reset=reset)
        self.server.abort(reset=reset)

    def _forget(self) -> None:
        if self in self.proxy.links:
            self.proxy.links.discard(self)
            self.proxy.account(self)
