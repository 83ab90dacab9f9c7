"""How the demo services start and end, whatever their clients and their receiver do."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.demo.serving import READY_WITHIN_S, Metrics, Running, running, wait_for

END_WITHIN_S = 10.0
"""It promises 2 s; a busy machine is given more."""


def ask_healthz(address: str) -> None:
    """One request, answered as it should be."""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
    finally:
        connection.close()


def vanish(address: str) -> None:
    """Open a WebSocket, and leave by a reset, without a word."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as ws:
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ws.sendall(f"GET /ws HTTP/1.1\r\nHost: {address}\r\n{upgrade}{key}".encode())
        assert ws.recv(12) == b"HTTP/1.1 101"
        ws.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_open_websockets_do_not_delay_the_end(tmp_path: Path) -> None:
    """SIGTERM closes open WebSockets properly, and the service exits with 0; stdout had one line all along.

    Clients that left without a word before cost no line in the log: under faults there are thousands of them.
    """
    with running(tmp_path, "environment") as service, contextlib.ExitStack() as stack:
        for _ in range(5):
            vanish(service.address)
        sockets = [stack.enter_context(connect(f"ws://{service.address}/ws", proxy=None)) for _ in range(20)]
        for ws in sockets:
            ws.send('{"type": "reset"}')
            assert json.loads(ws.recv())["type"] == "observation"
        code, seconds = service.end()
        assert code == 0
        assert seconds < END_WITHIN_S
        for ws in sockets:
            with pytest.raises(ConnectionClosed, match="1012"):  # service restart
                ws.recv()
        assert len(service.out.read_text().splitlines()) == 1
        assert [line["event"] for line in service.log] == ["ready", "stopping", "stopped"]


def test_deaf_clients_do_not_delay_the_end(tmp_path: Path) -> None:
    """Clients that have stopped reading, and streams that go on for minutes, are cut off."""
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]})
    with running(tmp_path, "evals", "--chunk-delay", "60s") as service:
        deaf = http.client.HTTPConnection(service.address, timeout=30)
        deaf.request("POST", "/v1/chat/completions", body)
        streaming = deaf.getresponse()
        assert streaming.status == 200
        code, seconds = service.end(signal.SIGINT)
        assert code == 0
        assert seconds < END_WITHIN_S
        assert not [line for line in service.log if line["level"] == "error"]
        streaming.close()
        deaf.close()


def test_end_with_stdin(tmp_path: Path) -> None:
    """With --exit-with-stdin the service ends when the other end of its stdin goes, with 0."""
    with running(tmp_path, "evals", "--exit-with-stdin") as service:
        assert service.process.stdin is not None
        service.process.stdin.close()
        assert service.process.wait(30) == 0
        assert "stdin ended" in [line.get("reason") for line in service.log]


def test_address_taken(evals: Running) -> None:
    """A port that is taken is said in one line, with exit code 3."""
    port = evals.address.rpartition(":")[2]
    ended = subprocess.run(
        [sys.executable, "-m", "chaos.demo", "evals", "--port", port],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 3
    assert re.fullmatch(rf"error: 127\.0\.0\.1:{port}: .+\n", ended.stderr)


def test_remote_host_needs_a_flag(tmp_path: Path) -> None:
    """Beyond loopback nothing listens without --allow-remote; with it there is a warning."""
    command = [sys.executable, "-m", "chaos.demo", "evals", "--host", "0.0.0.0"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "--allow-remote" in ended.stderr
    with running(tmp_path, "evals", "--host", "0.0.0.0", "--allow-remote") as service:
        wait_for("the warning", lambda: "listens-beyond-loopback" in service.err.read_text())


@contextlib.contextmanager
def _silent_receiver() -> Iterator[str]:
    """An endpoint that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def _absent_receiver() -> Iterator[str]:
    """An endpoint that refuses."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else can have it
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.parametrize("receiver", [_silent_receiver, _absent_receiver])
def test_dead_receiver(tmp_path: Path, receiver: contextlib.AbstractContextManager[str]) -> None:
    """A receiver that is dead is said once, the service serves on, and it ends in time with 0."""
    with receiver() as endpoint:
        reports = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "20"}
        with running(tmp_path, "evals", **reports) as service:
            ask_healthz(service.address)
            wait_for("the loss", lambda: "telemetry-lost" in service.err.read_text())
            for _ in range(100):
                ask_healthz(service.address)
            code, seconds = service.end()
            assert code == 0
            assert seconds < END_WITHIN_S
            assert [line["event"] for line in service.log if line["level"] == "warning"] == ["telemetry-lost"]


def test_last_metrics_arrive(tmp_path: Path) -> None:
    """What was measured before the end is sent at the end, however long the interval."""
    taken = Metrics()
    try:
        reports = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": taken.receiver.endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": "3600000",
        }
        with running(tmp_path, "evals", **reports) as service:
            ask_healthz(service.address)
            assert service.end()[0] == 0
        assert taken.find("http.server.request.duration", http__route="/healthz")
    finally:
        taken.receiver.stop()


