"""Addresses as Toxiproxy takes them: `host:port`, with Go's errors for those that are none."""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import dataclass
from typing import Final

BACKLOG: Final = 4096
"""As Go's: the system's most."""
HTTPS_PORT: Final = 443
_NUMBER: Final = re.compile(r"[+-]?[0-9]{0,9}")
"""What Go takes for a port's number; all else is the name of a service."""


_HTTPS: Final = re.compile(
    r"https://(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<host>[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?))"
    r"(?::(?P<port>[0-9]{1,5}))?",
    re.IGNORECASE,
)


class AddressError(OSError):
    """An address that is badly written, unknown, or taken. The API answers 500, as Toxiproxy does."""


def split(address: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:80`, `[::1]:80`, `name:80`, `:80`; no port is 0.

    Raises:
        AddressError: it is no such thing.
    """
    host, colon, port = address.rpartition(":")
    bare = address.startswith("[") and address.endswith("]")
    if not colon or bare or host.endswith(":") or (":" in host and not host.startswith("[")):
        problem = "too many colons in address" if colon and not bare else "missing port in address"
        raise AddressError(f"address {address}: {problem}")
    if host.startswith("["):
        if not host.endswith("]"):
            raise AddressError(f"address {address}: missing ']' in address")
        host = host[1:-1]
    if not _NUMBER.fullmatch(port):
        raise AddressError(f"lookup tcp/{port}: unknown port")
    number = int((port.strip("+-") and port) or 0)
    if not 0 <= number <= 65535:
        raise AddressError(f"address {port}: invalid port")
    return host, number


@dataclass(frozen=True, slots=True)
class HttpsUpstream:
    """Where an https upstream is. `authority` is what its requests' Host says."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        """The host, and the port where it is not https's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS_PORT else f"{host}:{self.port}"


def https_upstream(address: str) -> HttpsUpstream | None:
    """The parts of `https://host[:port]`; None for an address that does not begin so.

    Raises:
        AddressError: it begins so, and is badly written.
    """
    if not address.lower().startswith("https://"):
        return None
    found = _HTTPS.fullmatch(address)
    port = int((found and found["port"]) or HTTPS_PORT)
    if found is None or not 0 < port <= 65535:
        raise AddressError(f"expected https://host or https://host:port, and no more, got {address[:200]}")
    return HttpsUpstream(found["six"] or found["host"], port)


def join(host: str, port: int) -> str:
    """`host:port`, with brackets around IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def resolve(address: str) -> tuple[socket.AddressFamily, str, int]:
    """The family, the IP address and the port to bind for `address`. No host means loopback.

    Raises:
        AddressError: it is badly written, or its name is unknown.
    """
    host, port = split(address or ":0")
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            host or "127.0.0.1", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise AddressError(f"lookup {host}: no such host") from error
    family, _, _, _, bound = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)[0]
    return family, str(bound[0]), port


def bind(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    """A socket that is bound, and does not listen yet.

    Raises:
        AddressError: the port is taken, or not ours.
    """
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise _refused(join(host, port), error) from error
    return sock


def begin_listening(sock: socket.socket) -> None:
    """Listen on a bound socket: the loop does it too, but says nothing when that fails.

    Raises:
        AddressError: somebody else listens on the port; the socket is closed.
    """
    address = join(*sock.getsockname()[:2])
    try:
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _refused(address, error) from error


def _refused(address: str, error: OSError) -> AddressError:
    """In Go's words."""
    return AddressError(f"listen tcp {address}: bind: {(error.strerror or str(error)).lower()}")
