"""ASGI middleware that measures HTTP requests: `http.server.request.duration`, from first byte to last.

Attributes take few values whatever clients send: the route's pattern instead of the path, known methods only.
Source: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#metric-httpserverrequestduration
"""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chaos.demo.telemetry import HTTP_BOUNDARIES_S, Telemetry

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Measured:
    """An app, measured. WebSockets pass unmeasured: their duration is that of a session."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._duration = telemetry.duration(
            "http.server.request.duration", "Duration of HTTP server requests.", HTTP_BOUNDARIES_S
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            self._duration.record(time.perf_counter() - begun, _attributes(scope, status))


def _attributes(scope: Scope, status: int) -> dict[str, str | int]:
    method = scope["method"]
    attributes: dict[str, str | int] = {
        "http.request.method": method if method in _METHODS else "_OTHER",
        "http.response.status_code": status,
        "url.scheme": scope["scheme"],
    }
    if path := getattr(scope.get("route"), "path", None):
        attributes["http.route"] = path
    if status >= 500:
        attributes["error.type"] = str(status)
    return attributes
