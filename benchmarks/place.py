"""Where contestants meet: the upstreams, and both servers in front of them with all their proxies."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.machine import binaries, cores, process
from benchmarks.nginx import nginx
from benchmarks.precision import LATENCY_MS
from benchmarks.rounds import Contestant
from benchmarks.servers import Server, embedded, renewing, toxiproxy

SMALL: Final = 200
LARGE: Final = 65_536
EVENTS_NEVER: Final = 1_000_000
"""Events after which a toxic acts that reads every stream, and finds none that is so long."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of proxy: its name among the contestants, its toxic if any. `reads`: as HTTP, embedded only."""

    says: str
    toxic: str = ""
    attributes: Mapping[str, object] = field(default_factory=dict)
    rest: Mapping[str, object] = field(default_factory=dict)
    reads: bool = False


_NEVER: Final = {"where": {"path": "/never"}}
KINDS: Final[dict[str, Kind]] = {
    "plain": Kind(""),
    "zero": Kind(", latency 0", "latency", {"latency": 0}),
    "delayed": Kind(f", latency {LATENCY_MS}", "latency", {"latency": LATENCY_MS}),
    "http": Kind(", HTTP", reads=True),
    "http-never": Kind(", HTTP, never matches", "http_reply", rest=_NEVER, reads=True),
    "http-percent": Kind(
        ", HTTP, 1 % matches",
        "http_reply",
        {"status": 200, "content_type": "text/plain", "body": "x" * SMALL},
        {"toxicity": 0.01},
        reads=True,
    ),
    "sse-never": Kind(", SSE, never matches", "sse_cut", {"events": 0}, _NEVER, reads=True),
    "sse-all": Kind(", SSE, all are split", "sse_cut", {"events": EVENTS_NEVER}, reads=True),
    "ws-never": Kind(", frames, never matches", "ws_drop", rest=_NEVER, reads=True),
    "ws-json": Kind(
        ", frames, JSON never matches", "ws_drop", rest={"where": {"json": {"/type": "never"}}}, reads=True
    ),
    "ws-percent": Kind(", frames, 1 % matches", "ws_delay", {"delay": 0}, {"toxicity": 0.01}, reads=True),
}
"""All proxies of a server are there all the time: one without toxics must not pay for the others'."""
_FED: Final = ("plain", "http", "sse-never", "sse-all", "ws-never", "ws-json", "ws-percent")


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where contestants lead to."""

    address: str
    pid: int
    name: str
    kinds: Sequence[str]


@dataclass(frozen=True, slots=True)
class Place:
    """The upstreams, both servers in front of them, and the core that drives them."""

    web: Upstream
    feed: Upstream
    servers: tuple[Server, Server]
    listen: dict[tuple[str, str, str], str]
    core: int

    def address(self, server: Server, kind: str, upstream: Upstream) -> str:
        """Where one of the server's proxies listens."""
        return self.listen[server.name, kind, upstream.name]

    def contestants(self, upstream: Upstream, path: str, *kinds: str) -> list[Contestant]:
        """Direct, and both servers with each kind of proxy; the rival of what only ours has is plain."""
        theirs, ours = self.servers
        made = [
            Contestant(f"direct (CPU: {upstream.name})", f"http://{upstream.address}{path}", upstream.pid)
        ]
        for name in kinds:
            kind, rival = KINDS[name], theirs.name
            if not kind.reads:
                rival = theirs.name + kind.says
                made.append(
                    Contestant(rival, f"http://{self.address(theirs, name, upstream)}{path}", theirs.pid)
                )
            url = f"http://{self.address(ours, name, upstream)}{path}"
            made.append(Contestant(ours.name + kind.says, url, ours.pid, rival))
        return made


@contextlib.contextmanager
def _feed(core: int) -> Iterator[Upstream]:
    argv = [sys.executable, "-m", "benchmarks.feed"]
    with process(argv, core=core, stdout=subprocess.PIPE) as started:
        line = started.stdout.readline() if started.stdout else b""
        if not line:
            raise OSError(f"the feed did not start: exit {started.wait()}")
        yield Upstream(f"127.0.0.1:{int(line)}", started.pid, "feed", _FED)


def _proxy(server: Server, name: str, upstream: Upstream) -> str:
    kind = KINDS[name]
    called = f"{upstream.name}-{name}"
    listen = server.proxy(called, upstream.address, **({"protocol": "http"} if kind.reads else {}))
    if kind.toxic:
        server.toxic(called, kind.toxic, kind.attributes, **kind.rest)
    return listen


@contextlib.contextmanager
def place() -> Iterator[Place]:
    """Start everything. Raises MissingError naming all that is missing, OSError."""
    binaries("nginx", "wrk", "taskset", "toxiproxy-server")
    driver, proxies = cores()
    with (
        nginx(driver, (SMALL, LARGE)) as files,
        _feed(driver) as feed,
        toxiproxy(proxies) as theirs,
        embedded(proxies) as ours,
        renewing(ours),
    ):
        kinds = [name for name in KINDS if not name.startswith(("sse", "ws"))]
        web = Upstream(files.address, files.pid, "nginx", kinds)
        listen = {
            (server.name, name, upstream.name): _proxy(server, name, upstream)
            for server in (theirs, ours)
            for upstream in (web, feed)
            for name in upstream.kinds
            if server is ours or not KINDS[name].reads
        }
        yield Place(web, feed, (theirs, ours), listen, driver)