def test_bad_interval_is_said(tmp_path: Path) -> None:
    """An interval that is no number is said, and the default is used."""
    with _absent_receiver() as endpoint:
        reports = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "often"}
        with running(tmp_path, "evals", **reports) as service:
            assert service.log[0]["event"] == "bad-setting"


def test_gradio_is_not_loaded(environment: Running) -> None:
    """The environment starts without gradio and what that brings along, which would take most of the time."""
    mapped = [each.path for each in psutil.Process(environment.process.pid).memory_maps()]
    assert any("pydantic_core" in path for path in mapped)
    assert not [path for path in mapped if "/pandas/" in path or "/numpy/" in path]


# --- brownout demo --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _brownout_demo() -> Iterator[tuple[subprocess.Popen[str], dict[str, str], list[psutil.Process]]]:
    """`brownout demo` on free ports: its process, its addresses, its children."""
    program = "import sys; from chaos.cli.demo import command; sys.exit(command(standalone_mode=False))"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--environment-port", "0", "--evals-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
    )
    watchdog = threading.Timer(READY_WITHIN_S, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(2)]
        watchdog.cancel()
        addresses = {line[0]: line[1] for line in lines}
        yield process, addresses, psutil.Process(process.pid).children()
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_stops_both(number: signal.Signals) -> None:
    """`brownout demo` serves both until it is told to stop; then both are gone and it exits with 0."""
    with _brownout_demo() as (process, addresses, children):
        for name in ("environment", "evals"):
            ask_healthz(addresses[name].removeprefix("http://"))
        process.send_signal(number)
        assert process.wait(30) == 0
        assert len(children) == 2
        assert not [child for child in children if child.is_running()]


def test_demo_killed_leaves_nothing() -> None:
    """Children end when `brownout demo` is killed with SIGKILL."""
    with _brownout_demo() as (process, _, children):
        process.kill()
        assert not psutil.wait_procs(children, timeout=30)[1]


def test_demo_ends_with_a_child() -> None:
    """When one service dies the other is stopped, and the exit code says that it was no success."""
    with _brownout_demo() as (process, _, children):
        children[0].kill()
        assert process.wait(30) == 3
        assert not [child for child in children if child.is_running()]


def test_deaf_websocket_is_cut_off(tmp_path: Path) -> None:
    """A client that asks on and reads nothing, until the server cannot write, does not hold up the end."""
    with running(tmp_path, "environment") as service:
        with connect(f"ws://{service.address}/ws", proxy=None, max_queue=1) as ws:
            ws.send('{"type": "reset"}')
            ws.recv()
            ws.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 2, 0))
            step = json.dumps(
                {"type": "step", "data": {"kind": "search", "query": "it is led by the office"}}
            )
            with contextlib.suppress(OSError, ConnectionClosed):
                for _ in range(50_000):
                    ws.send(step)
            code, seconds = service.end()
        assert code == 0
        assert seconds < END_WITHIN_S
