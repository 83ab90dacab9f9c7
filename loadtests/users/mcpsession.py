"""A small MCP client over streamable HTTP: one session, in either generation of the protocol.

Invariant of the naive manner: it takes for an answer what the stock client (package mcp) takes for one. The
only answer on an event stream is this request's, whatever id it bears; an answer in JSON that bears another
id is dropped, and the call waits for its time-out. Left out of what that client does: the stream for what
servers say unasked, the resumption of streams that bear event ids, and `notifications/cancelled` for a call
that has timed out.

Invariant of the careful manner: an answer is taken only with the request's own id, and ids are used once: a
stock client counts its ids from 1, so another session's answer can bear the right one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import gevent

from loadtests.options.tools import Protocol, ToolsOptions
from loadtests.users.connect import Broken
from loadtests.users.operation import Try
from loadtests.users.retries import status_failure
from loadtests.users.sse import events
from loadtests.users.wire import Exchange, Pool, request_bytes

SESSIONS: Final[Protocol] = "2025-11-25"
"""The generation that has sessions."""
SESSION_HEADER: Final = "mcp-session-id"
DRAIN_S: Final = 0.02
"""How long the end of a stream is waited for once its answer is there; the connection is then kept."""

_CLIENT: Final = {"name": "brownout", "version": "1"}
_FROM_SERVER: Final = frozenset(range(-32768, -31999))
"""The codes that JSON-RPC reserves; others are a server's own, and without number."""
_WORTH_RETRYING: Final = frozenset({-32603, *range(-32099, -31999)})

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One JSON-RPC request. `name` is the tool's, for tools/call; `key` the idempotency key, if any."""

    method: str
    params: Message | None = None
    name: str = ""
    key: str | None = None


@dataclass(slots=True)
class Reading:
    """How a reply came: whether as an event stream, and whether that held its answer."""

    streamed: bool = False
    terminal: bool = False


