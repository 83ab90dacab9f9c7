"""The proxy as a process: its start, what it refuses, its end, and that it leaks nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]


def refused(*options: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code and message of a start that fails."""
    done = subprocess.run(
        [sys.executable, "-m", "chaos.proxy", "--port", "0", *options],
        cwd=ROOT,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_one_json_line_says_that_it_is_ready(own_proxy):
    """Nothing else goes to stdout, until the end."""
    api = own_proxy()
    assert api.request("GET", "/version").json == {"version": "2.12.0", "brownout": "0.1.0"}
    api.process.send_signal(signal.SIGTERM)
    assert api.process.wait(10) == 0
    assert api.process.stdout.read() == b""


def test_the_log_is_json_lines_on_stderr(own_proxy):
    """Each with an event, a level and a time; the seed is among them."""
    api = own_proxy("--seed", "11", stderr=subprocess.PIPE)
    place = api.proxy("127.0.0.1:1")
    place.toxic("noop")
    api.process.send_signal(signal.SIGTERM)
    lines = [json.loads(line) for line in api.process.stderr.read().splitlines()]
    api.process.stderr.close()
    assert [line["event"] for line in lines] == ["ready", "proxy-created", "toxic-added", "stopping"]
    assert all(line["level"] and line["timestamp"] for line in lines)
    assert lines[0]["seed"] == 11


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_heals_closes_and_exits_with_0(own_proxy, upstream, wire, number):
    """Connections end, what was held arrives, the process is gone."""
    api = own_proxy()
    place = api.proxy(upstream().address)
    path = place.toxic("latency", latency=60_000)
    with place.connect() as sock:
        sock.sendall(b"hello")
        wire.until(lambda: api.request("GET", f"{path}/counts").json["bytes"])
        api.process.send_signal(number)
        assert api.process.wait(10) == 0
        assert wire.ending(sock) in ("FIN", "RST")


def test_a_host_beyond_loopback_needs_a_token():
    """Refused as bad usage, with the remedy."""
    code, message = refused("--host", "0.0.0.0")
    assert code == 2
    assert "loopback" in message and "--token-env" in message


def test_an_empty_token_is_refused():
    """A variable that is not set must not mean: no token needed."""
    code, message = refused("--token-env", "BROWNOUT_NO_SUCH_VARIABLE")
    assert code == 2
    assert "BROWNOUT_NO_SUCH_VARIABLE" in message


def test_a_taken_port_is_said(embedded):
    """With the address."""
    port = embedded.url.rpartition(":")[2]
    code, message = refused("--port", port)
    assert code == 3
    assert f"127.0.0.1:{port}" in message and "in use" in message


def test_a_token_is_asked_for(own_proxy):
    """Every route answers 401 without it."""
    api = own_proxy("--token-env", "PROXY_TOKEN", env={"PROXY_TOKEN": "secret"})
    assert api.request("GET", "/version").status == 401
    assert api.request("GET", "/proxies", Authorization="Bearer wrong").status == 401
    assert api.request("GET", "/proxies", Authorization="Bearer secret").status == 200


def test_metrics_are_off_by_default(own_proxy):
    """As Toxiproxy's."""
    assert own_proxy().request("GET", "/metrics").status == 404


def test_a_config_file_creates_proxies(own_proxy, tmp_path):
    """Before the ready line; the file is as for /populate."""
    config = tmp_path / "proxies.json"
    config.write_text('[{"name": "a", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1"}]')
    assert set(own_proxy("--config", str(config)).request("GET", "/proxies").json) == {"a"}


@pytest.mark.parametrize("text", ["", "{}", '[{"name": "a"}]'])
def test_a_config_that_cannot_be_used_is_refused(tmp_path, text):
    """With the file's name."""
    config = tmp_path / "proxies.json"
    config.write_text(text)
    code, message = refused("--config", str(config))
    assert code == 2
    assert "proxies.json" in message


def test_2000_connections_leave_nothing_behind(own_proxy, upstream, wire):
    """Opened and dropped in every way, with toxics on some: no descriptor stays."""
    api = own_proxy()
    server = upstream()
    plain, toxic = api.proxy(server.address), api.proxy(server.address)
    dead = api.proxy("127.0.0.1:1")
    for type, attributes in (
        ("latency", {"latency": 1}),
        ("slicer", {"average_size": 2}),
        ("reset_peer", {}),
    ):
        toxic.toxic(type, toxicity=0.5, **attributes)
    toxic.toxic("timeout", "upstream", 0.2)
    process = psutil.Process(api.process.pid)
    before = process.num_fds()
    for number in range(2000):
        place = (plain, toxic, dead)[number % 3]
        sock = wire.dial(place.listen)
        if number % 2:
            with contextlib.suppress(ConnectionError):
                sock.sendall(b"x" * (number % 100))
        if number % 5 == 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    wire.until(lambda: process.num_fds() <= before + 2, 20)
    wire.until(lambda: not server.open, 20)
    with plain.connect() as sock:
        wire.ask(sock)
