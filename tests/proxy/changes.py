"""Changes of proxies and toxics, while connections are open and while data flows."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.proxy.toxics_drawn import DEAD, PROXIES, SMALL, STRONG, Body, acts, clear, path_of, toxics
from tests.proxy.traffic import PICK, Traffic

AMID = st.none() | st.integers(0, 11)
"""The connection that carries data, both ways if it echoes, while the change is made; None for none."""


class Changes(Traffic):
    """Traffic, and all that changes what it goes through."""

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
    def update(self, method: str, name: str, body: Body) -> None:
        """Enable, disable, move, point elsewhere."""
        if body.get("listen") == "same":
            body = body | {"listen": f"@{name}@"}
        proxy = self.state.get(name)
        if proxy and not proxy["enabled"] and body.get("enabled") and self._cannot_listen(name):
            return  # Toxiproxy moves it though it cannot enable it (the difference `atomic`)
        self.call(method, path_of(name), body)

    def _cannot_listen(self, name: str) -> bool:
        host, _, port = self.state[name]["listen"].rpartition(":")
        return host not in ("127.0.0.1", "[::1]", "localhost") or port not in ("0", "port")

    @precondition(lambda self: any(p["toxics"] or not p["enabled"] for p in self.state.values()))
    @rule(amid=AMID)
    def reset(self, amid: int | None) -> None:
        """Everything healed. Not past an error: there Toxiproxy stops at one proxy, and it is chance at which."""
        bad = [proxy for name, proxy in self.state.items() if self._cannot_listen(name)]
        if bad and (len(self.state) > 1 or bad[0]["toxics"]):
            return
        if amid is not None:
            self._send_amid(amid, [toxic for proxy in self.state.values() for toxic in proxy["toxics"]])
        self.call("POST", "/reset")

    @rule(pick=PICK, body=toxics(), amid=AMID)
    def add_toxic(self, pick: int, body: Body, amid: int | None) -> None:
        """Of any type, to either stream; the name may be taken."""
        names = [*sorted(self.state), "a", "a"]
        name = names[pick % len(names)]
        attributes = {k.lower(): v for k, v in body["attributes"].items()}
        shown = {"stream": "downstream"} | body | {"attributes": attributes}
        if name in self.state and not clear([*self.state[name]["toxics"], shown]):
            return
        if amid is not None:
            self._send_amid(amid, [shown])
        self.call("POST", f"{path_of(name)}/toxics", body)

    @precondition(lambda self: any(p["toxics"] for p in self.state.values()))
    @rule(
        pick=PICK, data=st.data(), method=st.sampled_from(["PATCH", "POST"]), noise=st.booleans(), amid=AMID
    )
    def update_toxic(
        self, pick: int, data: st.DataObject, method: str, noise: bool, amid: int | None
    ) -> None:
        """Attributes are merged; names, types and streams are left."""
        name, toxic = self._any_toxic(pick)
        kinds = [which[toxic["type"]] for which in (SMALL, STRONG) if toxic["type"] in which]
        body: Body = {"attributes": data.draw(st.one_of(kinds))}
        given = {k.lower(): v for k, v in body["attributes"].items() if k != "Unknown"}
        changed = toxic | {"attributes": toxic["attributes"] | given}
        if not clear([changed if t is toxic else t for t in self.state[name]["toxics"]]):
            return
        if noise:
            body |= {"name": "q", "type": "noop", "stream": "upstream", "toxicity": None}
        if amid is not None:
            self._send_amid(amid, [changed])
        self.call(method, f"{path_of(name)}/toxics/{quote(toxic['name'])}", body)

    @precondition(lambda self: any(p["toxics"] for p in self.state.values()))
    @rule(pick=PICK, amid=AMID)
    def remove_toxic(self, pick: int, amid: int | None) -> None:
        """One that is there; what is not is asked for by `ask_oddly`."""
        name, toxic = self._any_toxic(pick)
        if amid is not None:
            self._send_amid(amid, [toxic])
        self.call("DELETE", f"{path_of(name)}/toxics/{quote(toxic['name'])}")

    def _any_toxic(self, pick: int) -> tuple[str, Body]:
        found = [(name, toxic) for name, proxy in self.state.items() for toxic in proxy["toxics"]]
        return found[pick % len(found)]

    def _send_amid(self, pick: int, changed: list[Body]) -> None:
        """Data that is on its way when the change comes: all of it arrives, in order. Only where nothing strong is
        there or comes or goes: that would be a race between the data and the change. And where there is an echo
        nothing beside it: they would come in either order.
        """
        connection = self.any_connection(pick)
        if connection is not None and not any(acts(toxic) for toxic in [*self.chain(connection), *changed]):
            self.give(connection, 20_000, backward=False)
            if not connection.echo:
                self.give(connection, 20_000, backward=True)
