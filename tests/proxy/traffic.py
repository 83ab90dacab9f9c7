"""The state machine that does everything to both servers, and what it must know to wait for the right things."""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import quote

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.proxy.side_by_side import Ends, World

# --- what is drawn ------------------------------------------------------------------------------------------

PROXIES = ("a", "b", "ü x")
TOXICS = ("", "t", "t 2")
DEAD = "127.0.0.1:1"
HOLDS_MS = 60_000
_small = {
    "latency": st.fixed_dictionaries(
        {}, optional={"latency": st.integers(0, 12), "jitter": st.integers(0, 5)}
    ),
    "slicer": st.fixed_dictionaries(
        {"average_size": st.integers(2, 20)}, optional={"size_variation": st.integers(0, 1)}
    ),
    "bandwidth": st.fixed_dictionaries({"rate": st.integers(1000, 100_000)}),
    "slow_close": st.fixed_dictionaries({}, optional={"delay": st.integers(0, 25), "Unknown": st.just(1)}),
    "noop": st.just({}),
}
_strong = {
    "timeout": st.sampled_from([{}, {"timeout": 0}, {"TIMEOUT": 30}]),
    "limit_data": st.fixed_dictionaries({}, optional={"bytes": st.integers(0, 60)}),
    "reset_peer": st.sampled_from([{}, {"timeout": 15}]),
    "bandwidth": st.sampled_from([{}, {"rate": 0}]),
    "slow_close": st.just({"delay": HOLDS_MS}),
}
_kinds = st.sampled_from([*[(kind, False) for kind in _small], *[(kind, True) for kind in _strong]])


@st.composite
def toxics(draw: st.DrawFn) -> dict:
    """The body of a toxic's creation."""
    kind, strong = draw(_kinds)
    body = {"type": kind, "attributes": draw((_strong if strong else _small)[kind])}
    if stream := draw(st.sampled_from(["", "upstream", "downstream", "UpStream", "DOWNSTREAM"])):
        body["stream"] = stream
    if name := draw(st.sampled_from(TOXICS)):
        body["name"] = name
    if kind == "noop":
        body["toxicity"] = draw(st.sampled_from([0, 0.25, 0.5, 1]))
    return body


# --- what a proxy's toxics do, as far as the machine must know it ---------------------------------------------


def _acts(toxic: dict) -> str:
    """`` for what lets everything through, `holds` for what keeps it, else what it takes data or connections by."""
    value = next(iter(toxic["attributes"].values()), 0)
    match toxic["type"]:
        case "timeout":
            return "closes" if value else "swallows"
        case "limit_data":
            return "limits"
        case "reset_peer":
            return "resets"
        case "bandwidth" if value == 0:
            return "holds"
        case "slow_close" if value >= 1000:
            return "holds the end"
    return ""


def _acting(chain: list[dict], stream: str) -> str:
    """What acts on a stream: one thing at most, as `_clear` sees to."""
    return "".join(_acts(toxic) for toxic in chain if toxic["stream"].lower() == stream)


def _clear(chain: list[dict]) -> bool:
    """Whether it can be foreseen what must come true: one strong toxic, and one that holds has its stream alone."""
    strong = [toxic for toxic in chain if _acts(toxic)]
    if not strong:
        return True
    (first, *others) = strong
    beside = [toxic for toxic in chain if toxic["stream"].lower() == first["stream"].lower()]
    return not others and (len(beside) == 1 or not _acts(first).startswith("holds"))


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
    was_acted_on: bool = False
    """What a strong toxic did may show in how it ends."""
    resets: bool = False
    """A reset_peer was there from the start, so that both sides reset."""
    ever_reset: bool = False
    limited: bool = False
    """Bytes of the echo raced with the close."""

    @property
    def usable(self) -> bool:
        """Whether both ends are open on both sides."""
        return all(e.upstream and not e.client.over and not e.upstream.over for e in self.both)


def path_of(name: str) -> str:
    return f"/proxies/{quote(name, safe='')}"


