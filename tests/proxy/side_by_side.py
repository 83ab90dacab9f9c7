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

BOUND_S = 30.0
"""How long a condition may take to come true on both sides."""
SHRINKING_S = 1.0
"""That bound once one has been passed: what comes then only looks for a shorter way to the same failure."""
QUIET_S = 0.02
"""How long is looked on where nothing has to happen."""
_LINGER_0 = struct.pack("ii", 1, 0)
_PORT = re.compile(r"(127\.0\.0\.1|\[::1\]):(?!99999)\d{4,5}")
_OWN_WORDS = re.compile(r"^bad request body: (?!EOF$|unexpected EOF$).*", re.DOTALL)
_NOT_COMPARED = {"date", "content-length"}
"""Headers that Go leaves out where it answers to HEAD, or to what it cannot parse."""


@dataclass(frozen=True)
class Answer:
    """What is compared of an API reply: its body with ports and Go's words made equal."""

    status: int
    headers: tuple[str, ...]
    content_type: str | None
    nosniff: str | None
    request_id_digits: int
    closes: bool
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
        """Or `FIN`, `RST`: how the proxy ended it, as far as we read."""
        self.closed = False
        self.unsent = bytearray()
        """What the socket has not taken yet."""
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        world.selector.register(sock, selectors.EVENT_READ, self._move)

    def _move(self) -> None:
        self._write()
        self._read()

    def _read(self) -> None:
        try:
            data = self.sock.recv(1 << 18)
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
        """Send it, in part later if the socket takes no more now."""
        self.sent += len(data)
        self.unsent += data
        self._write()

    def _write(self) -> None:
        if not self.unsent or self.over:
            return
        with contextlib.suppress(BlockingIOError):
            try:
                del self.unsent[: self.sock.send(self.unsent)]
            except (BrokenPipeError, ConnectionResetError):
                self.unsent.clear()  # how it ended, reading tells
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.unsent else 0)
        self.world.selector.modify(self.sock, wanted, self._move)

    def end_sending(self) -> None:
        """Close half of it."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self, *, reset: bool = False) -> None:
        """Close the socket; nothing is read from it any more."""
        if self.closed:
            return
        if self.fate == "open":
            self.world.selector.unregister(self.sock)
        self.closed = True
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


class Side:
    """One server, with an upstream of its own; `listen` is where its proxies were when last asked."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.upstream = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.listen: dict[str, str] = {}
        self.expecting: tuple[Ends, bool] | None = None
        self.api = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=BOUND_S)

    def filled(self, template: bytes) -> bytes:
        """`@up` is the upstream, `@NAME@` where that proxy listens."""
        text = template.replace(b"@up", self.upstream.encode())
        for name, listen in self.listen.items():
            text = text.replace(f"@{name}@".encode(), listen.encode())
        return text

    def call(
        self, method: str, target: str, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()
    ) -> Answer:
        """One request, as it is, on a connection that is kept for as long as the server does; `body` is a template."""
        data = self.filled(body)
        self.api.putrequest(method, target)
        for name, value in (("Content-Length", str(len(data))), *headers):
            self.api.putheader(name, value)
        self.api.endheaders(data)
        reply = self.api.getresponse()
        return self._answer(reply, reply.read())

    def _answer(self, reply: http.client.HTTPResponse, raw: bytes) -> Answer:
        text = raw.decode().replace(self.upstream, "@up")
        body: object = _PORT.sub(r"\1:port", text)
        with contextlib.suppress(ValueError):
            body = _plain(json.loads(str(body)))
        return Answer(
            reply.status,
            tuple(sorted({name.lower() for name, _ in reply.getheaders()} - _NOT_COMPARED)),
            reply.getheader("Content-Type"),
            reply.getheader("X-Content-Type-Options"),
            len(reply.getheader("X-Toxiproxy-Request-Id") or ""),
            reply.will_close,
            text.endswith("\n"),
            body,
        )

    def look(self) -> None:
        """Where do the proxies listen now?"""
        self.api.request("GET", "/proxies")
        proxies = json.loads(self.api.getresponse().read())
        self.listen = {name: proxy["listen"] for name, proxy in proxies.items()}

    def clear(self, path_of: Callable[[str], str]) -> None:
        """Delete all proxies, and hang up."""
        self.look()
        for name in self.listen:
            self.call("DELETE", path_of(name))
        self.listen = {}
        self.api.close()


def _plain(value: object) -> object:
    """Without the stray Logger, the versions, and each decoder's own words."""
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if "version" in value:
        return "a version"
    plain = {key: _plain(entry) for key, entry in value.items() if key != "Logger"}
    error = plain.get("error")
    if isinstance(error, str):
        plain["error"] = _OWN_WORDS.sub("bad request body: (own words)", error)
    return plain


@dataclass
class World:
    """Both sides (first the embedded proxy, then Toxiproxy), and the loop."""

    embedded: str
    toxiproxy: str
    bound_s: float = BOUND_S
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def __post_init__(self) -> None:
        self.sides = [Side(self.embedded), Side(self.toxiproxy)]
        for side in self.sides:
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
        both = self._connect(proxy, echo, reached)
        if both and reached:
            # Toxiproxy sets the chains of toxics up after it has dialled, so a change could come before that and
            # pass the connection by. It accepts one after the other: when the next one is through, the first is up.
            for ends in self._connect(proxy, False, reached) or ():
                ends.client.close()
                if ends.upstream is not None:
                    ends.upstream.close()
        return both

    def _connect(self, proxy: str, echo: bool, reached: bool) -> list[Ends] | None:
        clients: list[socket.socket] = []
        refused = []
        for side in self.sides:
            host, _, port = side.listen[proxy].rpartition(":")
            try:
                clients.append(socket.create_connection((host.strip("[]"), int(port)), timeout=BOUND_S))
            except OSError as error:
                refused.append(type(error))
        if refused:
            for client in clients:
                client.close()
            assert not clients and refused[0] == refused[1], f"connecting through {proxy}: {refused}"
            return None
        both = [Ends(Peer(self, client, False)) for client in clients]
        if reached:
            for side, ends in zip(self.sides, both, strict=True):
                side.expecting = ends, echo
            self.wait(lambda: all(ends.upstream for ends in both), lambda: "the upstreams have accepted")
        return both

    def pump(self, timeout_s: float) -> None:
        """Handle what comes within the time; return at the first."""
        for key, _ in self.selector.select(timeout_s):
            if key.fileobj in self.selector.get_map():  # another one's end may have ended this one too
                key.data()

    def look_on(self, seconds: float = QUIET_S) -> None:
        """Handle what comes for that long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.pump(left)

    def wait(self, condition: Callable[[], object], what: Callable[[], str]) -> None:
        """Until the condition holds."""
        end = time.monotonic() + self.bound_s
        while not condition():
            if time.monotonic() >= end:
                self.bound_s = SHRINKING_S
                raise AssertionError(f"it did not come about: {what()}")
            self.pump(0.05)

    def close(self) -> None:
        """End the upstreams, and the connections to the APIs."""
        for side in self.sides:
            self.selector.unregister(side.listener)
            side.listener.close()
            side.api.close()
        self.selector.close()
