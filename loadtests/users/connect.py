"""Connections to a service: gevent sockets that count their bytes, and one vocabulary for what goes wrong.

Invariant: whatever breaks is a `Broken` with an `error_type` of `loadtests.metrics`; what the generator
itself ran out of (files, ports) is never blamed on the service.
"""

from __future__ import annotations

import errno
import itertools
import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import gevent.socket as sockets
import gevent.ssl

READ_BYTES: Final = 65536

_OWN_FAULT = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
_BY_ERRNO = {
    errno.ECONNREFUSED: "connection_refused",
    errno.ECONNRESET: "connection_reset",
    errno.EPIPE: "connection_reset",
    errno.ECONNABORTED: "connection_reset",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.ENETDOWN: "unreachable",
}


class BadUrl(ValueError):
    """A workload's URL that no connection can be made to."""


class Broken(OSError):
    """A try that failed: `error_type` as in `loadtests.metrics`.

    `retry` says whether a client that retries at all would try again; `retry_after_s` what the service asked
    for, if it did.
    """

    def __init__(
        self, error_type: str, detail: str = "", *, retry: bool = True, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{error_type}: {detail}" if detail else error_type)
        self.error_type = error_type
        self.retry = retry
        self.retry_after_s = retry_after_s


def broken(error: OSError) -> Broken:
    """What an error of a socket is called."""
    if isinstance(error, Broken):
        return error
    if isinstance(error, TimeoutError):
        return Broken("timeout", str(error))
    if isinstance(error, sockets.gaierror):
        return Broken("unreachable", str(error))
    if isinstance(error, ssl.SSLError):
        return Broken("protocol_error", str(error))
    if error.errno in _OWN_FAULT:
        return Broken("generator_error", str(error))
    return Broken(_BY_ERRNO.get(error.errno or 0, "connection_closed"), str(error))


@dataclass(frozen=True, slots=True)
class Address:
    """Where a workload's connections go."""

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, url: str) -> Address:
        """The address of `http://HOST:PORT` (or https, ws, wss). Raises BadUrl."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise BadUrl(f"url: {url}: {error}; expected such as http://127.0.0.1:8000") from error
        tls = parts.scheme in ("https", "wss")
        if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
            raise BadUrl(f"url: expected http://HOST:PORT or https://HOST:PORT, got {url}")
        return cls(parts.hostname, port or (443 if tls else 80), tls)

    @property
    def authority(self) -> str:
        """HOST:PORT, as the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@lru_cache(maxsize=64)
def _resolved(host: str, port: int) -> tuple[tuple[int, Any], ...]:
    """The socket addresses of a host; asked once, for the resolver is not what is under test."""
    found = sockets.getaddrinfo(host, port, type=sockets.SOCK_STREAM)
    return tuple((family, address) for family, _, _, _, address in found)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    context: ssl.SSLContext = gevent.ssl.create_default_context()
    return context


_ordinals = itertools.count()


class Connection:
    """One connection; `sent` and `received` count its bytes, `ordinal` tells it from all others."""

    __slots__ = ("_socket", "ordinal", "received", "sent")

    def __init__(self, address: Address, timeout: float) -> None:
        """Connect, within `timeout` seconds. Raises Broken."""
        self.sent = 0
        self.received = 0
        try:
            self._socket = _connected(address, timeout)
        except OSError as error:
            raise broken(error) from error
        self.ordinal = next(_ordinals)

    def send(self, data: bytes, timeout: float) -> None:
        """Send all of `data`. Raises Broken."""
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(data)
        except OSError as error:
            raise broken(error) from error
        self.sent += len(data)

    def receive(self, timeout: float) -> bytes:
        """The next bytes, or none when the other side has closed. Raises Broken, `timeout` among it."""
        try:
            self._socket.settimeout(timeout)
            data: bytes = self._socket.recv(READ_BYTES)
        except OSError as error:
            raise broken(error) from error
        self.received += len(data)
        return data

    def bare(self) -> Any:
        """The socket itself, for whoever watches it instead of waiting: non-blocking `send` and `recv`.

        What goes through it is to be added to `sent` and `received`.
        """
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.settimeout(0.0)
            return self._socket
        return self._socket._sock  # gevent's own socket waits, or takes three times as long to find out

    def fileno(self) -> int:
        """The socket's number."""
        number: int = self._socket.fileno()
        return number

    @property
    def stale(self) -> bool:
        """Whether an idle connection was closed, or has spoken unasked: it cannot be used again."""
        try:
            self._socket.settimeout(0.0)
            self._socket.recv(1, 0 if isinstance(self._socket, ssl.SSLSocket) else sockets.MSG_PEEK)
        except (BlockingIOError, ssl.SSLWantReadError, TimeoutError):
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """Close it, without waiting for anything."""
        self._socket.close()


def _connected(address: Address, timeout: float) -> Any:
    failure: OSError | None = None
    for family, where in _resolved(address.host, address.port):
        socket = sockets.socket(family, sockets.SOCK_STREAM)
        try:
            socket.settimeout(timeout)
            socket.connect(where)
            socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
            if address.tls:
                return _tls().wrap_socket(socket, server_hostname=address.host)
            return socket
        except OSError as error:
            socket.close()
            failure = error
        except BaseException:  # the greenlet is being ended: leave no socket behind
            socket.close()
            raise
    raise failure or sockets.gaierror(f"{address.host}: it has no address")
