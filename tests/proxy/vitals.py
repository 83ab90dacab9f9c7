"""What a proxy's process holds, read from outside of it, and the peers that treat it badly."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 30.0
"""How long anything may take; far more than it does."""


GET = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
RESET = b"POST /reset HTTP/1.1\r\nHost: localhost\r\n"
"""The beginning of a request with a body."""


def until(condition: Callable[[], object], what: str = "it") -> None:
    """Wait for a condition."""
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {WAIT_S} s"
        time.sleep(0.01)


def metric(text: str, name: str, **labels: str) -> float:
    """The sum of the samples of `name` that have these labels."""
    total = 0.0
    for line in text.splitlines():
        found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if found and found[1] == name and all(f'{k}="{v}"' in (found[2] or "") for k, v in labels.items()):
            total += float(found[3])
    return total


class Watched:
    """A proxy's process (`tests.proxy.inspected`) and what lives in it; `api` is conftest's, for its requests."""

    def __init__(self, make_api: Any, report: Path, **limits: float) -> None:
        self.report = report
        self.log = report.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.proxy.inspected", str(report), json.dumps(limits)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        self.api = make_api(json.loads(self.process.stdout.readline())["api"], True, self.process)
        self.address = self.api.url.removeprefix("http://")
        self.settled = self.vitals() | {"TimerHandle": 1}  # that of the server's own round, always pending

    def vitals(self) -> dict[str, int]:
        """Descriptors of the process, and the objects that live in it."""
        self.report.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        until(lambda: self.report.exists() or self.process.poll() is not None, "the report")
        counts: dict[str, int] = json.loads(self.report.read_text())
        return counts | {"fds": len(os.listdir(f"/proc/{self.process.pid}/fd"))}

    def metric(self, name: str, **labels: str) -> float:
        """A value on /metrics."""
        return metric(self.api.request("GET", "/metrics").body.decode(), name, **labels)

    def settle(self) -> None:
        """Everything that was opened is gone: descriptors, connections, tasks, timers; and no error of its own."""
        for lease in self.api.request("GET", "/leases").json["leases"]:
            self.api.request("DELETE", f"/leases/{quote(lease['holder'], safe='')}")
        for name in self.api.request("GET", "/proxies").json:
            self.api.request("DELETE", f"/proxies/{quote(name, safe='')}")
        seen: dict[str, int] = {}

        def settled() -> bool:
            seen.update(self.vitals())
            return all(seen[name] <= most for name, most in self.settled.items())

        try:
            until(settled)
        except AssertionError:
            raise AssertionError(f"left over: {seen}, at the start: {self.settled}") from None
        assert self.metric("brownout_defects_total") == 0, self.log.read_text()[-3000:]

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(WAIT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


def send(watched: Watched, data: bytes, *, end: bool = False) -> bytes:
    """Send `data`, and read until the other end closes; `end` sends our own end first."""
    with dialled(watched) as sock:
        with contextlib.suppress(ConnectionError):  # an answer may come before all is sent
            sock.sendall(data)
            if end:
                sock.shutdown(socket.SHUT_WR)
        got = bytearray()
        while piece := sock.recv(65536):
            got += piece
        return bytes(got)


def dialled(watched: Watched) -> socket.socket:
    """A connection to the API."""
    host, _, port = watched.address.rpartition(":")
    return socket.create_connection((host, int(port)), WAIT_S)


def statuses(reply: bytes) -> list[int]:
    """The statuses of the replies, in their order."""
    return [int(line.split()[1]) for line in reply.splitlines() if line.startswith(b"HTTP/1.1 ")]


def resident(watched: Watched) -> int:
    """Bytes of memory that the process has used at most."""
    for line in Path(f"/proc/{watched.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not tell")


def reset(sock: socket.socket) -> None:
    """End a connection with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


class Echo:
    """An echo server for very many connections, in one thread. It ends connections that end."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listener.setblocking(False)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.listener, selectors.EVENT_READ)
        self._stop, self._stopped = socket.socketpair()
        self._selector.register(self._stopped, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stopped:
                    return
                if key.fileobj is self.listener:
                    self._accept()
                else:
                    self._echo(key.fileobj)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                sock.setblocking(False)
                self._selector.register(sock, selectors.EVENT_READ)

    def _echo(self, sock: Any) -> None:
        with contextlib.suppress(OSError):
            if data := sock.recv(65536):
                sock.sendall(data)
                return
        self._selector.unregister(sock)
        sock.close()

    def close(self) -> None:
        """End everything."""
        self._stop.send(b"x")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        self._stop.close()


@contextlib.contextmanager
def echoing() -> Iterator[Echo]:
    """An echo server for the block."""
    server = Echo()
    try:
        yield server
    finally:
        server.close()
