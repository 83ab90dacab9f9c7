"""Random calls and traffic, given to the embedded proxy and to a real Toxiproxy: what is seen must be one.

`DIFFERENCES` is the one place for what may differ; the machine leaves those inputs out, and each has a test.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.proxy.side_by_side import Ends, World

pytestmark = pytest.mark.toxiproxy


class Difference(NamedTuple):
    """What differs (here, in brackets there), why, how the machine deals with it, and the test that shows it."""

    what: str
    why: str
    dealt_with: str
    shown_by: str


DIFFERENCES = (
    Difference(
        "hash(seed, …) decides who is struck (unseeded)",
        "a run can be repeated",
        "toxicities between 0 and 1 for `noop` only",
        "test_seed.py",
    ),
    Difference(
        "an update keeps each connection's draw (draws again)",
        "changing a latency must not change who is struck",
        "as above",
        "test_seed.py",
    ),
    Difference(
        "attributes and toxicities out of range are 400 (accepted; some crash the server)",
        "one bad request must not end all faults",
        "attributes in range",
        "test_differences.py::test_what_crashes_toxiproxy_is_refused",
    ),
    Difference(
        "toxicities keep double precision (are rounded to 24 bits)",
        "what was asked for is what is shown",
        "toxicities of few bits",
        "test_differential.py::test_a_toxicity_is_shown_as_given",
    ),
    Difference(
        "only a reset that fires is RST (every close since reset_peer was added; none that was live)",
        "ordinary closes stay FIN, resets are RST",
        "FIN and RST are told apart only where both agree: see `_exact`",
        "test_differences.py::test_a_reset_strikes_live_connections_as_rst",
    ),
    Difference(
        "a half-close is passed on (becomes a full close)",
        "the reply is not lost",
        "half-closes only when all replies are there, and an upstream that answers one by closing",
        "test_differences.py::test_a_half_close_is_kept",
    ),
    Difference(
        "removing `timeout` closes whom it struck (all, at toxicity 0 too)",
        "healing must not disturb who was not struck",
        "`timeout` at toxicity 1",
        "test_differences.py::test_removing_a_timeout_leaves_the_unstruck_alone",
    ),
    Difference(
        "removing `reset_peer` resets at once whom it has begun to (when their time comes)",
        "data was taken from them: they cannot go on",
        "a reset that has begun is waited for",
        "test_differences.py::test_removing_a_reset_that_has_begun_resets",
    ),
    Difference(
        "a toxic that is added or removed leaves alone what its neighbours hold (lets one chunk go)",
        "injecting one fault must not lift another",
        "a toxic that holds is alone on its stream",
        "test_differential.py::test_adding_a_toxic_lets_nothing_go",
    ),
    Difference(
        "/populate and PATCH change all or nothing (keep what came before the failure)",
        "a failed call can be repeated",
        "none of several that fails; no move to a busy port; one bad field a toxic's update",
        "test_differences.py::test_populate_changes_all_or_nothing",
    ),
    Difference(
        "/populate refuses a name that is there twice (creates and replaces it)",
        "one of them is a mistake",
        "names once",
        "test_differences.py::test_populate_refuses_a_name_that_is_there_twice",
    ),
    Difference(
        "a listen without a host is loopback (all interfaces)",
        "nobody else is meant to reach it",
        "a host is given",
        "test_differences.py::test_the_default_bind_is_loopback",
    ),
    Difference(
        "a disabled proxy keeps its port (frees it)",
        "enabling it must not fail",
        "nobody asks for the port of a disabled proxy",
        "test_differences.py::test_a_disabled_proxy_keeps_its_port",
    ),
    Difference(
        "/reset tries every proxy (stops at the first error)",
        "one bad proxy must not keep the faults of others",
        "no /reset while a listen cannot be bound and there is another proxy",
        "test_differential.py::test_reset_heals_past_an_error",
    ),
    Difference(
        "upstreams are dialled side by side (one after the other)",
        "a slow one delays only its own client",
        "upstreams answer at once",
        "test_differences.py::test_a_slow_dial_delays_only_its_own_client",
    ),
    Difference(
        "counts, leases, a token (none)",
        "extensions",
        "not called",
        "test_leases.py",
    ),
    Difference(
        'no stray "Logger":{}; /version tells the product too',
        "noise; so that clients can tell",
        "taken out of the replies",
        "test_client.py::test_it_tells_what_it_talks_to",
    ),
    Difference(
        "the words after `bad request body: ` are our own (those of Go's decoder)",
        "they name the field and what was expected",
        "taken out of the replies, except for EOF",
        "test_differential.py::test_paths_methods_and_bodies_of_ones_own",
    ),
    Difference(
        "paths are taken as they are: doubled slashes are 404 (301), %2F is part of a name (404)",
        "every proxy can be reached by its quoted name",
        "no such paths",
        "test_differential.py::test_paths_methods_and_bodies_of_ones_own",
    ),
    Difference(
        "a method that HTTP does not know is 400 (405)",
        "it is no HTTP",
        "known methods",
        "test_differential.py::test_paths_methods_and_bodies_of_ones_own",
    ),
)


# --- what is drawn ------------------------------------------------------------------------------------------

PROXIES = ("a", "b", "ü x")
TOXICS = ("", "t", "t 2")
DEAD = "127.0.0.1:1"
HOLDS_MS = 60_000
LISTENS = (
    *["127.0.0.1:0"] * 8,
    "localhost:0",
    "foo",
    "127.0.0.1:99999",
    "127.0.0.1:-1",
    "127.0.0.1:",
    "127.0.0.1:no-such-service",
    "::1:0",
    "[::1]",
    "[::1:0",
    "192.0.2.1:1",
)
BODIES = (
    b"",
    b"{",
    b"{}",
    b"[]",
    b"[null]",
    b"null",
    b"true",
    b"5",
    b'"x"',
    b"nonsense",
    b"{'a':1}",
    b"\xff",
    b'\xef\xbb\xbf{"name":"a"}',
    b'{"name":5}',
    b'{"name":"a"}',
    b'{"name":"a","upstream":5}',
    b'{"a":NaN}',
    b'{"a":01}',
    b'{"toxicity":"x"}',
    b'{"type":"nope"}',
    b'{"type":"noop","stream":"sideways"}',
    b'{"type":"noop","stream":5}',
    b'{"type":"noop","stream":""}',
    b'{"type":"latency","attributes":5}',
    b'{"type":"latency","attributes":{"latency":1.5}}',
    b'{"type":"latency","attributes":{"latency":1e3}}',
    b'{"type":"latency","attributes":{"latency":"5"}}',
    b'{"type":"latency","attributes":{"latency":9223372036854775808}}',
    b'{"attributes":{"latency":true}}',
    b'{"enabled":1}',
    b'{"enabled":null,"ENABLED":null}',
    b'{"listen":5}',
    b'{"listen":"foo"}',
    b'{"name":"b","NAME":"a","name":"b","upstream":"@up","listen":"127.0.0.1:0"} rest',
    b'{"name":"b","Name":null,"UPSTREAM":"@up","listen":"127.0.0.1:0","toxics":5,"x":{"name":1}}',
    b'{"name":"\xff","upstream":"@up","listen":"127.0.0.1:0"}',
    b'{"name":"\\ud800","upstream":"@up","listen":"127.0.0.1:0"}',
    b'[{"name":"a"}]',
    b'[{"name":5}]',
    b'[{"name":"p","upstream":"@up","listen":"foo"}]',
    b'[{"name":"p","upstream":"@up","listen":"127.0.0.1:0","enabled":null}]',
    b"[] rest",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PLACES = (
    "/version",
    "/version/",
    "/VERSION",
    "/",
    "/nope",
    "/metrics",
    "/reset/",
    "/populate",
    "/proxies",
    "/proxies/",
    "/proxies?x=%zz",
    "/prox%69es/%61",
    "/proxies/%zz",
    "/proxies/nobody",
    "/proxies/a",
    "/proxies/a/",
    "/proxies/a/b",
    "/proxies/a;b",
    "/proxies/nobody/toxics",
    "/proxies/a/toxics",
    "/proxies/a/toxics/",
    "/proxies/a/toxics/nobody",
    "/proxies/a/toxics/t",
    "/proxies/a/toxics/t/x",
    "http://elsewhere/version",
)
HEADERS = (
    (),
    (("User-Agent", "Mozilla/5.0"),),
    (("uSER-aGENT", "Mozilla/5.0"),),
    (("User-Agent", "mozilla/5.0 Mozilla/"),),
    (("CONTENT-TYPE", "text/x"), ("accept", "x/y"), ("Origin", "http://elsewhere")),
    (("connection", "close"),),
)

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


class SideBySide(RuleBasedStateMachine):
    """Everything is done to both; `state` is what both say their proxies are."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.state: dict[str, dict] = {}
        self.connections: list[Connection] = []

    # --- calls ----------------------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from(PROXIES),
        listen=st.sampled_from(LISTENS),
        upstream=st.sampled_from(["@up", "@up", "@up", DEAD, "nowhere"]),
        enabled=st.sampled_from([None, None, True, False]),
        title=st.booleans(),
    )
    def create(self, name: str, listen: str, upstream: str, enabled: bool | None, title: bool) -> None:
        """A proxy, whose keys may be in another case."""
        body = {"name": name, "listen": listen, "upstream": upstream, "enabled": enabled, "toxics": [{}]}
        self.call("POST", "/proxies", {k.title() if title else k: v for k, v in body.items()})

    @precondition(lambda self: any(p["enabled"] for p in self.state.values()))
    @rule(name=st.sampled_from(PROXIES))
    def create_on_a_busy_port(self, name: str) -> None:
        """Where another one listens."""
        busy = next(name for name, proxy in self.state.items() if proxy["enabled"])
        self.call("POST", "/proxies", {"name": name, "listen": f"@{busy}@", "upstream": "@up"})

    @rule(
        method=st.sampled_from(["PATCH", "POST"]),
        name=st.sampled_from(PROXIES),
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
        self.call(method, _path(name), body)

    def _stuck(self, name: str) -> bool:
        host, _, port = self.state[name]["listen"].rpartition(":")
        return host not in ("127.0.0.1", "[::1]", "localhost") or port not in ("0", "port")

    @rule(name=st.sampled_from(PROXIES))
    def delete(self, name: str) -> None:
        """One that may not be there."""
        self.call("DELETE", _path(name))

    @rule(
        names=st.lists(st.sampled_from(PROXIES), unique=True, max_size=3),
        listen=st.sampled_from(["same", "same", "127.0.0.1:0", "localhost:0"]),
        upstream=st.sampled_from(["@up", "@up", DEAD]),
        enabled=st.sampled_from([None, True, False]),
    )
    def populate(self, names: list[str], listen: str, upstream: str, enabled: bool | None) -> None:
        """Some that are there and some that are not, all with addresses that can be bound."""
        body = []
        for name in names:
            known = name in self.state and not self._stuck(name) and listen == "same"
            where = f"@{name}@" if known else "127.0.0.1:0"
            body.append({"name": name, "listen": where, "upstream": upstream})
            if enabled is not None:
                body[-1]["enabled"] = enabled
        self.call("POST", "/populate", body)

    @rule()
    def reset(self) -> None:
        """Everything healed."""
        if len(self.state) > 1 and any(self._stuck(name) for name in self.state):
            return
        self.call("POST", "/reset")

    @rule(name=st.sampled_from(PROXIES), body=toxics())
    def add_toxic(self, name: str, body: dict) -> None:
        """Of any type, to either stream; the name may be taken."""
        shown = (
            {"stream": "downstream"}
            | body
            | {"attributes": {k.lower(): v for k, v in body["attributes"].items()}}
        )
        if name in self.state and not _clear([*self.state[name]["toxics"], shown]):
            return
        self.call("POST", f"{_path(name)}/toxics", body)

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
        self.call(method, f"{_path(name)}/toxics/{quote(toxic['name'])}", body)

    @precondition(lambda self: any(p["toxics"] for p in self.state.values()))
    @rule(data=st.data())
    def remove_toxic(self, data: st.DataObject) -> None:
        """One that is there; what is not is asked for by `ask_oddly`."""
        name, toxic = self._any_toxic(data)
        self.call("DELETE", f"{_path(name)}/toxics/{quote(toxic['name'])}")

    def _any_toxic(self, data: st.DataObject) -> tuple[str, dict]:
        return data.draw(
            st.sampled_from(
                [(name, toxic) for name, proxy in self.state.items() for toxic in proxy["toxics"]]
            )
        )

    @rule(name=st.sampled_from(PROXIES), toxic=st.sampled_from(TOXICS[1:]))
    def show(self, name: str, toxic: str) -> None:
        """All that can be read."""
        for path in (
            _path(name),
            f"{_path(name)}/toxics",
            f"{_path(name)}/toxics/{quote(toxic)}",
            "/version",
        ):
            self.world.call("GET", path)

    @rule(place=st.sampled_from(PLACES), headers=st.sampled_from(HEADERS))
    def ask_oddly(self, place: str, headers: tuple[tuple[str, str], ...]) -> None:
        """Every method with an empty body, which changes nothing but by DELETE."""
        for method in METHODS:
            if (method, place) != ("DELETE", "/proxies/a/toxics/t"):
                self.world.call(method, place, b"", headers)
        self._look()

    @rule(
        call=st.sampled_from(
            ["POST /proxies", "POST /populate", "PATCH @", "POST @/toxics", "PATCH @/toxics/t"]
        ),
        body=st.sampled_from(BODIES),
    )
    def send_a_bad_body(self, call: str, body: bytes) -> None:
        """To each place that takes one."""
        method, _, path = call.replace("@", "/proxies/a").partition(" ")
        self.call(method, path, body)

    def call(self, method: str, path: str, body: object = None) -> None:
        """A call that may change things, then a look at what has become of everything."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
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
        name = data.draw(st.sampled_from(bound))
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
    @rule(data=st.data(), size=st.integers(1, 70), backward=st.booleans())
    def send(self, data: st.DataObject, size: int, backward: bool) -> None:
        """By the client, or by the upstream."""
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
                    side.call("DELETE", _path(name))
                side.listen = {}


def _path(name: str) -> str:
    return f"/proxies/{quote(name, safe='')}"


@pytest.fixture
def world(own_proxy, toxiproxy_api: str) -> Iterator[World]:
    """Both servers, each with an upstream of its own."""
    world = World(own_proxy("--seed", "7").url, toxiproxy_api)
    yield world
    world.close()


def test_both_agree(world: World) -> None:
    """Whatever is asked and sent, in whatever order: the replies and the connections' fates are those of Toxiproxy."""
    machine = type("Machine", (SideBySide,), {"world": world})
    run_state_machine_as_test(machine, settings=settings(max_examples=250, stateful_step_count=40))
