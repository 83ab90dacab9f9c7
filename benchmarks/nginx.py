"""The upstream: nginx with one worker, bodies of a given size, connections kept alive for ever, no log."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.machine import answers, binaries, free_port, process, wait_until

_CONFIG: Final = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  sendfile on;
  open_file_cache max=16;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {folder}/www;
    location = /status {{ stub_status; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A running nginx; the path `/N` has a body of N bytes, for each N that was asked for."""

    address: str
    pid: int


@contextlib.contextmanager
def nginx(core: int | None, sizes: tuple[int, ...]) -> Iterator[Upstream]:
    """Runs as long as the block. Raises MissingError; TimeoutError when it does not start."""
    program = binaries("nginx")["nginx"]
    with tempfile.TemporaryDirectory(prefix="brownout-nginx-") as name:
        folder, port = Path(name), free_port()
        (folder / "www").mkdir()
        for size in sizes:
            (folder / "www" / str(size)).write_bytes(b"x" * size)
        config = folder / "nginx.conf"
        config.write_text(_CONFIG.format(folder=folder, port=port))
        argv = [program, "-e", str(folder / "error.log"), "-p", name, "-c", str(config)]
        with process(argv, core=core) as server:
            wait_until(lambda: answers(port), "nginx")
            yield Upstream(f"127.0.0.1:{port}", server.pid)
