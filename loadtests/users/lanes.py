"""Connections that are watched instead of waited on: the event loop calls when something has come.

A request on such a connection takes no greenlet: no stack, no switch, no timer of its own. That is half of
what a small request costs a load generator.

Invariant: a lane is idle, or busy with one request. An idle one that closes, or speaks unasked, is dropped.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import gevent

from loadtests.users.connect import READ_BYTES, Broken, Connection, broken
from loadtests.users.wire import Exchange, Pool

_READ: Final = 1
_WRITE: Final = 2
_AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Lane:
    """One connection. What is under way on it is written into its public fields by who sends on it."""

    __slots__ = (
        "_listener",
        "_pending",
        "_rest",
        "_watch",
        "_write_watch",
        "busy",
        "connection",
        "due",
        "exchange",
        "received",
        "recv",
        "send",
        "sent",
        "serial",
        "start",
        "timer",
        "visit",
    )

    def __init__(self, connection: Connection, listener: Listener) -> None:
        self.connection = connection
        socket = connection.bare()
        self.send: Callable[[bytes], int] = socket.send
        self.recv: Callable[[int], bytes] = socket.recv
        self.busy = False
        self.serial = 0
        """Counts the requests, so that what is still known of an earlier one is told from this one's."""
        self.visit: Any = None
        self.exchange: Exchange | None = None
        """The reply as far as it has come, where it did not come in one piece."""
        self.timer: Any = None
        self.due = self.start = 0.0
        self.sent = self.received = 0
        self._pending: Callable[[], int] | None = getattr(socket, "pending", None)
        self._listener = listener
        self._rest = b""
        self._write_watch: Any = None
        self._watch = gevent.get_hub().loop.io(connection.fileno(), _READ)
        self._watch.start(self._readable)

    def put(self, data: bytes) -> None:
        """Send all of `data`, what the socket does not take at once as soon as it does. Raises Broken."""
        try:
            sent = self.send(data)
        except _AGAIN:
            sent = 0
        except OSError as error:
            raise broken(error) from error
        self.connection.sent += sent
        if sent < len(data):
            self._rest = data[sent:]
            if self._write_watch is None:
                self._write_watch = gevent.get_hub().loop.io(self.connection.fileno(), _WRITE)
            self._write_watch.start(self._writable)

    def leave(self) -> Connection:
        """Stop watching; the connection is its taker's."""
        self._watch.stop()
        self._watch.close()
        if self._write_watch is not None:
            self._write_watch.stop()
            self._write_watch.close()
        if self.timer is not None:
            self.timer.stop()
            self.timer.close()
            self.timer = None
        return self.connection

    def _readable(self) -> None:
        try:
            try:
                data = self.recv(READ_BYTES)
            except _AGAIN:
                return
            except OSError as error:
                self._listener.broke(self, broken(error))
                return
            self.connection.received += len(data)
            self._listener.came(self, data)
        except Exception:  # the loop would only print it
            self._listener.defect(self)
        else:
            if self._pending is not None and self._watch.active and self._pending():
                self._readable()  # by TLS more may have been read than was handed out

    def _writable(self) -> None:
        rest, self._rest = self._rest, b""
        self._write_watch.stop()
        try:
            self.put(rest)
        except Broken as failure:
            self._listener.broke(self, failure)


class Listener:
    """Who is told what happens on lanes."""

    def came(self, lane: Lane, data: bytes) -> None:
        """Bytes came; none: the server has closed."""
        raise NotImplementedError

    def free(self, lane: Lane) -> None:
        """A connection has come, or come back, and nothing is outstanding on it."""
        raise NotImplementedError

    def broke(self, lane: Lane, failure: Broken) -> None:
        """The connection failed."""
        raise NotImplementedError

    def defect(self, lane: Lane) -> None:
        """An exception that nobody expected: it is the current one."""
        raise NotImplementedError


class Lanes(Pool):
    """A pool whose idle connections are lanes, for whoever takes one as it is; others get the connection."""

    def __init__(self, like: Pool, listener: Listener) -> None:
        """Connections as those of another pool."""
        super().__init__(like.address, keep=like.keep, connect_timeout_s=like.connect_timeout_s)
        self.idle: deque[Lane] = deque()
        self.all: set[Lane] = set()
        self._listener = listener

    def take(self) -> Connection:
        """An open connection, as `Pool.take` says. Raises Broken."""
        while self.idle:
            connection = self.leave(self.idle.pop())
            if not connection.stale:
                return connection
            connection.close()
        return super().take()

    def give(self, connection: Connection) -> None:
        """Take back a connection on which nothing is outstanding."""
        if not self.keep:
            connection.close()
            return
        lane = Lane(connection, self._listener)
        self.all.add(lane)
        self._listener.free(lane)

    def drop(self, lane: Lane) -> None:
        """Close a lane, idle or not."""
        if not lane.busy and lane in self.idle:
            self.idle.remove(lane)
        self.leave(lane).close()

    def leave(self, lane: Lane) -> Connection:
        """Take a lane out of service; its connection is the caller's."""
        lane.serial += 1
        lane.busy = False
        self.all.discard(lane)
        return lane.leave()
