"""The two proxy servers as they are used: Toxiproxy, and the embedded one with a lease that is renewed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import requests

from benchmarks.machine import answers, binaries, free_port, process, wait_until

HOLDER: Final = "benchmark"
LEASE_MS: Final = 10_000
_TIMEOUT_S: Final = 10


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its name, its process, its API."""

    name: str
    pid: int
    api: str
    leases: bool

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> requests.Response:
        """Ask the API. Raises requests.RequestException."""
        reply = requests.request(method, self.api + path, json=body, timeout=_TIMEOUT_S)
        reply.raise_for_status()
        return reply

    def proxy(self, name: str, upstream: str, **rest: object) -> str:
        """A new proxy on a free port, leased where the server can; its address."""
        body: dict[str, object] = {"name": name, "listen": "127.0.0.1:0", "upstream": upstream, **rest}
        if self.leases:
            body["lease"] = {"holder": HOLDER, "ttl_ms": LEASE_MS}
        return str(self.call("POST", "/proxies", body).json()["listen"])

    def toxic(
        self, proxy: str, kind: str, attributes: Mapping[str, object] | None = None, **rest: object
    ) -> None:
        """Add a toxic on its usual stream, leased where the server can; `rest` is beside the attributes."""
        body: dict[str, object] = {"type": kind, "attributes": attributes or {}, **rest}
        if self.leases:
            body["lease"] = {"holder": HOLDER, "ttl_ms": LEASE_MS}
        self.call("POST", f"/proxies/{proxy}/toxics", body)


@contextlib.contextmanager
def toxiproxy(core: int | None = None) -> Iterator[Server]:
    """A Toxiproxy for as long as the block. Raises MissingError."""
    port = free_port()
    with process(
        [binaries("toxiproxy-server")["toxiproxy-server"], "-port", str(port)], core=core
    ) as started:
        wait_until(lambda: answers(port), "toxiproxy-server")
        yield Server("Toxiproxy", started.pid, f"http://127.0.0.1:{port}", leases=False)


@contextlib.contextmanager
def embedded(core: int | None = None, *options: str) -> Iterator[Server]:
    """An embedded proxy for as long as the block. Raises OSError when it does not start."""
    argv = [sys.executable, "-m", "chaos.proxy", "--port", "0", "--seed", "1", *options]
    with process(argv, core=core, stdout=subprocess.PIPE) as started:
        line = started.stdout.readline() if started.stdout else b""
        if not line:
            raise OSError(f"the embedded proxy did not start: exit {started.wait()}")
        yield Server("embedded", started.pid, str(json.loads(line)["api"]), leases=True)


@contextlib.contextmanager
def renewing(server: Server) -> Iterator[None]:
    """Renew the lease of what was made here, as a conductor does: four times in its length.

    Raises:
        requests.RequestException: a renewal failed, so what was measured was not what should have been.
    """
    stop = threading.Event()
    failed: list[requests.RequestException] = []

    def renew() -> None:
        while not stop.wait(LEASE_MS / 4000):
            try:
                server.call("POST", f"/leases/{HOLDER}", {"ttl_ms": LEASE_MS})
            except requests.RequestException as error:
                failed.append(error)
                return

    thread = threading.Thread(target=renew, name="lease")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failed:
        raise failed[0]
