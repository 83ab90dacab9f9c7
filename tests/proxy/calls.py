"""Calls of every kind, good and bad, on top of the traffic."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.proxy.changes import Changes
from tests.proxy.toxics_drawn import DEAD, PROXIES, TOXICS, Body, path_of

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
TAKERS = (
    "POST /proxies",
    "POST /populate",
    "PATCH /proxies/a",
    "POST /proxies/a",
    "POST /proxies/a/toxics",
    "PATCH /proxies/a/toxics/t",
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
    "http://127.0.0.1:9/version",
)
HEADERS = (
    (),
    (("User-Agent", "Mozilla/5.0"),),
    (("uSER-aGENT", "Mozilla/5.0"),),
    (("User-Agent", "mozilla/5.0 Mozilla/"),),
    (("CONTENT-TYPE", "text/x"), ("accept", "x/y"), ("Origin", "http://elsewhere")),
    (("connection", "close"),),
)


class Calls(Changes):
    """All of the API, with up to three proxies."""

    @precondition(lambda self: len(self.state) < 3)
    @rule(
        name=st.sampled_from(PROXIES),
        listen=st.sampled_from(LISTENS),
        upstream=st.sampled_from(["@up", "@up", "@up", DEAD, "nowhere"]),
        enabled=st.sampled_from([None, None, True, False]),
        title=st.booleans(),
    )
    def create(self, name: str, listen: str, upstream: str, enabled: bool | None, title: bool) -> None:
        """A proxy, whose keys may be in another case."""
        if any(proxy["listen"] == listen == "192.0.2.1:1" for proxy in self.state.values()):
            return  # the port of a disabled one
        body: Body = {"name": name, "listen": listen, "upstream": upstream}
        body |= {"enabled": enabled, "toxics": [{}]}
        self.call("POST", "/proxies", {k.title() if title else k: v for k, v in body.items()})

    @precondition(lambda self: any(p["enabled"] for p in self.state.values()))
    @rule(name=st.sampled_from(PROXIES))
    def create_on_a_busy_port(self, name: str) -> None:
        """Where another one listens."""
        busy = next(name for name, proxy in self.state.items() if proxy["enabled"])
        self.call("POST", "/proxies", {"name": name, "listen": f"@{busy}@", "upstream": "@up"})

    @precondition(lambda self: len(self.state) > 1)
    @rule(name=st.sampled_from(PROXIES))
    def delete(self, name: str) -> None:
        """One that may not be there."""
        self.call("DELETE", path_of(name))

    @rule(
        names=st.lists(st.sampled_from(PROXIES), unique=True, max_size=3),
        listen=st.sampled_from(["same", "same", "127.0.0.1:0", "localhost:0"]),
        upstream=st.sampled_from(["@up", "@up", DEAD]),
        enabled=st.sampled_from([None, True, False]),
    )
    def populate(self, names: list[str], listen: str, upstream: str, enabled: bool | None) -> None:
        """Some that are there and some that are not, all with addresses that can be bound."""
        body: list[Body] = []
        for name in names:
            same = listen == "same" and name in self.state and not self._cannot_listen(name)
            where = f"@{name}@" if same else listen.replace("same", "127.0.0.1:0")
            body.append({"name": name, "listen": where, "upstream": upstream})
            if enabled is not None:
                body[-1]["enabled"] = enabled
        self.call("POST", "/populate", body)

    @rule(name=st.sampled_from(PROXIES), toxic=st.sampled_from(TOXICS[1:]))
    def show(self, name: str, toxic: str) -> None:
        """All that can be read."""
        for path in (
            path_of(name),
            f"{path_of(name)}/toxics",
            f"{path_of(name)}/toxics/{quote(toxic)}",
            "/version",
        ):
            self.world.call("GET", path)

    @rule(place=st.sampled_from(PLACES), headers=st.sampled_from(HEADERS))
    def ask_oddly(self, place: str, headers: tuple[tuple[str, str], ...]) -> None:
        """Every method with an empty body, which changes nothing but by DELETE."""
        for method in METHODS:
            if (method, place) != ("DELETE", "/proxies/a/toxics/t"):
                self.world.call(method, place, b"", headers)
        self.look()

    @rule(
        call=st.sampled_from(TAKERS),
        body=st.sampled_from(BODIES),
    )
    def send_a_bad_body(self, call: str, body: bytes) -> None:
        """To each place that takes one."""
        method, _, path = call.partition(" ")
        self.call(method, path, body)
