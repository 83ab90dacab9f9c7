"""The soak's other hand: toxics and proxies that come and go, and leases that are taken, renewed and lost."""

from __future__ import annotations

import random
import threading
from typing import Final

import requests

from benchmarks.servers import Server

PROXY: Final = "changed"
_PAUSE_S: Final = 0.02
_TOXICS_MOST: Final = 4


def _attributes(draw: random.Random) -> tuple[str, dict[str, int]]:
    kinds: list[tuple[str, dict[str, int]]] = [
        ("latency", {"latency": draw.randrange(20), "jitter": draw.randrange(5)}),
        ("bandwidth", {"rate": draw.randrange(100, 10_000)}),
        ("slow_close", {"delay": draw.randrange(50)}),
        ("timeout", {"timeout": draw.randrange(50)}),
        ("reset_peer", {"timeout": draw.randrange(20)}),
        (
            "slicer",
            {"average_size": 500, "size_variation": draw.randrange(100), "delay": draw.randrange(200)},
        ),
        ("limit_data", {"bytes": draw.randrange(20_000)}),
        ("noop", {}),
    ]
    return draw.choice(kinds)


class Changes(threading.Thread):
    """Changes the proxy `changed` until stopped, then heals all. `made` counts; `failed` is why it ended."""

    def __init__(self, server: Server, upstream: str) -> None:
        super().__init__(name="changes")
        self.made = 0
        self.failed: Exception | None = None
        self._server = server
        self._upstream = upstream
        self._stop_wanted = threading.Event()
        self._draw = random.Random(1)
        self._toxics: list[str] = []
        self._session = requests.Session()

    def stop(self) -> None:
        """End it, and wait."""
        self._stop_wanted.set()
        self.join()

    def run(self) -> None:
        """Make one change after the other."""
        try:
            while not self._stop_wanted.wait(_PAUSE_S):
                self._change()
                self.made += 1
            for holder in self._holders():
                self._send("DELETE", f"/leases/{holder}")
            self._send("POST", "/reset")
        except requests.RequestException as error:
            self.failed = error
        finally:
            self._session.close()

    def _send(self, method: str, path: str, body: object = None) -> requests.Response:
        """What a lease that ran out has taken away is 404, or 409 where a name is still there: no defect."""
        reply = self._session.request(method, self._server.api + path, json=body, timeout=20)
        if reply.status_code not in (404, 409):
            reply.raise_for_status()
        return reply

    def _holders(self) -> list[str]:
        return [lease["holder"] for lease in self._send("GET", "/leases").json()["leases"]]

    def _change(self) -> None:
        draw = self._draw
        kind = draw.random()
        if kind < 0.1:
            for holder in self._holders():
                self._send("POST", f"/leases/{holder}", {"ttl_ms": draw.randrange(100, 1000)})
        elif kind < 0.2:
            self._make_and_delete_a_proxy()
        elif kind < 0.3 and self._toxics:
            name = draw.choice(self._toxics)
            self._send("PATCH", f"/proxies/{PROXY}/toxics/{name}", {"toxicity": draw.random()})
        elif len(self._toxics) >= _TOXICS_MOST or (kind < 0.6 and self._toxics):
            self._send("DELETE", f"/proxies/{PROXY}/toxics/{self._toxics.pop(0)}")
        else:
            self._add_a_toxic()

    def _add_a_toxic(self) -> None:
        draw = self._draw
        kind, attributes = _attributes(draw)
        body: dict[str, object] = {
            "name": f"t{self.made}",
            "type": kind,
            "stream": draw.choice(("upstream", "downstream")),
            "toxicity": draw.choice((1, 0.5)),
            "attributes": attributes,
        }
        if draw.random() < 0.5:
            body["lease"] = {"holder": f"h{draw.randrange(5)}", "ttl_ms": draw.randrange(100, 1000)}
        self._send("POST", f"/proxies/{PROXY}/toxics", body)
        self._toxics.append(f"t{self.made}")

    def _make_and_delete_a_proxy(self) -> None:
        name = f"p{self.made}"
        lease = {"holder": f"h{self._draw.randrange(5)}", "ttl_ms": 500}
        body = {"name": name, "listen": "127.0.0.1:0", "upstream": self._upstream, "lease": lease}
        self._send("POST", "/proxies", body)
        self._send("DELETE", f"/proxies/{name}")