class Session:
    """What one client knows of its server. Each request is one try; nothing here tries again."""

    def __init__(self, pool: Pool, options: ToolsOptions) -> None:
        self.id: str | None = None
        self.begun = options.protocol != SESSIONS
        """Whether requests may be sent: sessions have to be begun first."""
        self._pool = pool
        self._options = options
        self._careful = options.client == "careful"
        self._modern = options.protocol != SESSIONS
        self._ids = 0

    def begin(self, tried: Try, trace: str, unique: str) -> None:
        """`initialize`; `notify` belongs behind it. Raises Broken."""
        self.id = None
        params = {"protocolVersion": SESSIONS, "capabilities": {}, "clientInfo": _CLIENT}
        result = self.request(Request("initialize", params), tried, trace, unique, Reading())
        if not isinstance(result.get("protocolVersion"), str):
            raise Broken("protocol_error", "a result of initialize without protocolVersion")

    def notify(self, tried: Try, trace: str) -> None:
        """Tell the server that its session has begun: requests may be sent. Raises Broken."""
        body = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
        with self._within(), Exchange(self._pool, tried, self._options.timeout) as exchange:
            exchange.send(self._head("POST", body, Request("notifications/initialized"), trace) + body)
            said = exchange.body()[:200]
            if exchange.status >= 300:
                self._refused(exchange, said)
        self.begun = True

    def end(self, tried: Try, trace: str) -> None:
        """DELETE, if there is a session to end. Raises Broken."""
        if self.id is None:
            return
        head = self._head("DELETE", b"", Request(""), trace)
        self.forget()
        with self._within(), Exchange(self._pool, tried, self._options.timeout) as exchange:
            exchange.send(head)
            said = exchange.body()[:200]
            if exchange.status >= 300 and exchange.status != 405:  # a server need not allow it
                self._refused(exchange, said)

    def forget(self) -> None:
        """The session is lost, or left: the next request needs a new one."""
        self.id = None
        self.begun = self._modern

    def request(self, request: Request, tried: Try, trace: str, unique: str, reading: Reading) -> Message:
        """The result of one request. `unique` is an id that no other request bears. Raises Broken."""
        self._ids += 1
        ident: int | str = unique if self._careful else self._ids
        message: Message = {"jsonrpc": "2.0", "id": ident, "method": request.method}
        params = self._params(request)
        if params is not None:
            message["params"] = params
        body = json.dumps(message).encode()
        with self._within(), Exchange(self._pool, tried, self._options.timeout) as exchange:
            exchange.send(self._head("POST", body, request, trace) + body)
            result = self._result(exchange, ident, reading)
            if request.method == "initialize":
                self.id = exchange.headers.get(SESSION_HEADER)
            return result

    def _within(self) -> gevent.Timeout:
        """The stock client's time-out is for the whole of a reply, not for each read of it."""
        return gevent.Timeout(self._options.timeout, Broken("timeout", "no answer in time"))

    # --- what is sent

    def _params(self, request: Request) -> Message | None:
        params = dict(request.params) if request.params is not None else None
        meta: Message = dict(params.get("_meta", {})) if params else {}
        if request.key is not None:
            meta["idempotencyKey"] = request.key
        if self._modern:
            meta["io.modelcontextprotocol/protocolVersion"] = self._options.protocol
            meta["io.modelcontextprotocol/clientInfo"] = _CLIENT
            meta["io.modelcontextprotocol/clientCapabilities"] = {}
        if not meta:
            return params
        return {**(params or {}), "_meta": meta}

    def _head(self, method: str, body: bytes, request: Request, trace: str) -> bytes:
        headers = {
            "User-Agent": "brownout",
            **self._options.headers,
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
        }
        if self.id is not None:
            headers[SESSION_HEADER] = self.id
        if request.method != "initialize":
            headers["mcp-protocol-version"] = self._options.protocol
        if self._modern:
            headers["mcp-method"] = request.method
            if request.name:
                headers["mcp-name"] = request.name
        if request.key is not None:
            headers["Idempotency-Key"] = request.key
        made = request_bytes(method, self._pool.address, self._options.path, headers, body)
        return made + f"traceparent: {trace}\r\n\r\n".encode()

    # --- what is received

    def _result(self, exchange: Exchange, ident: int | str, reading: Reading) -> Message:
        if exchange.status >= 300:
            self._refused(exchange, exchange.body()[:200])
        if exchange.status == 202:
            raise Broken("protocol_error", "202 Accepted for a request, which has no answer then")
        kind = exchange.headers.get("content-type", "").lower()
        if kind.startswith("application/json"):
            return self._answered(_parsed(exchange.body()), ident, streamed=False)
        if kind.startswith("text/event-stream"):
            return self._streamed(exchange, ident, reading)
        raise Broken("protocol_error", f"expected JSON or an event stream, got {kind[:80]!r}")

    def _streamed(self, exchange: Exchange, ident: int | str, reading: Reading) -> Message:
        reading.streamed = True
        stream = events(exchange.chunks())
        try:
            answer = _first_answer(stream)
        except Broken as failure:
            if failure.error_type in ("connection_closed", "connection_reset"):
                raise Broken("incomplete_stream", f"no answer before the end: {failure}") from failure
            raise
        if answer is None:
            raise Broken("incomplete_stream", "the stream ended without an answer")
        reading.terminal = True
        with gevent.Timeout(DRAIN_S, False), contextlib.suppress(Broken):
            for _ in stream:
                pass
        return self._answered(answer, ident, streamed=True)

    def _answered(self, answer: Message, ident: int | str, *, streamed: bool) -> Message:
        """The result that an answer holds. Raises Broken: it is another request's, an error, or none."""
        if "error" not in answer and not isinstance(answer.get("result"), dict):
            raise Broken("protocol_error", f"expected a result or an error, got {str(answer)[:80]}")
        if answer.get("id") != ident and (self._careful or not streamed):
            if not self._careful:
                gevent.sleep(self._options.timeout)  # the stock client drops it, and waits on
                raise Broken("timeout", "the only answer bore another request's id")
            raise Broken("protocol_error", f"the answer to {str(answer.get('id'))[:40]!r}, not {ident!r}")
        if "error" in answer:
            raise self._rpc_error(answer["error"])
        result: Message = answer["result"]
        return result

    def _rpc_error(self, error: Any) -> Broken:
        if not isinstance(error, dict) or not isinstance(code := error.get("code"), int):
            return Broken("protocol_error", f"expected an error with a code, got {str(error)[:80]}")
        kind = str(code) if code in _FROM_SERVER else "rpc_error"
        return Broken(
            kind, str(error.get("message"))[:200], retry=not self._careful or code in _WORTH_RETRYING
        )

    def _refused(self, exchange: Exchange, said: bytes) -> NoReturn:
        """An HTTP status. The stock client hides which one, so who calls it cannot tell when to try again."""
        failure = status_failure(exchange.status, exchange.headers, said.decode("utf-8", "replace"))
        if exchange.status == 404 and self.id is not None and self._careful:
            self.forget()
            failure.retry = True
        elif not self._careful:
            failure.retry = True
        raise failure


def _first_answer(stream: Iterator[tuple[str, str]]) -> Message | None:
    """The first message of a stream that is an answer; what a server says before is passed over."""
    for name, text in stream:
        if name in ("", "message") and text:
            message = _parsed(text)
            if "method" not in message:
                return message
    return None


def _parsed(text: bytes | str) -> Message:
    """A JSON-RPC message. Raises Broken."""
    try:
        message = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Broken("protocol_error", f"expected JSON, got {text[:80]!r}") from error
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise Broken("protocol_error", f"expected a JSON-RPC message, got {text[:80]!r}")
    return message


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
