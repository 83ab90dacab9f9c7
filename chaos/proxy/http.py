"""The HTTP/1.1 server of the API: small requests, one after the other on each connection.

It shares the loop with the data path, so it is a plain Protocol: no framework, nothing that blocks.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, cast

import httptools

_BODY_MAX: Final = 10 * 1024 * 1024
_HEADERS_MAX: Final = 64 * 1024
_IDLE_S: Final = 60.0
_WAITING_MAX: Final = 64
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_AUTHORITY: Final = re.compile(rb"\Ahttps?://[^/]*", re.IGNORECASE)
"""What a target begins with that is written for a forward proxy: RFC 9112, 3.2.2."""


@dataclass(slots=True)
class Request:
    """One request. Header names are lower-case; `path` is decoded, without the query."""

    method: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(slots=True)
class Response:
    """One response; `Date` and `Content-Length` are added."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def encode(self, *, head: bool, keep_alive: bool) -> bytes:
        """The bytes to send; without the body for HEAD and 204."""
        status = HTTPStatus(self.status)
        lines = [f"HTTP/1.1 {status.value} {status.phrase}", f"Date: {formatdate(usegmt=True)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Length: {len(self.body)}")
        if not keep_alive:
            lines.append("Connection: close")
        text = "\r\n".join(lines) + "\r\n\r\n"
        return text.encode("latin-1") + (b"" if head or self.status == HTTPStatus.NO_CONTENT else self.body)


class Connection(asyncio.Protocol):
    """One connection of an API client; httptools calls the `on_…` methods."""

    def __init__(
        self, answer: Callable[[Request], Awaitable[Response]], connections: set[Connection]
    ) -> None:
        self._answer = answer
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._request = Request()
        self._url = b""
        self._body: list[bytes] = []
        self._size = 0
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone; an answer that is being made is made to the end."""
        self._connections.discard(self)
        self._transport = None
        self._stop_waiting()

    def _wait(self) -> None:
        self._stop_waiting()
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self.close)

    def _stop_waiting(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def close(self) -> None:
        """Close it."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Part of a request, or several."""
        if self._transport is None or self._transport.is_closing():
            return
        self._wait()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(HTTPStatus.BAD_REQUEST)
        except httptools.HttpParserError:
            if self._transport is not None and not self._transport.is_closing():
                self._refuse(HTTPStatus.BAD_REQUEST)

    def _refuse(self, status: HTTPStatus) -> None:
        if self._transport is not None:
            text = f"{status.value} {status.phrase}".encode()
            headers = {"Content-Type": "text/plain; charset=utf-8"}
            self._transport.write(Response(status.value, text, headers).encode(head=False, keep_alive=False))
            self._transport.close()

    def _grow(self, size: int, most: int, status: HTTPStatus) -> None:
        self._size += size
        if self._size > most:
            self._refuse(status)
            raise httptools.HttpParserError("too large")

    # --- called by the parser -------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._request = Request()
        self._url = b""
        self._body = []
        self._size = 0

    def on_url(self, url: bytes) -> None:
        """A part of its target."""
        self._grow(len(url), _HEADERS_MAX, HTTPStatus.REQUEST_URI_TOO_LONG)
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers."""
        self._grow(len(name) + len(value), _HEADERS_MAX, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Its headers are complete."""
        self._size = 0
        if self._request.headers.get("expect", "").lower() == "100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._grow(len(body), _BODY_MAX, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        self._body.append(body)

    def on_message_complete(self) -> None:
        """It is complete: answer it when those before it have been."""
        request = self._request
        request.method = self._parser.get_method().decode("latin-1")
        target = self._url.split(b"?", 1)[0]
        if _BAD_ESCAPE.search(target):
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        request.path = _AUTHORITY.sub(b"", target).decode("latin-1")
        request.body = b"".join(self._body)
        self._waiting.append((request, bool(self._parser.should_keep_alive())))
        if self._transport is not None and len(self._waiting) > _WAITING_MAX:
            self._transport.pause_reading()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        try:
            while self._waiting:
                request, keep_alive = self._waiting.popleft()
                response = await self._answer(request)
                if self._transport is None:
                    continue
                self._transport.write(response.encode(head=request.method == "HEAD", keep_alive=keep_alive))
                if not keep_alive:
                    self._transport.close()
                    return
                self._transport.resume_reading()
        finally:
            self._task = None
