"""Proxy servers, and a web service, as processes that tests kill and start again in the same place."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Literal

from tests.runs.conftest import wait_for

Kind = Literal["embedded", "toxiproxy"]
THEIRS = "theirs"
"""A proxy of somebody else's, with a toxic of theirs, that no run may touch."""
THEIR_TOXIC: dict[str, Any] = {
    "name": "mine",
    "type": "latency",
    "stream": "downstream",
    "toxicity": 1.0,
    "attributes": {},
}

WEB = """
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args):
        pass

server = Server(("127.0.0.1", 0), Handler)
open(sys.argv[1] + ".new", "w").write(str(os.getpid()))
os.replace(sys.argv[1] + ".new", sys.argv[1])
print(server.server_address[1], flush=True)
server.serve_forever()
"""


class Web:
    """A web service in a process of its own, that was there before any run; its pid is in `pid_file`."""

    def __init__(self, folder: Path) -> None:
        self.pid_file = folder / "web.pid"
        argv = [sys.executable, "-c", WEB, str(self.pid_file)]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        self.address = f"127.0.0.1:{int(self.process.stdout.readline())}"

    def close(self) -> None:
        """End it, also where a run left it stopped."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def proxies_of(api: str) -> dict[str, dict[str, Any]]:
    """What a proxy server has. Raises OSError when it does not answer."""
    with urllib.request.urlopen(f"{api}/proxies", timeout=10) as reply:
        return dict(json.load(reply))


def create(api: str, name: str, upstream: str) -> None:
    """A proxy of somebody else's."""
    _ask(api, "POST", "/proxies", {"name": name, "listen": "127.0.0.1:0", "upstream": upstream})


def delete(api: str, name: str) -> None:
    """Take it away."""
    _ask(api, "DELETE", f"/proxies/{name}")


def _ask(api: str, method: str, path: str, body: object = None) -> None:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(api + path, data, method=method)
    with urllib.request.urlopen(request, timeout=10) as reply:
        reply.read()


class ProxyServer:
    """A long-lived proxy server, with a proxy of somebody else's on it."""

    def __init__(self, kind: Kind, binary: Path | None, folder: Path) -> None:
        self._kind = kind
        self._binary = binary
        self._log = folder / "proxy-server.log"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.api = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self, config: Path | None = None) -> None:
        """Start it where it was; with `config` (of a Toxiproxy) its proxies are there from the beginning."""
        if self._kind == "embedded":
            argv = [sys.executable, "-m", "chaos.proxy", "--port", str(self.port)]
        else:
            argv = [str(self._binary), "-port", str(self.port)]
        if config is not None:
            argv += ["-config", str(config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)
        wait_for(self.answers, 60, f"{self._kind} serves")
        wait_for(lambda: config is None or self.proxies(), 60, "the configured proxies are there")

    def kill(self) -> None:
        """SIGKILL; what it carried is gone with it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def answers(self) -> bool:
        """Whether its API answers."""
        try:
            self.proxies()
        except OSError:
            return False
        return True

    def proxies(self) -> dict[str, dict[str, Any]]:
        """What it has."""
        return proxies_of(self.api)

    def put_theirs(self) -> None:
        """Put somebody else's proxy and toxic there."""
        create(self.api, THEIRS, "127.0.0.1:9")
        self.add_toxic(THEIRS, THEIR_TOXIC)

    def add_toxic(self, proxy: str, toxic: dict[str, Any]) -> None:
        """A toxic of somebody else's."""
        _ask(self.api, "POST", f"/proxies/{proxy}/toxics", toxic)

    def has_theirs_only(self) -> bool:
        """Whether somebody else's is there as it was, and nothing else."""
        found = self.proxies()
        if set(found) != {THEIRS} or not found[THEIRS]["enabled"]:
            return False
        return [toxic["name"] for toxic in found[THEIRS]["toxics"]] == [THEIR_TOXIC["name"]]
