"""The demo tools: an MCP server by the package mcp, over the workspaces of the demo environment.

`search`, `read` and `compute` only read, and their right results are known to whoever has the workspace's
number (`loadtests.workspace`). `record` has an effect: it counts its executions by entry, and executes once
for each idempotency key. `executions` tells the count, as does `GET /executions`.

A service of its own, not a part of the evals: the package mcp takes a second to import, which those who
start the evals need not pay, and a fault of its process strikes the tools alone.
"""

from __future__ import annotations

import logging
from typing import Any, TypedDict

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from chaos.demo.executions import Executions, KeyConflict
from chaos.demo.telemetry import Telemetry
from loadtests.workspace import Action, Episode

KEY_META = "idempotencyKey"
KEY_HEADER = "idempotency-key"
NONCE_META = "nonce"
_TEXT_MAX = 200


class Found(TypedDict):
    """What a tool that reads has found; `nonce` is the request's own."""

    text: str
    nonce: str


class Recorded(TypedDict):
    """What has become of an entry: how often it was executed, and whether this was told from memory."""

    entry: str
    executions: int
    replayed: bool
    nonce: str


class Counted(TypedDict):
    """How often an entry has been executed."""

    entry: str
    executions: int
    nonce: str


def build(telemetry: Telemetry) -> ASGIApp:
    """The app: MCP at /mcp, in both generations of the protocol."""
    del telemetry  # its requests are measured around it
    logging.getLogger("mcp").setLevel(logging.WARNING)  # else some lines for each request
    server = MCPServer("brownout-demo", log_level="WARNING")
    executions = Executions()
    _add_reading(server)
    _add_recording(server, executions)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def counted(_: Request) -> Response:
        return JSONResponse(executions.as_dict())

    server.custom_route("/healthz", methods=["GET"])(healthz)
    server.custom_route("/executions", methods=["GET"])(counted)
    # Who may ask is settled by the address that it listens on; clients come by a proxy's name.
    return server.streamable_http_app(
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        max_sessions=None,
        session_idle_timeout=60.0,
    )


def _add_reading(server: MCPServer) -> None:
    @server.tool()
    async def search(workspace: int, query: str, ctx: Context) -> Found:
        """Documents of a workspace that share words with the query: their ids, titles and a sentence each."""
        return _found(ctx, workspace, {"kind": "search", "query": query})

    @server.tool()
    async def read(workspace: int, document: str, ctx: Context) -> Found:
        """The text of a document, such as doc-03."""
        return _found(ctx, workspace, {"kind": "read", "document": document})

    @server.tool()
    async def compute(
        workspace: int, operation: str, column: str, where: list[dict[str, JsonValue]], ctx: Context
    ) -> Found:
        """sum, mean, min, max or count over a column of the ledger, where all of `where` hold."""
        asked: Any = {"kind": "compute", "operation": operation, "column": column, "where": where}
        return _found(ctx, workspace, asked)


def _add_recording(server: MCPServer, executions: Executions) -> None:
    @server.tool()
    async def record(entry: str, ctx: Context) -> Recorded:
        """Write an entry down: an effect, which is counted; with an idempotency key it happens once."""
        try:
            count, replayed = executions.record(entry[:_TEXT_MAX], _key(ctx))
        except KeyConflict as error:
            raise ToolError(str(error)) from error
        return Recorded(entry=entry, executions=count, replayed=replayed, nonce=_nonce(ctx))

    @server.tool(name="executions")
    async def executions_of(entry: str, ctx: Context) -> Counted:
        """How often an entry has been written down."""
        return Counted(entry=entry, executions=executions.of(entry[:_TEXT_MAX]), nonce=_nonce(ctx))


def _found(ctx: Context, workspace: int, action: Action) -> Found:
    """Raises ToolError: an action that cannot be performed."""
    result = Episode(workspace).act(action)
    if result.error:
        raise ToolError(result.error)
    return Found(text=result.text, nonce=_nonce(ctx))


def _meta(ctx: Context, name: str) -> str | None:
    value = (ctx.request_context.meta or {}).get(name)
    return str(value)[:_TEXT_MAX] if value is not None else None


def _nonce(ctx: Context) -> str:
    return _meta(ctx, NONCE_META) or ""


def _key(ctx: Context) -> str | None:
    """The idempotency key: of `_meta`, else of the header."""
    request = ctx.request_context.request
    of_header = request.headers.get(KEY_HEADER) if request is not None else None
    return _meta(ctx, KEY_META) or (of_header[:_TEXT_MAX] if of_header else None)
