"""Places that read HTTP, on an embedded proxy that is a process: services behind them are struck by real toxics."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from tests.loadtests.locusts import WITHIN_S
from tests.taxonomy.layer7 import Layer7

Places = Callable[[str], Layer7]
"""Makes a place in front of a service, given by its URL."""


@contextlib.contextmanager
def places(folder: Path, protocol: str = "http") -> Iterator[Places]:
    """An embedded proxy for as long as the context lasts."""
    command = [sys.executable, "-m", "chaos.proxy", "--port", "0", "--seed", "7"]
    log = folder / "proxy.log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, log.read_text()
            with httpx.Client(base_url=json.loads(line)["api"], timeout=WITHIN_S, trust_env=False) as api:

                def make(url: str) -> Layer7:
                    name = f"place-{len(api.get('/proxies').json())}"
                    body = {"listen": "127.0.0.1:0", "upstream": httpx.URL(url).netloc.decode()}
                    answer = api.post("/proxies", json={"name": name, "protocol": protocol, **body})
                    assert answer.status_code == 201, answer.text
                    return Layer7(api, name, answer.json()["listen"])

                yield make
        finally:
            process.terminate()
