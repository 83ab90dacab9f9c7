"""Both proxy servers behind one fixture, and the real sockets on either side of them."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MISSING = "no toxiproxy-server on PATH or in .tools/bin: run `make tools`"
_names = itertools.count()


@dataclass(frozen=True)
class Reply:
    """An API reply; `json` is its body, decoded."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        """The body, decoded."""
        return json.loads(self.body)


@dataclass
class Api:
    """One proxy server's API."""

    url: str
    embedded: bool
    process: subprocess.Popen[bytes]

    def request(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """`body` is sent as it is when it is bytes, else as JSON."""
        parts = urllib.parse.urlsplit(self.url)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        try:
            connection.request(method, path, data, {k.replace("_", "-"): v for k, v in headers.items()})
            reply = connection.getresponse()
            return Reply(reply.status, dict(reply.getheaders()), reply.read())
        finally:
            connection.close()

    def proxy(self, upstream: str, **more: object) -> Place:
        """A new proxy on a free port, in front of `upstream`."""
        name = f"p{next(_names)}"
        reply = self.request(
            "POST", "/proxies", {"name": name, "listen": "127.0.0.1:0", "upstream": upstream, **more}
        )
        assert reply.status == 201, reply.body
        return Place(self, name, reply.json["listen"])


@dataclass
class Place:
    """A proxy of a server, and clients of it."""

    api: Api
    name: str
    listen: str
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def path(self) -> str:
        """The path of the proxy in the API."""
        return f"/proxies/{self.name}"

    def connect(self) -> socket.socket:
        """A connection through the proxy; closed after the test."""
        sock = dial(self.listen)
        self.sockets.append(sock)
        return sock

    def toxic(self, type: str, stream: str = "downstream", toxicity: float = 1.0, **attributes: int) -> str:
        """Add a toxic; its path."""
        body = {"type": type, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        reply = self.api.request("POST", f"{self.path}/toxics", body)
        assert reply.status == 200, reply.body
        return f"{self.path}/toxics/{reply.json['name']}"


def dial(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    sock = socket.create_connection((host.strip("[]"), int(port)), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Upstream:
    """A real server on port 0: `serve` handles each connection in a thread of its own."""

    def __init__(self, serve: Callable[[socket.socket], None], host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family, backlog=4096)
        port = self.listener.getsockname()[1]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.serve = serve
        self.open: set[socket.socket] = set()
        self.accepted = 0
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(20)
            with self._lock:
                self.open.add(sock)
                self.accepted += 1
            thread = threading.Thread(target=self._run, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _run(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self.serve(sock)
        sock.close()
        with self._lock:
            self.open.discard(sock)

    def close(self) -> None:
        """End everything."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._accepting.join()
        with self._lock:
            left = list(self.open)
        for sock in left:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


def echo(sock: socket.socket) -> None:
    """Send back what comes, until the end."""
    while data := sock.recv(65536):
        sock.sendall(data)


@pytest.fixture
def upstream() -> Iterator[Callable[..., Upstream]]:
    """Makes upstreams; by default they echo."""
    made: list[Upstream] = []

    def make(serve: Callable[[socket.socket], None] = echo, host: str = "127.0.0.1") -> Upstream:
        made.append(Upstream(serve, host))
        return made[-1]

    yield make
    for server in made:
        server.close()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def start_embedded(*options: str, env: dict[str, str] | None = None, stderr: int | None = None) -> Api:
    """A proxy process of its own, ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "chaos.proxy", "--port", "0", *options],
        cwd=ROOT,
        env=os.environ | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if stderr is None else stderr,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait(10)
        process.stdout.close()
        raise AssertionError(f"the proxy did not start: exit {process.returncode}")
    return Api(json.loads(line)["api"], True, process)


@pytest.fixture(scope="session")
def embedded_server() -> Iterator[Api]:
    """The embedded proxy, for all tests that do not need one of their own."""
    api = start_embedded("--seed", "7", "--metrics")
    yield api
    _stop(api.process)


def start_toxiproxy(*options: str) -> Api:
    """A Toxiproxy process of its own, ready."""
    binary = shutil.which("toxiproxy-server") or str(ROOT / ".tools/bin/toxiproxy-server")
    if not Path(binary).exists():
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    port = _free_port()
    process = subprocess.Popen(
        [binary, "-host", "127.0.0.1", "-port", str(port), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: process.poll() is not None or _answers(port), 30)
    assert process.poll() is None, "Toxiproxy did not start"
    return Api(f"http://127.0.0.1:{port}", False, process)


@pytest.fixture(scope="session")
def toxiproxy_server() -> Iterator[Api]:
    """The real Toxiproxy."""
    api = start_toxiproxy()
    yield api
    _stop(api.process)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _clean(api: Api) -> Iterator[Api]:
    yield api
    if api.embedded:
        for lease in api.request("GET", "/leases").json["leases"]:
            api.request("DELETE", f"/leases/{lease['holder']}")
    for name in api.request("GET", "/proxies").json:
        api.request("DELETE", f"/proxies/{urllib.parse.quote(name, safe='')}")


@pytest.fixture(params=["embedded", pytest.param("toxiproxy", marks=pytest.mark.toxiproxy)])
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    """Each of the two servers, without proxies."""
    yield from _clean(request.getfixturevalue(f"{request.param}_server"))


@pytest.fixture
def embedded(embedded_server: Api) -> Iterator[Api]:
    """The embedded proxy alone, for what only it can do."""
    yield from _clean(embedded_server)


@pytest.fixture
def own_proxy() -> Iterator[Callable[..., Api]]:
    """Starts proxy processes for one test."""
    started: list[Api] = []

    def start(*options: str, env: dict[str, str] | None = None, stderr: int | None = None) -> Api:
        started.append(start_embedded(*options, env=env, stderr=stderr))
        return started[-1]

    yield start
    for api in started:
        _stop(api.process)


@pytest.fixture
def own_toxiproxy() -> Iterator[Callable[..., Api]]:
    """Starts Toxiproxy processes for one test."""
    started: list[Api] = []

    def start(*options: str) -> Api:
        started.append(start_toxiproxy(*options))
        return started[-1]

    yield start
    for api in started:
        _stop(api.process)


@pytest.fixture
def place(api: Api, upstream: Callable[..., Upstream]) -> Iterator[Place]:
    """A proxy in front of an echo server, on each of the two servers."""
    place = api.proxy(upstream().address)
    yield place
    for sock in place.sockets:
        sock.close()


@pytest.fixture
def own_place(embedded: Api, upstream: Callable[..., Upstream]) -> Iterator[Place]:
    """A proxy in front of an echo server, on the embedded one."""
    place = embedded.proxy(upstream().address)
    yield place
    for sock in place.sockets:
        sock.close()


# --- what the tests measure with, handed out as fixtures since conftest cannot be imported -------------------


def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"it did not happen within {within_s} s"
        select.select([], [], [], 0.01)


def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes, or what came before the end."""
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(min(size - len(data), 1 << 20))
        if not piece:
            break
        data += piece
    return bytes(data)


def ending(sock: socket.socket) -> str:
    """How the connection ends, reading on: `FIN` or `RST`."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        return "RST"
    return "FIN"


def ask(sock: socket.socket, data: bytes = b"hello") -> float:
    """Seconds until `data` has come back."""
    begin = time.monotonic()
    sock.sendall(data)
    assert receive(sock, len(data)) == data
    return time.monotonic() - begin


@dataclass(frozen=True)
class Wire:
    """The functions above."""

    until: Callable[..., None] = until
    receive: Callable[[socket.socket, int], bytes] = receive
    ending: Callable[[socket.socket], str] = ending
    ask: Callable[..., float] = ask
    dial: Callable[[str], socket.socket] = dial


@pytest.fixture
def wire() -> Wire:
    """What measures on sockets."""
    return Wire()
