"""Connections on both servers, and what must come true of them before they are compared."""

from __future__ import annotations

import json
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.proxy.side_by_side import Ends, World
from tests.proxy.toxics_drawn import Body, acting, acts, path_of, toxics

PICK = st.integers(0, 11)
"""Which one, of those that there are: what is drawn must not depend on when a connection ended."""
SIZES = st.integers(1, 70) | st.sampled_from([3_000, 40_000])


@dataclass(eq=False)
class Connection:
    """A connection on both sides, and what is known of it."""

    proxy: str
    upstream: str
    listen: str
    both: list[Ends]
    echo: bool
    sent: int = 0
    doomed: bool = False
    """The proxy must have ended it."""
    resets: bool = False
    """A reset_peer was there from the start: Toxiproxy resets whatever ends it."""
    struck: bool = False
    """Data has set that reset off: so does the embedded proxy."""
    ever_reset: bool = False
    limited: bool = False
    """The echo raced with the close, on both servers."""

    @property
    def usable(self) -> bool:
        """Whether both ends are open on both sides."""
        return all(e.upstream and not e.client.over and not e.upstream.over for e in self.both)


class Traffic(RuleBasedStateMachine):
    """Connections through proxies; `state` is what both say their proxies are."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.state: dict[str, Body] = {}
        self.connections: list[Connection] = []
        self.agreeing = True
        """Nothing has failed yet."""

    @initialize(body=st.none() | toxics(), echo=st.booleans(), early=st.booleans())
    def begin(self, body: Body | None, echo: bool, early: bool) -> None:
        """One proxy that works, perhaps with a toxic, and a connection before or after that came."""
        self.call("POST", "/proxies", {"name": "a", "listen": "127.0.0.1:0", "upstream": "@up"})
        if early:
            self._open("a", echo)
        if body is not None:
            self.call("POST", "/proxies/a/toxics", body)
        if not early:
            self._open("a", echo)

    # --- what is done -----------------------------------------------------------------------------------------

    @rule(pick=PICK, echo=st.booleans())
    def open(self, pick: int, echo: bool) -> None:
        """A connection; refused where the proxy is disabled, ended where its upstream is not there."""
        bound = [n for n in sorted(self.state) if self.state[n]["listen"].endswith(":port")]
        if bound and len(self.connections) < 4:
            self._open(bound[pick % len(bound)], echo)

    def _open(self, name: str, echo: bool) -> None:
        proxy = self.state[name]
        both = self.world.dial(name, echo, proxy["enabled"] and proxy["upstream"] == "@up")
        assert (both is not None) == proxy["enabled"]
        if both is None:
            return
        listen = self.world.sides[1].listen[name]
        connection = Connection(name, proxy["upstream"], listen, both, echo)
        connection.resets = any(toxic["type"] == "reset_peer" for toxic in proxy["toxics"])
        self.connections.append(connection)
        self._note(connection)
        self.settle()

    @rule(pick=PICK, size=SIZES, backward=st.booleans())
    def send(self, pick: int, size: int, backward: bool) -> None:
        """By the client; `backward`, by the upstream, unasked."""
        connection = self.any_connection(pick)
        if connection is not None and self.give(connection, size, backward=backward):
            self.settle()

    @rule(
        pick=PICK, how=st.sampled_from(["client", "client's reset", "half", "upstream", "upstream's reset"])
    )
    def close(self, pick: int, how: str) -> None:
        """By either end. A half-close only where the upstream closes in return and no reply is on its way: Toxiproxy
        loses what comes after it (the difference `half-close`).
        """
        connection = self.any_connection(pick)
        if connection is None:
            return
        if how == "half" and (not connection.echo or any(acts(t) for t in self.chain(connection))):
            return
        for ends in connection.both:
            assert ends.upstream
            if how == "half":
                ends.client.end_sending()
            else:
                who = ends.client if how.startswith("client") else ends.upstream
                who.close(reset=how.endswith("reset"))
        self.settle()

    @rule(pick=PICK, size=SIZES, backward=st.booleans())
    def send_and_close(self, pick: int, size: int, backward: bool) -> None:
        """At once. Without an echo, which would meet a closed socket, whose RST overtakes what is on its way."""
        connection = self.any_connection(pick)
        if connection is None or connection.echo or any(acts(t) for t in self.chain(connection)):
            return
        self.give(connection, size, backward=backward)
        who = [ends.upstream if backward else ends.client for ends in connection.both]
        self.world.wait(lambda: not any(peer.unsent for peer in who if peer), self._describe)
        for peer in who:
            assert peer
            peer.close()
        self.settle()

    def any_connection(self, pick: int) -> Connection | None:
        """One that is usable; a new one if there is none."""
        usable = [c for c in self.connections if c.usable]
        if not usable:
            self.open(pick=pick, echo=True)
            usable = [c for c in self.connections if c.usable]
        return usable[pick % len(usable)] if usable else None

    def give(self, connection: Connection, size: int, *, backward: bool) -> bool:
        """Send without waiting; False for what is not sent.

        While something is held nothing else is: Toxiproxy's update lets one chunk go, ours all (the difference
        `update`). What a strong toxic strikes is small, one read: what Toxiproxy has not read when it closes makes
        the close an RST, which is a race.
        """
        chain = self.chain(connection)
        held = any(
            len(e.upstream.received) < connection.sent or len(e.client.received) < e.upstream.sent
            for e in connection.both
            if e.upstream
        )
        if held and any(acting(chain, stream) == "holds" for stream in ("upstream", "downstream")):
            return False
        if any(acts(toxic) for toxic in chain):
            size = min(size, 70)
        if connection.echo and acting(chain, "downstream") in ("limits", "resets"):
            # A slicer's first piece may come back and end the connection before its last one is through, or not.
            size = (
                1 if any(t["type"] == "slicer" and t["stream"].lower() == "upstream" for t in chain) else size
            )
        payload = bytes((connection.sent + number) % 251 for number in range(size))
        for ends in connection.both:
            assert ends.upstream
            (ends.upstream if backward else ends.client).send(payload)
        connection.sent += 0 if backward else size
        streams = {"downstream"} if backward or connection.echo else set()
        streams |= set() if backward else {"upstream"}
        if connection.resets and any(acting(chain, s) == "resets" for s in streams):
            connection.struck = True
        return True

    # --- what the API says ------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: object = None) -> None:
        """A call that may change things, then a look at what has become of everything."""
        data = b""
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        self.world.call(method, path, data)
        self.look(moved=b":0" in data)

    def look(self, *, moved: bool = False) -> None:
        """What the proxies are now, on both sides; `moved` if a port may be a new one."""
        before, old = self.state, [dict(side.listen) for side in self.world.sides]
        for side in self.world.sides:
            side.look()
        body = self.world.call("GET", "/proxies").body
        assert isinstance(body, dict)
        self.state = body
        if not moved:  # a port that the system chose anew may be the one that it chose before
            mine, theirs = (
                {name: listen == was.get(name) for name, listen in side.listen.items()}
                for side, was in zip(self.world.sides, old, strict=True)
            )
            assert mine == theirs, f"ports kept: {mine} here, {theirs} there"
        for connection in self.connections:
            self._foresee(connection, before)
        self.settle()

    def chain(self, connection: Connection) -> list[Body]:
        """The toxics that it goes through."""
        toxics: list[Body] = self.state.get(connection.proxy, {"toxics": []})["toxics"]
        return toxics

    def _foresee(self, connection: Connection, before: dict[str, Body]) -> None:
        """Which connections a change must have ended."""
        proxy = self.state.get(connection.proxy)
        listen = self.world.sides[1].listen.get(connection.proxy)
        there = (proxy["enabled"], proxy["upstream"], listen) if proxy else None
        timeouts = [
            {t["name"] for t in (p or {"toxics": []})["toxics"] if t["type"] == "timeout"}
            for p in (before.get(connection.proxy), proxy)
        ]
        if there != (True, connection.upstream, connection.listen) or timeouts[0] - timeouts[1]:
            connection.doomed = True
        self._note(connection)

    def _note(self, connection: Connection) -> None:
        chain = self.chain(connection)
        connection.ever_reset |= any(toxic["type"] == "reset_peer" for toxic in chain)
        connection.limited |= connection.echo and acting(chain, "upstream") == "limits"

    # --- what must come true, and then be one -----------------------------------------------------------------

    def settle(self) -> None:
        """Wait for all that must come true; then what is seen must agree."""
        live = self.connections
        self.agreeing = False
        self.world.wait(lambda: all(self._settled(c, e) for c in live for e in c.both), self._describe)
        acting = any(acts(toxic) for c in live for toxic in self.chain(c))
        self.world.look_on(0.02 if acting else 0.002)
        self.world.wait(
            lambda: all(self._seen(c, c.both[0]) == self._seen(c, c.both[1]) for c in live), self._describe
        )
        for connection in list(live):
            if all(e.client.over and (e.upstream is None or e.upstream.over) for e in connection.both):
                self._forget(connection)
        self.agreeing = True

    def _settled(self, connection: Connection, ends: Ends) -> bool:
        chain = self.chain(connection)
        up, down = acting(chain, "upstream"), acting(chain, "downstream")
        client, upstream = ends.client, ends.upstream
        if upstream is None:
            return client.over
        if connection.doomed or "closes" in (up, down):
            return client.over and upstream.over
        if client.over:
            return upstream.over or up.startswith("holds")
        if upstream.over:
            return down.startswith("holds")
        arrived = len(upstream.received) == connection.sent or up in ("swallows", "holds")
        return arrived and (len(client.received) == upstream.sent or down in ("swallows", "holds"))

    def _seen(self, connection: Connection, ends: Ends) -> tuple[object, ...]:
        """What is compared of one side."""
        client, upstream = ends.client, ends.upstream
        exact = self._exact(connection)
        return (
            client.fate if exact else client.over,
            connection.limited or bytes(client.received),
            upstream and bytes(upstream.received),
            upstream and (upstream.fate if exact and not connection.limited else upstream.over),
        )

    def _exact(self, connection: Connection) -> bool:
        """Whether FIN and RST must agree: a reset has applied, or none was ever there (the difference `linger`)."""
        return connection.struck or not connection.ever_reset

    def _describe(self) -> str:
        return "\n".join(
            f"{c}\n  chain {self.chain(c)}\n"
            + "\n".join(
                f"  {side}: client {e.client.fate} {bytes(e.client.received)!r}, upstream "
                f"{e.upstream and (e.upstream.fate, bytes(e.upstream.received), e.upstream.sent)}"
                for side, e in zip(("embedded ", "toxiproxy"), c.both, strict=True)
            )
            for c in self.connections
        )

    def _forget(self, connection: Connection) -> None:
        self.connections.remove(connection)
        for ends in connection.both:
            ends.client.close()
            if ends.upstream is not None:
                ends.upstream.close()

    def teardown(self) -> None:
        """What is open must still agree after a while; then everything goes."""
        try:
            if self.agreeing:
                self.world.look_on()
                self.settle()
        finally:
            for connection in list(self.connections):
                self._forget(connection)
            for side in self.world.sides:
                side.clear(path_of)
