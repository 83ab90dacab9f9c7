"""HTTP/1.1 messages: requests as they are read from bytes, and replies.

Invariant: what a request may be is decided here, once. What two readers could take for different requests
(two lengths, a length and chunks, bare line ends) is refused, and memory is bounded whatever comes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, NoReturn

import httptools

from chaos.proxy.clients import Limits

_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_AUTHORITY: Final = re.compile(rb"\Ahttps?://[^/]*", re.IGNORECASE)
"""What a target begins with that is written for a forward proxy: RFC 9112, 3.2.2."""


@dataclass(slots=True)
class Request:
    """One request. Header names are lower-case; `path` is without the query."""

    method: str = ""
    path: str = ""
    query: str = ""
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


class Reader:
    """Requests out of bytes; httptools calls the `on_…` methods.

    `refused` is the status for what cannot be read, `reason` says why; nothing is read after that.
    """

    def __init__(self, limits: Limits) -> None:
        self.refused: HTTPStatus | None = None
        self.reason = ""
        self.begun = False
        """Part of a request is here."""
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._complete: list[tuple[Request, bool]] = []
        self._request = Request()
        self._url = b""
        self._body = bytearray()
        self._head = 0
        self._raw = 0
        """Bytes since the request's beginning: the parser keeps a header until it is complete."""
        self._in_body = False

    def feed(self, data: bytes) -> list[tuple[Request, bool]]:
        """The requests that `data` completes, each with whether the connection goes on after it."""
        self._complete = []
        self._raw += len(data)
        while data and self.refused is None:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as offer:  # which need not be taken: RFC 9110, 7.8
                data = data[offer.args[0] :]
            except httptools.HttpParserError as error:
                if self.refused is None:
                    self.refused, self.reason = HTTPStatus.BAD_REQUEST, str(error)
        if self.begun and self.refused is None:
            most = self._limits.head_bytes
            if not self._in_body and self._raw > most:
                self.refused = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            elif self._raw > most + 4 * self._limits.body_bytes:  # tiny chunks, endless trailers
                self.refused = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return self._complete

    def take_expectation(self) -> bool:
        """Whether the client waits to be told to send the body; once."""
        if not self.begun or not self._in_body or self._body:
            return False
        return self._request.headers.pop("expect", None) is not None

    def _refuse(self, status: HTTPStatus, reason: str = "") -> NoReturn:
        self.refused, self.reason = status, reason
        raise httptools.HttpParserError(status.phrase)

    def _refuse_body(self) -> NoReturn:
        self._refuse(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {self._limits.body_bytes} bytes of body"
        )

    # --- called by the parser -------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._request = Request()
        self._url = b""
        self._body = bytearray()
        self._head = self._raw = 0
        self._in_body = False
        self.begun = True

    def on_url(self, url: bytes) -> None:
        """A part of its target."""
        self._url += url
        if len(self._url) > self._limits.head_bytes:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers; what comes after the body is none. Of two of a name the first one counts."""
        if self._in_body:
            return
        self._head += len(name) + len(value)
        if self._head > self._limits.head_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        key = name.decode("latin-1").lower()
        if key == "host" and key in self._request.headers:
            self._refuse(HTTPStatus.BAD_REQUEST, "two Host headers")
        self._request.headers.setdefault(key, value.decode("latin-1").strip(" \t"))

    def on_headers_complete(self) -> None:
        """Its headers are complete: refuse what need not be read to be refused."""
        self._in_body = True
        headers = self._request.headers
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._refuse(
                HTTPStatus.BAD_REQUEST if version == "0.9" else HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
            )
        if version == "1.1" and "host" not in headers:
            self._refuse(HTTPStatus.BAD_REQUEST, "missing required Host header")
        if int(headers.get("content-length") or 0) > self._limits.body_bytes:
            self._refuse_body()
        if headers.get("expect", "").lower() not in ("", "100-continue"):
            self._refuse(HTTPStatus.EXPECTATION_FAILED)

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._body += body
        if len(self._body) > self._limits.body_bytes:
            self._refuse_body()

    def on_message_complete(self) -> None:
        """It is complete."""
        request = self._request
        request.method = self._parser.get_method().decode("latin-1")
        target, _, query = self._url.partition(b"?")
        if _BAD_ESCAPE.search(target) or request.method == "CONNECT":
            self._refuse(HTTPStatus.BAD_REQUEST)
        request.path = _AUTHORITY.sub(b"", target).decode("latin-1")
        request.query = query.decode("latin-1")
        request.body = bytes(self._body)
        self._body = bytearray()
        self._raw = 0
        self.begun = False
        self._complete.append((request, bool(self._parser.should_keep_alive())))
