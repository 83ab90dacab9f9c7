"""A proxy: a listener, an upstream, the toxics of both streams, and the connections that go through it.

A disabled proxy holds on to its port with a socket that is bound and does not listen: connections are
refused, and nobody else is given the port meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

from chaos.proxy import draw
from chaos.proxy.address import (
    BACKLOG,
    AddressError,
    HttpsUpstream,
    begin_listening,
    bind,
    https_upstream,
    join,
    resolve,
    split,
)
from chaos.proxy.appointment import Appointment
from chaos.proxy.certificates import TlsAsked, TlsContexts
from chaos.proxy.descriptors import ceiling
from chaos.proxy.greetings import Greetings
from chaos.proxy.layer7.aim import Lines
from chaos.proxy.layer7.hits import Hits
from chaos.proxy.link import Link, Side
from chaos.proxy.tls import Tls, dial
from chaos.proxy.toxics.attributes import defaults
from chaos.proxy.toxics.toxic import Stream, Toxic

if TYPE_CHECKING:
    from chaos.proxy.layer7.strike import Rule
    from chaos.proxy.log import Log

Protocol = Literal["tcp", "http"]
_COUNTED_MAX: Final = 1000
"""Removed toxics whose counts a proxy remembers; the oldest go first."""
_ALL: Final[tuple[Stream, ...]] = ("upstream", "downstream")


class Traffic:
    """Bytes of one stream over the life of a proxy: what its connections sent, and what was passed on."""

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0


class Proxy:
    """`listen` is the address as bound once it has been; `ordinal` numbers the connections, from 0.

    With the `protocol` http every connection is read from its first byte, so that a toxic of layer 7 finds
    all of them read already when it comes; with tcp only while there is one. An https upstream implies http.
    `tls` is what was asked for, `contexts` what came of it.
    """

    def __init__(
        self,
        name: str,
        listen: str,
        upstream: str,
        *,
        seed: int,
        loop: asyncio.AbstractEventLoop,
        log: Log,
        protocol: Protocol = "tcp",
        tls: TlsAsked,
        contexts: TlsContexts,
    ) -> None:
        self.name = name
        self.listen = listen
        self.tls = tls
        self._aim(upstream, contexts)
        self.enabled = False
        self.seed = seed
        self.loop = loop
        self.protocol = protocol
        self.toxics: list[Toxic] = []
        self.layer7: tuple[tuple[Toxic, Rule], ...] = ()
        """Those of layer 7 that act now."""
        self.lines = Lines()
        self.hits = Hits()
        self.counted: dict[str, dict[str, int]] = {}
        """What toxics that have been removed had counted by then."""
        self.deliveries: set[asyncio.Task[None]] = set()
        """Requests that are being delivered once more."""
        self.links: set[Link] = set()
        self.closed_traffic: dict[Stream, Traffic] = {"upstream": Traffic(), "downstream": Traffic()}
        self.closing: Appointment | None = None
        self._log = log
        self._ordinal = 0
        self._server: asyncio.AbstractServer | None = None
        self._reserve: socket.socket | None = None
        self._reachable = True
        self._ceiling = ceiling()
        self.greetings = Greetings(name, log, self._has_room)
        self.accepted = 0
        """Connections that were taken on."""
        self.refused = 0
        """Those that were not, or not for long: there were no descriptors for them."""
        self.unreached = 0
        """Those that ended because the upstream could not be reached."""
        self.resets: dict[Stream, int] = {"upstream": 0, "downstream": 0}
        """Resets that came: from the upstream, and from downstream, the clients."""

    def _aim(self, upstream: str, contexts: TlsContexts) -> None:
        self.upstream = upstream
        self.https: HttpsUpstream | None = https_upstream(upstream)
        self.authority = "" if self.https is None else self.https.authority
        """What the Host of requests becomes; empty where it stays."""
        self.contexts = contexts

    def as_dict(self) -> dict[str, object]:
        """As Toxiproxy writes it; toxics of the upstream first."""
        return {
            "name": self.name,
            "listen": self.listen,
            "upstream": self.upstream,
            "enabled": self.enabled,
            "toxics": [t.as_dict() for stream in _ALL for t in self.toxics if t.stream == stream],
            **({"protocol": "http"} if self.protocol == "http" or self.authority else {}),
            **self.tls.as_dict(self.contexts.ca),
            **({} if self.closing is None else self.closing.as_dict()),
        }

    # --- listening ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, on the reserved port if there is one. Raises AddressError, and stays disabled then."""
        self.forget_closing()
        if self.enabled:
            return
        sock, self._reserve = self._reserve, None
        if sock is None:
            try:
                place = await resolve(self.listen)
            except AddressError as error:
                raise AddressError(f"listen tcp: {error}") from error
            sock = bind(*place)
        await self.listen_on(sock)

    async def listen_on(self, sock: socket.socket) -> None:
        """Listen on a bound socket. Raises AddressError."""
        host, port = sock.getsockname()[:2]
        begin_listening(sock)
        self._server = await self.loop.create_server(self._accept, sock=sock, backlog=BACKLOG)
        self.listen = join(host, port)
        self.enabled = True

    def stop_at(self, at_ms: float) -> None:
        """Stop at a time (Unix milliseconds), unless it is started before or after that."""
        self.forget_closing()
        self.closing = Appointment(at_ms, self.loop, self.stop)

    def forget_closing(self) -> None:
        """Whether it was to stop, or has stopped, at a time does not matter any more."""
        if self.closing is not None:
            self.closing.cancel()
            self.closing = None

    def stop(self, *, reserve: bool = True) -> None:
        """Refuse connections, and end those that are open; keep the port unless told otherwise."""
        self.close_listener()
        self.drop_links()
        if reserve and self._reserve is None:
            self._keep_port()
        elif not reserve and self._reserve is not None:
            self._reserve.close()
            self._reserve = None

    def close_listener(self) -> None:
        """Refuse connections; those that are open go on."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.enabled = False

    def drop_links(self) -> None:
        """End all connections at once."""
        for task in list(self.deliveries):
            task.cancel()
        self.greetings.drop()
        for link in list(self.links):
            link.abort()

    def _keep_port(self) -> None:
        try:
            host, port = split(self.listen)
            if port:
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                self._reserve = bind(family, host, port)
        except OSError as error:
            self._log.warning("port-not-kept", proxy=self.name, listen=self.listen, reason=str(error))

    async def differs(self, listen: str, upstream: str, tls: TlsAsked) -> bool:
        """Whether these are other addresses than the proxy's own, or other TLS. Raises AddressError."""
        _, host, port = await resolve(listen)
        return join(host, port) != self.listen or upstream != self.upstream or tls != self.tls

    async def update(self, listen: str, upstream: str, enabled: bool, contexts: TlsContexts) -> None:
        """Change addresses (open connections end) or state, all or nothing. Raises AddressError."""
        family, host, port = await resolve(listen)
        moved = join(host, port) != self.listen
        if moved:
            sock = bind(family, host, port) if enabled else None
            self.stop(reserve=False)
            self.listen = listen
            self._aim(upstream, contexts)
            if sock is not None:
                await self.listen_on(sock)
            return
        if upstream != self.upstream:
            self._aim(upstream, contexts)
            self._reachable = True
            self.drop_links()
        if enabled and not self.enabled:
            await self.start()
        elif not enabled and self.enabled:
            self.stop()

    # --- connections ----------------------------------------------------------------------------------------

    def _accept(self) -> Side | Tls:
        link = Link(self, self._ordinal)
        self._ordinal += 1
        if self.contexts.listener is None:
            return link.client
        return self.greetings.greet(link.client, self.contexts.listener)

    def admits(self, side: Side) -> bool:
        """Whether a socket that has been opened may stay: not when descriptors run out."""
        return self._has_room(side.descriptor())

    def _has_room(self, descriptor: int) -> bool:
        if descriptor < self._ceiling:
            return True
        self._exhausted()
        return False

    def _exhausted(self) -> None:
        if self.refused % 1000 == 0:
            self._log.warning("descriptors-exhausted", proxy=self.name, refused=self.refused + 1)
        self.refused += 1

    async def dial(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Connect to the upstream, by TLS if it is https; its name is looked up now. Raises OSError."""
        https, context = self.https, self.contexts.upstream
        host, port = split(self.upstream) if https is None else (https.host, https.port)
        try:
            if context is None:
                await self.loop.create_connection(protocol, host or "127.0.0.1", port)
            else:
                await dial(protocol, context, host, port, broken=self.greetings.failed)
        except ValueError as error:  # a name that cannot be one
            raise AddressError(f"lookup {host}: no such host") from error
        self._reachable = True

    def unreachable(self, error: OSError) -> None:
        """The upstream could not be reached: say so once, until it can be again."""
        if error.errno in (errno.EMFILE, errno.ENFILE):
            self._exhausted()
            return
        self.unreached += 1
        if self._reachable:
            self._reachable = False
            self._log.warning(
                "upstream-unreachable", proxy=self.name, upstream=self.upstream, reason=str(error)
            )

    def sweep(self) -> None:
        """End the connections whose peer is gone, but which are not read and so cannot tell."""
        for link in list(self.links):
            if link.vanished():
                link.abort()

    def account(self, link: Link) -> None:
        """Add up what a connection that has ended carried."""
        for pipe in (link.up, link.down):
            traffic = self.closed_traffic[pipe.stream]
            traffic.received += pipe.received
            traffic.sent += pipe.passed_on

    def traffic(self, stream: Stream) -> tuple[int, int]:
        """Bytes received and passed on, on one stream, over all connections so far."""
        closed = self.closed_traffic[stream]
        pipes = [link.up if stream == "upstream" else link.down for link in self.links]
        received = sum(pipe.received for pipe in pipes)
        return closed.received + received, closed.sent + sum(pipe.passed_on for pipe in pipes)

    # --- toxics ---------------------------------------------------------------------------------------------

    @property
    def reads(self) -> bool:
        """Whether connections are read as HTTP: always, or as a toxic of layer 7 is there or about to be."""
        return (
            self.protocol == "http"
            or self.authority != ""
            or any(toxic.rule is not None for toxic in self.toxics)
        )

    def chain(self, stream: Stream) -> list[Toxic]:
        """The toxics of layer 4 of a stream that act, in the order in which they began to."""
        return [t for t in self.toxics if t.stream == stream and t.rule is None and t.acts]

    def strikes(self, toxic: Toxic, ordinal: int) -> bool:
        """Whether `toxic` strikes the `ordinal`-th connection; the same for as long as its toxicity is."""
        return toxic.toxicity >= 1 or draw.uniform(*self.drawn_by(toxic, ordinal)) < toxic.toxicity

    def drawn_by(self, toxic: Toxic, ordinal: int) -> tuple[int, str, int, str, str]:
        """What `toxic` draws by for a connection; a `draw` of its own stands for the proxy too."""
        seed = self.seed if toxic.seed is None else toxic.seed
        return seed, "" if toxic.draw else self.name, ordinal, toxic.key, toxic.stream

    def toxic(self, name: str) -> Toxic | None:
        """The toxic of that name."""
        return next((toxic for toxic in self.toxics if toxic.name == name), None)

    def add(self, toxic: Toxic) -> None:
        """Put `toxic` at the end of its stream's chain, on open connections too."""
        self.toxics.append(toxic)
        self._rebuild(toxic)

    def add_at(self, toxic: Toxic, at_ms: float) -> None:
        """Have `toxic` act from a time on (Unix milliseconds); until then it is only listed."""

        def begin() -> None:
            self.toxics.remove(toxic)
            self.add(toxic)

        self.toxics.append(toxic)
        toxic.appointment = Appointment(at_ms, self.loop, begin)
        if toxic.rule is not None:
            self._rebuild(toxic)  # what is to be struck then is read from now on

    def change(self, toxic: Toxic, attributes: dict[str, Any], toxicity: float) -> None:
        """Give `toxic` other values, on open connections too; at layer 7 for the messages that come."""
        toxic.attributes = {**defaults(toxic.type), **attributes}
        toxic.toxicity = toxicity
        if toxic.rule is not None:
            return
        for link in list(self.links):
            (link.up if toxic.stream == "upstream" else link.down).update(toxic)

    def remove(self, toxic: Toxic) -> None:
        """Take `toxic` away, on open connections too."""
        if toxic.appointment is not None:
            toxic.appointment.cancel()
        self.toxics.remove(toxic)
        self.counted.pop(toxic.name, None)
        self.counted[toxic.name] = toxic.counts.as_dict(toxic.rule is not None)
        if len(self.counted) > _COUNTED_MAX:
            del self.counted[next(iter(self.counted))]
        self._rebuild(toxic)

    def remove_all(self) -> None:
        """Take all toxics away."""
        for toxic in list(self.toxics):
            self.remove(toxic)

    def _rebuild(self, toxic: Toxic) -> None:
        if toxic.rule is not None:
            self.layer7 = tuple((t, t.rule) for t in self.toxics if t.rule is not None and t.acts)
            for link in list(self.links):
                link.read_anew()
            return
        for link in list(self.links):
            (link.up if toxic.stream == "upstream" else link.down).rebuild_if_open()
