"""The record of what a run's faults at layer 7 struck: complete, its own, and honest about what it lacks."""

from __future__ import annotations

import http.client
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.conductor.hits import HitRecord
from chaos.conductor.proxied import ProxyFaults, toxic_of
from chaos.faults.toxiproxy import Lease, ToxiproxyServer
from chaos.hits import FILE
from chaos.journal import HitsMissed, Journal
from chaos.plan import PlannedFault


class _Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with JSON that has a value, or has not."""
        body = b'{"reward": 1}' if self.path == "/known" else b"{}"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ToxiproxyServer]:
    """A real embedded proxy with proxies `a` and `b` before a web service."""
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    serving = threading.Thread(target=web.serve_forever)
    serving.start()
    process = subprocess.Popen(
        [sys.executable, "-m", "chaos.proxy", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    server = ToxiproxyServer(json.loads(process.stdout.readline())["api"])
    for name in ("a", "b"):
        server.create_proxy(name, "127.0.0.1:0", f"127.0.0.1:{web.server_address[1]}", protocol="http")
    yield server
    process.terminate()
    process.wait(10)
    process.stdout.close()
    web.shutdown()
    web.server_close()
    serving.join()


def ask(server: ToxiproxyServer, place: str, *paths: str) -> list[bytes]:
    """The bodies of the replies to requests on one connection."""
    proxy = server.proxy(place)
    assert proxy is not None
    connection = http.client.HTTPConnection(proxy.listen, timeout=10)
    found = []
    for path in paths:
        connection.request("GET", path)
        with connection.getresponse() as reply:
            found.append(reply.read())
    connection.close()
    return found


def fault(**more: object) -> PlannedFault:
    """A fault that sets the reward of half of the replies to -1."""
    given = {
        "name": "wrong",
        "place": "here",
        "type": "json_edit",
        "toxicity": 0.5,
        "attributes": {"pointer": "/reward", "action": "set", "value": -1},
        "inject_at_s": 3,
        "heal_at_s": 9,
        "effects": (),
    }
    return PlannedFault.model_validate(given | more)


def injected(server: ToxiproxyServer, run: str, place: str, planned: PlannedFault, seed: int) -> ProxyFaults:
    """The faults of a run, with one in place."""
    lease = Lease(holder=run, ttl_ms=60_000)
    faults = ProxyFaults(server, run=run, names={"here": place}, lease=lease, seed=seed)
    faults.ready(planned, 0.0)
    faults.inject(planned, faults.undo(planned))
    return faults


def record(server: ToxiproxyServer, folder: Path, journal: Journal, run: str) -> HitRecord:
    """The record of a run with the one fault, on proxy `a`, begun."""
    made = HitRecord(
        folder / FILE,
        ToxiproxyServer(server.url),
        names={"here": "a"},
        faults={toxic_of(run, "wrong"): "wrong"},
        journal=journal,
    )
    made.begin()
    return made


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An empty journal."""
    made = Journal(tmp_path / "events.jsonl")
    yield made
    made.close()


@pytest.mark.parametrize("type", ["json_edit", "latency"])
def test_two_runs_of_one_seed_strike_the_same(server: ToxiproxyServer, type: str) -> None:
    """Whatever the runs and the proxies are called: messages at layer 7, connections at layer 4."""
    patterns = []
    for run, place, seed in (("one", "a", 5), ("two", "b", 5), ("three", "a", 6)):
        planned = fault(type="latency", attributes={"latency": 1}) if type == "latency" else fault()
        faults = injected(server, run, place, planned, seed)
        pattern = []
        for _ in range(24):
            before = faults.counts(planned)["connections" if type == "latency" else "applied"]
            ask(server, place, "/known")
            pattern.append(faults.counts(planned)["connections" if type == "latency" else "applied"] > before)
        patterns.append(pattern)
        faults.heal(planned, faults.undo(planned))
        if type == "latency":  # connections are numbered by their proxy
            upstream = server.proxies()["a"].upstream
            server.delete_proxy("a")
            server.create_proxy("a", "127.0.0.1:0", upstream)
    assert patterns[0] == patterns[1] != patterns[2]


def test_the_record_has_every_message_once_with_what_was_done(
    server: ToxiproxyServer, tmp_path: Path, journal: Journal
) -> None:
    """Those that the fault did nothing to as well; after the heal too."""
    planned = fault(toxicity=1)
    hits = record(server, tmp_path, journal, "run")
    faults = injected(server, "run", "a", planned, 1)
    bodies = ask(server, "a", "/known", "/other", "/known")
    assert [json.loads(body) for body in bodies] == [{"reward": -1}, {}, {"reward": -1}]
    faults.heal(planned, faults.undo(planned))
    hits.close()
    found = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    found.sort(key=lambda hit: hit["number"])
    assert [hit["number"] for hit in found] == [1, 2, 3]
    assert {(hit["fault"], hit["place"], "toxic" in hit) for hit in found} == {("wrong", "here", False)}
    assert [bool(hit.get("applied")) for hit in found] == [True, False, True]
    assert not journal.events


def test_what_others_struck_on_the_proxy_is_not_in_it(
    server: ToxiproxyServer, tmp_path: Path, journal: Journal
) -> None:
    """Neither before it began nor beside it."""
    other, planned = fault(toxicity=1), fault(toxicity=1)
    others = injected(server, "other", "a", other, 1)
    ask(server, "a", "/known", "/known")
    hits = record(server, tmp_path, journal, "run")
    faults = injected(server, "run", "a", planned, 1)
    ask(server, "a", "/known")
    hits.close()
    (line,) = (tmp_path / FILE).read_text().splitlines()
    assert json.loads(line)["number"] > 2
    assert others.counts(other)["applied"] == 3
    for port in (others, faults):
        port.heal(planned, port.undo(planned))


def test_what_cannot_be_had_is_journalled(server: ToxiproxyServer, tmp_path: Path, journal: Journal) -> None:
    """A proxy that is gone at the end: the record may lack something, and says so."""
    hits = record(server, tmp_path, journal, "run")
    server.delete_proxy("a")
    hits.close()
    (event,) = journal.events
    assert isinstance(event, HitsMissed)
    assert event.place == "here"
    assert "proxy not found" in event.reason
