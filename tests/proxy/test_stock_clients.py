"""Clients that others wrote for Toxiproxy, unchanged: each drives both servers over its whole API, and what it
reports (replies, errors, bytes and ends of connections) must be one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.toxiproxy
HERE = Path(__file__).parent
NODE_MODULES = HERE.parents[1] / ".tools" / "node" / "node_modules"
BOUND_S = 50
EFFECTS = {
    "traffic": {"got": "hello", "end": "ours"},
    "refused": {"got": "", "end": "ECONNREFUSED"},
    "traffic again": {"got": "hello", "end": "ours"},
    "nobody there": {"got": "", "end": "FIN"},
    "populated": {"got": "hello", "end": "ours"},
    "through all": {"got": "hello, hello", "end": "ours"},
    "limit_data downstream": {"got": "hel", "end": "FIN"},
    "timeout downstream": {"got": "", "end": "FIN"},
    "timeout upstream": {"got": "", "end": "FIN"},
    "reset_peer downstream": {"got": "", "end": "ECONNRESET"},
    "reset_peer upstream": {"got": "", "end": "ECONNRESET"},
    "as before": {"got": "hello", "end": "ours"},
}
"""What a client sees of the connections that it makes, by step."""


@pytest.fixture(params=["toxiproxy-node-client", "toxiproxy-python"])
def client(request: pytest.FixtureRequest) -> Callable[[str], list[list[Any]]]:
    """Runs one of the clients against the API at a URL: what it did and what came of it, step by step."""
    environ = dict(os.environ)
    if request.param == "toxiproxy-python":
        command = [sys.executable, str(HERE / "drive_package.py")]
    else:
        node = shutil.which("node")
        if node is None or not (NODE_MODULES / "toxiproxy-node-client").is_dir():
            pytest.skip("no node on PATH, or its client is not in .tools/node: run `make tools`")
        command = [node, str(HERE / "node" / "drive.js")]
        environ["NODE_PATH"] = str(NODE_MODULES)

    def drive(url: str) -> list[list[Any]]:
        done = subprocess.run(
            [*command, url], env=environ, capture_output=True, text=True, timeout=BOUND_S, check=False
        )
        assert done.returncode == 0, done.stderr
        steps: list[list[Any]] = json.loads(done.stdout)
        return steps

    return drive


def test_a_stock_client_cannot_tell_them_apart(
    own_proxy: Callable[..., Any], toxiproxy_api: str, client: Callable[[str], list[list[Any]]]
) -> None:
    """Each step has the same outcome on both servers, the bytes and ends of connections too; and it does what the
    client came for, so that they do not agree by failing alike.
    """
    mine, theirs = client(own_proxy("--seed", "7").url), client(toxiproxy_api)
    for number, (here, there) in enumerate(zip(mine, theirs, strict=True)):
        assert here == there, f"step {number}, after {mine[:number][-3:]}"
    came = {what: got for what, got in mine if isinstance(got, dict) and "end" in got}
    assert came == EFFECTS
