"""A server of tools, by the package mcp, that tells which executions there were: `python -m tests.taxonomy.tools`.

It prints one line of JSON, its address, when it is ready, and ends with its stdin. `GET /ran` is all executions
so far: what was added, and the id of the session that asked for it. With `--json` it answers in JSON instead of
event streams.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.demo.serving import wait_for


def build() -> MCPServer:
    """The server: `add` adds, and `note` remembers something for its own session, and says what it remembers."""
    server = MCPServer("tools", log_level="ERROR")
    ran: list[tuple[int, int, str]] = []
    notes: dict[str, list[str]] = {}

    def session(ctx: Context) -> str:
        asked = ctx.request_context.request
        return str(asked.headers.get("mcp-session-id", "")) if asked is not None else ""

    @server.tool()
    async def add(a: int, b: int, ctx: Context) -> int:
        """Add."""
        ran.append((a, b, session(ctx)))
        return a + b

    @server.tool()
    async def note(text: str, ctx: Context) -> str:
        """Remember."""
        notes.setdefault(session(ctx), []).append(text)
        return ", ".join(notes[session(ctx)])

    async def all_ran(_: Request) -> Response:
        return JSONResponse(ran)

    server.custom_route("/ran", methods=["GET"])(all_ran)
    return server


def main() -> None:
    """Serve until stdin ends."""
    app = build().streamable_http_app(json_response="--json" in sys.argv)
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
    served = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))

    def end() -> None:
        sys.stdin.read()
        served.should_exit = True

    threading.Thread(target=end, daemon=True).start()
    print(json.dumps({"address": f"127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
    served.run(sockets=[listener])


@dataclass
class Tools:
    """One that runs."""

    address: str

    def ran(self) -> list[tuple[int, int, str]]:
        """What was added, and for which session."""
        found = httpx.get(f"http://{self.address}/ran", timeout=30, trust_env=False).json()
        return [(a, b, session) for a, b, session in found]

    def added(self, a: int) -> int:
        """How many times `a` was added to something."""
        return sum(first == a for first, _, _ in self.ran())

    def wait_added(self, a: int, times: int) -> None:
        """Wait until it was added so many times, and no more."""
        wait_for(f"{times} executions", lambda: self.added(a) >= times)
        assert self.added(a) == times


@contextlib.contextmanager
def tools(folder: Path, *arguments: str) -> Iterator[Tools]:
    """Serve tools in a process of its own."""
    with (folder / "tools.err").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.taxonomy.tools", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (folder / "tools.err").read_text()
        yield Tools(json.loads(line)["address"])
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    main()
