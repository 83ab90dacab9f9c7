"""Two proxy servers that are given the same: an upstream and clients for each, and one loop that moves it all.

Invariant: nothing is compared before the conditions that must come true have come true on both sides, or a
bound has passed; what is then seen on the two sides must be equal. So a slow machine waits, and does not fail.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import selectors
import socket
import struct
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field

BOUND_S = 4.0
"""How long a condition may take to come true on both sides."""
QUIET_S = 0.02
"""How long is looked on where nothing has to happen."""
_LINGER_0 = struct.pack("ii", 1, 0)
_PORT = re.compile(r"(127\.0\.0\.1|\[::1\]):\d{4,5}")
_OWN_WORDS = re.compile(r"^bad request body: (?!EOF$|unexpected EOF$).*", re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """What is compared of an API reply: the header rules, and the body with ports and Go's words made equal."""

    status: int
    content_type: str | None
    nosniff: str | None
    request_id: bool
    ends_line: bool
    body: object


class Peer:
    """One end of a connection: our client's, or our upstream's."""

    def __init__(self, world: World, sock: socket.socket, echo: bool) -> None:
        self.world = world
        self.sock = sock
        self.echo = echo
        self.received = bytearray()
        self.sent = 0
        self.fate = "open"
        self.closed = False
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        world.selector.register(sock, selectors.EVENT_READ, self.read)

    def read(self) -> None:
        """Data, or the end."""
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            self.fate = "RST"
        else:
            self.received += data
            if data and self.echo:
                self.send(data)
            if not data:
                self.fate = "FIN"
        if self.fate != "open":
            self.world.selector.unregister(self.sock)
            if self.echo:
                self.close()

    def send(self, data: bytes) -> None:
        """Small, so the socket's buffer takes it."""
        self.sent += len(data)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)

    def close(self, *, reset: bool = False) -> None:
        """Close the socket; nothing is read from it any more."""
        if self.closed:
            return
        self.closed = True
        if self.fate == "open":
            self.world.selector.unregister(self.sock)
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        self.sock.close()

    @property
    def over(self) -> bool:
        """Ended by the other end, or by us."""
        return self.fate != "open" or self.closed


@dataclass
class Ends:
    """A connection on one of the sides; no `upstream` where the proxy's cannot be reached."""

    client: Peer
    upstream: Peer | None = None


@dataclass
class Side:
    """One server, with an upstream of its own; `listen` is where its proxies were when last asked."""

    url: str
    embedded: bool
    listener: socket.socket
    listen: dict[str, str] = field(default_factory=dict)
    expecting: tuple[Ends, bool] | None = None

    @property
    def upstream(self) -> str:
        """The address of the upstream."""
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def filled(self, template: bytes) -> bytes:
        """`@up` is the upstream, `@NAME@` where that proxy listens."""
        text = template.replace(b"@up", self.upstream.encode())
        for name, listen in self.listen.items():
            text = text.replace(f"@{name}@".encode(), listen.encode())
        return text

    def call(
        self, method: str, target: str, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()
    ) -> Answer:
        """One request, as it is; `body` is a template."""
        data = self.filled(body)
        parts = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=BOUND_S)
        with contextlib.closing(connection):
            connection.putrequest(method, target)
            for name, value in (("Content-Length", str(len(data))), *headers):
                connection.putheader(name, value)
            connection.endheaders(data)
            reply = connection.getresponse()
            return self._answer(reply, reply.read())

    def _answer(self, reply: http.client.HTTPResponse, raw: bytes) -> Answer:
        text = raw.decode().replace(self.upstream, "@up")
        body: object = _PORT.sub(r"\1:port", text)
        with contextlib.suppress(ValueError):
            body = _plain(json.loads(str(body)))
        return Answer(
            reply.status,
            reply.getheader("Content-Type"),
            reply.getheader("X-Content-Type-Options"),
            len(reply.getheader("X-Toxiproxy-Request-Id") or "") == 20,
            text.endswith("\n"),
            body,
        )

    def look(self) -> None:
        """Where do the proxies listen now?"""
        with contextlib.closing(
            http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=BOUND_S)
        ) as c:
            c.request("GET", "/proxies")
            self.listen = {
                name: proxy["listen"] for name, proxy in json.loads(c.getresponse().read()).items()
            }


def _plain(value: object) -> object:
    """Without the stray Logger, the versions, and each decoder's own words."""
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if "version" in value:
        return "a version"
    plain = {key: _plain(entry) for key, entry in value.items() if key != "Logger"}
    if isinstance(plain.get("error"), str):
        plain["error"] = _OWN_WORDS.sub("bad request body: (own words)", plain["error"])
    return plain


class World:
    """Both sides, and the loop."""

    def __init__(self, embedded: str, toxiproxy: str) -> None:
        self.selector = selectors.DefaultSelector()
        self.sides = [
            Side(url, mine, socket.create_server(("127.0.0.1", 0)))
            for url, mine in ((embedded, True), (toxiproxy, False))
        ]
        for side in self.sides:
            side.listener.setblocking(False)
            self.selector.register(side.listener, selectors.EVENT_READ, lambda side=side: self._accept(side))

    def _accept(self, side: Side) -> None:
        with contextlib.suppress(BlockingIOError):
            sock, _ = side.listener.accept()
            assert side.expecting is not None, "a connection that nobody opened"
            (ends, echo), side.expecting = side.expecting, None
            ends.upstream = Peer(self, sock, echo)

    def call(
        self, method: str, target: str, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()
    ) -> Answer:
        """The same request to both: their answer, which must be one."""
        mine, theirs = (side.call(method, target, body, headers) for side in self.sides)
        assert mine == theirs, (
            f"{method} {target} {body!r} {headers}:\n embedded  {mine}\n toxiproxy {theirs}"
        )
        return mine

    def dial(self, proxy: str, echo: bool, reached: bool) -> list[Ends] | None:
        """A connection through `proxy` on both sides, as far as the upstream if it can be `reached`; or refused."""
        clients = []
        for side in self.sides:
            host, _, port = side.listen[proxy].rpartition(":")
            try:
                clients.append(socket.create_connection((host.strip("[]"), int(port)), timeout=BOUND_S))
            except OSError as error:
                clients.append(type(error))
        if not all(isinstance(client, socket.socket) for client in clients):
            assert clients[0] == clients[1], f"connecting through {proxy}: {clients}"
            return None
        both = [Ends(Peer(self, client, False)) for client in clients]
        if reached:
            for side, ends in zip(self.sides, both, strict=True):
                side.expecting = ends, echo
            self.wait(lambda: all(ends.upstream for ends in both), "the upstreams have accepted")
        return both

    def pump(self, timeout_s: float) -> None:
        """Handle what comes within the time; return at the first."""
        for key, _ in self.selector.select(timeout_s):
            key.data()

    def look_on(self, seconds: float = QUIET_S) -> None:
        """Handle what comes for that long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.pump(left)

    def wait(self, condition: Callable[[], object], what: str | Callable[[], str]) -> None:
        """Until the condition holds."""
        end = time.monotonic() + BOUND_S
        while not condition():
            assert time.monotonic() < end, (
                f"it did not come about: {what if isinstance(what, str) else what()}"
            )
            self.pump(0.05)

    def close(self) -> None:
        """End the upstreams."""
        for side in self.sides:
            self.selector.unregister(side.listener)
            side.listener.close()
        self.selector.close()