class Traffic(RuleBasedStateMachine):
    """Connections through one proxy, whose toxics change; `state` is what both say their proxies are."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.state: dict[str, dict] = {}
        self.connections: list[Connection] = []

    @initialize(body=st.none() | toxics(), echo=st.booleans(), early=st.booleans())
    def begin(self, body: dict | None, echo: bool, early: bool) -> None:
        """One proxy that works, perhaps with a toxic, and a connection before or after that came."""
        self.call("POST", "/proxies", {"name": "a", "listen": "127.0.0.1:0", "upstream": "@up"})
        if early:
            self._open("a", echo)
        if body is not None:
            self.call("POST", "/proxies/a/toxics", body)
        if not early:
            self._open("a", echo)

    # --- calls ----------------------------------------------------------------------------------------------

    @rule(
        method=st.sampled_from(["PATCH", "POST"]),
        name=st.sampled_from(["a", "a", "a", *PROXIES]),
        body=st.fixed_dictionaries(
            {},
            optional={
                "name": st.just("other"),
                "enabled": st.booleans(),
                "upstream": st.sampled_from(["@up", "@up", DEAD]),
                "listen": st.sampled_from(["same", "same", "127.0.0.1:0", "foo", None]),
            },
        ),
    )
    def update(self, method: str, name: str, body: dict) -> None:
        """Enable, disable, move, point elsewhere."""
        if body.get("listen") == "same":
            body = body | {"listen": f"@{name}@"}
        if (
            name in self.state
            and not self.state[name]["enabled"]
            and body.get("enabled")
            and self._stuck(name)
        ):
            return  # there it is moved though it cannot be enabled
        self.call(method, path_of(name), body)

    def _stuck(self, name: str) -> bool:
        host, _, port = self.state[name]["listen"].rpartition(":")
        return host not in ("127.0.0.1", "[::1]", "localhost") or port not in ("0", "port")

    @precondition(lambda self: any(p["toxics"] or not p["enabled"] for p in self.state.values()))
    @rule()
    def reset(self) -> None:
        """Everything healed."""
        if len(self.state) > 1 and any(self._stuck(name) for name in self.state):
            return
        self.call("POST", "/reset")

    @rule(data=st.data(), body=toxics())
    def add_toxic(self, data: st.DataObject, body: dict) -> None:
        """Of any type, to either stream, mostly of a proxy in use; the name may be taken."""
        name = data.draw(st.sampled_from([*(c.proxy for c in self.connections), *sorted(self.state), "a"]))
        shown = (
            {"stream": "downstream"}
            | body
            | {"attributes": {k.lower(): v for k, v in body["attributes"].items()}}
        )
        if name in self.state and not _clear([*self.state[name]["toxics"], shown]):
            return
        self.call("POST", f"{path_of(name)}/toxics", body)

    @precondition(lambda self: any(p["toxics"] for p in self.state.values()))
    @rule(data=st.data(), method=st.sampled_from(["PATCH", "POST"]), noise=st.booleans())
    def update_toxic(self, data: st.DataObject, method: str, noise: bool) -> None:
        """Attributes are merged; names, types and streams are left."""
        name, toxic = self._any_toxic(data)
        kinds = [which[toxic["type"]] for which in (_small, _strong) if toxic["type"] in which]
        body: dict = {"attributes": data.draw(st.one_of(kinds))}
        changed = toxic["attributes"] | {
            k.lower(): v for k, v in body["attributes"].items() if k != "Unknown"
        }
        chain = [t if t is not toxic else toxic | {"attributes": changed} for t in self.state[name]["toxics"]]
        if not _clear(chain):
            return
        if noise:
            body |= {"name": "q", "type": "noop", "stream": "upstream", "toxicity": None}
        self.call(method, f"{path_of(name)}/toxics/{quote(toxic['name'])}", body)

    @precondition(lambda self: any(p["toxics"] for p in self.state.values()))
    @rule(data=st.data())
    def remove_toxic(self, data: st.DataObject) -> None:
        """One that is there; what is not is asked for by `ask_oddly`."""
        name, toxic = self._any_toxic(data)
        self.call("DELETE", f"{path_of(name)}/toxics/{quote(toxic['name'])}")

    def _any_toxic(self, data: st.DataObject) -> tuple[str, dict]:
        return data.draw(
            st.sampled_from(
                [(name, toxic) for name, proxy in self.state.items() for toxic in proxy["toxics"]]
            )
        )

    def call(self, method: str, path: str, body: object = None) -> None:
        """A call that may change things, then a look at what has become of everything."""
        data = (
            body
            if isinstance(body, bytes)
            else b""
            if body is None
            else json.dumps(body, ensure_ascii=False).encode()
        )
        self.world.call(method, path, data)
        self._look(moved=b":0" in data)

    def _look(self, *, moved: bool = False) -> None:
        before, old = self.state, [dict(side.listen) for side in self.world.sides]
        for side in self.world.sides:
            side.look()
        self.state = self.world.call("GET", "/proxies").body
        if not moved:  # a port that the system chose anew may be the one that it chose before
            mine, theirs = (
                {name: listen == was.get(name) for name, listen in side.listen.items()}
                for side, was in zip(self.world.sides, old, strict=True)
            )
            assert mine == theirs, f"ports kept: {mine} here, {theirs} there"
        for connection in self.connections:
            self._foresee(connection, before)
        self.settle()

    def _foresee(self, connection: Connection, before: dict[str, dict]) -> None:
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
        chain = self._chain(connection)
        connection.was_acted_on |= any(_acts(toxic) for toxic in chain)
        connection.ever_reset |= any(toxic["type"] == "reset_peer" for toxic in chain)
        connection.limited |= connection.echo and _acting(chain, "upstream") == "limits"

    def _chain(self, connection: Connection) -> list[dict]:
        return self.state.get(connection.proxy, {"toxics": []})["toxics"]

    # --- traffic --------------------------------------------------------------------------------------------

    @precondition(lambda self: self.state and len(self.connections) < 4)
    @rule(data=st.data(), echo=st.booleans())
    def open(self, data: st.DataObject, echo: bool) -> None:
        """A connection; refused where the proxy is disabled, ended where its upstream is not there."""
        bound = [n for n in sorted(self.state) if self.state[n]["listen"].endswith(":port")]
        if not bound:
            return
        self._open(data.draw(st.sampled_from(bound)), echo)

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

    @precondition(lambda self: any(c.usable for c in self.connections))
    @rule(data=st.data(), size=st.integers(1, 70))
    def send(self, data: st.DataObject, size: int) -> None:
        """By the client."""
        self._send(data, size, backward=False)

    @precondition(lambda self: any(c.usable for c in self.connections))
    @rule(data=st.data(), size=st.integers(1, 70))
    def push(self, data: st.DataObject, size: int) -> None:
        """By the upstream, unasked."""
        self._send(data, size, backward=True)

    def _send(self, data: st.DataObject, size: int, *, backward: bool) -> None:
        connection = self._any_connection(data)
        payload = bytes((connection.sent + number) % 251 for number in range(size))
        for ends in connection.both:
            assert ends.upstream
            (ends.upstream if backward else ends.client).send(payload)
        connection.sent += 0 if backward else size
        self.settle()

    @precondition(lambda self: any(c.usable for c in self.connections))
    @rule(data=st.data(), how=st.sampled_from(["client", "half", "upstream", "reset"]))
    def close(self, data: st.DataObject, how: str) -> None:
        """By either end; a half-close only where the upstream closes in return and nothing is on its way."""
        connection = self._any_connection(data)
        if how == "half" and (not connection.echo or any(_acts(t) for t in self._chain(connection))):
            return
        for ends in connection.both:
            assert ends.upstream
            if how == "half":
                ends.client.sock.shutdown(1)
            elif how == "client":
                ends.client.close()
            else:
                ends.upstream.close(reset=how == "reset")
        self.settle()

    def _any_connection(self, data: st.DataObject) -> Connection:
        return data.draw(st.sampled_from([c for c in self.connections if c.usable]))

    # --- what must come true, and then be one -----------------------------------------------------------------

    def settle(self) -> None:
        """Wait for all that must come true; then what is seen must agree."""
        live = self.connections
        self.world.wait(lambda: all(self._settled(c, e) for c in live for e in c.both), self._describe)
        acting = any(_acts(toxic) for c in live for toxic in self._chain(c))
        self.world.look_on(0.02 if acting else 0.002)
        self.world.wait(
            lambda: all(self._seen(c, c.both[0]) == self._seen(c, c.both[1]) for c in live), self._describe
        )
        for connection in list(live):
            if all(e.client.over and (e.upstream is None or e.upstream.over) for e in connection.both):
                self._forget(connection)

    def _settled(self, connection: Connection, ends: Ends) -> bool:
        chain = self._chain(connection)
        up, down = _acting(chain, "upstream"), _acting(chain, "downstream")
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
            upstream and upstream.over,
        )

    def _exact(self, connection: Connection) -> bool:
        """Whether FIN and RST must agree: nothing was held when it ended, and resets were there from the start."""
        if connection.ever_reset:
            chain = self._chain(connection)
            return (
                connection.resets
                and not connection.doomed
                and any(_acts(toxic) == "resets" for toxic in chain)
            )
        return not (connection.was_acted_on and connection.doomed)

    def _describe(self) -> str:
        return "\n".join(
            f"{c}\n  chain {self._chain(c)}\n"
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
            self.world.look_on()
            self.settle()
        finally:
            for connection in list(self.connections):
                self._forget(connection)
            for side in self.world.sides:
                side.look()
                for name in side.listen:
                    side.call("DELETE", path_of(name))
                side.listen = {}
